"""Warping along optical flow, and which flow vectors to believe."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(x: Tensor, flow: Tensor, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """Look up every pixel where its flow points; outside of the picture there is zero.

    Positions are computed in float32 whatever the type of `x`: float16 has no half pixels beyond 1024.

    Args:
        x: (n, c, h, w).
        flow: (n, 2, h, w), pixels to the right and down.

    Returns:
        (n, c, h, w) of the type of `x`.
    """
    height, width = x.shape[-2:]
    rows = torch.arange(height, device=x.device, dtype=torch.float32)
    columns = torch.arange(width, device=x.device, dtype=torch.float32)
    across = 2.0 * (columns + flow[:, 0].float()) / max(width - 1, 1) - 1.0
    down = 2.0 * (rows[:, None] + flow[:, 1].float()) / max(height - 1, 1) - 1.0
    grid = torch.stack((across, down), dim=-1)
    return F.grid_sample(x.float(), grid, mode, "zeros", align_corners=True).to(x.dtype)


def consistent(flow: Tensor, back: Tensor) -> Tensor:
    """Where going along a flow and back again ends near the start.

    The usual forward-backward check (Sundaram et al. 2010): squared distance below 1% of the squared lengths
    plus half a pixel.

    Args:
        flow, back: (n, 2, h, w), from a frame to another and back.

    Returns:
        (n, 1, h, w) of 0 and 1, in the type of `flow`.
    """
    returned = warp(back.float(), flow)
    lengths = _squared(flow.float()) + _squared(returned)
    return (_squared(flow.float() + returned) < 0.01 * lengths + 0.5).to(flow.dtype)


def _squared(flow: Tensor) -> Tensor:
    return flow.square().sum(dim=1, keepdim=True)
