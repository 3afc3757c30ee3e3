"""People in single frames: found by RT-DETR or D-FINE, judged by the key points of ViTPose.

The rules are the reference implementation's (its `run.py`): people by score and by area, and seen in full
when each main joint's score is high enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from video_decomp.sam2.frames import stacked, to_pixels
from video_decomp.segmentation.subject import Sighting, colour_histogram, overlap

if TYPE_CHECKING:
    from transformers import PreTrainedModel, VitPoseForPoseEstimation

MAIN_JOINTS = (0, 1, 2, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16)
"""COCO's joints that must be seen: nose, eyes, left shoulder, right elbow, wrists, hips, knees, ankles. The
reference's list also has the left big toe, which only networks of the whole body know."""
BIG_TOE = 17
_DETECTOR_SIDE = 640
_SAME = 0.85  # share of the smaller of two boxes in the larger above which they are one person
_MOST = 6  # people looked at in one frame
_CROP = 1.25  # of the key points' crop, in units of the person's box
_COLOUR_SIDE = 96


@dataclass(frozen=True)
class Rules:
    """When a detection counts.

    Attributes:
        detection: least score of the detector.
        joint: least score of each main joint of a person who is seen in full.
    """

    detection: float = 0.5
    joint: float = 0.35


class PeopleFinder:
    """Finds people in frames.

    Args:
        detector: knows the class ``person``.
        key_points: ViTPose; both on their device.
        rules: when a detection counts.
    """

    def __init__(self, detector: PreTrainedModel, key_points: VitPoseForPoseEstimation, rules: Rules) -> None:
        self._detector = detector
        self._key_points = key_points
        self._rules = rules
        labels = detector.config.id2label
        self._person = next(int(index) for index, label in labels.items() if label == "person")
        backbone = key_points.config.backbone_config
        self._crop = (int(backbone.image_size[0]), int(backbone.image_size[1]))
        self._experts = int(getattr(backbone, "num_experts", 1))

    def find(self, images: list[np.ndarray], frames: list[int]) -> list[list[Sighting]]:
        """People in some frames of one size.

        Args:
            images: uint8 (height, width, 3) RGB.
            frames: their indices.

        Returns:
            For each frame its people, the largest first.
        """
        detections = self.detect(images)
        crops = [(i, box) for i, found in enumerate(detections) for box, _ in found]
        joints = self.joints([images[i] for i, _ in crops], [box for _, box in crops])
        people: list[list[Sighting]] = []
        for image, frame, found in zip(images, frames, detections, strict=True):
            mine, joints = joints[: len(found)], joints[len(found) :]
            people.append(
                [self._sighting(image, frame, *pair, own) for pair, own in zip(found, mine, strict=True)]
            )
        return people

    @torch.inference_mode()
    def detect(self, images: list[np.ndarray]) -> list[list[tuple[np.ndarray, float]]]:
        """Boxes (left, top, right, bottom in pixels) of people with their scores, the largest first."""
        device, dtype = self._detector.device, self._detector.dtype
        side = (_DETECTOR_SIDE, _DETECTOR_SIDE)
        pixels = to_pixels(stacked(images, device), side, device, dtype, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        output = self._detector(pixel_values=pixels)
        scores = output.logits.float().sigmoid()[..., self._person].cpu().numpy()
        boxes = output.pred_boxes.double().cpu().numpy()
        height, width = images[0].shape[:2]
        corners = np.concatenate(
            [boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1
        )
        corners = np.clip(corners, 0, 1) * (width, height, width, height)
        return [self._distinct(found, score) for found, score in zip(corners, scores, strict=True)]

    def _distinct(self, boxes: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """The surest boxes without those of a person who has one already."""
        chosen: list[tuple[np.ndarray, float]] = []
        for i in np.argsort(-scores, kind="stable"):
            if scores[i] < self._rules.detection or len(chosen) == _MOST:
                break
            if (boxes[i, 2:] - boxes[i, :2]).min() >= 1 and all(
                overlap(boxes[i], box) < _SAME for box, _ in chosen
            ):
                chosen.append((boxes[i], float(scores[i])))
        return sorted(chosen, key=lambda pair: -float((pair[0][2:] - pair[0][:2]).prod()))

    @torch.inference_mode()
    def joints(self, images: list[np.ndarray], boxes: list[np.ndarray]) -> np.ndarray:
        """Key points of people, one of each image.

        Returns:
            float64 (people, joints, 3): x, y in pixels of the image, score.
        """
        if not images:
            return np.zeros((0, MAIN_JOINTS[-1] + 1, 3))
        device, dtype = self._key_points.device, self._key_points.dtype
        regions = [self._region(box) for box in boxes]
        crops = [_cut(image, region, self._crop) for image, region in zip(images, regions, strict=True)]
        pixels = to_pixels(stacked(crops, device), self._crop, device, dtype)
        # Networks with experts were trained on several data sets; the first is COCO.
        which = (
            {}
            if self._experts == 1
            else {"dataset_index": torch.zeros(len(crops), dtype=torch.long).to(device)}
        )
        maps = self._key_points(pixel_values=pixels, **which).heatmaps.double().cpu().numpy()
        rows, columns = maps.shape[2:]
        flat = maps.reshape(*maps.shape[:2], -1)
        best = flat.argmax(axis=-1)
        places = np.stack([best % columns / (columns - 1), best // columns / (rows - 1)], axis=-1)
        corners, sizes = np.array([r[0] for r in regions]), np.array([r[1] for r in regions])
        places = corners[:, None] + places * sizes[:, None]
        return np.concatenate([places, flat.max(axis=-1)[..., None]], axis=-1)

    def _region(self, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corner and size of the crop of a person, in the aspect that the network sees."""
        height, width = self._crop
        size = box[2:] - box[:2]
        size = _CROP * np.array(
            [max(size[0], size[1] * width / height), max(size[1], size[0] * height / width)]
        )
        return (box[:2] + box[2:]) / 2 - size / 2, size

    def _sighting(
        self, image: np.ndarray, frame: int, box: np.ndarray, score: float, joints: np.ndarray
    ) -> Sighting:
        height, width = image.shape[:2]
        main = [*MAIN_JOINTS, *([BIG_TOE] if len(joints) > BIG_TOE else [])]
        return Sighting(
            frame=frame,
            score=score,
            box=box,
            area=float((box[2:] - box[:2]).prod()) / (height * width),
            in_full=bool(joints[main, 2].min() > self._rules.joint),
            colours=_colours(image, box),
        )


def _cut(image: np.ndarray, region: tuple[np.ndarray, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """A region of an image at another size, corner pixels on corners; black outside the image."""
    (x, y), extent = region
    scale = (np.array([size[1], size[0]]) - 1) / extent
    matrix = np.array([[scale[0], 0, -x * scale[0]], [0, scale[1], -y * scale[1]]])
    return cv2.warpAffine(image, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)


def _colours(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Histogram of the colours in the middle of a person's box, where the person is rather than the scene."""
    left, top, right, bottom = (int(value) for value in (*np.floor(box[:2]), *np.ceil(box[2:])))
    part = cv2.resize(
        image[top:bottom, left:right], (_COLOUR_SIDE, _COLOUR_SIDE), interpolation=cv2.INTER_AREA
    )
    middle, axes = (_COLOUR_SIDE // 2, _COLOUR_SIDE // 2), (_COLOUR_SIDE // 4, _COLOUR_SIDE // 2)
    inside = cv2.ellipse(np.zeros(part.shape[:2], np.uint8), middle, axes, 0, 0, 360, 1, -1)
    return colour_histogram(part, inside)
