"""Plain eager MIMO: the same work as the reference implementation, the wasted parts included.

What it does like the reference and `mimo.pipeline` does not: every row of a window against its own and the
bank's tokens, the unconditional rows then again against their own; queries against a single cross-attention
token; the bank repeated, joined and projected anew for each frame, step and window; both guidance rows from
the first layer on; pictures through the autoencoder one by one; PyTorch's default attention kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn

from mimo.diffusion.encoding import embed_picture, encode_pictures
from mimo.diffusion.frames import as_pixels
from mimo.diffusion.windows import closed_windows
from mimo.models.reference import spatial_block_names
from mimo.pipeline import MimoPipeline


class PerFrameGroupNorm(nn.GroupNorm):
    """Normalises each frame of (b, c, f, h, w) by itself, as MIMO's motion modules do."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; same shape."""
        b, c, f, h, w = x.shape
        frames = x.transpose(1, 2).reshape(b * f, c, h, w)
        return super().forward(frames).view(b, f, c, h, w).transpose(1, 2)


class WriteBank(AttnProcessor2_0):
    """Self-attention of the reference net that keeps its input."""

    def __init__(self, name: str, bank: dict[str, Tensor]) -> None:
        super().__init__()
        self.name, self.bank = name, bank

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Attend, and keep the input."""
        self.bank[self.name] = hidden_states.clone()
        return super().__call__(attn, hidden_states, *args, **kwargs)


class ReadBank(AttnProcessor2_0):
    """Self-attention of the denoiser as the reference runs it: all rows with the bank, half of them again."""

    def __init__(self, name: str, bank: dict[str, Tensor]) -> None:
        super().__init__()
        self.name, self.bank = name, bank

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Attend."""
        rows = len(hidden_states)
        kept = self.bank[self.name]
        bank = kept.unsqueeze(1).repeat(1, rows // len(kept), 1, 1).flatten(0, 1)
        both = super().__call__(attn, hidden_states, torch.cat([hidden_states, bank], 1)).clone()
        unconditional = torch.arange(rows) < rows // 2
        own = hidden_states[unconditional]
        both[unconditional] = super().__call__(attn, own, own)
        return both.clone()


class EagerMimo:
    """Reference-equivalent runs on the weights of a pipeline that has not been accelerated.

    Args:
        pipeline: its networks are changed only inside `installed`.
    """

    def __init__(self, pipeline: MimoPipeline) -> None:
        self.pipeline = pipeline
        self.bank: dict[str, Tensor] = {}
        self.pose: Tensor | None = None
        self.tokens: Tensor | None = None

    @contextmanager
    def installed(self) -> Iterator[EagerMimo]:
        """Put the reference's behaviour into the networks for the length of the block."""
        unet, reference = self.pipeline.denoising_unet, self.pipeline.reference_unet
        for name in spatial_block_names(unet):
            unet.get_submodule(name).attn1.set_processor(ReadBank(name, self.bank))
            reference.get_submodule(name).attn1.set_processor(WriteBank(name, self.bank))
        motion = [module for module in unet.modules() if isinstance(module, AnimateDiffTransformer3D)]
        for module in motion:
            module.norm.__class__ = PerFrameGroupNorm
        handle = unet.conv_in.register_forward_hook(lambda module, inputs, output: output + self.pose)
        try:
            yield self
        finally:
            handle.remove()
            for module in motion:
                module.norm.__class__ = nn.GroupNorm
            for net in (unet, reference):
                for name in spatial_block_names(net):
                    net.get_submodule(name).attn1.set_processor(AttnProcessor2_0())
            self.bank.clear()
            self.pose = self.tokens = None

    def read_reference(self, picture: Any, resized: Any) -> None:
        """Fill the bank with both guidance rows.

        Args:
            picture: PIL image.
            resized: the same at the network's size, uint8 (h, w, 3).
        """
        p, device = self.pipeline, self.pipeline.device
        embeds = embed_picture(p.image_encoder, picture, device)[:, None]
        self.tokens = torch.cat([torch.zeros_like(embeds), embeds])
        latents = encode_pictures(p.vae, [resized], device).repeat(2, 1, 1, 1)
        p.reference_unet(latents, torch.zeros((), device=device), encoder_hidden_states=self.tokens)

    def window(self, sample: Tensor, timestep: Tensor, pose: Tensor) -> Tensor:
        """One window: (1, 8, f, h, w), (1,), (f, c, h, w) → (2, 4, f, h, w)."""
        assert self.tokens is not None
        frames = sample.shape[2]
        self.pose = pose.repeat(2, 1, 1, 1)
        tokens = self.tokens.repeat_interleave(frames, 0)
        unet = self.pipeline.denoising_unet
        return UNetMotionModel.forward(unet, sample.repeat(2, 1, 1, 1, 1), timestep, tokens).sample

    def pose_features(self, images: list[Any]) -> Tensor:
        """Features of all frames of a clip at once, as the reference keeps them."""
        p = self.pipeline
        return p.pose_guider(as_pixels(images, p.device, p.pose_guider.dtype))

    def denoise(
        self, pose: Tensor, background: Tensor, latents: Tensor, steps: int, guidance_scale: float
    ) -> Tensor:
        """All steps of a clip.

        Args:
            pose: (frames, c, h, w) features.
            background: (1, 4, frames, h, w) scaled latents.
            latents: (1, 4, frames, h, w) noise.
            steps, guidance_scale: of the run.

        Returns:
            (1, 4, frames, h, w).
        """
        scheduler, dtype = self.pipeline.scheduler, self.pipeline.denoising_unet.dtype
        scheduler.set_timesteps(steps)
        latents = latents.to(dtype)
        for timestep in scheduler.timesteps:
            total = latents.new_zeros((2, *latents.shape[1:]))
            count = latents.new_zeros((1, 1, latents.shape[2], 1, 1))
            for window in closed_windows(latents.shape[2]):
                sample = torch.cat([latents[:, :, window], background[:, :, window]], 1)
                time = timestep.reshape(1).to(latents.device)
                total[:, :, window] = total[:, :, window] + self.window(sample, time, pose[window])
                count[:, :, window] = count[:, :, window] + 1
            unconditional, conditional = (total / count).chunk(2)
            velocity = unconditional + guidance_scale * (conditional - unconditional)
            latents = scheduler.step(velocity, timestep, latents).prev_sample
        return latents
