"""Attention over frames in Triton: 24 tokens are too few for kernels made for thousands.

One program takes a group of pixels and reads them frame by frame, where they lie in memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_LOG2_E = 1.4426950408889634


@triton.jit
def _over_frames(
    query,
    key,
    value,
    out,
    row_stride,
    frame_stride,
    pixel_stride,
    pixels,
    heads,
    frames,
    factor,
    dim: tl.constexpr,
    dim_block: tl.constexpr,
    frame_block: tl.constexpr,
    group: tl.constexpr,
):
    # Heads side by side run at the same time: they share the memory sectors at their borders.
    head, block, row = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    pixel = tl.arange(0, group)
    frame, column = tl.arange(0, frame_block), tl.arange(0, dim_block)
    exists = (block * group + pixel < pixels)[:, None, None]
    inside = exists & (frame < frames)[None, :, None] & (column < dim)[None, None, :]
    start = row * row_stride + block.to(tl.int64) * group * pixel_stride + head * dim
    place = frame[None, :, None] * frame_stride + pixel[:, None, None] * pixel_stride + column[None, None, :]
    queries = tl.load(query + start + place, mask=inside, other=0.0)
    keys = tl.load(key + start + place, mask=inside, other=0.0)
    values = tl.load(value + start + place, mask=inside, other=0.0)
    scores = tl.dot(queries, tl.permute(keys, (0, 2, 1))) * factor
    scores = tl.where((frame < frames)[None, None, :], scores, float("-inf"))
    weights = tl.exp2(scores - tl.max(scores, 2)[:, :, None])
    total = tl.sum(weights, 2)
    result = tl.dot(weights.to(values.dtype), values) / total[:, :, None]
    # The result is contiguous: (rows, frames, pixels, heads, dim).
    start = ((row * frames * pixels + block * group) * heads + head) * dim
    place = (frame[None, :, None] * pixels + pixel[:, None, None]) * heads * dim + column[None, None, :]
    tl.store(out + start + place, result.to(out.dtype.element_ty), mask=inside)


def over_frames(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each pixel over the frames.

    Args:
        query, key, value: (rows, frames, pixels, heads, dim) with equal strides; heads next to each other.

    Returns:
        The same shape, contiguous.
    """
    rows, frames, pixels, heads, dim = query.shape
    if not query.stride() == key.stride() == value.stride() or query.stride()[3:] != (dim, 1):
        raise ValueError("query, key and value must have equal strides and heads side by side")
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    if frames * query.stride(1) >= 2**31 or frames * pixels * heads * dim >= 2**31:
        raise ValueError("a row's values are too far apart for 32-bit offsets")
    # One pixel and one warp: more of either were slower at all sizes.
    group = 1
    _over_frames[(heads, triton.cdiv(pixels, group), rows)](
        query,
        key,
        value,
        out,
        *query.stride()[:3],
        pixels,
        heads,
        frames,
        dim**-0.5 * _LOG2_E,
        dim=dim,
        dim_block=max(16, triton.next_power_of_2(dim)),
        frame_block=max(16, triton.next_power_of_2(frames)),
        group=group,
        num_warps=1,
    )
    return out
