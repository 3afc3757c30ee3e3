"""What stands in front of a scene's person need not stand in front of another one: how far away it is.

A thing is nearer to the camera than the scene's person whom it hides, and about as far away as the ground
that is seen at its lowest pixel (where that leaves the picture: nearer). Distances are along the ground, the
way the camera looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.ndimage import median_filter

from mimo.body.camera import scale_camera
from mimo.body.motion import Motion
from mimo.stage import progress
from video_decomp.motion.placing import Ground, places_of
from video_decomp.occlusion.hidden import silhouette, working_scale
from video_decomp.staging.interface import Frames, Scene

LEVEL = 127
"""Level of the mask from which a pixel belongs to a thing."""
SMALLEST = 16
"""Pixels of a thing at least."""
HIDES = 0.02
"""Share of the scene's person that a thing covers from which on it hides him."""
CALM = 0.3
"""Seconds over which a decision must hold."""


@dataclass
class Things:
    """Things in front, followed from frame to frame.

    Attributes:
        count: of the things.
        labels: numbers of the things in every frame that was looked at, one for each connected part of its
            mask, in the order of `_parts`.
        feet: distances (metres) of the ground at each thing's lowest pixel, over its frames.
        hidden: distance of the nearest scene's person that each thing hides.
    """

    count: int = 0
    labels: dict[int, list[int]] = field(default_factory=dict)
    feet: dict[int, list[float]] = field(default_factory=dict)
    hidden: dict[int, float] = field(default_factory=dict)

    def distance(self, thing: int) -> float:
        """Metres from the camera, at most; 0 for what neither stands on the ground nor hides anybody."""
        found = min(float(np.median(self.feet[thing])), self.hidden.get(thing, np.inf))
        return found if np.isfinite(found) else 0.0


def find_things(scene: Scene, numbers: np.ndarray) -> Things:
    """Follow what stands in front through a scene and measure how far away it is.

    Args:
        scene: with things in front, and ground.
        numbers: frames that will be shown, any order.
    """
    assert scene.occ is not None
    assert scene.ground is not None
    shown = np.unique(numbers)
    people = _distances_of_person(scene)
    things, before, last = Things(), None, np.zeros(0, int)
    for number, mask in zip(
        shown.tolist(), progress(scene.occ(shown), "things in front", total=len(shown)), strict=True
    ):
        parts = _parts(mask)
        own = _followed(parts, before, last, things)
        things.labels[number] = own.tolist()
        body = _body(scene.person, number, mask.shape) if people is not None else None
        for part, thing in enumerate(own.tolist(), 1):
            things.feet.setdefault(thing, []).append(_foot(parts, part, scene.ground))
            if (
                body is not None
                and people is not None
                and (body & (parts == part)).sum() > HIDES * body.sum()
            ):
                things.hidden[thing] = min(things.hidden.get(thing, np.inf), float(people[number]))
        before, last = parts, own
    return things


def _distances_of_person(scene: Scene) -> np.ndarray | None:
    """(length,) metres of the scene's person at the scale of the scene's ground; None without one."""
    if scene.person is None:
        return None
    assert scene.ground is not None
    own = Ground.of(scene.person)
    return np.asarray(places_of(scene.person, own) @ own.forward * (scene.ground.height / own.height))


def _body(person: Motion | None, number: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """(h, w) bool, where the scene's person is, seen or not."""
    if person is None or not person.visible[number]:
        return None
    scale = working_scale((shape[1], shape[0]))
    size = (round(shape[0] * scale), round(shape[1] * scale))
    small = silhouette(person, number, scale_camera(person.camera, scale), size)
    return np.asarray(cv2.resize(small.astype(np.uint8), (shape[1], shape[0]))) > 0


def _parts(mask: np.ndarray) -> np.ndarray:
    """(h, w) int32: 0, and 1, 2, ... for the connected parts of a mask that are large enough."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((mask > LEVEL).astype(np.uint8))
    large = boxes[:, cv2.CC_STAT_AREA] >= SMALLEST
    large[0] = False
    renamed = np.where(large, np.cumsum(large), 0).astype(np.int32)
    return np.asarray(renamed[labels])


def _followed(parts: np.ndarray, before: np.ndarray | None, last: np.ndarray, things: Things) -> np.ndarray:
    """Numbers of the things that the parts of a mask belong to: of those they overlap most, else new ones."""
    own: list[int] = []
    for part in range(1, int(parts.max()) + 1):
        overlap = (
            np.zeros(1) if before is None else np.bincount(before[parts == part], minlength=len(last) + 1)
        )
        if overlap[1:].any():
            own.append(int(last[overlap[1:].argmax()]))
        else:
            own.append(things.count)
            things.count += 1
    return np.array(own, int)


def _foot(parts: np.ndarray, part: int, ground: Ground) -> float:
    """Metres to the ground at the lowest pixel of a part; infinity where that shows no ground."""
    rows, columns = np.nonzero(parts == part)
    bottom = rows.max()
    place = ground.at_pixel(float(columns[rows == bottom].mean()) + 0.5, float(bottom) + 1)
    return float(place @ ground.forward) if place is not None else np.inf


def covered(things: Things, numbers: np.ndarray, places: np.ndarray, fps: float) -> np.ndarray:
    """(T, N) bool: which of the N things stand in front of somebody in each frame.

    Args:
        things: of the scene.
        numbers: (T,) frames of the scene that are shown.
        places: (T,) metres of the person from the camera, along the ground.
        fps: frames a second.
    """
    distances = np.array([things.distance(thing) for thing in range(things.count)])
    front = (distances[None] < places[:, None]).astype(np.uint8)
    window = round(CALM * fps) // 2 * 2 + 1
    return np.asarray(median_filter(front, (window, 1), mode="nearest")) > 0


def kept(occ: Frames, things: Things, front: np.ndarray, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """The masks of a scene with only those things that stand in front, (h, w) uint8 each.

    Args:
        occ: the masks.
        things: that were found in them.
        front: (T, N) see `covered`.
        numbers: (T,) frames to give.
    """
    for index, mask in enumerate(occ(numbers)):
        own = things.labels[int(numbers[index])]
        gone = [part for part, thing in enumerate(own, 1) if not front[index, thing]]
        if not gone:
            yield mask
        elif len(gone) == len(own):
            yield np.zeros_like(mask)
        else:
            yield _without(mask, gone)


def _without(mask: np.ndarray, gone: list[int]) -> np.ndarray:
    """A soft mask without some of its parts and their soft edges: each pixel goes with the nearest part."""
    parts = _parts(mask)
    _, nearest = cv2.distanceTransformWithLabels(
        (parts == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(int(nearest.max()) + 1, np.int32)
    inside = parts > 0
    of_label[nearest[inside]] = parts[inside]
    return np.where(np.isin(of_label[nearest], gone), 0, mask).astype(np.uint8)
