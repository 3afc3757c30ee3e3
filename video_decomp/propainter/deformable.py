"""Modulated deformable convolution (Zhu et al. 2019) and the alignment by it that ProPainter uses."""

from __future__ import annotations

import logging
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

logger = logging.getLogger(__name__)

TAPS = 9
DEFORMABLE_GROUPS = 16


def deform_conv2d(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution (padding 1) whose taps are read beside their places, each with its own strength.

    Defined as torchvision's operator of that name: bilinear between pixels, zero outside of the picture.

    Args:
        x: (1, c, h, w); its channels fall into `g` groups with offsets of their own.
        offset: (1, g * 9 * 2, h, w), down and right for every group and tap, pixels.
        mask: (1, g * 9, h, w), strength of every tap.
        weight: (o, c, 3, 3).
        bias: (o,).

    Returns:
        (1, o, h, w) of the type of `x`.
    """
    if x.is_cuda and _triton_works(x.device):
        from video_decomp.propainter.triton_sampling import sample

        groups = mask.shape[1] // TAPS
        by_tap = weight.view(len(weight), groups, -1, TAPS).transpose(2, 3).flatten(1)
        product = torch.addmm(bias, sample(x, offset, mask), by_tap.T)
        return product.view(1, *x.shape[2:], -1).permute(0, 3, 1, 2)
    columns = _sample(x, offset, mask)
    product = weight.flatten(1) @ columns.flatten(1, 2).flatten(2)
    return product.unflatten(2, x.shape[-2:]) + bias[:, None, None]


@cache
def _triton_works(device: torch.device) -> bool:
    """Whether our kernel compiles for a GPU and gives PyTorch's numbers; else PyTorch does the work."""
    generator = torch.Generator(device).manual_seed(0)
    shapes = ((1, 32, 9, 13), (1, 4 * TAPS * 2, 9, 13), (1, 4 * TAPS, 9, 13))
    x, offset, mask = (torch.randn(shape, generator=generator, device=device) for shape in shapes)
    try:
        from video_decomp.propainter.triton_sampling import sample

        ours = sample(x, 3 * offset, mask)
    except Exception as error:  # whatever a compiler may raise: the kernel is only not used
        logger.warning("deformable convolution without Triton: %s", str(error).split("\n")[0])
        return False
    expected = _sample(x, 3 * offset, mask).view(4, 8, TAPS, -1).permute(3, 0, 2, 1).flatten(1)
    works = bool((ours - expected).abs().max() < 1e-3)
    if not works:
        logger.warning("deformable convolution without Triton: its numbers are wrong on %s", device)
    return works


def _sample(x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """What the taps see, (n, c, 9, h, w) of the type of `x`; positions are float32."""
    count, channels, height, width = x.shape
    groups = mask.shape[1] // TAPS
    offset = offset.float().view(count * groups, TAPS, 2, height, width)
    device = x.device
    tap = torch.arange(TAPS, device=device)
    rows = torch.arange(height, device=device)[:, None] + (tap // 3 - 1)[:, None, None]
    columns = torch.arange(width, device=device) + (tap % 3 - 1)[:, None, None]
    down = 2 * (rows + offset[:, :, 0]) / max(height - 1, 1) - 1
    across = 2 * (columns + offset[:, :, 1]) / max(width - 1, 1) - 1
    grid = torch.stack((across, down), dim=-1).view(count * groups, TAPS * height, width, 2)
    pictures = x.float().reshape(count * groups, channels // groups, height, width)
    seen = F.grid_sample(pictures, grid, "bilinear", "zeros", align_corners=True)
    seen = seen.view(count, groups, channels // groups, TAPS, height, width)
    strength = mask.view(count, groups, 1, TAPS, height, width)
    return (seen.to(x.dtype) * strength).view(count, channels, TAPS, height, width)


class DeformableAlignment(nn.Module):
    """Brings features of neighbouring frames to the current frame's places (BasicVSR++, Chan et al. 2022).

    Args:
        channels: of the features to align.
        condition: channels of what the offsets are computed from.
        out: channels of the result.
        reach: largest offset beside the flow, pixels.
    """

    def __init__(self, channels: int, condition: int, out: int, reach: float) -> None:
        super().__init__()
        self.reach = reach
        self.weight = nn.Parameter(torch.zeros(out, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out))
        layers: list[nn.Module] = []
        for inner in (condition, out, out):
            layers += [nn.Conv2d(inner, out, 3, 1, 1), nn.LeakyReLU(0.1)]
        self.conv_offset = nn.Sequential(*layers, nn.Conv2d(out, 3 * TAPS * DEFORMABLE_GROUPS, 3, 1, 1))

    def forward(self, x: Tensor, condition: Tensor, flow: Tensor | None = None) -> Tensor:
        """Aligned features, (1, out, h, w).

        Args:
            x: (1, channels, h, w).
            condition: (1, condition, h, w).
            flow: (1, 2, h, w), pixels, right and down, where the features come from; none: from about here.
        """
        first, second, strength = self.conv_offset(condition).chunk(3, dim=1)
        offset = self.reach * torch.tanh(torch.cat((first, second), dim=1))
        if flow is not None:
            offset = offset + flow.flip(1).repeat(1, offset.shape[1] // 2, 1, 1)
        return deform_conv2d(x, offset, strength.sigmoid(), self.weight, self.bias)
