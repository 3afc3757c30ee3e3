"""Attention at a head dimension of 40 on Hopper GPUs; the kernels themselves are in `hopper_attention.cu`.

Stock kernels compute with 64 columns instead of 40, and matrix products and exponentials one after the other.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mimo.kernels.cuda import Argument, CudaModule

DIM = 40
SOURCE = Path(__file__).with_suffix(".cu")
# Warp groups of a block and tiles in shared memory; as in the source, keys of a tile and chunks of 8 columns.
_GROUPS, _STAGES, _KEYS, _CHUNKS = 4, 8, 128, 5
_SHARED_BYTES = _STAGES * (2 * (_CHUNKS + 1) * _KEYS * 16 + 16)


def fits(query: Tensor) -> bool:
    """Whether the kernel is made for such queries on this device."""
    return (
        query.is_cuda
        and query.dtype == torch.float16
        and query.shape[-1] == DIM
        and torch.cuda.get_device_capability(query.device) == (9, 0)
    )


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bank_key: Tensor | None = None,
    bank_value: Tensor | None = None,
    *,
    also_own: bool = False,
) -> Tensor:
    """Attention of each row over its own keys and, if given, the bank's.

    Args:
        query, key, value: (n, tokens, heads, 40) float16, heads side by side.
        bank_key, bank_value: (1, bank tokens, heads, 40), heads side by side.
        also_own: give the attention over own keys alone, too; needs a bank.

    Returns:
        (n, tokens, heads, 40), contiguous; with `also_own` (2 n, ...), first without, then with the bank.
    """
    rows, tokens, heads, dim = query.shape
    (query,) = _aligned(query)
    out = torch.empty(
        (2 if also_own else 1, rows, tokens, heads, dim), dtype=query.dtype, device=query.device
    )
    with torch.cuda.device(query.device):
        module = _module(query.device)
        own = _packed(module, key, value)
        bank: Tensor | None = None
        bank_tokens = 0
        if bank_key is not None and bank_value is not None:
            bank, bank_tokens = _packed(module, bank_key, bank_value), bank_key.shape[1]
        results: list[Argument] = [out[-1], out[0] if also_own else None]
        sizes: list[Argument] = [*_chunk_strides(query), heads, tokens, bank_tokens]
        module.launch(
            "attend",
            (-(-tokens // (64 * _GROUPS)), rows * heads),
            128 * _GROUPS,
            [query, own, bank, *results, *sizes, dim**-0.5 * math.log2(math.e)],
            shared_bytes=_SHARED_BYTES,
        )
    return out.flatten(0, 1)


@cache
def _module(device: torch.device) -> CudaModule:
    return CudaModule(SOURCE, "sm_90a", {"GROUPS": _GROUPS, "STAGES": _STAGES})


def _packed(module: CudaModule, key: Tensor, value: Tensor) -> Tensor:
    """Keys and values in the kernel's order; see ``pack`` in the source."""
    key, value = _aligned(key, value)
    rows, tokens, heads, _ = key.shape
    tiles = -(-tokens // _KEYS)
    shape = (rows, heads, tiles, 2, _CHUNKS, _KEYS, 8)
    out = torch.empty(shape, dtype=key.dtype, device=key.device)
    arguments: list[Argument] = [key, value, out, *_chunk_strides(key), heads, tokens]
    module.launch("pack", (tiles, rows * heads), 256, arguments)
    return out


def _aligned(*tensors: Tensor) -> list[Tensor]:
    """Tensors at equal strides, heads side by side, every head at a multiple of 16 bytes."""
    first = tensors[0]
    fit = (
        x.stride() == first.stride()
        and x.stride()[2:] == (DIM, 1)
        and not (x.stride(0) % 8 or x.stride(1) % 8 or x.data_ptr() % 16)
        for x in tensors
    )
    return list(tensors) if all(fit) else [x.contiguous() for x in tensors]


def _chunk_strides(x: Tensor) -> tuple[int, int]:
    """Distance of rows and of tokens, in 16 bytes."""
    return x.stride(0) // 8, x.stride(1) // 8
