"""Soft edges of masks by ViTMatte (Yao et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch.nn import functional

from video_decomp.sam2.frames import stacked, to_pixels

if TYPE_CHECKING:
    from transformers import VitMatteForImageMatting

_DIVISOR = 32  # of the sides of the network's input
_LEAST_BAND = 4  # pixels


class EdgeMatter:
    """Decides anew how much of each pixel near a mask's edge belongs to the thing.

    Args:
        network: ViTMatte, on its device.
        band: half width of what is decided anew, in units of the mask's longest side.
    """

    def __init__(self, network: VitMatteForImageMatting, band: float = 0.012) -> None:
        self._network = network
        self._band = band

    @torch.inference_mode()
    def alpha(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Opacity of the thing.

        Args:
            image: uint8 (height, width, 3) RGB.
            mask: bool (height, width).

        Returns:
            float32 (height, width), 0..1; the mask itself outside the band.
        """
        alpha = mask.astype(np.float32)
        left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
        if not width or mask.all():
            return alpha
        reach = max(_LEAST_BAND, round(self._band * max(width, height)))
        rows = slice(max(top - 4 * reach, 0), top + height + 4 * reach)
        columns = slice(max(left - 4 * reach, 0), left + width + 4 * reach)
        unsure = _band(mask[rows, columns], reach)
        trimap = np.where(unsure, np.float32(0.5), alpha[rows, columns])
        alpha[rows, columns] = np.where(unsure, self._run(image[rows, columns], trimap), trimap)
        return alpha

    def _run(self, image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
        """The network's opacity for an image and its trimap: 0 outside, 0.5 unsure, 1 inside."""
        device, dtype = self._network.device, self._network.dtype
        height, width = trimap.shape
        half = (0.5, 0.5, 0.5)
        pixels = to_pixels(stacked([image], device), (height, width), device, dtype, half, half)
        marks = torch.from_numpy(trimap).to(device, dtype)[None, None]
        padding = (0, -width % _DIVISOR, 0, -height % _DIVISOR)
        seen = functional.pad(torch.cat([pixels, marks], dim=1), padding)
        alphas = self._network(pixel_values=seen).alphas
        return alphas[0, 0, :height, :width].float().clamp(0, 1).cpu().numpy()


def _band(mask: np.ndarray, reach: int) -> np.ndarray:
    """Pixels within `reach` of the mask's edge; bool (height, width)."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    solid = mask.astype(np.uint8)
    return cv2.dilate(solid, disc) > cv2.erode(solid, disc)
