"""A skeleton's motion at other times: even frames, another rate, a part of it, faster or slower."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.stage import Rejected
from video_decomp.motion.interface import SkeletonMotion

UNEVEN = 0.01
"""Share of a frame's time by which times may differ from even ones and still count as such."""


def evenly(motion: SkeletonMotion, times: np.ndarray) -> SkeletonMotion:
    """A motion whose frames are at any times, at even ones.

    Args:
        motion: its `fps` is the rate to have.
        times: (T,) seconds, from 0, ascending.
    """
    even = np.arange(len(times)) / motion.fps
    if np.abs(times - even).max() * motion.fps < UNEVEN:
        return motion
    wanted = np.arange(int(np.floor(times[-1] * motion.fps + UNEVEN)) + 1) / motion.fps
    return motion.with_frames(*at_times(motion, times, np.minimum(wanted, times[-1])), motion.fps)


def resampled(
    motion: SkeletonMotion, fps: float, start: float = 0, end: float | None = None, speed: float = 1
) -> SkeletonMotion:
    """A part of a motion at another frame rate and speed.

    Args:
        motion: as read.
        fps: frames a second to have.
        start, end: seconds of the file; None: to its end.
        speed: 2 is twice as fast.

    Raises:
        Rejected: the part is not within the motion.
    """
    last = (len(motion) - 1) / motion.fps
    stop = last if end is None else min(end, last)
    if start > last or stop < start:
        raise Rejected(
            f"start {start:g} s, end {stop:g} s: the motion lasts {last:.2f} s; choose a part of it"
        )
    count = int(np.floor((stop - start) / speed * fps + UNEVEN)) + 1
    wanted = np.minimum(start + np.arange(count) * speed / fps, stop)
    times = np.arange(len(motion)) / motion.fps
    return motion.with_frames(*at_times(motion, times, wanted), fps)


def at_times(motion: SkeletonMotion, times: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, J, 3, 3) on the shortest way and translation (N, 3) at some times.

    Args:
        motion: T frames.
        times: (T,) seconds of its frames, ascending.
        wanted: (N,) seconds, within them.
    """
    if len(times) == 1:
        return motion.rotations[np.zeros(len(wanted), int)], motion.translation[np.zeros(len(wanted), int)]
    before = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 2)
    share = (wanted - times[before]) / np.maximum(times[before + 1] - times[before], 1e-9)
    rotations = between(motion.rotations[before], motion.rotations[before + 1], share[:, None])
    first, second = motion.translation[before], motion.translation[before + 1]
    return rotations, first + share[:, None] * (second - first)


def between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) a share (broadcast to ...) of the shortest way from the first to the second."""
    turn = Rotation.from_matrix((np.swapaxes(first, -1, -2) @ second).reshape(-1, 3, 3)).as_rotvec()
    part = turn * np.broadcast_to(share, first.shape[:-2]).reshape(-1, 1)
    return first @ Rotation.from_rotvec(part).as_matrix().reshape(first.shape)
