"""Reading the official checkpoints safely: Lightning's of 4D-Humans and HaMeR, mmpose's of ViTPose.

PyTorch's own restricted reading (``weights_only``) cannot pass over what Lightning leaves beside the tensors:
the configuration is a subclass of a dictionary, which it refuses to fill. The project's restricted unpickler
reads the pickle instead, PyTorch the tensors' bytes.
"""

from __future__ import annotations

import pickle
import tarfile
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from mimo.restricted_pickle import DAMAGED, Refused, Unpickler
from mimo.stage import Rejected

# Packages whose objects training leaves in a checkpoint beside the tensors. They become inert stand-ins.
BYSTANDERS = (
    "argparse.Namespace",
    "builtins.dict",
    "builtins.list",
    "collections.",
    "hamer.",
    "hmr2.",
    "lightning.",
    "lightning_fabric.",
    "mmcv.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
    "pytorch_lightning.",
    "torch.",
    "torchmetrics.",
    "typing.",
    "yacs.",
)

_TENSORS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}


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


class _TensorUnpickler(Unpickler):
    """Reads tensors, containers and bystanders; PyTorch adds what brings a tensor's bytes."""

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(file, _TENSORS)

    def find_class(self, module: str, name: str) -> Any:
        """See `mimo.restricted_pickle.Unpickler.find_class`."""
        try:
            return super().find_class(module, name)
        except Refused:
            if f"{module}.{name}".startswith(BYSTANDERS):
                return Bystander
            raise


def _load(file: IO[bytes], **options: Any) -> Any:
    return _TensorUnpickler(file).load()


# What `torch.load` wants in place of Python's module.
_RESTRICTED = types.SimpleNamespace(Unpickler=_TensorUnpickler, load=_load, __name__="restricted_pickle")


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
        content = torch.load(
            path, map_location="cpu", pickle_module=_RESTRICTED, weights_only=False, mmap=packed
        )
    except Refused as error:
        raise Rejected(f"{path}: refused as {what}: {error}; get it from its own site") from error
    except (pickle.UnpicklingError, RuntimeError, OSError, *DAMAGED) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
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
