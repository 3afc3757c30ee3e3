"""A body of one body model with the proportions of a person fitted with another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares

from mimo.body.figure import Figure
from mimo.body.limbs import arm, leg, segments
from mimo.body.model import BodyModel
from mimo.body.motion import Motion
from mimo.body.rig import SIDES, rig_of

USUAL = 0.01
"""Metres of a difference in length that weigh as much as a shape coefficient of one standard deviation."""
STEP = 0.05
"""Standard deviations by which coefficients are changed to see what happens."""
LARGEST = 4.0
"""Standard deviations of a shape coefficient at most."""


def likened(person: Motion, like: Motion) -> Motion:
    """A person in the body model of another motion: lengths of its limbs, its height and breadth are kept.

    Args:
        person: one frame.
        like: any motion of the model.

    Returns:
        One frame at rest.
    """
    topology = like.body.topology
    wanted = _measures(person.body)

    def differences(shape: np.ndarray) -> np.ndarray:
        return np.concatenate([(_measures(topology.body(shape)) - wanted) / USUAL, shape])

    def slopes(shape: np.ndarray) -> np.ndarray:
        # Bodies are made in single precision: the solver's own small steps would change nothing.
        steps = STEP * np.eye(len(shape))
        pairs = [(differences(shape + step), differences(shape - step)) for step in steps]
        return np.stack([(after - before) / (2 * STEP) for after, before in pairs], 1)

    start = np.zeros(topology.components)
    found = least_squares(differences, start, slopes, bounds=(-LARGEST, LARGEST)).x
    body = topology.body(found)
    return replace(
        like,
        shape=found.astype(np.float32),
        rest_vertices=body.rest_vertices,
        rest_bones=body.rest_bones,
        rotations=np.zeros((1, len(topology.parents), 3), np.float32),
        root_rotation=np.zeros((1, 3), np.float32),
        translation=np.zeros((1, 3), np.float32),
        confidence=np.ones(1, np.float32),
        visible=np.ones(1, bool),
    )


def _measures(body: BodyModel) -> np.ndarray:
    """Metres: segments of arms and legs, between the shoulders, between the hips, trunk, height, breadth and
    depth of the trunk."""
    figure = Figure(body, rig_of(body.topology))
    joints = {role: figure.heads[bone] for role, bone in figure.rig.roles.items()}
    shoulders, hips = ([joints[f"{side}_{name}"] for side in SIDES] for name in ("shoulder", "hip"))
    lengths = [
        length for side in SIDES for limb in (arm, leg) for length in segments(figure, limb(figure, side))
    ]
    lengths += [float(np.linalg.norm(left - right)) for left, right in (shoulders, hips)]
    lengths.append(float(np.linalg.norm(np.mean(shoulders, axis=0) - np.mean(hips, axis=0))))
    trunk = body.topology.parts == body.topology.part_names.index("torso")
    sizes = np.ptp(body.rest_vertices, axis=0)[2], *np.ptp(body.rest_vertices[trunk], axis=0)[:2]
    return np.array([*lengths, *sizes], np.float64)
