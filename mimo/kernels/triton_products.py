"""Matrix products of the transformer blocks in Triton, with what surrounds them done in the same pass.

A block's activations are up to 295 MB; each pass over them that is saved counts as much as a small product.
So a product can read its input before the layer norm and normalise afterwards, which is the same:

    norm(x) @ w.T = scale * (x @ w.T - mean * sum(w)),   scale and mean of each row of x,

it adds the residual, a bias that differs from frame to frame, or the GEGLU gate to its result, uses other
weights for each frame (a group norm folded into them), and notes the moments of what it writes for the norm
after it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.jit
def _gelu(x):
    # The error function by Abramowitz and Stegun 7.1.26, within 1.5e-7 of it; the tail is not cancelled.
    size = tl.abs(x)
    t = 1.0 / (1.0 + 0.23164189 * size)
    series = t * (0.127414796 + t * (-0.142248368 + t * (0.710706871 + t * (-0.726576014 + t * 0.530702715))))
    return tl.maximum(x, 0.0) - size * series * tl.exp2(size * size * -0.7213475204)


@triton.jit
def _finished(
    total,
    bias,
    sums,
    mean,
    scale,
    place,
    column,
    columns,
    normed: tl.constexpr,
):
    """A tile's result from its sums of products: the norm of its rows, then the bias."""
    inside = column < columns
    if normed:
        total = (total - mean[:, None] * tl.load(sums + column, mask=inside, other=0.0)[None, :]) * scale[
            :, None
        ]
    return total + tl.load(bias + place + column, mask=inside, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _product(
    x,
    weight,
    bias,
    residual,
    out,
    statistics,
    sums,
    moments,
    rows,
    columns,
    channels,
    weight_step,
    bias_step,
    gated: tl.constexpr,
    normed: tl.constexpr,
    adds: tl.constexpr,
    notes: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_depth: tl.constexpr,
):
    # Neighbouring programs share their rows of x; all share the weights, which stay in the L2 cache.
    across = tl.cdiv(columns, block_columns)
    strip = tl.program_id(0) // across
    part = tl.program_id(0) % across
    strips = tl.cdiv(rows, block_rows)
    frame, row = strip // strips, strip % strips * block_rows
    column = part * block_columns
    total = tl.zeros((block_rows, block_columns), tl.float32)
    gate = tl.zeros((block_rows, block_columns), tl.float32)
    for depth in range(0, channels, block_depth):
        piece = x.load([frame * rows + row, depth])
        total = tl.dot(piece, weight.load([frame * weight_step + column, depth]).T, total)
        if gated:
            gate = tl.dot(piece, weight.load([columns + column, depth]).T, gate)
    line = row + tl.arange(0, block_rows)
    here = column + tl.arange(0, block_columns)
    token = frame.to(tl.int64) * rows + line
    if normed:
        mean = tl.load(statistics + 2 * token, mask=line < rows, other=0.0)
        scale = tl.load(statistics + 2 * token + 1, mask=line < rows, other=0.0)
    else:
        mean = 0.0
        scale = 0.0
    place = frame * bias_step
    total = _finished(total, bias, sums, mean, scale, place, here, columns, normed)
    if gated:
        gate = _finished(gate, bias + columns, sums + columns, mean, scale, place, here, columns, normed)
        total *= _gelu(gate)
    if adds:
        total += residual.load([frame * rows + row, column]).to(tl.float32)
    result = total.to(out.dtype)
    out.store([frame, row, column], result.reshape(1, block_rows, block_columns))
    if notes:
        # Of the values as they are kept, so that the next norm gets what it would have measured.
        kept = tl.where((here < columns)[None, :], result.to(tl.float32), 0.0)
        place = moments + (token * across + part) * 2
        tl.store(place, tl.sum(kept, 1), mask=line < rows)
        tl.store(place + 1, tl.sum(kept * kept, 1), mask=line < rows)


@triton.jit
def _statistics(
    moments, statistics, rows, parts, channels, epsilon, parts_block: tl.constexpr, block: tl.constexpr
):
    """Mean and inverse deviation of each row from the moments of its parts."""
    row = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    part = tl.arange(0, parts_block)
    inside = (row < rows)[:, None] & (part < parts)[None, :]
    place = moments + (row[:, None] * parts + part[None, :]) * 2
    mean = tl.sum(tl.load(place, mask=inside, other=0.0), 1) / channels
    square = tl.sum(tl.load(place + 1, mask=inside, other=0.0), 1) / channels
    scale = tl.rsqrt(tl.maximum(square - mean * mean, 0.0) + epsilon)
    tl.store(statistics + 2 * row, mean, mask=row < rows)
    tl.store(statistics + 2 * row + 1, scale, mask=row < rows)


class Tiling(NamedTuple):
    """How a product is cut up: tile sizes, warps of a program, tiles in flight."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


PLAIN = (
    Tiling(128, 64, 64, 4, 4),
    Tiling(128, 128, 64, 4, 3),
    Tiling(128, 128, 64, 8, 4),
    Tiling(128, 256, 64, 8, 3),
)
"""Of products without a gate."""
GATED = (
    Tiling(128, 64, 64, 4, 3),
    Tiling(64, 128, 64, 4, 3),
    Tiling(128, 128, 64, 8, 3),
)
"""Of products with a gate, whose tiles take twice the columns."""


def product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    tiling: Tiling,
    out: Tensor,
    *,
    residual: Tensor | None = None,
    statistics: Tensor | None = None,
    sums: Tensor | None = None,
    gated: bool = False,
    moments_for: Tensor | None = None,
    epsilon: float = 1e-5,
) -> None:
    """``x @ weight.T + bias``, with what is asked for around it; see the module.

    Args:
        x: (frames, rows, channels), contiguous.
        weight: (columns, channels), or (frames, columns, channels); with a gate (2 * columns, channels).
        bias: (columns,) or (frames, columns); with a gate (2 * columns,).
        tiling: one of `PLAIN` or `GATED`.
        out: (frames, rows, columns), contiguous; gets the result.
        residual: (frames, rows, columns), contiguous; is added.
        statistics: (frames, rows, 2) float32: each row's mean and inverse deviation; x is normalised by them.
        sums: (columns,) float32, sums of the weights' rows; needed with `statistics`.
        gated: the result is ``first * gelu(second)`` of the two halves of the columns.
        moments_for: (frames, rows, 2) float32; gets the result's mean and inverse deviation by rows.
        epsilon: added to the variance there.
    """
    frames, rows, channels = x.shape
    columns = out.shape[-1]
    across = triton.cdiv(columns, tiling.columns)
    per_frame = weight.ndim == 3 or bias.ndim == 2
    if not per_frame:
        frames, rows = 1, frames * rows
    moments = None
    if moments_for is not None:
        moments = torch.empty((frames * rows, across, 2), dtype=torch.float32, device=x.device)
    _product[(across * triton.cdiv(rows, tiling.rows) * frames,)](
        TensorDescriptor.from_tensor(x.view(-1, channels), [tiling.rows, tiling.depth]),
        TensorDescriptor.from_tensor(weight.view(-1, channels), [tiling.columns, tiling.depth]),
        bias,
        TensorDescriptor.from_tensor(
            (out if residual is None else residual).view(-1, columns), [tiling.rows, tiling.columns]
        ),
        TensorDescriptor.from_tensor(out.view(frames, rows, columns), [1, tiling.rows, tiling.columns]),
        statistics,
        sums,
        moments,
        rows,
        columns,
        channels,
        columns if weight.ndim == 3 else 0,
        columns if bias.ndim == 2 else 0,
        gated=gated,
        normed=statistics is not None,
        adds=residual is not None,
        notes=moments is not None,
        block_rows=tiling.rows,
        block_columns=tiling.columns,
        block_depth=tiling.depth,
        num_warps=tiling.warps,
        num_stages=tiling.stages,
    )
    if moments is not None:
        count = frames * rows
        _statistics[(triton.cdiv(count, 128),)](
            moments,
            moments_for,
            count,
            across,
            columns,
            epsilon,
            parts_block=triton.next_power_of_2(across),
            block=128,
        )
