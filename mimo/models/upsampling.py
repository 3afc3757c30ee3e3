"""Doubling a picture's size and convolving it, without convolving repeated pixels.

After nearest-neighbour doubling a 3x3 window sees 2x2 different pixels. For each of the four positions of a
result pixel within its source pixel, weights that meet the same pixel can be added up beforehand (sub-pixel
convolution): 16 instead of 36 products for each source pixel and pair of channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimo.kernels.choice import Kernel, chosen_kernels, fastest, in_half


def doubled_convolution(
    x: Tensor, weight: Tensor, bias: Tensor, joined: Tensor, size: tuple[int, int]
) -> Tensor:
    """``conv2d(interpolate(x, size), padding=1)`` for nearest neighbours.

    Args:
        x: (n, channels, h, w).
        weight: (columns, channels, 3, 3).
        bias: (columns,).
        joined: `subpixel_weights` of the weight.
        size: (2 h, 2 w); either may be one less, as after halving an odd size.

    Returns:
        (n, columns, *size), channels last in memory.
    """
    height, width = x.shape[2:]
    cut = size[0] < 2 * height, size[1] < 2 * width
    if (cut[0] and height < 2) or (cut[1] and width < 2):
        out = F.conv2d(_doubled(x, size), weight, bias, padding=1)
        return out.contiguous(memory_format=torch.channels_last)
    parts = F.conv2d(x, joined, padding=1).permute(0, 2, 3, 1)
    # (n, h + 1, w + 1, row within the pixel, column within the pixel, columns)
    parts = parts.unflatten(3, (2, 2, len(weight)))
    row = torch.arange(size[0], device=x.device)[:, None]
    column = torch.arange(size[1], device=x.device)
    out = parts[:, (row + 1) // 2, (column + 1) // 2, row % 2, column % 2] + bias
    # Where a row or column is cut off, its neighbour must not see it.
    if cut[0]:
        edge = F.pad(_doubled(x[:, :, -2:], (3, size[1]))[:, :, 1:], (1, 1, 0, 1))
        edge = F.conv2d(edge, weight, bias).permute(0, 2, 3, 1)
        out = torch.where((row == size[0] - 1)[..., None], edge, out)
    if cut[1]:
        edge = F.pad(_doubled(x[:, :, :, -2:], (size[0], 3))[:, :, :, 1:], (0, 1, 1, 1))
        edge = F.conv2d(edge, weight, bias).permute(0, 2, 3, 1)
        out = torch.where((column == size[1] - 1)[:, None], edge, out)
    return out.contiguous().permute(0, 3, 1, 2)


def subpixel_weights(weight: Tensor) -> Tensor:
    """Weights (columns, channels, 3, 3) → (4 * columns, channels, 2, 2), channels last in memory.

    The first axis is (row within the pixel, column within the pixel, columns). Sums are rounded once.
    """
    whole = weight.float()

    def halves(x: Tensor, axis: int) -> list[Tensor]:
        first, middle, last = x.unbind(axis)
        return [torch.stack([first, middle + last], axis), torch.stack([first + middle, last], axis)]

    parts = [part for row in halves(whole, 2) for part in halves(row, 3)]
    return torch.cat(parts).to(weight.dtype).contiguous(memory_format=torch.channels_last)


def _doubled(x: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :height, :width]


class UpsamplingConv2d(nn.Conv2d):
    """The convolution of one of diffusers' upsamplers, which can do the upsampling, too.

    Attributes:
        joined_weight: `subpixel_weights`; None in float32, where the reference's order keeps its rounding.
    """

    joined_weight: Tensor | None

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Convolve x (n, channels, h, w), upsampled to a size if one is given, see `doubled_convolution`."""
        if size is None:
            return super().forward(x)
        if self.joined_weight is None or self.bias is None:
            return super().forward(_doubled(x, size))
        return doubled_convolution(x, self.weight, self.bias, self.joined_weight, size)


class DoublingUpsampler(nn.Module):
    """diffusers' upsampler with an `UpsamplingConv2d`; the parameters have the same names."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) → (n, channels, 2 h, 2 w)."""
        return self.conv(x, (2 * x.shape[2], 2 * x.shape[3]))


def upsample_by_convolution(blocks: Iterable[Any]) -> None:
    """Turn the convolutions of diffusers' upsamplers into `UpsamplingConv2d`, with their type as it is now.

    Args:
        blocks: of an up path; their ``upsamplers`` may be None.
    """
    for block in blocks:
        for upsampler in block.upsamplers or ():
            conv = upsampler.conv
            conv.__class__ = UpsamplingConv2d
            weight = conv.weight.detach()
            joined = None if weight.dtype == torch.float32 else subpixel_weights(weight)
            if joined is not None and in_half(weight) and not _worth_joining(weight, joined):
                joined = None
            conv.register_buffer("joined_weight", joined, persistent=False)


@torch.no_grad()
def _worth_joining(weight: Tensor, joined: Tensor) -> bool:
    """Measure on a picture of middling size which way the GPU at hand is faster."""
    x = torch.randn((8, weight.shape[1], 48, 48), device=weight.device).to(weight.dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    weight = weight.contiguous(memory_format=torch.channels_last)
    bias, size = torch.zeros_like(weight[:, 0, 0, 0]), (96, 96)
    kernels: dict[str, Kernel] = {
        "doubled": lambda: F.conv2d(_doubled(x, size), weight, bias, padding=1),
        "joined": lambda: doubled_convolution(x, weight, bias, joined, size),
    }
    operation, shape = "upsampling, convolution", str(tuple(weight.shape))
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        fastest(operation, shape, x, kernels)
    return any(
        what.startswith(f"{operation} {shape}") and name == "joined"
        for what, name in chosen_kernels().items()
    )
