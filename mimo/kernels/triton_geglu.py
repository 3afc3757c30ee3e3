"""The gated half of a feed-forward in Triton: product, gelu and gate without the wide tensor between them.

Kept apart, the product writes and the gate reads again eight times the block's own activations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.jit
def _gelu(x):
    return 0.5 * x * (1 + tl.math.erf(x * 0.7071067811865476))


def _box_sizes(arguments: dict[str, Any]) -> None:
    """Fit the descriptors' boxes to a configuration."""
    rows, columns, depth = (arguments[f"block_{name}"] for name in ("rows", "columns", "depth"))
    arguments["x"].block_shape = [rows, depth]
    arguments["weight"].block_shape = [columns, depth]
    arguments["out"].block_shape = [rows, columns]


CONFIGS = [
    triton.Config(
        {"block_rows": rows, "block_columns": columns, "block_depth": 64},
        num_warps=warps,
        num_stages=stages,
        pre_hook=_box_sizes,
    )
    for rows, columns, warps, stages in ((128, 64, 4, 3), (128, 128, 8, 3), (128, 128, 8, 4), (256, 64, 8, 3))
]


@triton.autotune(CONFIGS, key=["rows", "inner", "channels"])
@triton.jit
def _gated_product(
    x,
    weight,
    bias,
    out,
    rows,
    inner,
    channels,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_depth: tl.constexpr,
):
    # Neighbouring programs share their rows of x; all share the weights, which stay in the L2 cache.
    across = inner // block_columns
    row, column = tl.program_id(0) // across * block_rows, tl.program_id(0) % across * block_columns
    hidden = tl.zeros((block_rows, block_columns), tl.float32)
    gate = tl.zeros((block_rows, block_columns), tl.float32)
    for depth in range(0, channels, block_depth):
        part = x.load([row, depth])
        hidden = tl.dot(part, weight.load([column, depth]).T, hidden)
        gate = tl.dot(part, weight.load([inner + column, depth]).T, gate)
    columns = column + tl.arange(0, block_columns)
    hidden += tl.load(bias + columns)[None, :]
    gate += tl.load(bias + inner + columns)[None, :]
    out.store([row, column], (hidden * _gelu(gate)).to(bias.dtype.element_ty))


def gated_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``hidden * gelu(gate)`` of ``x @ weight.T + bias``, whose first half is hidden, the second gate.

    Args:
        x: (..., channels), contiguous.
        weight: (2 * inner, channels).
        bias: (2 * inner,).

    Returns:
        (..., inner).

    Raises:
        ValueError: sizes that the kernel's blocks do not divide.
    """
    channels, inner = x.shape[-1], len(weight) // 2
    if channels % 64 or inner % 128:
        raise ValueError(f"{channels} channels and {inner} inner ones are no multiples of 64 and 128")
    flat = x.reshape(-1, channels)
    out = torch.empty((len(flat), inner), dtype=x.dtype, device=x.device)

    def grid(config: dict[str, int]) -> tuple[int]:
        return (triton.cdiv(len(flat), config["block_rows"]) * (inner // config["block_columns"]),)

    # The boxes get their size when a configuration is chosen.
    boxes = [TensorDescriptor.from_tensor(tensor, [16, 16]) for tensor in (flat, weight, out)]
    _gated_product[grid](*boxes[:2], bias, boxes[2], len(flat), inner, channels)
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
