"""Attention kernels in Triton for what the stock ones do badly here.

`attend`: the head dimension 40 is no power of two. Stock kernels pad it to 64; here it is cut into
32 + 16, and own and reference keys are read where they lie instead of being joined first.
`over_frames`: 24 tokens are too few for kernels made for thousands; here one program takes a group of
pixels and reads them frame by frame, in place.

Tensors are (batch, tokens, heads, head dimension) with the last dimension contiguous.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_LOG2_E = 1.4426950408889634


@triton.jit
def _load(
    pointer,
    rows,
    limit,
    stride,
    first: tl.constexpr,
    size: tl.constexpr,
    dim: tl.constexpr,
    check_rows: tl.constexpr,
):
    """Columns [first, first + size) of some rows; zero past the head dimension and, if checked, the rows."""
    columns = first + tl.arange(0, size)
    place = pointer + rows[:, None].to(tl.int64) * stride + columns[None, :]
    if check_rows:
        return tl.load(place, mask=(rows < limit)[:, None] & (columns < dim)[None, :], other=0.0)
    if first + size > dim:
        return tl.load(place, mask=(columns < dim)[None, :], other=0.0)
    return tl.load(place)


@triton.jit
def _add_block(
    state,
    queries,
    key,
    value,
    start,
    tokens,
    key_stride,
    value_stride,
    factor,
    dim: tl.constexpr,
    low: tl.constexpr,
    high: tl.constexpr,
    block: tl.constexpr,
    last: tl.constexpr,
):
    """Add a block of keys to the running softmax: (largest score, sum, weighted values in two parts)."""
    largest, total, out_low, out_high = state
    query_low, query_high = queries
    rows = start + tl.arange(0, block)
    key_low = _load(key, rows, tokens, key_stride, 0, low, dim, last)
    scores = tl.dot(query_low, tl.trans(key_low))
    if high > 0:
        key_high = _load(key, rows, tokens, key_stride, low, high, dim, last)
        scores = tl.dot(query_high, tl.trans(key_high), scores)
    if last:
        scores = tl.where((rows < tokens)[None, :], scores, float("-inf"))
    new_largest = tl.maximum(largest, tl.max(scores, 1) * factor)
    weights = tl.exp2(scores * factor - new_largest[:, None])
    shrink = tl.exp2(largest - new_largest)
    total = total * shrink + tl.sum(weights, 1)
    value_low = _load(value, rows, tokens, value_stride, 0, low, dim, last)
    weights = weights.to(value_low.dtype)
    out_low = tl.dot(weights, value_low, out_low * shrink[:, None])
    if high > 0:
        value_high = _load(value, rows, tokens, value_stride, low, high, dim, last)
        out_high = tl.dot(weights, value_high, out_high * shrink[:, None])
    return new_largest, total, out_low, out_high


@triton.jit
def _add_keys(
    state,
    queries,
    key,
    value,
    tokens,
    key_stride,
    value_stride,
    factor,
    dim: tl.constexpr,
    low: tl.constexpr,
    high: tl.constexpr,
    block: tl.constexpr,
):
    """Add one set of keys; only its last block checks where the tokens end."""
    full = tokens // block * block
    for start in range(0, full, block):
        state = _add_block(
            state,
            queries,
            key,
            value,
            start,
            tokens,
            key_stride,
            value_stride,
            factor,
            dim,
            low,
            high,
            block,
            False,
        )
    if full < tokens:
        state = _add_block(
            state,
            queries,
            key,
            value,
            full,
            tokens,
            key_stride,
            value_stride,
            factor,
            dim,
            low,
            high,
            block,
            True,
        )
    return state


_CONFIGS = [
    triton.Config(
        {"split": split, "block_queries": queries, "block_keys": keys}, num_warps=warps, num_stages=stages
    )
    for split, queries, keys, warps, stages in (
        (True, 128, 64, 4, 3),
        (True, 128, 128, 8, 3),
        (True, 64, 64, 4, 3),
        (True, 128, 64, 8, 3),
        (False, 128, 64, 4, 3),
        (False, 128, 128, 8, 3),
        (False, 64, 64, 4, 3),
    )
]


@triton.autotune(_CONFIGS, key=["tokens", "bank_tokens", "dim"], cache_results=True)
@triton.jit
def _attend(
    query,
    key,
    value,
    bank_key,
    bank_value,
    out,
    query_batch,
    query_token,
    key_batch,
    key_token,
    value_batch,
    value_token,
    bank_key_token,
    bank_value_token,
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
    high: tl.constexpr = 16 if split else 0
    row, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    query += row * query_batch + head * dim
    key += row * key_batch + head * dim
    value += row * value_batch + head * dim
    rows = tl.program_id(0) * block_queries + tl.arange(0, block_queries)
    query_low = _load(query, rows, tokens, query_token, 0, low, dim, True)
    out_low = tl.zeros((block_queries, low), tl.float32)
    if split:
        query_high = _load(query, rows, tokens, query_token, low, high, dim, True)
        out_high = tl.zeros((block_queries, high), tl.float32)
    else:
        query_high = query_low
        out_high = out_low
    queries = (query_low, query_high)
    largest = tl.full((block_queries,), float("-inf"), tl.float32)
    state = (largest, tl.zeros((block_queries,), tl.float32), out_low, out_high)
    state = _add_keys(
        state, queries, key, value, tokens, key_token, value_token, factor, dim, low, high, block_keys
    )
    if has_bank:
        state = _add_keys(
            state,
            queries,
            bank_key + head * dim,
            bank_value + head * dim,
            bank_tokens,
            bank_key_token,
            bank_value_token,
            factor,
            dim,
            low,
            high,
            block_keys,
        )
    largest, total, out_low, out_high = state
    # The result is contiguous: (batch, tokens, heads, dim).
    place = out + (row * tokens * heads + head) * dim + rows[:, None].to(tl.int64) * heads * dim
    valid = (rows < tokens)[:, None]
    columns = tl.arange(0, low)[None, :]
    result = (out_low / total[:, None]).to(out.dtype.element_ty)
    tl.store(place + columns, result, mask=valid & (columns < dim))
    if split:
        columns = low + tl.arange(0, high)[None, :]
        result = (out_high / total[:, None]).to(out.dtype.element_ty)
        tl.store(place + columns, result, mask=valid & (columns < dim))


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
    for tensor in (query, key, value, bank_key, bank_value):
        if tensor.stride()[2:] != (dim, 1):
            raise ValueError("heads must lie side by side")
    out = torch.empty((rows, tokens, heads, dim), dtype=query.dtype, device=query.device)

    def grid(config: dict[str, int]) -> tuple[int, int]:
        return triton.cdiv(tokens, config["block_queries"]), rows * heads

    _attend[grid](
        query,
        key,
        value,
        bank_key,
        bank_value,
        out,
        *query.stride()[:2],
        *key.stride()[:2],
        *value.stride()[:2],
        bank_key.stride(1),
        bank_value.stride(1),
        heads,
        tokens,
        bank_key.shape[1] if has_bank else 0,
        dim**-0.5 * _LOG2_E,
        dim=dim,
        padded=triton.next_power_of_2(dim),
        has_bank=has_bank,
    )
    return out


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
