"""What of the picture autoencoder runs otherwise than in diffusers."""

from __future__ import annotations

from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from torch import Tensor

from mimo.kernels.wide_attention import wide_attention
from mimo.models.upsampling import DoublingUpsampler, upsample_by_convolution


class WideAttention:
    """Processor of the attention in the middle of encoder and decoder: one head over all of a picture."""

    def __call__(
        self,
        attention: Attention,
        x: Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        temb: None = None,
    ) -> Tensor:
        """Attend, with norm and residual: (n, channels, h, w) → the same shape; the rest is always None."""
        height, width = x.shape[2:]
        # No copies with channels last in memory.
        tokens = attention.group_norm(x).permute(0, 2, 3, 1).flatten(1, 2)
        out = wide_attention(attention.to_q(tokens), attention.to_k(tokens), attention.to_v(tokens))
        out = attention.to_out[0](out).unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return (out + x) / attention.rescale_output_factor


def prepare_autoencoder(vae: AutoencoderKL) -> None:
    """Install `WideAttention` in both halves of the autoencoder, and faster upsampling in its decoder.

    Raises:
        ValueError: an attention of another kind, with several heads or without a residual.
    """
    for half in (vae.encoder, vae.decoder):
        for attention in half.mid_block.attentions:
            if (
                attention.heads != 1
                or not attention.residual_connection
                or attention.spatial_norm is not None
            ):
                raise ValueError("the autoencoder's attention is not that of Stable Diffusion")
            attention.set_processor(WideAttention())
    upsample_by_convolution(vae.decoder.up_blocks)
    for block in vae.decoder.up_blocks:
        for number, upsampler in enumerate(block.upsamplers or ()):
            block.upsamplers[number] = DoublingUpsampler(upsampler.conv)
