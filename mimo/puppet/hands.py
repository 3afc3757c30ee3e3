"""Relaxed fingers: pictures of whole people do not tell finger poses, and flat hands look like fans."""

from __future__ import annotations

import numpy as np

from mimo.body.model import Topology
from mimo.body.motion import Motion

CURL = {"finger2": (18, 25, 15), "finger3": (22, 28, 18), "finger4": (26, 30, 18), "finger5": (30, 30, 18)}
"""Bend of each finger's three joints, degrees."""
SET_BY_FIT = 0.05
"""Rotations larger than this (radians) were set by the pose stage and stay."""


def relaxed(rotations: np.ndarray, topology: Topology) -> np.ndarray:
    """Bend fingers that stand at rest.

    Args:
        rotations: (J, 3) axis-angle of each bone.
        topology: of the body.

    Returns:
        (J, 3) copy.
    """
    result = rotations.copy()
    heads = topology.mean_heads
    for side, outward in (("L", 1.0), ("R", -1.0)):
        wrist = heads[topology.bone(f"wrist.{side}")]
        across = heads[topology.bone(f"finger5-1.{side}")] - heads[topology.bone(f"finger2-1.{side}")]
        along = heads[topology.bone(f"finger3-1.{side}")] - wrist
        # At rest the palms look down and to the body: fingers bend that way.
        palm = np.cross(along, across)
        palm *= np.sign(palm @ (-outward, 0, -1)) / np.linalg.norm(palm)
        for finger, angles in CURL.items():
            base = topology.bone(f"{finger}-1.{side}")
            tip = topology.bone(f"{finger}-3.{side}")
            axis = np.cross(heads[tip] - heads[base], palm)
            axis /= np.linalg.norm(axis)
            for joint, angle in zip((1, 2, 3), angles, strict=True):
                bone = topology.bone(f"{finger}-{joint}.{side}")
                if np.linalg.norm(result[bone]) < SET_BY_FIT:
                    result[bone] = np.radians(angle) * axis
    return result


def posed(motion: Motion, index: int) -> np.ndarray:
    """(V, 3) float32 body of a frame with relaxed fingers, camera space."""
    body = motion.body
    transforms = body.bone_transforms(relaxed(motion.rotations[index], body.topology))
    pose = motion.root_rotation[index], motion.translation[index]
    return body.skin(body.rest_vertices, transforms, *pose)
