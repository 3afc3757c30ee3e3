"""Matrix products with what is joined to them: the residual, or the gate of a feed-forward (GEGLU)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mimo.kernels.choice import Kernel, fastest, in_half


@torch.library.custom_op("mimo::gated_linear", mutates_args=())
def gated_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``hidden * gelu(gate)`` of the linear layer's result, whose first half is hidden, the second gate.

    Args:
        x: (..., channels).
        weight: (2 * inner, channels).
        bias: (2 * inner,).

    Returns:
        (..., inner).
    """
    kernels: dict[str, Kernel] = {"plain": lambda: _plain(x, weight, bias)}
    if in_half(x):
        kernels |= _own(x, weight, bias)
    return fastest("gated linear", f"{tuple(x.shape)} x {len(weight)}", x, kernels)


@torch.library.custom_op("mimo::add_product", mutates_args=("out",))
def add_product(out: Tensor, parts: list[Tensor], weight: Tensor) -> None:
    """Add ``x @ weight.T`` to a tensor in place: the library's product does it in the same pass.

    Args:
        out: (n, tokens, columns), contiguous; is changed.
        parts: (n_i, tokens, channels), one after the other.
        weight: (columns, channels).
    """
    for place, x in zip(out.split([len(part) for part in parts]), parts, strict=True):
        place.view(-1, len(weight)).addmm_(x.reshape(-1, weight.shape[1]), weight.T)


@gated_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(weight) // 2))


def _plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    hidden, gate = F.linear(x, weight, bias).chunk(2, dim=-1)
    return hidden * F.gelu(gate)


def _own(x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Kernel]:
    """Our own kernels, as far as they were found to work on this machine."""
    from mimo.kernels import triton_geglu
    from mimo.kernels.probe import usable

    kernels: dict[str, Kernel] = {}
    if usable()["gate"]:
        kernels["separate"] = lambda: triton_geglu.product_then_gate(x, weight, bias)
    if usable()["product"]:
        kernels["fused"] = lambda: triton_geglu.gated_product(x, weight, bias)
    return kernels
