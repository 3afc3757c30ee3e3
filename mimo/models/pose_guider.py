"""The pose guider: a small convolution net that turns the rendered motion code into latent-sized features."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class PoseGuider(ModelMixin, ConfigMixin):
    """Encoder of pose images, eight times smaller than its input (MIMO §3.3; AnimateAnyone's pose guider).

    Args:
        out_channels: channels of the result, those of the denoiser's first convolution.
        block_out_channels: channels of the levels; each further level halves the size.
    """

    @register_to_config
    def __init__(
        self, out_channels: int = 320, block_out_channels: tuple[int, ...] = (16, 32, 96, 256)
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, block_out_channels[0], 3, padding=1)
        blocks = []
        for narrow, wide in pairwise(block_out_channels):
            blocks.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            blocks.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.blocks = nn.ModuleList(blocks)
        self.conv_out = nn.Conv2d(block_out_channels[-1], out_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Features of pose images.

        Args:
            images: (frames, 3, height, width) in [0, 1]; sizes divisible by 8.

        Returns:
            (frames, out_channels, height / 8, width / 8).
        """
        x = F.silu(self.conv_in(images))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)
