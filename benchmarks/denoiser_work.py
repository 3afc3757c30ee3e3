"""Floating-point operations of the full-size denoiser, counted on tensors without content."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.random_weights import UNET
from mimo.diffusion.sampling import Sampling
from mimo.models.denoising import DenoisingUNet

WINDOW, SIDE = 24, 98  # frames, and latents of 784 pixels


def _attention(query: Any, key: Any, value: Any, *args: Any, **more: Any) -> int:
    rows, tokens, heads, dim = query
    return 4 * rows * tokens * key[1] * heads * dim


def _with_bank(query: Any, key: Any, value: Any, bank_key: Any, *args: Any, **more: Any) -> int:
    # A row of both kinds goes through its own keys once.
    return _attention(query, key, value) + _attention(query, bank_key, value)


def _over_frames(query: Any, *args: Any, **more: Any) -> int:
    return 4 * math.prod(query) * query[1]


def _gated(x: Any, weight: Any, *args: Any, **more: Any) -> int:
    return 2 * math.prod(x) * weight[0]


def _add_product(total: Any, parts: Any, weight: Any, *args: Any, **more: Any) -> int:
    return sum(2 * math.prod(part) * weight[0] for part in parts)


_FORMULAS = {
    "self_attention": _attention,
    "reference_attention": _with_bank,
    "shared_attention": _with_bank,
    "temporal_attention": _over_frames,
    "gated_linear": _gated,
    "add_product": _add_product,
}


@cache
def window_step(rows: int = 2, branch: int = 0) -> float:
    """TFLOP (two a multiply-add) of one window-step at 784x784.

    Args:
        rows: guidance rows; one row is the conditional one.
        branch: layers of the shallow branch of DeepCache; 0 is the whole network.
    """
    with torch.device("meta"), torch.no_grad():
        net = DenoisingUNet.from_config(DenoisingUNet.config_from(UNET))
        tokens = torch.empty(rows, 1, 768)
        sizes = [math.ceil(SIDE / 2**level) ** 2 for level in range(4)]
        bank = {
            name.removesuffix(".attn1"): torch.empty(1, sizes[_level(name)], module.to_q.in_features)
            for name, module in net.named_modules()
            if isinstance(module, Attention) and name.endswith("attn1") and "motion" not in name
        }
        condition = net.condition(tokens, bank)
        inputs = torch.empty(1, 8, WINDOW, SIDE, SIDE), torch.empty(1), None, condition
        deep = net(*inputs, branch=branch)[1] if branch else None
        with FlopCounterMode(display=False, custom_mapping=_mapping()) as counter:
            net(*inputs, branch=branch, deep=deep)
    return counter.get_total_flops() / 1e12


def clip_work(sampling: Sampling) -> float:
    """TFLOP of all steps for one window."""
    branch = sampling.cache_branch
    steps = sampling.plan()
    return sum(window_step(1 + step.guided, 0 if step.full else branch) for step in steps)


def feature_bytes(branch: int, rows: int = 2) -> int:
    """Bytes in 16 bits of a window's deep features."""
    with torch.device("meta"), torch.no_grad():
        net = DenoisingUNet.from_config(DenoisingUNet.config_from(UNET))
        condition = net.condition(torch.empty(rows, 1, 768), None)
        inputs = torch.empty(1, 8, WINDOW, SIDE, SIDE), torch.empty(1), None, condition
        return 2 * net(*inputs, branch=branch)[1].numel()


def _level(name: str) -> int:
    """How often a block's picture is halved, from the block's name."""
    if name.startswith("mid"):
        return 3
    number = int(name.split(".")[1])
    return number if name.startswith("down") else 3 - number


def _mapping() -> dict[Any, Any]:
    return {
        getattr(torch.ops.mimo, name): (lambda *shapes, run=run, **more: run(*shapes))
        for name, run in _FORMULAS.items()
    }
