"""The gated half of a feed-forward in Triton: product, gelu and gate without the wide tensor between them.

Kept apart, the product writes and the gate reads again eight times the block's own activations.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

# Of a tile of the result; the depth is that of the inputs' tiles.
_ROWS, _COLUMNS, _DEPTH = 128, 64, 64


@triton.jit
def _gelu(x):
    # x times the normal distribution by Abramowitz and Stegun 7.1.26 (1.5e-7); two special functions, no
    # branches, and no cancellation where it is small.
    size = tl.abs(x)
    t = 1.0 / (1.0 + 0.23164189 * size)
    series = 0.530702715 * t - 0.726576014
    series = series * t + 0.710706871
    series = series * t - 0.142248368
    series = (series * t + 0.127414796) * t
    return tl.maximum(x, 0.0) - size * series * tl.exp2(size * size * -0.7213475204)


@triton.jit
def _gated_product(
    x,
    weight,
    bias,
    out,
    inner,
    channels,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_depth: tl.constexpr,
):
    # Neighbouring tiles share their rows of x; all share the weights, which stay in the L2 cache.
    tile, across = tl.program_id(0), inner // block_columns
    row, column = tile // across * block_rows, tile % across * block_columns
    hidden = tl.zeros((block_rows, block_columns), tl.float32)
    gate = tl.zeros((block_rows, block_columns), tl.float32)
    for depth in range(0, channels, block_depth):
        part = x.load([row, depth])
        hidden = tl.dot(part, weight.load([column, depth]).T, hidden)
        gate = tl.dot(part, weight.load([inner + column, depth]).T, gate)
    columns = column + tl.arange(0, block_columns)
    hidden += tl.load(bias + columns).to(tl.float32)[None, :]
    gate += tl.load(bias + inner + columns).to(tl.float32)[None, :]
    out.store([row, column], (hidden * _gelu(gate)).to(out.dtype))


def gated_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``hidden * gelu(gate)`` of ``x @ weight.T + bias``, whose first half is hidden, the second gate.

    Args:
        x: (..., channels), contiguous.
        weight: (2 * inner, channels).
        bias: (2 * inner,).

    Returns:
        (..., inner).

    Raises:
        ValueError: sizes that the kernel's tiles do not divide.
    """
    channels, inner = x.shape[-1], len(weight) // 2
    if channels % _DEPTH or inner % _COLUMNS:
        raise ValueError(f"{channels} channels and {inner} inner ones are not divided by the kernel's tiles")
    flat = x.reshape(-1, channels)
    out = torch.empty((len(flat), inner), dtype=x.dtype, device=x.device)
    _gated_product[(triton.cdiv(len(flat), _ROWS) * (inner // _COLUMNS),)](
        TensorDescriptor.from_tensor(flat, [_ROWS, _DEPTH]),
        TensorDescriptor.from_tensor(weight, [_COLUMNS, _DEPTH]),
        bias,
        TensorDescriptor.from_tensor(out, [_ROWS, _COLUMNS]),
        inner,
        channels,
        block_rows=_ROWS,
        block_columns=_COLUMNS,
        block_depth=_DEPTH,
        num_warps=4,
        num_stages=3,
    )
    return out.view(*x.shape[:-1], inner)


@triton.jit
def _gate(joined, out, count, inner: tl.constexpr, block: tl.constexpr):
    index = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = index < count
    place = joined + index // inner * (2 * inner) + index % inner
    hidden = tl.load(place, mask=inside).to(tl.float32)
    gate = tl.load(place + inner, mask=inside).to(tl.float32)
    tl.store(out + index, (hidden * _gelu(gate)).to(out.dtype.element_ty), mask=inside)


def product_then_gate(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same as `gated_product` with the library's product and one pass over its result."""
    joined = F.linear(x, weight, bias)
    inner = len(weight) // 2
    out = torch.empty((*x.shape[:-1], inner), dtype=x.dtype, device=x.device)
    _gate[(triton.cdiv(out.numel(), 2048),)](joined, out, out.numel(), inner=inner, block=2048, num_warps=8)
    return out
