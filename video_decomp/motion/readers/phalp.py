"""Reader of results of PHALP or 4D-Humans (``results/NAME.pkl``): one tracked person, in the camera's axes.

Up is the picture's. The networks assume a focal length of 5000/256 of the picture's long side, far longer
than real ones, so that distances along the view come out too long by as much: they are shortened to
those of an ordinary camera. Heights and distances across the view do not change.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimo.stage import Rejected
from video_decomp.hmr2.phalp_results import Results, read_results
from video_decomp.hmr2.smoothing import (
    GUESSED,
    filled_rotations,
    filled_values,
    smooth_rotations,
    smooth_values,
)
from video_decomp.motion.interface import SkeletonMotion, Source
from video_decomp.motion.readers.amass import NAMES, parents_of, rest_places, smpl_roles

JOINTS = 22
ASSUMED, ORDINARY = 5000 / 256, 1.2
"""Focal lengths over the picture's long side."""
CUTOFF, DEPTH_CUTOFF = 6.0, 1.5
"""Hertz above which estimates made frame by frame are smoothed; depth is the least exact of them."""
USUAL_FPS = 30.0


def recognises(path: Path) -> bool:
    """Whether a file is a pickle by its name: its content is only opened by the restricted reader."""
    return path.suffix.lower() in (".pkl", ".pickle")


def read(path: Path, source: Source) -> SkeletonMotion:
    """Read the motion of one person; see `video_decomp.motion.interface`.

    Raises:
        Rejected: it is damaged or hostile, or has no track of that number.
    """
    results = read_results(path)
    number, warnings = _chosen(results, source, path)
    track = results.tracks[number]
    first, last = min(track), max(track)
    frames = last - first + 1
    seen = np.array([first + frame in track for frame in range(frames)])
    rotations = np.tile(np.eye(3), (frames, JOINTS, 1, 1))
    place = np.zeros((frames, 3))
    for number_of, sight in track.items():
        rotations[number_of - first] = sight.rotations[:JOINTS]
        place[number_of - first] = sight.translation
    fps = source.source_fps or USUAL_FPS
    weights = np.where(seen, 1.0, GUESSED)
    rotations = smooth_rotations(filled_rotations(rotations, seen), weights, CUTOFF, fps)
    place = filled_values(place, seen)
    place[:, 2] *= ORDINARY / ASSUMED
    place[:, :2] = smooth_values(place[:, :2], weights, CUTOFF, fps)
    place[:, 2:] = smooth_values(place[:, 2:], weights, DEPTH_CUTOFF, fps)
    names = NAMES[:JOINTS]
    rest, parents = rest_places()[:JOINTS], parents_of(names)
    if source.source_fps is None:
        warnings.append(f"The results do not say their frame rate: {USUAL_FPS:g} (see --source-fps).")
    if not seen.all():
        warnings.append(f"In {int((~seen).sum())} of {frames} frames the person was not seen: interpolated.")
    return SkeletonMotion(
        names=names,
        parents=parents,
        offsets=np.where(parents[:, None] >= 0, rest - rest[parents], 0),
        rotations=rotations,
        translation=place,
        fps=fps,
        up=np.array([0.0, -1.0, 0.0]),
        roles=smpl_roles(names),
        kind="PHALP",
        rest_of="smpl",
        shape=np.median([sight.shape for sight in track.values()], axis=0).astype(np.float32),
        warnings=tuple(warnings),
    )


def _chosen(results: Results, source: Source, path: Path) -> tuple[int, list[str]]:
    """Number of the person's track, and what to say about the choice."""
    if source.track is None:
        longest = max(results.tracks, key=lambda number: len(results.tracks[number]))
        others = len(results.tracks) - 1
        return longest, [
            f"Took person {longest}, seen longest, of {others + 1} (see --track)."
        ] if others else []
    if source.track not in results.tracks:
        there = ", ".join(map(str, sorted(results.tracks)))
        raise Rejected(f"{path}: no track {source.track}; there is {there}")
    return source.track, []
