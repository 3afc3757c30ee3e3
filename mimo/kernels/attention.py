"""Attention with the fastest kernel for its shape, chosen by a short measurement on the device at hand.

Tensors are (batch, tokens, heads, head dimension) here, as the projections leave them: nothing is copied
to bring heads forward. The functions are opaque to ``torch.compile``, so one choice serves both ways to run.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mimo.kernels.choice import Kernel, fastest, in_half

_SDPA = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


@torch.library.custom_op("mimo::self_attention", mutates_args=())
def self_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each batch row's tokens over its own.

    Args:
        query, key, value: (n, tokens, heads, dim), last dimension contiguous.

    Returns:
        (n, tokens, heads, dim), contiguous.
    """
    kernels = _sdpa_kernels(query, key, value)
    if _hopper_fits(query):
        kernels["hopper"] = lambda: _hopper(query, key, value)
    return fastest("self attention", _shape(query, key), query, kernels)


@self_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.new_empty(query.shape)


@torch.library.custom_op("mimo::reference_attention", mutates_args=())
def reference_attention(
    query: Tensor, key: Tensor, value: Tensor, bank_key: Tensor, bank_value: Tensor
) -> Tensor:
    """Attention of each row's tokens over its own and the reference character's.

    Args:
        query, key, value: (n, tokens, heads, dim), last dimension contiguous.
        bank_key, bank_value: (1, bank tokens, heads, dim), the same for every row.

    Returns:
        (n, tokens, heads, dim), contiguous.
    """
    kernels = _sdpa_kernels(query, key, value, bank_key, bank_value)
    if _hopper_fits(query):
        kernels["hopper"] = lambda: _hopper(query, key, value, bank_key, bank_value)
    return fastest("reference attention", _shape(query, bank_key), query, kernels)


@reference_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, bank_key: Tensor, bank_value: Tensor) -> Tensor:
    return query.new_empty(query.shape)


@torch.library.custom_op("mimo::shared_attention", mutates_args=())
def shared_attention(
    query: Tensor, key: Tensor, value: Tensor, bank_key: Tensor, bank_value: Tensor
) -> Tensor:
    """`self_attention` and `reference_attention` of the same tokens; own keys are gone through only once.

    Args:
        query, key, value, bank_key, bank_value: as for `reference_attention`.

    Returns:
        (2 * n, tokens, heads, dim): first without, then with the bank.
    """
    kernels: dict[str, Kernel] = {
        "separate": lambda: torch.cat(
            [self_attention(query, key, value), reference_attention(query, key, value, bank_key, bank_value)]
        )
    }
    if query.is_cuda:
        kernels["merged"] = lambda: _merged(query, key, value, bank_key, bank_value)
    if _hopper_fits(query):
        kernels["hopper"] = lambda: _hopper(query, key, value, bank_key, bank_value, also_own=True)
    return fastest("shared attention", _shape(query, bank_key), query, kernels)


@shared_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, bank_key: Tensor, bank_value: Tensor) -> Tensor:
    return query.new_empty((2 * len(query), *query.shape[1:]))


@torch.library.custom_op("mimo::temporal_attention", mutates_args=())
def temporal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each pixel over the frames of its window.

    Args:
        query, key, value: (rows, frames, pixels, heads, dim), last dimension contiguous.

    Returns:
        (rows, frames, pixels, heads, dim), contiguous.
    """
    kernels: dict[str, Kernel] = {}
    for name in _names(query):
        kernels[name] = lambda name=name: _temporal_sdpa(name, query, key, value)  # type: ignore[misc]
    if in_half(query):
        kernels["triton"] = lambda: _own_over_frames(query, key, value)
    return fastest("temporal attention", _shape(query, key), query, kernels)


@temporal_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.new_empty(query.shape)


def _hopper_fits(query: Tensor) -> bool:
    if not query.is_cuda:
        return False
    from mimo.kernels import hopper_attention

    return hopper_attention.fits(query)


def _hopper(*tensors: Tensor, also_own: bool = False) -> Tensor:
    """Our own kernel for the head dimension 40, if it was found to work on this machine."""
    from mimo.kernels import hopper_attention
    from mimo.kernels.probe import usable

    if not usable()["hopper attention"]:
        raise RuntimeError("does not work here")
    return hopper_attention.attend(*tensors, also_own=also_own)


def _own_over_frames(*tensors: Tensor) -> Tensor:
    from mimo.kernels import triton_frames
    from mimo.kernels.probe import usable

    if not usable()["frames"]:
        raise RuntimeError("does not work here")
    return triton_frames.over_frames(*tensors)


def _names(query: Tensor) -> list[str]:
    return list(_SDPA) if query.is_cuda else ["default"]


def _sdpa(name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """PyTorch's attention by one backend; (batch, heads, tokens, dim)."""
    if name == "default":
        return F.scaled_dot_product_attention(query, key, value)
    with sdpa_kernel(_SDPA[name]):
        return F.scaled_dot_product_attention(query, key, value)


def _sdpa_kernels(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bank_key: Tensor | None = None,
    bank_value: Tensor | None = None,
) -> dict[str, Kernel]:
    def run(name: str) -> Tensor:
        keys, values = key, value
        if bank_key is not None and bank_value is not None:
            rows = len(query)
            keys = torch.cat([key, bank_key.expand(rows, -1, -1, -1)], 1)
            values = torch.cat([value, bank_value.expand(rows, -1, -1, -1)], 1)
        out = _sdpa(name, query.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2))
        return out.transpose(1, 2).contiguous()

    return {name: lambda name=name: run(name) for name in _names(query)}  # type: ignore[misc]


def _merged(query: Tensor, key: Tensor, value: Tensor, bank_key: Tensor, bank_value: Tensor) -> Tensor:
    """Attention over own and over bank tokens by cuDNN, joined by the logarithms of their softmax sums."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    bank = (x.expand(len(query), -1, -1, -1).contiguous().transpose(1, 2) for x in (bank_key, bank_value))
    attend = torch.ops.aten._scaled_dot_product_cudnn_attention
    own, own_sum = attend(query, key, value, None, True)[:2]
    other, other_sum = attend(query, *bank, None, True)[:2]
    rows, heads, tokens, dim = query.shape
    weight = torch.sigmoid((other_sum - own_sum).reshape(rows, heads, tokens, 1)).to(own.dtype)
    out = torch.empty((2 * rows, tokens, heads, dim), dtype=own.dtype, device=own.device)
    out[:rows] = own.transpose(1, 2)
    torch.lerp(out[:rows], other.transpose(1, 2), weight.transpose(1, 2), out=out[rows:])
    return out


def _temporal_sdpa(name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Row by row, since rows and pixels cannot be one dimension without a copy."""
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    for row in range(len(query)):
        q, k, v = (x[row].permute(1, 2, 0, 3) for x in (query, key, value))
        out[row] = _sdpa(name, q, k, v).permute(2, 0, 1, 3)
    return out


def _shape(query: Tensor, other: Tensor) -> str:
    return f"{tuple(query.shape)} x {other.shape[1]}"
