"""The denoising UNet of MIMO: Stable Diffusion 1.5 with motion modules, 4 noise and 4 background channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from mimo.models.blocks import BlockCondition, block_condition, fuse_projections, spatial, temporal
from mimo.models.reference import spatial_block_names
from mimo.models.upsampling import UpsamplingConv2d, upsample_by_convolution

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
        upsample_by_convolution(self.up_blocks)
        for name, module in self.named_modules():
            if isinstance(module, Attention) and (name.endswith("attn1") or ".motion_modules." in name):
                fuse_projections(module)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        pose: Tensor | None,
        condition: Condition,
        *,
        branch: int = 0,
        deep: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Predict one window's velocity.

        Args:
            sample: (1, 8, frames, h, w): noisy latents and background latents.
            timestep: (1,).
            pose: (frames, channels, h, w), from the pose guider; None for none.
            condition: from `condition`; its number of rows is that of the result.
            branch: layers at the end of the up path that make the shallow branch of DeepCache (Ma et al.,
                CVPR 2024); 0 when deep features are neither wanted nor given.
            deep: what the rest of the network gave the branch in an earlier step; only the branch is
                computed.

        Returns:
            (rows, 4, frames, h, w). With a branch but no deep features, also these:
            (rows * frames, channels, h', w'), what the branch's first layer is given by the layer before.
        """
        frames = sample.shape[2]
        rows = len(condition[0].cross)
        time = self.time_embedding(self.time_proj(timestep).to(sample.dtype))
        x = self.conv_in(sample[0].transpose(0, 1).contiguous(memory_format=torch.channels_last))
        if pose is not None:
            x = x + pose
        blocks = iter(condition)
        skips = [x]
        down = list(self._down_layers())
        for layer in down if deep is None else down[: branch - 1]:
            x = _apply(layer, x, time, blocks, frames)
            skips.append(x)
        up = list(self._up_layers())
        if deep is None:
            x = self.mid_block.resnets[0](x, time)
            for attention, motion, resnet in zip(
                self.mid_block.attentions,
                self.mid_block.motion_modules,
                self.mid_block.resnets[1:],
                strict=True,
            ):
                x = spatial(attention, x, next(blocks), frames, motion)
                x = temporal(motion, x, frames, biased=True)
                x = resnet(x, time)
        else:
            x, up = deep, up[-branch:]
            blocks = iter(condition[len(condition) - sum(layer.attention is not None for layer in up) :])
        for remaining, layer in zip(range(len(up), 0, -1), up, strict=True):
            if remaining == branch:
                deep_features = x
            skip = skips.pop()
            if layer.resampler is not None:
                # Sizes that are no multiple of 8 are rounded up on the way down: go to the skip's size.
                x = _upsampled(layer.resampler.conv, x, skip.shape[2:])
            x = _apply(layer, torch.cat([x, _all_rows(skip, len(x))], 1), time, blocks, frames)
        x = self.conv_out(F.silu(self.conv_norm_out(x)))
        velocity = x.unflatten(0, (rows, frames)).transpose(1, 2)
        return (velocity, deep_features) if branch and deep is None else velocity

    @property
    def largest_branch(self) -> int:
        """Layers of the up path, all but the first of which can be a shallow branch."""
        return sum(len(level.resnets) for level in self.up_blocks) - 1

    def _down_layers(self) -> Iterator[_Layer]:
        """Everything on the way down that leaves a skip connection, in order."""
        for level in self.down_blocks:
            for i, resnet in enumerate(level.resnets):
                yield _Layer(resnet, _attention(level, i), level.motion_modules[i], None)
            if level.downsamplers is not None:
                yield _Layer(None, None, None, level.downsamplers[0])

    def _up_layers(self) -> Iterator[_Layer]:
        """Everything on the way up that takes a skip connection, in order."""
        upsampler = None
        for level in self.up_blocks:
            for i, resnet in enumerate(level.resnets):
                yield _Layer(resnet, _attention(level, i), level.motion_modules[i], upsampler)
                upsampler = None
            upsampler = level.upsamplers[0] if level.upsamplers is not None else None


class _Layer(NamedTuple):
    """Modules between two skip connections: a residual block with its attentions, or a change of size.

    Attributes:
        resnet, attention, motion: one after the other, as far as they are there.
        resampler: alone on the way down; on the way up what the level before it leaves to do first, so that
            deep features are kept small.
    """

    resnet: Any
    attention: Any
    motion: Any
    resampler: Any


def _attention(level: nn.Module, number: int) -> nn.Module | None:
    attentions = getattr(level, "attentions", None)
    return None if attentions is None else attentions[number]


def _apply(layer: _Layer, x: Tensor, time: Tensor, blocks: Iterator[BlockCondition], frames: int) -> Tensor:
    """A layer, its resampler only if there is nothing else."""
    if layer.resnet is None:
        return layer.resampler(x)
    x = layer.resnet(x, time)
    if layer.attention is None:
        return temporal(layer.motion, x, frames)
    x = spatial(layer.attention, x, next(blocks), frames, layer.motion)
    return temporal(layer.motion, x, frames, biased=True)


def _upsampled(conv: nn.Conv2d, x: Tensor, size: torch.Size) -> Tensor:
    """Nearest neighbours and a convolution, in one if `DenoisingUNet.fuse_projections` has been called."""
    if isinstance(conv, UpsamplingConv2d):
        return conv(x, tuple(size))
    return conv(F.interpolate(x, size=size, mode="nearest"))


def _all_rows(x: Tensor, rows: int) -> Tensor:
    """The skip connection from before the guidance rows parted, for all of them."""
    return x if len(x) == rows else x.repeat(rows // len(x), 1, 1, 1)
