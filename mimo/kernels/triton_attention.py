"""Attention kernels in Triton for what the stock ones do badly here.

`attend`: the head dimension 40 is no power of two. Stock kernels pad it to 64; here it is cut into
32 + 16, and own and reference keys are read where they lie instead of being joined first.
`over_frames`: 24 tokens are too few for kernels made for thousands; here one program takes a group of
pixels and reads them frame by frame, in place.

Tensors are (batch, tokens, heads, head dimension) with the last dimension contiguous.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

_LOG2_E = 1.4426950408889634


@triton.jit
def _add_block(
    state,
    queries,
    keys,
    values,
    row,
    column,
    left,
    factor,
    low: tl.constexpr,
    split: tl.constexpr,
    block: tl.constexpr,
    last: tl.constexpr,
):
    """Add a block of keys to the running softmax: (largest score, sum, weighted values in two parts).

    Keys and values are read in boxes that reach past the head's columns and, at the end, past its rows:
    queries are zero there, weights become zero, and results there are not stored.
    """
    largest, total, out_low, out_high = state
    query_low, query_high = queries
    key_low, key_high = keys
    value_low, value_high = values
    scores = tl.dot(query_low, key_low.load([row, column]).T)
    if split:
        scores = tl.dot(query_high, key_high.load([row, column + low]).T, scores)
    if last:
        scores = tl.where((tl.arange(0, block) < left)[None, :], scores, float("-inf"))
    new_largest = tl.maximum(largest, tl.max(scores, 1) * factor)
    weights = tl.exp2(scores * factor - new_largest[:, None])
    shrink = tl.exp2(largest - new_largest)
    total = total * shrink + tl.sum(weights, 1)
    weights = weights.to(query_low.dtype)
    out_low = tl.dot(weights, value_low.load([row, column]), out_low * shrink[:, None])
    if split:
        out_high = tl.dot(weights, value_high.load([row, column + low]), out_high * shrink[:, None])
    return new_largest, total, out_low, out_high


@triton.jit
def _add_keys(
    state,
    queries,
    keys,
    values,
    first,
    column,
    tokens,
    factor,
    low: tl.constexpr,
    split: tl.constexpr,
    block: tl.constexpr,
):
    """Add rows [first, first + tokens) of keys; only the last block checks where they end."""
    full = tokens // block * block
    for start in range(0, full, block):
        state = _add_block(
            state, queries, keys, values, first + start, column, 0, factor, low, split, block, False
        )
    if full < tokens:
        state = _add_block(
            state, queries, keys, values, first + full, column, tokens - full, factor, low, split, block, True
        )
    return state


def _box_sizes(arguments: dict[str, Any]) -> None:
    """Fit the descriptors' boxes to a configuration."""
    padded, rows = arguments["padded"], arguments["block_keys"]
    low = padded // 2 if arguments["split"] else padded
    for name in ("key", "value", "bank_key", "bank_value"):
        arguments[f"{name}_low"].block_shape = [rows, low]
        arguments[f"{name}_high"].block_shape = [rows, 16]


CONFIGS = [
    triton.Config(
        {"split": split, "block_queries": queries, "block_keys": keys},
        num_warps=warps,
        num_stages=stages,
        pre_hook=_box_sizes,
    )
    for split, queries, keys, warps, stages in (
        (True, 128, 64, 4, 3),
        (True, 128, 128, 8, 3),
        (True, 64, 64, 4, 3),
        (True, 128, 64, 8, 3),
        (True, 64, 128, 4, 3),
        (False, 128, 64, 4, 3),
        (False, 128, 128, 8, 3),
        (False, 64, 64, 4, 3),
    )
]


@triton.autotune(CONFIGS, key=["tokens", "bank_tokens", "dim"])
@triton.jit
def _attend(
    query,
    key_low,
    key_high,
    value_low,
    value_high,
    bank_key_low,
    bank_key_high,
    bank_value_low,
    bank_value_high,
    out,
    query_batch,
    query_token,
    heads,
    tokens,
    bank_tokens,
    factor,
    dim: tl.constexpr,
    padded: tl.constexpr,
    has_bank: tl.constexpr,
    split: tl.constexpr,
    block_queries: tl.constexpr,
    block_keys: tl.constexpr,
):
    # The head dimension in one part, padded to a power of two, or in two parts, the second of 16.
    low: tl.constexpr = padded // 2 if split else padded
    row, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    rows = tl.program_id(0) * block_queries + tl.arange(0, block_queries)
    inside = (rows < tokens)[:, None]
    query += row.to(tl.int64) * query_batch + head * dim
    place = query + rows[:, None].to(tl.int64) * query_token
    columns = tl.arange(0, low)[None, :]
    query_low = tl.load(place + columns, mask=inside & (columns < dim), other=0.0)
    out_low = tl.zeros((block_queries, low), tl.float32)
    if split:
        columns = low + tl.arange(0, 16)[None, :]
        query_high = tl.load(place + columns, mask=inside & (columns < dim), other=0.0)
        out_high = tl.zeros((block_queries, 16), tl.float32)
    else:
        query_high = query_low
        out_high = out_low
    largest = tl.full((block_queries,), float("-inf"), tl.float32)
    state = (largest, tl.zeros((block_queries,), tl.float32), out_low, out_high)
    queries = (query_low, query_high)
    keys, values = (key_low, key_high), (value_low, value_high)
    state = _add_keys(
        state, queries, keys, values, row * tokens, head * dim, tokens, factor, low, split, block_keys
    )
    if has_bank:
        keys, values = (bank_key_low, bank_key_high), (bank_value_low, bank_value_high)
        state = _add_keys(
            state, queries, keys, values, 0, head * dim, bank_tokens, factor, low, split, block_keys
        )
    largest, total, out_low, out_high = state
    # The result is contiguous: (batch, tokens, heads, dim).
    place = out + ((row.to(tl.int64) * tokens + rows[:, None]) * heads + head) * dim
    columns = tl.arange(0, low)[None, :]
    result = (out_low / total[:, None]).to(out.dtype.element_ty)
    tl.store(place + columns, result, mask=inside & (columns < dim))
    if split:
        columns = low + tl.arange(0, 16)[None, :]
        result = (out_high / total[:, None]).to(out.dtype.element_ty)
        tl.store(place + columns, result, mask=inside & (columns < dim))


def use_configs(numbers: list[int]) -> None:
    """Let `attend` choose among some of `CONFIGS` only."""
    _attend.configs = [CONFIGS[number] for number in numbers]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bank_key: Tensor | None = None,
    bank_value: Tensor | None = None,
) -> Tensor:
    """Attention of each row over its own keys and, if given, the bank's.

    Args:
        query, key, value: (n, tokens, heads, dim), heads side by side; best for a power of two
            plus at most 16.
        bank_key, bank_value: (1, bank tokens, heads, dim), heads side by side.

    Returns:
        (n, tokens, heads, dim), contiguous.
    """
    rows, tokens, heads, dim = query.shape
    has_bank = bank_key is not None and bank_value is not None
    if bank_key is None or bank_value is None:
        bank_key, bank_value = key, value
    if query.stride()[2:] != (dim, 1):
        raise ValueError("heads must lie side by side")
    out = torch.empty((rows, tokens, heads, dim), dtype=query.dtype, device=query.device)

    def grid(config: dict[str, int]) -> tuple[int, int]:
        return triton.cdiv(tokens, config["block_queries"]), rows * heads

    descriptors = [
        descriptor for tensor in (key, value, bank_key, bank_value) for descriptor in _descriptors(tensor)
    ]
    _attend[grid](
        query,
        *descriptors,
        out,
        *query.stride()[:2],
        heads,
        tokens,
        bank_key.shape[1] if has_bank else 0,
        dim**-0.5 * _LOG2_E,
        dim=dim,
        padded=triton.next_power_of_2(dim),
        has_bank=has_bank,
    )
    return out


def _descriptors(tensor: Tensor) -> tuple[TensorDescriptor, TensorDescriptor]:
    """Two descriptors of (n * tokens, heads * dim), for the two parts of a head's columns."""
    if tensor.stride()[2:] != (tensor.shape[3], 1) or tensor.stride(0) != tensor.shape[1] * tensor.stride(1):
        tensor = tensor.contiguous()
    shape = [tensor.shape[0] * tensor.shape[1], tensor.shape[2] * tensor.shape[3]]
    # The boxes get their size when a configuration is chosen.
    first, second = (TensorDescriptor(tensor, shape, [tensor.stride(1), 1], [16, 16]) for _ in range(2))
    return first, second


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
