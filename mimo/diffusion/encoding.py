"""Pictures into latents and embeddings, and latents back into frames; a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from mimo.diffusion.frames import as_pixels, batches

# Mean and standard deviation of CLIP's training pictures.
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def embed_picture(
    encoder: CLIPVisionModelWithProjection, picture: Image.Image, device: torch.device
) -> Tensor:
    """CLIP embedding of a picture, (1, projection_dim).

    Resized as the reference does it (PIL's default filter, aspect ratio given up); CLIP's own resizing and
    cropping would then change nothing.
    """
    size = encoder.config.image_size
    pixels = torch.from_numpy(np.array(picture.convert("RGB").resize((size, size)), np.float32) / 255)
    normed = (pixels - torch.tensor(_CLIP_MEAN)) / torch.tensor(_CLIP_STD)
    return encoder(normed.permute(2, 0, 1)[None].to(device, encoder.dtype)).image_embeds


def encode_pictures(
    vae: AutoencoderKL, pictures: list[np.ndarray], device: torch.device, *, batch: int = 0
) -> Tensor:
    """Scaled latents of pictures; the distribution's mean, nothing is sampled.

    Args:
        vae: the autoencoder.
        pictures: uint8 (h, w, 3) each.
        device: the autoencoder's.
        batch: fill up to so many pictures, for a compiled autoencoder.

    Returns:
        (n, 4, h / 8, w / 8) in the autoencoder's type.
    """
    missing = max(0, batch - len(pictures))
    pixels = as_pixels([*pictures, *pictures[-1:] * missing], device, torch.float32) * 2 - 1
    latents = vae.encode(pixels.to(vae.dtype)).latent_dist.mean[: len(pictures)]
    return latents * vae.config.scaling_factor


def encode_video(
    vae: AutoencoderKL,
    frames: Iterable[np.ndarray],
    device: torch.device,
    batch: int,
    *,
    fixed: bool = False,
) -> Tensor:
    """Scaled latents (frames, 4, h / 8, w / 8); a frame equal to the one before it is not encoded again.

    Args:
        vae, frames, device: as for `encode_pictures`.
        batch: pictures encoded at a time.
        fixed: fill up smaller batches.
    """
    distinct: list[Tensor] = []
    order: list[int] = []
    for new, sources in _distinct(frames, batch):
        if new:
            distinct.append(encode_pictures(vae, new, device, batch=batch if fixed else 0))
        order += sources
    if not order:
        return torch.empty(0)
    return torch.cat(distinct)[torch.tensor(order, device=device)]


def decode_video(
    vae: AutoencoderKL, latents: Tensor, batch: int, *, fixed: bool = False
) -> Iterator[np.ndarray]:
    """Frames of scaled latents.

    Args:
        latents: (frames, 4, h, w).
        batch: frames decoded at a time.
        fixed: fill up smaller batches.

    Yields:
        float32 (8 h, 8 w, 3) in [0, 1].
    """
    sent: _Download | None = None
    for part in (latents / vae.config.scaling_factor).split(batch):
        missing = max(0, batch - len(part)) if fixed else 0
        # Always in one memory layout: for another one a compiled network would be compiled anew.
        full = torch.cat([part, *[part[-1:]] * missing]).to(vae.dtype)
        with torch.no_grad():
            pixels = vae.decode(full.contiguous(memory_format=torch.channels_last)).sample[: len(part)]
        before, sent = sent, _Download(pixels.permute(0, 2, 3, 1))
        if before is not None:
            yield from before.frames()
    if sent is not None:
        yield from sent.frames()


class _Download:
    """Pixels on their way from the device, while it goes on computing.

    They travel in the network's type; what follows is done on the CPU, with equal results.

    Args:
        pixels: (n, h, w, 3) in [-1, 1].
    """

    def __init__(self, pixels: Tensor) -> None:
        self._pixels, self._arrived = pixels, None
        if pixels.is_cuda:
            self._pixels = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
            self._pixels.copy_(pixels.contiguous(), non_blocking=True)
            self._arrived = torch.cuda.current_stream(pixels.device).record_event()

    def frames(self) -> Iterator[np.ndarray]:
        """Wait for the pixels; float32 (h, w, 3) in [0, 1] each."""
        if self._arrived is not None:
            self._arrived.synchronize()
        for picture in self._pixels:
            yield (picture.float() / 2 + 0.5).clamp_(0, 1).numpy()


def _distinct(frames: Iterable[np.ndarray], batch: int) -> Iterator[tuple[list[np.ndarray], list[int]]]:
    """Groups of frames without repetitions, and for every frame the number of its distinct one."""
    last: np.ndarray | None = None
    count = 0
    for group in batches(frames, batch):
        new, sources = [], []
        for frame in group:
            if last is None or not np.array_equal(frame, last):
                new.append(frame)
                last = frame
                count += 1
            sources.append(count - 1)
        yield new, sources
