"""Where networks run and how exactly: what the settings `device` and `precision` of the backends mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mimo.stage import Rejected

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float16", "bfloat16", "float32"]
DEVICE = "auto (a GPU if there is one), cuda, cuda:1 or cpu"
PRECISION = "of the networks; auto: float16 on a GPU, float32 on a CPU"


def resolve(device: str, precision: Precision) -> tuple[str, torch.dtype]:
    """The device's name for PyTorch, and the type of the networks' parameters.

    Raises:
        Rejected: a GPU is asked for and PyTorch sees none.
    """
    import torch

    there = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if there else "cpu"
    if device.startswith("cuda") and not there:
        raise Rejected(
            f"device {device}: PyTorch sees no GPU here; choose --device cpu, or install its CUDA build"
        )
    if precision == "auto":
        precision = "float16" if device.startswith("cuda") else "float32"
    return device, getattr(torch, precision)
