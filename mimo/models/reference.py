"""The reference net: a Stable Diffusion UNet run once over the character, read by the denoiser."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn


class ReferenceUNet(UNet2DConditionModel):
    """Stable Diffusion 1.5's UNet whose attention inputs are kept (the result itself is never used)."""

    def bank(self, latents: Tensor, image_embeds: Tensor) -> dict[str, Tensor]:
        """Run the character once, at timestep 0, and keep what every self-attention saw.

        Args:
            latents: (1, 4, h, w), the encoded character picture, scaled.
            image_embeds: (1, 1, cross_attention_dim), its CLIP embedding.

        Returns:
            For each transformer block's module path the (1, tokens, channels) input of its self-attention.
            Only the conditional row exists: the unconditional one never enters a result.
        """
        kept: dict[str, Tensor] = {}

        def keep(name: str) -> torch.utils.hooks.RemovableHandle:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                kept[name] = output

            return self.get_submodule(name).norm1.register_forward_hook(hook)

        handles = [keep(name) for name in spatial_block_names(self)]
        try:
            self(latents, torch.zeros((), device=latents.device), encoder_hidden_states=image_embeds)
        finally:
            for handle in handles:
                handle.remove()
        return kept


def spatial_block_names(unet: UNet2DConditionModel | UNetMotionModel) -> Iterator[str]:
    """Module paths of the transformer blocks that attend over a picture, in order of execution."""
    levels = [f"down_blocks.{i}" for i in range(len(unet.down_blocks))]
    levels += ["mid_block"] + [f"up_blocks.{i}" for i in range(len(unet.up_blocks))]
    for level in levels:
        for i, _ in enumerate(getattr(unet.get_submodule(level), "attentions", ())):
            yield f"{level}.attentions.{i}.transformer_blocks.0"
