"""Masks of everything in a picture, by asking Segment Anything at the points of a grid.

After the automatic mask generator of segment-anything (Kirillov et al. 2023), which needs torchvision; here
on the networks of the transformers library, of both generations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional
from transformers import SamModel

from video_decomp.occlusion.segments import MaskSettings, without_overlap, without_specks
from video_decomp.sam2.frames import stacked, to_pixels

STABILITY_OFFSET = 1.0
CROP_OVERLAP = 512 / 1500
BORDER = 20


Crop = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of the picture, pixels."""


@dataclass
class _Answer:
    """One mask of a crop.

    Attributes:
        logits: (h', w') of the crop, positive inside.
        rank: higher is better; 0..1 in the whole picture, 1..2 in its quarters.
        box: (4,) left, top, right, bottom, pixels of the picture.
        crop: in which it was found.
    """

    logits: torch.Tensor
    rank: float
    box: np.ndarray
    crop: Crop


class Prompted(Protocol):
    """A network that gives the masks of what is at points of a picture."""

    def look(self, crop: np.ndarray) -> Callable[[np.ndarray], tuple[torch.Tensor, torch.Tensor]]:
        """Encode a picture, uint8 (h, w, 3) RGB.

        Returns:
            A function from points (n, 2) of it, x and y in pixels, to logits (m, side, side) of masks,
            positive inside, and their predicted qualities (m,) 0..1; several masks a point.
        """
        ...

    def seen(self, width: int, height: int) -> tuple[float, float]:
        """Share of a mask's square that a picture of this size fills from its upper left, across and down."""
        ...


def prompted(model: Any) -> Prompted:
    """A network to ask.

    Args:
        model: `SamModel`, or SAM 2 for pictures or video, on its device, in the precision to work in.
    """
    return _FirstNetwork(model) if isinstance(model, SamModel) else _SecondNetwork(model)


class AutomaticMasks:
    """Segments pictures.

    Args:
        network: what is asked, see `prompted`.
        settings: see `MaskSettings`.
    """

    def __init__(self, network: Prompted, settings: MaskSettings) -> None:
        self.settings = settings
        self._network = network

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Masks (h, w) bool of everything in a picture, uint8 (h, w, 3) RGB; the surest first."""
        height, width = image.shape[:2]
        crops = _crops(width, height, self.settings.crop_layers)
        answers = [answer for crop in crops for answer in self._ask(image, crop)]
        masks = (_placed(answer, (height, width)) for answer in self._apart(answers))
        cleaned = (without_specks(mask, self.settings.min_area * height * width) for mask in masks)
        return [mask for mask in cleaned if mask.any()]

    def _ask(self, image: np.ndarray, crop: Crop) -> list[_Answer]:
        """Ask at a grid of points in a crop, and keep good answers of which each thing has one."""
        left, top, right, bottom = crop
        width, height = right - left, bottom - top
        steps = (np.arange(self.settings.points_per_side) + 0.5) / self.settings.points_per_side
        grid = np.stack(np.meshgrid(steps * width, steps * height), axis=-1).reshape(-1, 2)
        answer = self._network.look(image[top:bottom, left:right])
        kept = [self._good(*answer(points)) for points in _batches(grid, self.settings.points_per_batch)]
        logits, scores = (torch.cat(parts) for parts in zip(*kept, strict=True))
        boxes = _boxes(logits, self._network.seen(width, height), (width, height)).cpu().numpy()
        boxes += (left, top, left, top)
        whole = ~_cut_off(boxes, crop, (image.shape[1], image.shape[0]))
        # A quarter is seen larger, so it wins, as in segment-anything.
        ranks = scores.cpu().numpy() + float(width < image.shape[1])
        across, down = self._network.seen(width, height)
        side = logits.shape[-1]
        logits = logits[:, : max(1, round(side * down)), : max(1, round(side * across))]
        return self._apart(
            [_Answer(logits[i], float(ranks[i]), boxes[i], crop) for i in np.flatnonzero(whole)]
        )

    def _apart(self, answers: list[_Answer]) -> list[_Answer]:
        """The best answers whose boxes do not overlap much, the best first."""
        boxes = np.array([answer.box for answer in answers]).reshape(-1, 4)
        ranks = np.array([answer.rank for answer in answers])
        return [answers[i] for i in without_overlap(boxes, ranks, self.settings.max_box_overlap)]

    def _good(self, logits: torch.Tensor, quality: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks (n, side, side) that the network thinks good and that hardly depend on the threshold."""
        stable = (logits > STABILITY_OFFSET).sum((1, 2)) / (logits > -STABILITY_OFFSET).sum((1, 2)).clamp(1)
        good = (quality >= self.settings.min_predicted_iou) & (stable >= self.settings.min_stability)
        return logits[good], (quality * stable)[good]


class _FirstNetwork:
    """SAM: sees the picture's longer side at full length, the rest is empty."""

    def __init__(self, model: SamModel) -> None:
        self.model = model
        self.side = int(model.config.vision_config.image_size)

    def look(self, crop: np.ndarray) -> Callable[[np.ndarray], tuple[torch.Tensor, torch.Tensor]]:
        """See `Prompted`."""
        height, width = crop.shape[:2]
        scale = self.side / max(height, width)
        size = (round(height * scale), round(width * scale))
        pixels = to_pixels(stacked([crop], self.model.device), size, self.model.device, self.model.dtype)
        pixels = functional.pad(pixels, (0, self.side - size[1], 0, self.side - size[0]))
        features = self.model.get_image_embeddings(pixels)

        def answer(points: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            places = torch.as_tensor(points * scale, dtype=torch.float32, device=self.model.device)
            output = self.model(
                image_embeddings=features, input_points=places[None, :, None], multimask_output=True
            )
            return output.pred_masks[0].flatten(0, 1).float(), output.iou_scores[0].flatten().float()

        return answer

    def seen(self, width: int, height: int) -> tuple[float, float]:
        """See `Prompted`."""
        longer = max(width, height)
        return width / longer, height / longer


class _SecondNetwork:
    """SAM 2, for pictures or video: sees the picture stretched to a square."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.side = int(model.prompt_encoder.input_image_size)

    def look(self, crop: np.ndarray) -> Callable[[np.ndarray], tuple[torch.Tensor, torch.Tensor]]:
        """See `Prompted`."""
        model = self.model
        pixels = to_pixels(stacked([crop], model.device), (self.side, self.side), model.device, model.dtype)
        features = model.get_image_embeddings(pixels)
        places_of_cells = model.get_image_wide_positional_embeddings()
        scale = np.array([self.side / crop.shape[1], self.side / crop.shape[0]])

        def answer(points: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            places = torch.as_tensor(points * scale, dtype=torch.float32, device=model.device)[None, :, None]
            inside = torch.ones(places.shape[:-1], dtype=torch.int32, device=model.device)
            sparse, dense = model.prompt_encoder(
                input_points=places, input_labels=inside, input_boxes=None, input_masks=None
            )
            masks, quality, _, _ = model.mask_decoder(
                image_embeddings=features[-1],
                image_positional_embeddings=places_of_cells,
                sparse_prompt_embeddings=sparse.to(model.dtype),
                dense_prompt_embeddings=dense.to(model.dtype),
                multimask_output=True,
                high_resolution_features=features[:-1],
            )
            return masks[0].flatten(0, 1).float(), quality[0].flatten().float()

        return answer

    def seen(self, width: int, height: int) -> tuple[float, float]:
        """See `Prompted`."""
        return 1.0, 1.0


def _crops(width: int, height: int, layers: int) -> Iterator[Crop]:
    """The whole picture, and with a further layer its overlapping quarters."""
    yield 0, 0, width, height
    if layers:
        overlap = int(CROP_OVERLAP * min(width, height))
        wide, high = -(-(overlap + width) // 2), -(-(overlap + height) // 2)
        for top in (0, high - overlap):
            for left in (0, wide - overlap):
                yield left, top, min(left + wide, width), min(top + high, height)


def _batches(points: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(points), size):
        yield points[start : start + size]


def _boxes(logits: torch.Tensor, seen: tuple[float, float], size: tuple[int, int]) -> torch.Tensor:
    """Boxes (n, 4) of masks (n, side, side) in pixels of a crop of `size` (width, height)."""
    inside = logits > 0
    edges = []
    for along, share, pixels in ((1, seen[0], size[0]), (2, seen[1], size[1])):
        line = inside.any(along).float()
        side = line.shape[1]
        scale = pixels / (side * share)
        first = line.argmax(1) * scale
        last = (side - line.flip(1).argmax(1)) * scale
        edges.append((first.clamp(max=pixels), last.clamp(max=pixels)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], dim=1)


def _cut_off(boxes: np.ndarray, crop: Crop, size: tuple[int, int]) -> np.ndarray:
    """Whether each box (n, 4) touches an edge of its crop that is no edge of the picture of `size`."""
    cut = np.zeros(len(boxes), bool)
    for axis in range(2):
        if crop[axis] > 0:
            cut |= boxes[:, axis] < crop[axis] + BORDER
        if crop[axis + 2] < size[axis]:
            cut |= boxes[:, axis + 2] > crop[axis + 2] - BORDER
    return cut


def _placed(answer: _Answer, size: tuple[int, int]) -> np.ndarray:
    """An answer's mask in the picture of `size` (height, width), bool."""
    left, top, right, bottom = answer.crop
    full = functional.interpolate(answer.logits[None, None], (bottom - top, right - left), mode="bilinear")
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = (full[0, 0] > 0).cpu().numpy()
    return mask
