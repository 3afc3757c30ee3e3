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
    head, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * group + tl.arange(0, group)
    frame, column = tl.arange(0, frame_block), tl.arange(0, dim_block)
    inside = (pixel < pixels)[:, None, None] & (frame < frames)[None, :, None] & (column < dim)[None, None, :]
    place = (
        row * row_stride
        + frame[None, :, None].to(tl.int64) * frame_stride
        + pixel[:, None, None].to(tl.int64) * pixel_stride
        + head * dim
        + column[None, None, :]
    )
    queries = tl.load(query + place, mask=inside, other=0.0)
    keys = tl.load(key + place, mask=inside, other=0.0)
    values = tl.load(value + place, mask=inside, other=0.0)
    scores = tl.dot(queries, tl.permute(keys, (0, 2, 1))) * factor
    scores = tl.where((frame < frames)[None, None, :], scores, float("-inf"))
    weights = tl.exp2(scores - tl.max(scores, 2)[:, :, None])
    weights = weights / tl.sum(weights, 2)[:, :, None]
    result = tl.dot(weights.to(values.dtype), values)
    # The result is contiguous: (rows, frames, pixels, heads, dim).
    place = (
        ((row * frames + frame[None, :, None]) * pixels + pixel[:, None, None]) * heads + head
    ) * dim + column[None, None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=inside)


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
    dim_block = max(16, triton.next_power_of_2(dim))
    group = max(1, 256 // dim_block)
    _over_frames[(triton.cdiv(pixels, group), heads, rows)](
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
        dim_block=dim_block,
        frame_block=max(16, triton.next_power_of_2(frames)),
        group=group,
        num_warps=4,
    )
    return out
