"""What is seen of the person: BlazePose landmarks and the mask's outline, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from video_decomp.blazepose import LandmarkNetwork, PoseLandmarks
from video_decomp.body_region import Roi, roi_from_box

SURE = 0.5  # score from which the landmark network's person is taken for one
SAME_PERSON = 0.7  # intersection over union with the mask from which on it is the same person who was seen
HALO, BLUR = (
    0.015,
    0.07,
)  # what is left of the surroundings, and how blurred the rest is, in sizes of the person
MIN_PIXELS = 64  # smaller masks are specks
AGREEMENT = 0.05  # mean distance up to which two looks are the same, part of the person's size
OUTLINE_STEP = 0.02  # distance of outline points, part of the person's height


@dataclass(frozen=True, eq=False)
class Outline:
    """Edge of a mask.

    Attributes:
        points: (N, 2) float32 pixels.
        normals: (N, 2) float32 unit vectors, outwards.
    """

    points: np.ndarray
    normals: np.ndarray


@dataclass(frozen=True, eq=False)
class Look:
    """What the landmark network said about a region: `landmarks` (33, 2) pixels, `world` (33, 3) metres in
    camera axes, `visibility` (33,) and `score`, both 0..1."""

    landmarks: np.ndarray
    world: np.ndarray
    visibility: np.ndarray
    score: float


@dataclass(frozen=True, eq=False)
class Observations:
    """Small numbers of all frames of a clip; no pictures.

    Attributes:
        size: width, height of the frames, pixels.
        seen: (T,) bool, landmarks were found.
        landmarks: (T, 33, 2) pixels; 0 where not seen.
        world: (T, 33, 3) metres relative to the hips, camera axes; 0 where not seen.
        visibility: (T, 33) 0..1; 0 where not seen.
        outlines: T outlines, empty where there is no mask.
        scale: person's height in the picture, pixels: median extent of the landmarks.
    """

    size: tuple[int, int]
    seen: np.ndarray
    landmarks: np.ndarray
    world: np.ndarray
    visibility: np.ndarray
    outlines: tuple[Outline, ...]
    scale: float


def observe(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], network: LandmarkNetwork, focal: float
) -> Observations:
    """Look at a clip once.

    Args:
        frames: RGB frames (h, w, 3) and their masks (h, w), uint8; at least one.
        network: BlazePose's landmark network.
        focal: focal length in pixels, to turn world landmarks from the line of sight to camera axes.
    """
    looks: list[list[Look]] = []
    outlines: list[Outline] = []
    size = (0, 0)
    for image, mask in frames:
        size = (image.shape[1], image.shape[0])
        looks.append(look_at(image, mask_box(mask), network, focal, mask))
        outlines.append(outline(mask))
    chosen = steady(looks)
    nothing = Look(np.zeros((33, 2)), np.zeros((33, 3)), np.zeros(33), 0.0)
    best = [nothing if look is None else look for look in chosen]
    seen = np.array([look is not None for look in chosen])
    landmarks = np.stack([look.landmarks for look in best])
    extent = np.ptp(landmarks[seen], axis=1).max(1) if seen.any() else np.ones(1)
    return Observations(
        size,
        seen,
        landmarks,
        np.stack([look.world for look in best]),
        np.stack([look.visibility for look in best]),
        tuple(outlines),
        # Landmarks reach from the eyes to the toes: about 0.93 of the height.
        float(np.median(extent)) / 0.93,
    )


def look_at(
    image: np.ndarray,
    box: np.ndarray | None,
    network: LandmarkNetwork,
    focal: float,
    mask: np.ndarray | None = None,
) -> list[Look]:
    """Landmarks in two regions: the upright one about a box, and the one that is proposed then.

    The network sometimes takes a person for one seen from behind, mostly in only one of the two. Where two
    people meet it may see the other one in both. Then it is shown the person alone.

    Args:
        image: RGB frame.
        box: left, top, right, bottom of the person, pixels; nothing if there is none.
        network, focal: as for `observe`.
        mask: (h, w) uint8 of the person; None: unknown, and whoever is seen is taken for them.

    Returns:
        None to two looks.
    """
    if box is None:
        return []
    size = (image.shape[1], image.shape[0])
    region = roi_from_box(*(float(value) for value in box))
    found = _look_twice(image, region, network)
    if mask is not None and _fit(found, mask) < SAME_PERSON:
        again = _look_twice(alone(image, mask, box), region, network)
        found = max(found, again, key=lambda seen: _fit(seen, mask))
    return [_as_look(one, size, focal) for one in found]


def _look_twice(image: np.ndarray, region: Roi, network: LandmarkNetwork) -> list[PoseLandmarks]:
    """None to two people: those that the network is sure of."""
    first = network.run(image, region)
    return [one for one in (first, network.run(image, first.next_roi)) if one.score >= SURE]


def _fit(found: list[PoseLandmarks], mask: np.ndarray) -> float:
    """How well the best of what was seen fits a mask: intersection over union; less than any for nobody."""
    inside = mask > 127
    overlaps = [-1.0]
    for one in found:
        seen = one.mask_in_image(*mask.shape) > 0.5
        overlaps.append(float((seen & inside).sum() / max((seen | inside).sum(), 1)))
    return max(overlaps)


def alone(image: np.ndarray, mask: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A frame in which nothing but one person can be made out, uint8 (h, w, 3).

    Args:
        image: the frame, uint8 (h, w, 3).
        mask: of the person, (h, w) uint8.
        box: around them.
    """
    height = float(np.max(box[2:] - box[:2]))
    size = 2 * max(1, round(HALO * height)) + 1
    near = cv2.dilate((mask > 127).astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    others = (~near).astype(np.float32)
    sigma = BLUR * height
    sums = cv2.GaussianBlur(image * others[..., None], (0, 0), sigma)
    shares = cv2.GaussianBlur(others, (0, 0), sigma)[..., None]
    blurred = np.clip(sums / np.maximum(shares, 1e-3), 0, 255)
    return np.where(near[..., None], image, blurred).astype(np.uint8)


def _as_look(one: PoseLandmarks, size: tuple[int, int], focal: float) -> Look:
    return Look(
        one.image[:, :2].astype(float),
        one.world @ _towards(one.roi, size, focal).T,
        (one.visibility * one.presence).astype(float),
        one.score,
    )


def steady(looks: list[list[Look]]) -> list[Look | None]:
    """Of several looks at each frame, the sequence that changes least (Viterbi); agreeing looks are averaged.

    Args:
        looks: none or more for each frame.

    Returns:
        One for each frame, nothing where there was none.
    """
    chosen: list[Look | None] = []
    costs: list[np.ndarray] = []
    backs: list[np.ndarray] = []
    previous: list[Look] = []
    for frame in looks:
        own = np.array([1 - one.score for one in frame])
        if previous and frame:
            change = np.array([[_distance(old, new) for old in previous] for new in frame]) + costs[-1]
            backs.append(change.argmin(1))
            costs.append(change.min(1) + own)
        else:
            backs.append(np.full(len(frame), -1))
            costs.append(own)
        previous = frame
    index = -1
    for frame, cost, back in zip(reversed(looks), reversed(costs), reversed(backs), strict=True):
        if not frame:
            chosen.append(None)
            index = -1
            continue
        index = int(cost.argmin()) if index < 0 else index
        chosen.append(_average(frame[index], frame))
        index = int(back[index])
    return chosen[::-1]


def _distance(first: Look, second: Look) -> float:
    """Mean distance of landmarks in units of the person's size in the picture, at most 1 each."""
    size = max(np.ptp(first.landmarks, axis=0).max(), np.ptp(second.landmarks, axis=0).max(), 1.0)
    return float(np.minimum(np.linalg.norm(first.landmarks - second.landmarks, axis=1) / size, 1).mean())


def _average(chosen: Look, looks: list[Look]) -> Look:
    """Mean of the looks that agree with the chosen one."""
    agreeing = [look for look in looks if _distance(look, chosen) < AGREEMENT]
    return Look(
        np.mean([look.landmarks for look in agreeing], axis=0),
        np.mean([look.world for look in agreeing], axis=0),
        np.mean([look.visibility for look in agreeing], axis=0),
        float(np.mean([look.score for look in agreeing])),
    )


def mask_box(mask: np.ndarray) -> np.ndarray | None:
    """Left, top, right, bottom of a mask (pixels, right and bottom exclusive); nothing for specks."""
    inside = mask > 127
    if np.count_nonzero(inside) < MIN_PIXELS:
        return None
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def _towards(roi: Roi, size: tuple[int, int], focal: float) -> np.ndarray:
    """Rotation (3, 3) from the line of sight through the region's centre to the camera's axes."""
    ray = np.array([roi.x - size[0] / 2, roi.y - size[1] / 2, focal])
    z = ray / np.linalg.norm(ray)
    x = np.cross([0, 1, 0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def outline(mask: np.ndarray) -> Outline:
    """Points along the edges of a mask, holes included, without those along the picture's border."""
    box = mask_box(mask)
    if box is None:
        return Outline(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    left, top = (box[:2] - 8).clip(0).astype(int)
    right, bottom = (box[2:] + 8).astype(int)
    window = mask[top:bottom, left:right]
    binary = (window > 127).astype(np.uint8)
    step = max(1, round(OUTLINE_STEP * max(box[2] - box[0], box[3] - box[1])))
    smooth = cv2.GaussianBlur(binary.astype(np.float32), (0, 0), max(1.0, step / 2))
    slope_x, slope_y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    chains, _ = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    places = [chain[::step, 0] for chain in chains if len(chain) >= 4 * step]
    if not places:
        return Outline(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    pixels = np.concatenate(places)
    normals = -np.stack([slope_x[pixels[:, 1], pixels[:, 0]], slope_y[pixels[:, 1], pixels[:, 0]]], 1)
    length = np.linalg.norm(normals, axis=1)
    # The chain runs over the centres of the outermost pixels: the edge is half a pixel further out.
    unit = normals / np.maximum(length, 1e-9)[:, None]
    points = pixels + 0.5 + (left, top) + 0.5 * unit
    height, width = mask.shape
    inner = (points > 2).all(1) & (points[:, 0] < width - 2) & (points[:, 1] < height - 2) & (length > 1e-6)
    return Outline(points[inner].astype(np.float32), unit[inner].astype(np.float32))
