"""Relative depth of pictures by Depth Anything V2 (Yang et al. 2024), as the transformers library has it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional
from transformers import DepthAnythingForDepthEstimation

from mimo.stage import Rejected
from video_decomp.sam2.frames import IMAGENET_MEAN, IMAGENET_STD, stacked


class DepthNetwork:
    """Gives depth as the network does: a larger value is nearer, scale and offset mean nothing.

    Args:
        model: on its device, in the precision to work in.
        short_side: pixels of the shorter side that the network sees, about; 518 in its training and in the
            reference implementation. The aspect is kept, sides are made multiples of the network's patches.
    """

    def __init__(self, model: DepthAnythingForDepthEstimation, short_side: int = 518) -> None:
        self.model = model
        self.short_side = short_side

    @torch.inference_mode()
    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        """Depth of pictures of one size.

        Args:
            images: uint8 (height, width, 3) RGB each.

        Returns:
            float32 (pictures, h, w) at the size that the network sees; larger is nearer.
        """
        model = self.model
        pixels = self.pixels(stacked(images, model.device))
        return model(pixel_values=pixels).predicted_depth.float().cpu().numpy()

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures, uint8 (pictures, height, width, 3), as the network's input (pictures, 3, h, w).

        Resized as the official code does it (bicubic without a filter against aliasing, as OpenCV's).
        """
        values = images.to(self.model.device, non_blocking=True).permute(0, 3, 1, 2).float()
        size = self.size(values.shape[-2], values.shape[-1])
        values = functional.interpolate(values / 255, size, mode="bicubic", align_corners=False)
        mean, std = (values.new_tensor(numbers).view(3, 1, 1) for numbers in (IMAGENET_MEAN, IMAGENET_STD))
        return ((values - mean) / std).to(self.model.dtype)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that the network sees."""
        patch = int(self.model.config.patch_size)
        scale = self.short_side / min(height, width)
        return tuple(max(patch, round(side * scale / patch) * patch) for side in (height, width))  # type: ignore[return-value]


def load_depth(place: Path) -> DepthAnythingForDepthEstimation:
    """Depth Anything V1 or V2 for relative depth.

    Args:
        place: folder as `depth-anything/Depth-Anything-V2-Small-hf` (``config.json``, ``model.safetensors``).

    Raises:
        Rejected: it holds something else, is incomplete or damaged.
    """
    try:
        config = json.loads((place / "config.json").read_text())
        kind, estimation = config["model_type"], config.get("depth_estimation_type", "relative")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Rejected(
            f"{place}: holds no config.json of a Depth Anything network; give its folder"
        ) from None
    if (kind, estimation) != ("depth_anything", "relative"):
        raise Rejected(
            f"{place}: a network of type '{kind}' for {estimation} depth, not Depth Anything for relative "
            "depth, such as Depth-Anything-V2-Small-hf"
        )
    try:
        model, report = DepthAnythingForDepthEstimation.from_pretrained(
            place, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise Rejected(
            f"{place}: cannot be read ({' '.join(str(error).split())[:200]}); get it again"
        ) from None
    lacking = [str(key) for kind in ("missing_keys", "mismatched_keys") for key in report.get(kind) or ()]
    if lacking:
        raise Rejected(
            f"{place}: not the weights that its config.json describes: {len(lacking)} tensors are missing or "
            f"of another shape, such as {min(lacking)}; get all of the folder again"
        )
    return model
