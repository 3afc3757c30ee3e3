"""Images as the input of networks."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def stacked(images: list[np.ndarray], device: torch.device) -> torch.Tensor:
    """Images of one size as one tensor, uint8 (images, height, width, 3), in memory that the device can
    take it from while the host goes on."""
    tensor = torch.from_numpy(np.stack(images))
    return tensor.pin_memory() if device.type == "cuda" else tensor


def to_pixels(
    images: torch.Tensor,
    size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> torch.Tensor:
    """Images as a network's input: resized without regard to their aspect, scaled to 0..1, normalised.

    Args:
        images: uint8 (images, height, width, 3) RGB, see `stacked`.
        size: height and width that the network sees.
        device, dtype: of the result; the work is done on the device, in float32.
        mean, std: of the networks' training images, by channel.

    Returns:
        (images, 3, *size).
    """
    pixels = images.to(device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32)
    if pixels.shape[-2:] != torch.Size(size):
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        # The networks saw pictures of 8 bits.
        pixels = pixels.round_().clamp_(0, 255)
    for channel in range(3):
        pixels[:, channel].sub_(255 * mean[channel]).div_(255 * std[channel])
    return pixels.to(dtype)
