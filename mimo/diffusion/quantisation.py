"""Feed-forwards in 8-bit floating point (e4m3), where the GPU multiplies it twice as fast as 16 bits.

Values are scaled row by row: activations by the largest value of each token, weights by that of each output.
On the CPU the same rounding is emulated, which is slow and for tests only.
"""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

logger = logging.getLogger(__name__)

_FORMAT = torch.float8_e4m3fn
_LARGEST = torch.finfo(_FORMAT).max
# Narrower layers are bound by memory, not by multiplication.
_LEAST_CHANNELS = 640


class QuantisedFeedForward(nn.Module):
    """Layer norm, gated feed-forward and residual of a transformer block, with both products in 8 bits.

    Args:
        block: its norm and feed-forward, in any precision.
    """

    gate_weight: Tensor
    gate_scale: Tensor
    gate_bias: Tensor
    out_weight: Tensor
    out_scale: Tensor
    out_bias: Tensor

    def __init__(self, block: BasicTransformerBlock) -> None:
        super().__init__()
        norm, gate, out = block.norm3, block.ff.net[0].proj, block.ff.net[2]
        weight = gate.weight.float()
        self.epsilon = norm.eps
        self._keep("gate", weight * norm.weight.float(), gate.bias.float() + weight @ norm.bias.float())
        self._keep("out", out.weight.float(), out.bias.float())

    def _keep(self, name: str, weight: Tensor, bias: Tensor) -> None:
        values, scales = quantised(weight)
        for part, tensor in (("weight", values), ("scale", scales), ("bias", bias)):
            self.register_buffer(f"{name}_{part}", tensor, persistent=False)

    def forward(self, tokens: Tensor, limit: int) -> Tensor:
        """Compute, in parts of the batch where the inner tensor would be large.

        Args:
            tokens: (n, tokens, channels).
            limit: values of `tokens` that may go through at a time.

        Returns:
            (n, tokens, channels), with the residual.
        """
        count = min(len(tokens), max(1, -(-tokens.numel() // limit)))
        return torch.cat([self._part(part) for part in tokens.chunk(count)])

    def _part(self, tokens: Tensor) -> Tensor:
        x = tokens.flatten(0, 1)
        normed = F.layer_norm(x.float(), x.shape[-1:], eps=self.epsilon)
        both = product(normed, self.gate_weight, self.gate_scale).float() + self.gate_bias
        hidden, gate = both.chunk(2, dim=-1)
        out = product(hidden * F.gelu(gate), self.out_weight, self.out_scale).float() + self.out_bias
        return (x + out).to(x.dtype).view_as(tokens)


def quantised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, length) float32 in 8 bits, and the factors (n, 1) float32 that give them back."""
    scale = rows.abs().amax(-1, keepdim=True).clamp(min=1e-12) / _LARGEST
    return (rows / scale).to(_FORMAT), scale


def product(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """``x @ weight.T`` with both in 8 bits.

    Args:
        x: (n, length) float32, rounded here.
        weight, scale: from `quantised`, (columns, length) and (columns, 1).

    Returns:
        (n, columns) bfloat16, whose range no sum can leave.
    """
    values, factors = quantised(x)
    if x.is_cuda:
        return torch._scaled_mm(
            values, weight.t(), scale_a=factors, scale_b=scale.t(), out_dtype=torch.bfloat16
        )
    return ((values.float() @ weight.float().t()) * factors * scale.t()).bfloat16()


def obstacle(device: torch.device) -> str | None:
    """Why 8-bit products cannot run on a device; None when they can."""
    if device.type != "cuda":
        return f"fp8 needs a GPU (networks are on the {device.type}); the usual precision is used"
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 9):
        name = torch.cuda.get_device_name(device)
        return (
            f"{name} has no fp8 (compute capability {capability[0]}.{capability[1]}, 8.9 is needed); "
            "the usual precision is used"
        )
    return None


def use_fp8(net: nn.Module, wanted: bool, *, least_channels: int = _LEAST_CHANNELS) -> int:
    """Let a denoiser's wide feed-forwards run in 8 bits, or as they were again.

    The quantised weights are made at the first call and kept beside the others (0.4 GB in the published net).

    Args:
        net: has diffusers' transformer blocks, on its device.
        wanted: whether in 8 bits.
        least_channels: narrower ones stay as they are.

    Returns:
        Number of feed-forwards in 8 bits.
    """
    count = 0
    for block in net.modules():
        if isinstance(block, BasicTransformerBlock) and block.norm3.normalized_shape[0] >= least_channels:
            if wanted and not hasattr(block.ff, "in_8_bits"):
                block.ff.in_8_bits = QuantisedFeedForward(block)
            if hasattr(block.ff, "in_8_bits"):
                block.ff.use_8_bits = wanted
                count += wanted
    return count
