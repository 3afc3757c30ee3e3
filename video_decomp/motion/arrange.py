"""A body's motion mirrored, or repeated without a seam."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from video_decomp.motion.retarget import headings
from video_decomp.motion.timing import between

ACROSS = np.diag([-1.0, 1.0, 1.0])


def mirrored(poses: Poses, figure: Figure) -> Poses:
    """Left and right exchanged: what the left arm did, the right one does, in a mirrored world."""
    names = figure.body.bone_names
    other = [names.index(_other_side(name, names)) for name in names]
    return Poses(ACROSS @ poses.turns[:, other] @ ACROSS, poses.hips @ ACROSS)


def _other_side(name: str, names: tuple[str, ...]) -> str:
    for left, right in ((".L", ".R"), ("left_", "right_")):
        for own, theirs in ((left, right), (right, left)):
            if name.endswith(own) or name.startswith(own):
                swapped = name.replace(own, theirs)
                return swapped if swapped in names else name
    return name


def looped(poses: Poses, times: int, frames: int) -> Poses:
    """A motion several times, each where the one before ended, walking on in the direction it had turned to.

    The last `frames` of each round pass over into the pose that the next one begins with.

    Args:
        poses: one round.
        times: rounds.
        frames: of the passage, at most half of a round.
    """
    last = len(poses) - 1
    if times == 1 or last < 2:
        return poses
    turn = Rotation.from_euler("z", headings(poses.turns[:, 0])[last] - headings(poses.turns[:, 0])[0])
    turn_matrix = turn.as_matrix()
    step = poses.hips[last] - turn.apply(poses.hips[0])
    step[2] = 0
    passage = min(frames, last // 2)
    share = np.clip((np.arange(len(poses)) - (last - passage)) / max(passage, 1), 0, 1)
    share = share * share * (3 - 2 * share)
    start = turn_matrix @ poses.turns[0]
    # What the end lacks to be the beginning, added little by little.
    lack = np.swapaxes(poses.turns[last], 1, 2) @ start
    part = between(
        np.broadcast_to(np.eye(3), (len(poses), *lack.shape)),
        np.broadcast_to(lack, (len(poses), *lack.shape)),
        share[:, None],
    )
    rise = (turn.apply(poses.hips[0]) + step - poses.hips[last])[2]
    turns = poses.turns @ part
    hips = poses.hips + (share * rise)[:, None] * np.array([0, 0, 1.0])
    rounds_turns, rounds_hips = [turns[:1]], [hips[:1]]
    rotation, place = np.eye(3), np.zeros(3)
    for _ in range(times):
        rounds_turns.append(rotation @ turns[1:])
        rounds_hips.append(hips[1:] @ rotation.T + place)
        place = rotation @ step + place
        rotation = rotation @ turn_matrix
    return Poses(np.concatenate(rounds_turns), np.concatenate(rounds_hips))
