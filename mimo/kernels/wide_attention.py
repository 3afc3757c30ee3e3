"""Attention with one wide head over many tokens, as in the middle of the autoencoder.

The flash kernels stop at a head dimension of 256, and what is left runs far below the matrix units' speed.
With a head of 512 the scores are so few in comparison with the work that writing them down costs little.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mimo.kernels.choice import Kernel, fastest, in_half

# Scores held at a time, 4 bytes each.
_SCORES = 100_000_000


@torch.library.custom_op("mimo::wide_attention", mutates_args=())
def wide_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each batch row's tokens over its own, one head.

    Args:
        query, key, value: (n, tokens, dim).

    Returns:
        (n, tokens, dim), contiguous.
    """
    kernels: dict[str, Kernel] = {"default": lambda: _sdpa(query, key, value)}
    if in_half(query):
        kernels = {
            "efficient": lambda: _sdpa(query, key, value, SDPBackend.EFFICIENT_ATTENTION),
            "products": lambda: _by_products(query, key, value),
            "math": lambda: _sdpa(query, key, value, SDPBackend.MATH),
        }
    return fastest("wide attention", str(tuple(query.shape)), query, kernels)


@wide_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.new_empty(query.shape)


def _sdpa(query: Tensor, key: Tensor, value: Tensor, backend: SDPBackend | None = None) -> Tensor:
    tensors = (query[:, None], key[:, None], value[:, None])
    if backend is None:
        out = F.scaled_dot_product_attention(*tensors)
    else:
        with sdpa_kernel(backend):
            out = F.scaled_dot_product_attention(*tensors)
    return out[:, 0].contiguous()


def _by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Two matrix products and a softmax between them; scores stay in float32 until they are weights."""
    out = torch.empty_like(query)
    size = max(1, _SCORES // key.shape[1])
    for row, its_key, its_value, its_out in zip(
        query * query.shape[-1] ** -0.5, key, value, out, strict=True
    ):
        for part, place in zip(row.split(size), its_out.split(size), strict=True):
            scores = torch.mm(part, its_key.T, out_dtype=torch.float32)
            torch.mm(torch.softmax(scores, -1).to(query.dtype), its_value, out=place)
    return out
