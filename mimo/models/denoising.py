"""The denoising UNet of MIMO: Stable Diffusion 1.5 with motion modules, 4 noise and 4 background channels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from mimo.models.blocks import BlockCondition, block_condition, fuse_projections, spatial, temporal
from mimo.models.reference import spatial_block_names

Condition = tuple[BlockCondition, ...]


class DenoisingUNet(UNetMotionModel):
    """diffusers' motion UNet with a forward of its own: equal numbers to MIMO's, less work.

    Left out, since it never reaches a result: unconditional rows against the bank; query and key of the
    cross-attention over one token; the bank's keys and values anew in each frame, step and window; the part
    before the first attention twice, where both guidance rows are still equal.
    """

    @staticmethod
    def config_from(unet_config: dict[str, Any], motion_heads: int = 8) -> dict[str, Any]:
        """Configuration from that of the Stable Diffusion UNet it grew from.

        Args:
            unet_config: contents of ``stable-diffusion-v1-5/unet/config.json``.
            motion_heads: attention heads of the motion modules (8 in the published weights).
        """
        kept = (
            "block_out_channels",
            "layers_per_block",
            "cross_attention_dim",
            "norm_num_groups",
            "norm_eps",
        )
        more = ("act_fn", "downsample_padding", "mid_block_scale_factor", "out_channels", "sample_size")
        config = {key: unet_config[key] for key in kept + more if key in unet_config}
        for side in ("down_block_types", "up_block_types"):
            config[side] = [name.replace("2D", "Motion") for name in unet_config[side]]
        return config | {
            "in_channels": 2 * unet_config["in_channels"],
            "num_attention_heads": unet_config["attention_head_dim"],
            "motion_num_attention_heads": motion_heads,
            "motion_max_seq_length": 32,
            "use_motion_mid_block": True,
        }

    def condition(self, tokens: Tensor, bank: dict[str, Tensor] | None) -> Condition:
        """Everything the character contributes, computed once for a clip.

        Args:
            tokens: (rows, 1, cross_attention_dim): image embeddings, zero for the unconditional row, which
                comes first.
            bank: by module path, see `mimo.models.reference.ReferenceUNet.bank`; None for none.
        """
        return tuple(
            block_condition(self.get_submodule(name), tokens, None if bank is None else bank[name])
            for name in spatial_block_names(self)
        )

    def fuse_projections(self) -> None:
        """Join query, key and value weights of all self-attentions (a further .to() doubles their memory)."""
        for name, module in self.named_modules():
            if isinstance(module, Attention) and (name.endswith("attn1") or ".motion_modules." in name):
                fuse_projections(module)

    def forward(self, sample: Tensor, timestep: Tensor, pose: Tensor | None, condition: Condition) -> Tensor:
        """Predict one window's velocity.

        Args:
            sample: (1, 8, frames, h, w): noisy latents and background latents.
            timestep: (1,).
            pose: (frames, channels, h, w), from the pose guider; None for none.
            condition: from `condition`; its number of rows is that of the result.

        Returns:
            (rows, 4, frames, h, w).
        """
        frames = sample.shape[2]
        rows = len(condition[0].cross)
        blocks = iter(condition)
        time = self.time_embedding(self.time_proj(timestep).to(sample.dtype))
        x = self.conv_in(sample[0].transpose(0, 1).contiguous(memory_format=torch.channels_last))
        if pose is not None:
            x = x + pose
        skips = [x]
        for level in self.down_blocks:
            attentions = getattr(level, "attentions", None)
            for i, resnet in enumerate(level.resnets):
                x = resnet(x, time)
                if attentions is not None:
                    x = spatial(attentions[i], x, next(blocks), frames)
                x = temporal(level.motion_modules[i], x, frames)
                skips.append(x)
            if level.downsamplers is not None:
                x = level.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block.resnets[0](x, time)
        for attention, motion, resnet in zip(
            self.mid_block.attentions,
            self.mid_block.motion_modules,
            self.mid_block.resnets[1:],
            strict=True,
        ):
            x = spatial(attention, x, next(blocks), frames)
            x = temporal(motion, x, frames)
            x = resnet(x, time)
        for level in self.up_blocks:
            attentions = getattr(level, "attentions", None)
            for i, resnet in enumerate(level.resnets):
                x = resnet(torch.cat([x, _all_rows(skips.pop(), len(x))], 1), time)
                if attentions is not None:
                    x = spatial(attentions[i], x, next(blocks), frames)
                x = temporal(level.motion_modules[i], x, frames)
            if level.upsamplers is not None:
                # Sizes that are no multiple of 8 are rounded up on the way down: go back to the skip's size.
                x = level.upsamplers[0].conv(F.interpolate(x, size=skips[-1].shape[2:], mode="nearest"))
        x = self.conv_out(F.silu(self.conv_norm_out(x)))
        return x.unflatten(0, (rows, frames)).transpose(1, 2)


def _all_rows(x: Tensor, rows: int) -> Tensor:
    """The skip connection from before the guidance rows parted, for all of them."""
    return x if len(x) == rows else x.repeat(rows // len(x), 1, 1, 1)
