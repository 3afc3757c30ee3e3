"""Reading the official checkpoints safely: Lightning's of 4D-Humans and HaMeR, mmpose's of ViTPose."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimo.stage import Rejected

# Packages whose objects training leaves in a checkpoint beside the tensors. They become inert stand-ins.
BYSTANDERS = (
    "yacs.",
    "omegaconf.",
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "torchmetrics.",
    "hmr2.",
    "hamer.",
    "mmcv.",
    "pathlib.",
    "numpy.",
    "typing.",
    "collections.",
    "argparse.Namespace",
    "__builtin__.dict",
    "builtins.dict",
    "__builtin__.list",
    "builtins.list",
)


class Bystander(dict):  # type: ignore[type-arg]
    """Stand-in for an object that is not needed: takes anything, does nothing."""

    def __init__(self, *arguments: Any, **names: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""

    def append(self, value: Any) -> None:
        """Drop an entry of a list."""

    def extend(self, values: Any) -> None:
        """Drop entries of a list."""


def read_state(path: Path, what: str) -> dict[str, Tensor]:
    """Tensors of a checkpoint, mapped from the disk where its format allows.

    Args:
        path: ``.ckpt`` or ``.pth``; a dictionary with ``state_dict``, or the tensors themselves.
        what: what it should be, for messages, such as ``the HMR2 checkpoint``.

    Raises:
        Rejected: missing, damaged, or its pickle asks for more than tensors and a training's bystanders.
    """
    _check_kind(path, what)
    packed = zipfile.is_zipfile(path)
    try:
        stand_ins: list[Any] = [(Bystander, name) for name in _foreign_names(path, what)] if packed else []
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Rejected(f"{path}: not {what}, or damaged ({reason}); download it again") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise Rejected(f"{path}: holds no tensors; needs {what}")
    return tensors


def _check_kind(path: Path, what: str) -> None:
    if path.is_dir():
        raise Rejected(f"{path}: a folder; give {what} itself, such as {path}/checkpoints/NAME.ckpt")
    if not path.is_file():
        raise Rejected(f"{path}: not there; needs {what}")
    if not zipfile.is_zipfile(path) and tarfile.is_tarfile(path):
        raise Rejected(f"{path}: an archive; unpack it (tar -xf) and give {what} inside")


def _foreign_names(path: Path, what: str) -> list[str]:
    """Names outside PyTorch's own list that a checkpoint's pickle mentions, all of them bystanders.

    Raises:
        Rejected: one of them is none.
    """
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    for name in names:
        if not name.startswith(BYSTANDERS):
            raise Rejected(
                f"{path}: refused as {what}: it asks for {name}, which no checkpoint needs; get it from its "
                "own site"
            )
    return list(names)


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Give a network (on the meta device) its tensors; all of them, no others.

    Raises:
        Rejected: names or shapes differ; the message lists the first.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    problems = [f"lacks {name}" for name in expected.keys() - given.keys()]
    problems += [f"has {name} besides" for name in given.keys() - expected.keys()]
    problems += [
        f"{name} is {given[name]}, not {shape}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:4])
        raise Rejected(f"{path}: not {what}: {shown} ({len(problems)} differences in all)")
    network.load_state_dict(dict(state), strict=True, assign=True)
