"""The mask of a thing in one image, from a box, by the first Segment Anything (Kirillov et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from video_decomp.sam2.frames import stacked, to_pixels

if TYPE_CHECKING:
    from transformers import SamModel


class ImageMasker:
    """Masks things in images.

    Args:
        network: Segment Anything, on its device.
    """

    def __init__(self, network: SamModel) -> None:
        self._network = network
        self._side = int(network.config.vision_config.image_size)

    @torch.inference_mode()
    def mask(self, image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        """How likely each pixel belongs to the thing in a box.

        The network sees the image with its longest side at the network's, padded below or to the right.

        Args:
            image: uint8 (height, width, 3) RGB.
            box: left, top, right, bottom, pixels.

        Returns:
            float32 (height, width), 0..1.
        """
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        seen = (int(height * scale + 0.5), int(width * scale + 0.5))
        network = self._network
        pixels = to_pixels(stacked([image], network.device), seen, network.device, network.dtype)
        pixels = functional.pad(pixels, (0, self._side - seen[1], 0, self._side - seen[0]))
        factors = np.array([seen[1] / width, seen[0] / height] * 2)
        corners = torch.tensor((np.array(box) * factors)[None, None], dtype=network.dtype)
        output = network(pixel_values=pixels, input_boxes=corners.to(network.device), multimask_output=False)
        logits = output.pred_masks[0].float()
        whole = functional.interpolate(logits, (self._side, self._side), mode="bilinear", align_corners=False)
        part = whole[..., : seen[0], : seen[1]]
        logits = functional.interpolate(part, (height, width), mode="bilinear", align_corners=False)
        return logits[0, 0].sigmoid().cpu().numpy()
