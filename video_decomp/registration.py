"""Camera motion of a clip: every frame registered to the first frame of its shot.

Corners are tracked (pyramidal Lucas-Kanade) from a key frame straight into each frame, outside the person,
and a homography is fitted robustly; a new key frame is taken when the view has moved on, so that error
grows with the number of key frames and not of frames. A camera that never moves more than a fraction of a
pixel is called static and gets exact identities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import cv2
import numpy as np

from mimo.stage import progress
from mimo.video import VideoReader

WORKING_SHORT_SIDE = 360
THUMBNAIL_STEP = 8
STATIC_PIXELS = 0.45
MIN_INLIERS = 24
MIN_OVERLAP = 0.6


@dataclass(frozen=True)
class CameraMotion:
    """Where every frame of a clip lies, and where the person is in it.

    Attributes:
        size: (width, height) of the frames, pixels.
        homographies: (T, 3, 3) float64, pixels of a frame to pixels of its shot's first frame.
        shots: (T,) int32, number of the shot; frames of different shots cannot be compared.
        static: (T,) bool, the frame's shot is filmed by a camera that does not move.
        inliers: (T,) float32, share of tracked corners that agree with the homography.
        masks: (T, h, w) bool, the person's mask at 1/THUMBNAIL_STEP of the size (a cell counts when any
            pixel in it does).
    """

    size: tuple[int, int]
    homographies: np.ndarray
    shots: np.ndarray
    static: np.ndarray
    inliers: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.homographies)

    def packed(self) -> dict[str, np.ndarray]:
        """As arrays for a file."""
        values = {key.name: np.asarray(getattr(self, key.name)) for key in fields(self)}
        return values | {"masks": np.packbits(self.masks), "cells": np.array(self.masks.shape)}

    @staticmethod
    def unpacked(values: Mapping[str, np.ndarray]) -> CameraMotion:
        """From what `packed` gave."""
        cells = tuple(values["cells"].tolist())
        masks = np.unpackbits(values["masks"], count=int(np.prod(cells))).reshape(cells) > 0
        size = (int(values["size"][0]), int(values["size"][1]))
        rest = {key: values[key] for key in ("homographies", "shots", "static", "inliers")}
        return CameraMotion(size=size, masks=masks, **rest)


@dataclass
class _KeyFrame:
    """A frame that others are tracked from: its grey image, its corners, its place in the shot."""

    gray: np.ndarray
    corners: np.ndarray
    to_shot: np.ndarray
    guess: np.ndarray = field(default_factory=lambda: np.eye(3))


def estimate_motion(frames: VideoReader, masks: VideoReader) -> CameraMotion:
    """Register every frame of a clip to the first frame of its shot.

    Args:
        frames: the clip.
        masks: grey masks of the person, whose pixels are not tracked.
    """
    size = (frames.info.width, frames.info.height)
    scale = min(1.0, WORKING_SHORT_SIDE / min(size))
    to_small = np.diag([scale, scale, 1.0])
    tracker = _Tracker()
    homographies, shots, inliers, thumbnails = [], [], [], []
    pairs = zip(VideoReader(frames.path, gray=True), masks, strict=True)
    for gray, mask in progress(pairs, "camera motion", total=len(frames)):
        small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        blocked = cv2.dilate(
            cv2.resize(mask, small.shape[::-1], interpolation=cv2.INTER_LINEAR), np.ones((9, 9), np.uint8)
        )
        to_shot, agreed = tracker.track(small, blocked > 16)
        homographies.append(np.linalg.inv(to_small) @ to_shot @ to_small)
        shots.append(tracker.shot)
        inliers.append(agreed)
        thumbnails.append(mask_thumbnail(mask))
    return _with_static_shots(
        CameraMotion(
            size,
            np.array(homographies),
            np.array(shots, np.int32),
            np.zeros(len(shots), bool),
            np.array(inliers, np.float32),
            np.array(thumbnails),
        )
    )


def mask_thumbnail(mask: np.ndarray) -> np.ndarray:
    """Cells of THUMBNAIL_STEP pixels a side that hold any of a mask's pixels: bool (h, w)."""
    step = THUMBNAIL_STEP
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % step), (0, -width % step)))
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    return blocks.max(axis=(1, 3)) > 127


class _Tracker:
    """Follows the camera from frame to frame; homographies are in pixels of the small images."""

    def __init__(self) -> None:
        self.shot = 0
        self._key: _KeyFrame | None = None
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def track(self, gray: np.ndarray, blocked: np.ndarray) -> tuple[np.ndarray, float]:
        """Homography of the next frame to its shot's first frame, and the share of corners that agree."""
        if self._key is None or self._last is None:
            return self._start(gray, blocked, np.eye(3))
        found = _match(self._key, gray, blocked)
        if found is None:
            # The key frame is too far back: go on from the last frame, or, failing that, cut.
            last_gray, last_blocked, last_to_shot = self._last
            self._key = _key_frame(last_gray, last_blocked, last_to_shot)
            found = _match(self._key, gray, blocked)
            if found is None:
                self.shot += 1
                return self._start(gray, blocked, np.eye(3))
        to_key, agreed = found
        to_shot = self._key.to_shot @ to_key
        self._key.guess = np.linalg.inv(to_key)
        if _overlap(to_key, gray.shape) < MIN_OVERLAP:
            return self._start(gray, blocked, to_shot)[0], agreed
        self._last = (gray, blocked, to_shot)
        return to_shot, agreed

    def _start(self, gray: np.ndarray, blocked: np.ndarray, to_shot: np.ndarray) -> tuple[np.ndarray, float]:
        self._key = _key_frame(gray, blocked, to_shot)
        self._last = (gray, blocked, to_shot)
        return to_shot, 1.0


def _key_frame(gray: np.ndarray, blocked: np.ndarray, to_shot: np.ndarray) -> _KeyFrame:
    allowed = np.where(blocked, 0, 255).astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(gray, 400, 0.005, 7, mask=allowed, blockSize=5)
    if corners is None:
        corners = np.zeros((0, 1, 2), np.float32)
    return _KeyFrame(gray, corners.astype(np.float32), to_shot)


def _match(key: _KeyFrame, gray: np.ndarray, blocked: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Homography from a frame to a key frame, or None when too few corners agree."""
    if len(key.corners) < MIN_INLIERS:
        return None
    guess = cv2.perspectiveTransform(key.corners, key.guess).astype(np.float32)
    there, status = _flow(key.gray, gray, key.corners, guess)
    back, returned = _flow(gray, key.gray, there, key.corners)
    height, width = gray.shape
    at = np.clip(np.round(there[:, 0]).astype(int), 0, (width - 1, height - 1))
    good = (status[:, 0] > 0) & (returned[:, 0] > 0)
    good &= np.linalg.norm(back[:, 0] - key.corners[:, 0], axis=1) < 0.6
    good &= ~blocked[at[:, 1], at[:, 0]]
    if good.sum() < MIN_INLIERS:
        return None
    cv2.setRNGSeed(0)
    homography, agreeing = cv2.findHomography(there[good], key.corners[good], cv2.USAC_MAGSAC, 1.0)
    if homography is None or agreeing.sum() < max(MIN_INLIERS, 0.25 * good.sum()):
        return None
    return homography, float(agreeing.mean())


def _flow(
    before: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where points (N, 1, 2) have moved to, from a guess; and whether each was found, (N, 1)."""
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, guess.copy(), winSize=(17, 17), maxLevel=3, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    return np.asarray(moved), np.asarray(status)


def _overlap(to_key: np.ndarray, shape: tuple[int, ...]) -> float:
    """Share of the key frame's area that the frame still sees."""
    height, width = shape
    corners = np.array([[[0, 0]], [[width, 0]], [[width, height]], [[0, height]]], np.float32)
    moved = cv2.perspectiveTransform(corners, to_key)
    area, _ = cv2.intersectConvexConvex(corners, moved.astype(np.float32))
    return area / max(width * height, abs(cv2.contourArea(moved.astype(np.float32))))


def _with_static_shots(motion: CameraMotion) -> CameraMotion:
    """Replace the homographies of shots in which the camera stands by exact identities."""
    width, height = motion.size
    points = np.array([[[x, y]] for x in (0, width / 2, width) for y in (0, height / 2, height)], np.float64)
    moved = np.array([cv2.perspectiveTransform(points, h) for h in motion.homographies])
    shift = np.linalg.norm(moved - points, axis=-1).mean(axis=(1, 2))
    for shot in np.unique(motion.shots):
        within = motion.shots == shot
        # Tracking is noisy in single frames; a camera that moves is off in many.
        if np.quantile(shift[within], 0.95) < STATIC_PIXELS:
            motion.static[within] = True
            motion.homographies[within] = np.eye(3)
    return motion
