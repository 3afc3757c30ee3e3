"""Things that stand in the scene, in front of the person: from hidden places to outlines."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from video_decomp.occlusion.outline import coarse_outline, connected_to, edge_contrast, fine_outline

STRONG_VIEWS = 2
SURE = 3
MIN_AGREEMENT = 0.6


@dataclass(frozen=True)
class StillThing:
    """An occluder that stands in the scene.

    Attributes:
        mask: (h, w) bool on the segment's canvas, full resolution.
        confidence: 0..1, from how clear its edge is and how well the hidden places agree with it.
    """

    mask: np.ndarray
    confidence: float


def find_still_things(
    plate: np.ndarray,
    hidden: np.ndarray,
    seen: np.ndarray,
    reach: float,
    least: float,
) -> list[StillThing]:
    """Outline what stands in front of the person.

    Args:
        plate: (H, W, 3) uint8 RGB, the empty scene, full resolution.
        hidden: (h, w) int, in how many frames the body was hidden there; working resolution.
        seen: (h, w) int, how surely the person was seen there: SURE for every sure frame, 1 for others.
        reach: pixels (working resolution) around the hidden places in which a thing is outlined.
        least: smallest area (working resolution) of hidden places that count.
    """
    height, width = hidden.shape
    picture = cv2.resize(plate, (width, height), interpolation=cv2.INTER_AREA)
    core, behind = _seeds(hidden, seen)
    things = []
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(core.astype(np.uint8))
    done = np.zeros_like(core)
    for label in sorted(range(1, count), key=lambda label: -boxes[label, cv2.CC_STAT_AREA]):
        part = labels == label
        if boxes[label, cv2.CC_STAT_AREA] < least or (part & done).any():
            continue
        left, top, wide, high = (int(value) for value in boxes[label, :4])
        pad = round(reach)
        box = (
            slice(max(0, top - pad), min(height, top + high + pad)),
            slice(max(0, left - pad), min(width, left + wide + pad)),
        )
        # The other hidden places help to say what the things look like.
        outline = np.zeros_like(core)
        outline[box] = coarse_outline(picture[box], core[box], behind[box])
        outline = connected_to(outline, part)
        thing = _refined(plate, picture, outline, core, behind, box)
        if thing is not None:
            things.append(thing)
            done |= outline
    return things


def _seeds(hidden: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that surely belong to things in front, and pixels that surely are behind the person."""
    allowed = seen * 4 <= hidden * SURE
    weak = (hidden > 0) & allowed
    weak = cv2.morphologyEx(weak.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    core = connected_to(weak, (hidden >= STRONG_VIEWS) & allowed)
    behind = (seen >= 2 * SURE) & ~core
    behind = cv2.erode(behind.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0
    return core, behind


def _refined(
    plate: np.ndarray,
    picture: np.ndarray,
    outline: np.ndarray,
    core: np.ndarray,
    behind: np.ndarray,
    box: tuple[slice, slice],
) -> StillThing | None:
    """The outline at full resolution, or None when hidden and seen places do not agree with it."""
    if not outline.any():
        return None
    person_over = float((behind & outline).sum()) / float(outline.sum())
    agreement = 1 - 4 * person_over
    near_person = cv2.dilate(behind.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    contrast = edge_contrast(picture[box], outline[box], near_person[box])
    if agreement < MIN_AGREEMENT:
        return None
    scale = plate.shape[1] / picture.shape[1]
    rows, columns = (
        slice(round(side.start * scale), min(limit, round(side.stop * scale)))
        for side, limit in zip(box, plate.shape[:2], strict=True)
    )
    size = (columns.stop - columns.start, rows.stop - rows.start)
    sure = cv2.erode((core & outline).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    full = [_enlarged(area[box], size) for area in (outline, sure if sure.any() else core, behind)]
    mask = np.zeros(plate.shape[:2], bool)
    mask[rows, columns] = fine_outline(plate[rows, columns], *full)
    return StillThing(mask, round(float(np.sqrt(max(0.0, agreement) * contrast)), 2))


def _enlarged(area: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A working-resolution area at full resolution with a smooth outline."""
    return cv2.resize(area.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
