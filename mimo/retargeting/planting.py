"""Feet that stand still while they stand: place and turn of a foot, corrections faded in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from mimo.body.limbs import below, shortest
from mimo.retargeting.contacts import Stance

FADE = 0.17
"""Seconds over which a correction fades after the foot has left the ground, and before it arrives."""
LEVEL = 0.1
"""Seconds over which a foot becomes flat."""
TOE_BEND = np.radians(80)
STEEP = 0.8
"""Sine of the slope beyond which a foot is no foot that stands."""


@dataclass(frozen=True, eq=False)
class Foot:
    """Where a foot has to be.

    Attributes:
        ankle: (T, 3) metres.
        turn: (T, 3, 3) rotation from rest to the world.
        planted: (T,) bool, it stands.
    """

    ankle: np.ndarray
    turn: np.ndarray
    planted: np.ndarray

    @classmethod
    def of(cls, poses: Poses, places: np.ndarray, bone: int) -> Foot:
        """The foot of a bone in some poses; it does not stand yet."""
        return cls(places[:, bone], poses.turns[:, bone], np.zeros(len(poses), bool))


def planted(
    foot: Foot, standing: list[Stance], points: np.ndarray, clearance: np.ndarray, fps: float, first: int = 0
) -> Foot:
    """A foot that stands still in its stances; before and after, the correction fades.

    Args:
        foot: T frames of it, as the motion has it.
        standing: its stances; heights are counted from the ground under each.
        points: (2, 3) heel and ball from the ankle at rest.
        clearance: (2,) their heights when they touch the ground.
        fps: frames a second.
        first: frame of the stances' count with which `foot` begins.
    """
    frames = len(foot.turn)
    turned, moved, inside = np.zeros((frames, 3)), np.zeros((frames, 3)), np.zeros(frames, bool)
    for stance in standing:
        start, stop = max(stance.start - first, 0), min(stance.stop - first, frames)
        if start >= stop:
            continue
        part, own = slice(start, stop), np.arange(start, stop) + first - stance.start
        turn, place = _in_stance(foot.turn[part], stance, own, points, clearance, fps)
        turned[part] = Rotation.from_matrix(turn @ foot.turn[part].swapaxes(1, 2)).as_rotvec()
        moved[part] = place - foot.ankle[part]
        inside[part] = True
    turned, moved = (faded(values, inside, fps) for values in (turned, moved))
    turn = Rotation.from_rotvec(turned).as_matrix() @ foot.turn
    return Foot(foot.ankle + moved, turn, inside)


def _in_stance(
    turn: np.ndarray,
    stance: Stance,
    frames: np.ndarray,
    points: np.ndarray,
    clearance: np.ndarray,
    fps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, 3, 3) and ankles (N, 3) of a foot in a stance.

    Args:
        turn: (N, 3, 3) as the motion has it.
        stance: which.
        frames: (N,) of the stance, counted from its start.
        points: (2, 3) heel and ball from the ankle at rest.
        clearance: (2,) their heights when they touch the ground.
        fps: frames a second.
    """
    if len(stance.flat):
        away = np.abs(frames[:, None] - stance.flat).min(1) / fps
        share = 0.5 + 0.5 * np.cos(np.pi * np.minimum(away / LEVEL, 1))
        wanted = stance.anchors[1] - stance.anchors[0]
        own = (points[1] - points[0])[:2]
        yaw = np.arctan2(wanted[1], wanted[0]) - np.arctan2(own[1], own[0])
        flat = Rotation.from_euler("z", yaw).as_matrix()
        step = Rotation.from_matrix(turn.swapaxes(1, 2) @ flat).as_rotvec()
        turn = turn @ Rotation.from_rotvec(step * share[:, None]).as_matrix()
    # The heel holds while it touches alone, else the ball; flat, both do.
    holds = np.where(stance.touches[frames, 1], 1, 0)
    turn = _not_tilted(turn, points[1 - holds] - points[holds], clearance[1 - holds] - clearance[holds])
    anchors = np.concatenate([stance.anchors, (clearance + stance.height)[:, None]], 1)
    return turn, anchors[holds] - np.einsum("tij,tj->ti", turn, points[holds])


def _not_tilted(turn: np.ndarray, line: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) of a standing foot without tilt to a side, and with neither heel nor ball sunk.

    Args:
        turn: as they are.
        line: (N, 3) at rest, from what holds to the other of heel and ball.
        least: (N,) how much higher the other is when it touches, too.
    """
    left = turn[:, :, 0]
    level = left * [1, 1, 0]
    turn = np.where((np.abs(left[:, 2]) < STEEP)[:, None, None], shortest(left, level) @ turn, turn)
    other = np.einsum("tij,tj->ti", turn, line)
    raised = np.stack([other[:, 0], other[:, 1], np.maximum(other[:, 2], least)], 1)
    steep = np.abs(other[:, 2]) > STEEP * np.linalg.norm(other, axis=1)
    return np.where(steep[:, None, None], turn, shortest(other, raised) @ turn)


def with_bent_toes(poses: Poses, figure: Figure, side: str, ball: np.ndarray) -> Poses:
    """Poses with a foot's toes bent up as far as they would go into the ground.

    Args:
        poses: T of them.
        figure: whose they are.
        side: of the foot.
        ball: (T,) metres of the ball above the ground.
    """
    ankle = figure.rig.limbs[f"{side}_ankle"][0]
    length = figure.contacts(side)[1, 1] - figure.foot_vertices(side)[:, 1].min()
    pitch = np.arcsin(np.clip(poses.turns[:, ankle, 2, 1], -1, 1))
    room = np.arcsin(np.clip(ball / length, 0, 1))
    bend = np.where(ball > -length, np.clip(pitch - room, 0, TOE_BEND), 0)
    # About the foot's left axis: it lifts what lies in front of it.
    turned = Rotation.from_rotvec(-bend[:, None] * np.array([1.0, 0, 0])).as_matrix()
    bones = [bone for toe in figure.rig.limbs[f"{side}_toe"] for bone in below(figure, toe)]
    lifted = (poses.turns[:, ankle] @ turned)[:, None]
    turns = poses.turns.copy()
    turns[:, bones] = np.where((bend > 0)[:, None, None, None], lifted, turns[:, bones])
    return Poses(turns, poses.hips)


def faded(values: np.ndarray, inside: np.ndarray, fps: float) -> np.ndarray:
    """Corrections (T, 3), known `inside` (T,), fading outside; in short gaps they pass into each other."""
    if not inside.any():
        return np.zeros_like(values)
    frames = np.arange(len(values))
    known = np.flatnonzero(inside)
    next_at = np.searchsorted(known, frames).clip(0, len(known) - 1)
    after = known[next_at]
    before = known[np.maximum(next_at - (known[next_at] > frames), 0)]
    since, until = np.maximum(frames - before, 0) / fps, np.maximum(after - frames, 0) / fps
    since = np.where(before > frames, np.inf, since)
    until = np.where((after < frames), np.inf, until)
    since = np.where(after < frames, (frames - after) / fps, since)
    left, right = (eased(1 - time / FADE) for time in (since, until))
    before = np.where(after < frames, after, before)
    total = np.maximum(left + right, 1)
    mixed = (left[:, None] * values[before] + right[:, None] * values[after]) / total[:, None]
    return np.where(inside[:, None], values, mixed)


def eased(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth in between."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
