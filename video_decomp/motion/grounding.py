"""Feet on the ground: planted feet neither slide nor sink nor float.

While a foot stands, heel and ball keep their places (whichever of them touch), and the foot is flat while
both do. Before and after, the correction fades. The hips follow where the legs would not reach, then each leg
is bent by inverse kinematics of its two segments, the knee's direction kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from mimo.body.rig import SIDES
from mimo.retargeting.contacts import Stance, ground_height, stances
from video_decomp.motion.retarget import shortest

FADE = 0.17
"""Seconds over which a correction fades after the foot has left the ground, and before it arrives."""
LEVEL = 0.1
"""Seconds over which a foot becomes flat."""
STRAIGHT = 0.999
"""Part of the leg's length that hip and ankle are apart at most."""
STEEP = 0.8
"""Sine of the slope beyond which a foot is no foot that stands."""
CALM = 0.12
"""Seconds of the Gaussian by which corrections of the hips are smoothed."""
TOE_BEND = np.radians(80)


@dataclass(frozen=True, eq=False)
class Grounded:
    """Poses with feet on the ground (z = 0), and when each foot stands.

    Attributes:
        poses: the result.
        before: the same before the feet were corrected.
        standing: stances of the left and of the right foot.
    """

    poses: Poses
    before: Poses
    standing: tuple[list[Stance], list[Stance]]


def on_ground(poses: Poses, figure: Figure, fps: float, *, fixed: bool = True) -> Grounded:
    """Put a body on the ground and keep its feet where they stand.

    Args:
        poses: at any height.
        figure: whose they are.
        fps: frames a second.
        fixed: False only brings the whole motion to the ground.
    """
    lowest = figure.skin(poses, figure.sample)[:, :, 2].min(1)
    poses = poses.moved(np.array([0, 0, -ground_height(lowest)]))
    before, places = poses, figure.places(poses)
    standing = tuple(stances(figure.foot_points(poses, places, side), fps) for side in SIDES)
    if not fixed:
        return Grounded(poses, poses, (standing[0], standing[1]))
    feet = [
        _planted(poses, places, figure, side, own, fps) for side, own in zip(SIDES, standing, strict=True)
    ]
    poses = poses.moved(_settled(feet, places, figure, standing, fps))
    poses = poses.moved(_reached(poses, feet, figure, standing, fps))
    for side, foot in zip(SIDES, feet, strict=True):
        poses = _stepped(poses, foot, figure, side)
    sunk = figure.skin(poses, figure.sample[~figure.is_foot])[:, :, 2].min(1)
    lift = _envelope(np.maximum(-sunk, 0), fps)
    if lift.max() > 0:
        poses = poses.moved(lift[:, None] * np.array([0, 0, 1.0]))
        for side, foot in zip(SIDES, feet, strict=True):
            poses = _stepped(poses, foot, figure, side)
    for side in SIDES:
        poses = _toes(poses, figure, side)
    return Grounded(poses, before, (standing[0], standing[1]))


@dataclass(frozen=True, eq=False)
class Foot:
    """Where a foot has to be.

    Attributes:
        ankle: (T, 3) metres.
        turn: (T, 3, 3) rotation from rest to the world.
    """

    ankle: np.ndarray
    turn: np.ndarray


def _planted(
    poses: Poses, places: np.ndarray, figure: Figure, side: str, standing: list[Stance], fps: float
) -> Foot:
    """A foot that stands still in its stances, with the corrections faded in between."""
    bone = figure.rig.limbs[f"{side}_ankle"][0]
    turn, ankle = poses.turns[:, bone], places[:, bone]
    points = figure.contacts(side) - figure.heads[bone]
    frames = len(turn)
    turned, moved, inside = np.zeros((frames, 3)), np.zeros((frames, 3)), np.zeros(frames, bool)
    for stance in standing:
        part = slice(stance.start, stance.stop)
        own, place = _in_stance(turn[part], stance, points, figure.clearance(side), fps)
        turned[part] = Rotation.from_matrix(own @ turn[part].swapaxes(1, 2)).as_rotvec()
        moved[part] = place - ankle[part]
        inside[part] = True
    turned, moved = (_faded(values, inside, fps) for values in (turned, moved))
    turn = Rotation.from_rotvec(turned).as_matrix() @ turn
    ankle = ankle + moved
    # Above the ground a foot only must not sink; its toes will bend.
    vertices = figure.foot_vertices(side)
    vertices = vertices[vertices[:, 1] > figure.contacts(side)[1, 1]][::4] - figure.heads[bone]
    low = (vertices @ turn.swapaxes(1, 2))[:, :, 2].min(1) + ankle[:, 2]
    sunk = np.where(inside, 0, np.maximum(-low, 0))
    return Foot(ankle + sunk[:, None] * np.array([0, 0, 1.0]), turn)


def _in_stance(
    turn: np.ndarray, stance: Stance, points: np.ndarray, clearance: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, 3, 3) and ankles (N, 3) of a foot in a stance.

    Args:
        turn: (N, 3, 3) as the motion has it.
        stance: of N frames.
        points: (2, 3) heel and ball from the ankle at rest.
        clearance: (2,) their heights when they touch the ground.
        fps: frames a second.
    """
    frames = np.arange(len(turn))
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
    holds = np.where(stance.touches[:, 1], 1, 0)
    turn = _not_tilted(turn, points[1 - holds] - points[holds], clearance[1 - holds] - clearance[holds])
    anchors = np.concatenate([stance.anchors, clearance[:, None]], 1)
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


def _faded(values: np.ndarray, inside: np.ndarray, fps: float) -> np.ndarray:
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
    left, right = (_ease(1 - time / FADE) for time in (since, until))
    before = np.where(after < frames, after, before)
    total = np.maximum(left + right, 1)
    mixed = (left[:, None] * values[before] + right[:, None] * values[after]) / total[:, None]
    return np.where(inside[:, None], values, mixed)


def _ease(share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)


def _settled(
    feet: list[Foot], places: np.ndarray, figure: Figure, standing: tuple[list[Stance], ...], fps: float
) -> np.ndarray:
    """(T, 3) the hips' part in the corrections of standing feet, smooth: what both feet have in common."""
    total, weight = np.zeros((len(places), 3)), np.full(len(places), 0.05)
    for side, foot, own in zip(SIDES, feet, standing, strict=True):
        inside = np.zeros(len(places))
        for stance in own:
            inside[stance.start : stance.stop] = 1
        total += inside[:, None] * (foot.ankle - places[:, figure.rig.limbs[f"{side}_ankle"][0]])
        weight += inside
    sigma = 2 * CALM * fps
    smooth = gaussian_filter1d(weight, sigma, mode="nearest")
    return gaussian_filter1d(total, sigma, axis=0, mode="nearest") / smooth[:, None]


def _reached(
    poses: Poses, feet: list[Foot], figure: Figure, standing: tuple[list[Stance], ...], fps: float
) -> np.ndarray:
    """(T, 3) how far the hips go down so that the legs reach feet that stand."""
    places = figure.places(poses)
    need = np.zeros(len(poses))
    for side, foot, own in zip(SIDES, feet, standing, strict=True):
        hip = places[:, figure.rig.limbs[f"{side}_hip"][0]]
        length = STRAIGHT * sum(_leg(figure, side))
        gap = hip - foot.ankle
        across = np.minimum((gap[:, :2] ** 2).sum(1), (0.95 * length) ** 2)
        drop = np.maximum(gap[:, 2] - np.sqrt(length**2 - across), 0)
        inside = np.zeros(len(poses), bool)
        for stance in own:
            inside[stance.start : stance.stop] = True
        need = np.maximum(need, np.where(inside, drop, 0))
    return -_envelope(need, fps)[:, None] * np.array([0, 0, 1.0])


def _envelope(need: np.ndarray, fps: float) -> np.ndarray:
    """A smooth course (T,) that is nowhere less than needed, but for a little."""
    if need.max() <= 0:
        return need
    sigma = CALM * fps
    return gaussian_filter1d(maximum_filter1d(need, 2 * round(1.5 * sigma) + 1), sigma, mode="nearest")


def _leg(figure: Figure, side: str) -> tuple[float, float]:
    hip, knee, ankle = (
        figure.heads[figure.rig.limbs[f"{side}_{name}"][0]] for name in ("hip", "knee", "ankle")
    )
    return float(np.linalg.norm(knee - hip)), float(np.linalg.norm(ankle - knee))


def _stepped(poses: Poses, foot: Foot, figure: Figure, side: str) -> Poses:
    """Poses with one leg bent so that its foot is where it has to be, as far as it reaches."""
    thigh, shin, ankle = (figure.rig.limbs[f"{side}_{name}"][0] for name in ("hip", "knee", "ankle"))
    places = figure.places(poses)
    hip, knee, old = places[:, thigh], places[:, shin], places[:, ankle]
    upper, lower = _leg(figure, side)
    distance = np.linalg.norm(foot.ankle - hip, axis=1)
    distance = distance.clip(abs(upper - lower) + 1e-3, STRAIGHT * (upper + lower))
    forward = -poses.turns[:, thigh, :, 1]
    axis = np.cross(old - hip, forward)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    at_hip = _corner(upper, distance, lower) - _angle(old - hip, knee - hip)
    at_knee = _corner(upper, lower, distance) - _angle(hip - knee, old - knee)
    bend_hip = Rotation.from_rotvec(axis * at_hip[:, None]).as_matrix()
    bend_knee = bend_hip @ Rotation.from_rotvec(axis * at_knee[:, None]).as_matrix()
    knee_to = (bend_hip @ (knee - hip)[..., None])[..., 0]
    ankle_to = knee_to + (bend_knee @ (old - knee)[..., None])[..., 0]
    swing = shortest(ankle_to, foot.ankle - hip)
    turns = poses.turns.copy()
    for root, turn in ((thigh, swing @ bend_hip), (shin, swing @ bend_knee)):
        for bone in _below(figure, root, shin if root == thigh else ankle):
            turns[:, bone] = turn @ poses.turns[:, bone]
    for bone in _below(figure, ankle, -1):
        turns[:, bone] = foot.turn @ (poses.turns[:, ankle].swapaxes(1, 2) @ poses.turns[:, bone])
    return Poses(turns, poses.hips)


def _corner(
    first: np.ndarray | float, second: np.ndarray | float, opposite: np.ndarray | float
) -> np.ndarray:
    """Angle between two sides of a triangle."""
    cosine = (np.square(first) + np.square(second) - np.square(opposite)) / (2 * np.multiply(first, second))
    return np.arccos(np.clip(cosine, -1, 1))


def _angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.arctan2(np.linalg.norm(np.cross(first, second), axis=1), (first * second).sum(1))


def _below(figure: Figure, root: int, end: int) -> list[int]:
    """Bones that hang on `root`, itself included, without those that hang on `end`."""
    parents, found = figure.body.parents, [root]
    for bone in range(root + 1, len(parents)):
        if parents[bone] in found and bone != end:
            found.append(bone)
    return found


def _toes(poses: Poses, figure: Figure, side: str) -> Poses:
    """Poses with the toes bent up as far as they would go into the ground."""
    ankle = figure.rig.limbs[f"{side}_ankle"][0]
    places = figure.places(poses)
    ball = figure.foot_points(poses, places, side)[:, 1, 2]
    length = figure.contacts(side)[1, 1] - figure.foot_vertices(side)[:, 1].min()
    pitch = np.arcsin(np.clip(poses.turns[:, ankle, 2, 1], -1, 1))
    room = np.arcsin(np.clip(ball / length, 0, 1))
    bend = np.where(ball > -length, np.clip(pitch - room, 0, TOE_BEND), 0)
    # About the foot's left axis: it lifts what lies in front of it.
    turned = Rotation.from_rotvec(-bend[:, None] * np.array([1.0, 0, 0])).as_matrix()
    turns = poses.turns.copy()
    for toe in figure.rig.limbs[f"{side}_toe"]:
        for bone in _below(figure, toe, -1):
            turns[:, bone] = poses.turns[:, ankle] @ turned
    return Poses(turns, poses.hips)
