"""When feet stand on the ground: low and slow, for long enough; and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, find_objects, gaussian_filter1d, label

HIGH = 0.08
"""Metres above the ground from which heel or ball no longer touch it."""
FAST = 0.7
"""Metres a second from which they do not stand."""
SHORT = 0.08
"""Seconds that a foot stands at least."""
GAP = 0.07
"""Seconds of a lift that does not count."""
DRIFT = 0.12
"""Metres that a foot may drift while it stands: it is set down anew where it drifts further."""
GATHER = 0.02
"""Metres within which heights count as the same."""
MUCH = 0.4
"""Of the frames at the commonest height, so many are enough for a lower one to be the ground."""
STEP = 0.13
"""Seconds that setting it down anew takes."""


@dataclass(frozen=True, eq=False)
class Stance:
    """A foot standing.

    Attributes:
        start, stop: frames, the last exclusive.
        touches: (stop - start, 2) bool, heel and ball on the ground; at least one is.
        anchors: (2, 2) metres, where heel and ball stand (x, y); exactly the foot's length apart.
        flat: frames of the stance, counted from `start`, in which both touch; may be empty.
        height: metres, z of the ground under the foot.
    """

    start: int
    stop: int
    touches: np.ndarray
    anchors: np.ndarray
    flat: np.ndarray
    height: float = 0.0


def ground_height(lowest: np.ndarray) -> float:
    """z of the ground under a body whose lowest points are at (T,) heights.

    It stands there for much of the time: the lowest height at which the lowest points gather.
    """
    levels = np.arange(lowest.min() - GATHER, lowest.max() + 2 * GATHER, GATHER / 4)
    gathered = np.zeros(len(levels))
    np.add.at(gathered, np.searchsorted(levels, lowest).clip(0, len(levels) - 1), 1)
    gathered = gaussian_filter1d(gathered, 4)
    level = levels[np.flatnonzero(gathered >= MUCH * gathered.max())[0]]
    near = lowest[(lowest > level - GATHER) & (lowest < level + 2 * GATHER)]
    return float(np.median(near))


def stances(points: np.ndarray, fps: float) -> list[Stance]:
    """When and where a foot stands.

    Args:
        points: (T, 2, 3) heel and ball; the ground is z = 0.
        fps: frames a second.
    """
    if len(points) < 2:
        touches = points[:, :, 2] < HIGH
    else:
        speed = np.linalg.norm(np.gradient(points, axis=0), axis=-1) * fps
        touches = (points[:, :, 2] < HIGH) & (speed < FAST)
    touches = _steady(touches, fps)
    runs, _ = label(touches.any(1))
    found = []
    for (run,) in find_objects(runs):
        found += _split(points, touches, run.start, run.stop, fps)
    return found


def _steady(touches: np.ndarray, fps: float) -> np.ndarray:
    """Contacts (T, 2) without short gaps and short touches."""
    gap, least = max(round(GAP * fps), 1), max(round(SHORT * fps), 1)
    result = np.zeros_like(touches)
    for point in range(2):
        padded = np.pad(touches[:, point], gap, mode="edge")
        closed = binary_closing(padded, np.ones(gap + 1))[gap:-gap]
        runs, _ = label(closed)
        for (run,) in find_objects(runs):
            if run.stop - run.start >= min(least, len(touches)):
                result[run, point] = True
    return result


def _split(points: np.ndarray, touches: np.ndarray, start: int, stop: int, fps: float) -> list[Stance]:
    """Stances between two frames; where the foot drifts too far, several."""
    stance = _stance(points, touches, start, stop)
    distance = np.linalg.norm(points[start:stop, :, :2] - stance.anchors, axis=-1)
    distance = np.where(stance.touches, distance, 0).max(1)
    step = max(round(STEP * fps), 2)
    if distance.max() < DRIFT or stop - start < 3 * step:
        return [stance]
    # Cut where the foot moves fastest, away from the ends.
    moved = np.where(touches[start + 1 : stop], _moves(points[start:stop]), 0).max(1)
    moved[: step - 1], moved[len(moved) - step + 1 :] = -1, -1
    middle = start + 1 + int(moved.argmax())
    before, after = middle - step // 2, middle + (step + 1) // 2
    parts = []
    for first, last in ((start, before), (after, stop)):
        if last - first >= max(round(SHORT * fps), 1):
            parts += _split(points, touches, first, last, fps)
    return parts


def _moves(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(points[:, :, :2], axis=0), axis=-1)


def _stance(points: np.ndarray, touches: np.ndarray, start: int, stop: int) -> Stance:
    own, touching = points[start:stop], touches[start:stop]
    flat = np.flatnonzero(touching.all(1))
    length = float(np.median(np.linalg.norm(own[:, 1] - own[:, 0], axis=-1)))
    if len(flat):
        direction = np.median(own[flat, 1, :2] - own[flat, 0, :2], axis=0)
        direction /= max(float(np.linalg.norm(direction)), 1e-9)
        middle = np.median(own[flat].mean(1)[:, :2], axis=0)
        anchors = np.stack([middle - direction * length / 2, middle + direction * length / 2])
    else:
        anchors = np.stack(
            [
                np.median(own[touching[:, point], point, :2], axis=0)
                if touching[:, point].any()
                else own[0, point, :2]
                for point in range(2)
            ]
        )
    return Stance(start, stop, touching, anchors, flat)
