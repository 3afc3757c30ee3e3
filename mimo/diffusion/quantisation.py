"""Feed-forwards in 8-bit floating point (e4m3), which GPUs multiply twice as fast as 16 bits.

The gain is small: scaling and gating pass over more memory than the products save, see docs/performance.md.
Values are scaled row by row: activations by the largest value of each token, weights by that of each output.
On the CPU the same rounding is emulated, which is slow and for tests only.
"""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from torch import Tensor, nn

logger = logging.getLogger(__name__)

_FORMAT = torch.float8_e4m3fn
_LARGEST = torch.finfo(_FORMAT).max
# Measured on one H100, compiled: 6% faster at 1280 channels, 52% slower at 640, twice as slow at 320.
_LEAST_CHANNELS = 1280


class QuantisedFeedForward(nn.Module):
    """A gated feed-forward (GEGLU) with both products in 8 bits.

    Args:
        module: the feed-forward, in any precision.
    """

    gate_weight: Tensor
    gate_scale: Tensor
    gate_bias: Tensor
    out_weight: Tensor
    out_scale: Tensor

    def __init__(self, module: FeedForward) -> None:
        super().__init__()
        gate, out = module.net[0].proj, module.net[2]
        for name, layer in (("gate", gate), ("out", out)):
            weight, scale = quantised(layer.weight.float())
            self.register_buffer(f"{name}_weight", weight, persistent=False)
            self.register_buffer(f"{name}_scale", scale, persistent=False)
        self.register_buffer("gate_bias", gate.bias.float(), persistent=False)

    def forward(self, tokens: Tensor, limit: int) -> Tensor:
        """Compute, in parts of the batch where the inner tensor would be large.

        Args:
            tokens: (n, tokens, channels), normalised.
            limit: values of `tokens` that may go through at a time.

        Returns:
            (n, tokens, channels), without the last bias.
        """
        count = min(len(tokens), max(1, -(-tokens.numel() // limit)))
        return torch.cat([self._part(part) for part in tokens.chunk(count)])

    def _part(self, tokens: Tensor) -> Tensor:
        both = product(tokens.flatten(0, 1).float(), self.gate_weight, self.gate_scale)
        hidden, gate = (both.float() + self.gate_bias).chunk(2, dim=-1)
        out = product(hidden * F.gelu(gate), self.out_weight, self.out_scale)
        return out.to(tokens.dtype).view_as(tokens)


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
        if isinstance(block, BasicTransformerBlock):
            chosen = wanted and block.norm3.normalized_shape[0] >= least_channels
            if chosen and not hasattr(block.ff, "in_8_bits"):
                block.ff.in_8_bits = QuantisedFeedForward(block.ff)
            # A new attribute alone would have a compiled network compiled again.
            if chosen != getattr(block.ff, "use_8_bits", False):
                block.ff.use_8_bits = chosen
            count += chosen
    return count
