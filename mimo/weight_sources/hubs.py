"""Files from the Hugging Face and ModelScope hubs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

from mimo.weight_sources.http import download
from mimo.weight_sources.registry import HuggingFace, ModelScope
from mimo.weights import WeightsError

MODELSCOPE = "https://modelscope.cn"


def from_huggingface(origin: HuggingFace, name: str, partial: Path, size: int | None) -> str | None:
    """Fetch one file with the user's login, from ``$HF_ENDPOINT`` if that is set.

    The hub's own client finds the file; the bytes come by `download`, since the client starts an interrupted
    file anew.

    Args:
        origin: the repository.
        name: the file in it.
        partial: file to write; whole when the call returns.
        size: bytes, if known.

    Returns:
        SHA-256 that the hub states, which it does for large files.

    Raises:
        WeightsError: the client is not installed, or the hub has no such file, refuses or is out of reach.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled
    except ModuleNotFoundError:
        raise WeightsError(
            "huggingface_hub is not installed: pip install huggingface_hub (transformers brings it)"
        ) from None
    # Those of whichever library the client is built on.
    network_errors = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    endpoint = os.environ.get("HF_ENDPOINT")
    url = huggingface_hub.hf_hub_url(origin.repo, name, revision=origin.revision, endpoint=endpoint)
    page = f"https://huggingface.co/{origin.repo}"
    try:
        found = huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
    except GatedRepoError:
        raise WeightsError(
            f"{page}: agree to its terms there, then log in on this computer: `hf auth login`"
        ) from None
    except OfflineModeIsEnabled as error:
        raise WeightsError(f"{page}: {_first_line(error)}") from None
    except HfHubHTTPError as error:
        raise WeightsError(f"{page}: {name}: {_first_line(error)}") from None
    except network_errors as error:
        raise WeightsError(f"{page}: cannot be reached ({_first_line(error)})") from None
    if size is not None and found.size is not None and found.size != size:
        raise WeightsError(f"{page}: {name} is {found.size} bytes long there instead of {size}")
    same_server = urlsplit(found.location).netloc == urlsplit(url).netloc
    download(
        found.location,
        partial,
        size or found.size,
        identity=f"{url} {found.etag}",
        token=huggingface_hub.get_token() if same_server else None,
    )
    return found.etag if found.etag and re.fullmatch("[0-9a-f]{64}", found.etag) else None


def in_huggingface_cache(origin: HuggingFace, name: str) -> Path | None:
    """The file, if the hub's own client has it in its cache already."""
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        return None
    found = huggingface_hub.try_to_load_from_cache(origin.repo, name, revision=origin.revision)
    return Path(found) if isinstance(found, str) else None


def from_modelscope(origin: ModelScope, name: str, partial: Path, size: int | None) -> None:
    """Fetch one file of a ModelScope repository, from ``$MODELSCOPE_ENDPOINT`` if that is set.

    Args:
        origin: the repository.
        name: the file in it.
        partial: file to write; whole when the call returns.
        size: bytes, if known.

    Raises:
        WeightsError: as `download`.
    """
    hub = os.environ.get("MODELSCOPE_ENDPOINT", MODELSCOPE).rstrip("/")
    download(f"{hub}/models/{origin.repo}/resolve/{quote(origin.revision)}/{quote(name)}", partial, size)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
