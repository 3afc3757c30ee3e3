"""What the taps of a deformable convolution see, in one pass over the memory (Triton).

Channels come last, so that a tap reads a group's channels as one piece; the result is the left side of a
plain matrix product.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 64


@triton.jit
def _corner(x, row, column, share, inside, height, width, channels, first, group: tl.constexpr):
    valid = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    at = (row * width + column)[:, None] * channels + first + tl.arange(0, group)[None, :]
    return tl.load(x + at, mask=valid[:, None], other=0.0).to(tl.float32) * share[:, None]


@triton.jit
def _sample(
    x, offset, mask, seen, height, width, channels, groups, group: tl.constexpr, pixels: tl.constexpr
):
    size = height * width
    pixel = tl.program_id(0) * pixels + tl.arange(0, pixels)
    which = tl.program_id(1)
    tap = which % 9
    first = which // 9 * group
    inside = pixel < size
    down = tl.load(offset + (2 * which) * size + pixel, mask=inside, other=0.0).to(tl.float32)
    across = tl.load(offset + (2 * which + 1) * size + pixel, mask=inside, other=0.0).to(tl.float32)
    strength = tl.load(mask + which * size + pixel, mask=inside, other=0.0).to(tl.float32)
    # Beyond this nothing is seen; far offsets must not leave the range of integers.
    down = tl.minimum(tl.maximum(pixel // width + tap // 3 - 1 + down, -2.0), height + 1.0)
    across = tl.minimum(tl.maximum(pixel % width + tap % 3 - 1 + across, -2.0), width + 1.0)
    row, column = tl.floor(down), tl.floor(across)
    below, right = down - row, across - column
    row, column = row.to(tl.int32), column.to(tl.int32)
    total = _corner(x, row, column, (1 - below) * (1 - right), inside, height, width, channels, first, group)
    total += _corner(x, row, column + 1, (1 - below) * right, inside, height, width, channels, first, group)
    total += _corner(x, row + 1, column, below * (1 - right), inside, height, width, channels, first, group)
    total += _corner(x, row + 1, column + 1, below * right, inside, height, width, channels, first, group)
    to = pixel[:, None] * (groups * 9 * group) + which * group + tl.arange(0, group)[None, :]
    tl.store(seen + to, (total * strength[:, None]).to(seen.dtype.element_ty), mask=inside[:, None])


def sample(x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """What every tap sees of one picture.

    Args:
        x: (1, c, h, w); c over the number of groups is a power of two.
        offset: (1, g * 9 * 2, h, w).
        mask: (1, g * 9, h, w).

    Returns:
        (h * w, g * 9 * c / g) of the type of `x`: by group, then by tap, then by channel of the group.
    """
    channels, height, width = x.shape[1:]
    groups = mask.shape[1] // 9
    seen = torch.empty((height * width, 9 * channels), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(height * width, PIXELS), groups * 9)
    last = x[0].permute(1, 2, 0).contiguous()
    _sample[grid](
        last,
        offset.contiguous(),
        mask.contiguous(),
        seen,
        height,
        width,
        channels,
        groups,
        group=channels // groups,
        pixels=PIXELS,
    )
    return seen
