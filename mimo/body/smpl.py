"""Bodies and hands of the SMPL family: official model files become a `Topology` of our own.

SMPL (Loper et al. 2015), SMPL-H (Romero et al. 2017) and MANO share one format: a template, linear shape
and pose blend shapes, a joint regressor and skin weights. Their files (``.pkl``, with chumpy objects or
without, and ``.npz``) may not be passed on, so a template never holds them: the pose stage converts the
user's file into the cache folder, and a motion names it by its digest.

SMPL's own axes are y up, facing z; ours are z up, facing -y (see `mimo.body.model`).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy.spatial import cKDTree

from mimo import restricted_pickle
from mimo.body.model import KEY_POINTS, Topology, canonical_colours, installed
from mimo.files import sha256, whole_file
from mimo.stage import Rejected

# Family by number of joints.
FAMILIES = {24: "smpl", 52: "smplh", 16: "mano"}
SHAPES = 10
AXES = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
"""SMPL's axes to ours."""

BODY_JOINTS = [
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
]
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
HAND_JOINTS = [f"{finger}{link}" for finger in FINGERS for link in (1, 2, 3)]
JOINT_NAMES = {
    "smpl": [*BODY_JOINTS, "left_hand", "right_hand"],
    "smplh": [*BODY_JOINTS, *(f"{side}_{name}" for side in ("left", "right") for name in HAND_JOINTS)],
    "mano": ["wrist", *HAND_JOINTS],
}
PARTS = ("head", "torso", "arm", "hand", "leg", "foot")
# Part of the skin that follows a joint; what is not named belongs to a hand.
PART_OF = (
    dict.fromkeys(("neck", "head"), "head")
    | dict.fromkeys(("pelvis", "spine1", "spine2", "spine3", "left_collar", "right_collar"), "torso")
    | {f"{side}_{name}": "arm" for side in ("left", "right") for name in ("shoulder", "elbow")}
    | {f"{side}_{name}": "leg" for side in ("left", "right") for name in ("hip", "knee")}
    | {f"{side}_{name}": "foot" for side in ("left", "right") for name in ("ankle", "foot")}
)

# Where BlazePose's points that are no joints lie: furthest outwards, back and up of what follows a joint.
TIPS = {
    "nose": ("head", 0.0, -1.0, 0.0),
    "eye": ("head", 0.3, -1.0, 0.3),
    "ear": ("head", 1.0, 0.0, 0.0),
    "mouth": ("head", 0.2, -1.0, -0.4),
    "foot_index": ("foot", 0.0, -1.0, 0.0),
    "heel": ("ankle", 0.0, 1.0, -0.5),
    "thumb": ("wrist", 1.0, -1.0, 0.0),
    "pinky": ("wrist", 1.0, 0.5, 0.0),
    "index": ("wrist", 1.0, 0.0, 0.0),
}


@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a model file says, in SMPL's axes; metres.

    Attributes:
        family: ``smpl``, ``smplh`` or ``mano``.
        template: (V, 3) float32, the mean person in T-pose.
        shape_basis: (V, 3, S) float32, S at most `SHAPES`.
        pose_basis: (V, 3, 9 (J - 1)) float32, by entries of the joints' rotation matrices minus identity.
        joint_regressor: (J, V) float32.
        weights: (V, J) float32, rows sum to 1.
        parents: (J,) int32, -1 for the root.
        faces: (F, 3) int32.
    """

    family: str
    template: np.ndarray
    shape_basis: np.ndarray
    pose_basis: np.ndarray
    joint_regressor: np.ndarray
    weights: np.ndarray
    parents: np.ndarray
    faces: np.ndarray


def read(path: Path) -> ModelFile:
    """Read an official model file.

    Raises:
        Rejected: it is missing, damaged, hostile or no model of the SMPL family.
    """
    content = _content(path)
    try:
        values = {
            name: restricted_pickle.to_array(content[name])
            for name in (
                "v_template",
                "shapedirs",
                "posedirs",
                "J_regressor",
                "weights",
                "kintree_table",
                "f",
            )
        }
        return _checked(values)
    except (KeyError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise Rejected(
            f"{path}: not a model file of SMPL, SMPL-H or MANO ({reason}); get SMPL_NEUTRAL.pkl from "
            "smplify.is.tue.mpg.de, SMPL-H or MANO from mano.is.tue.mpg.de"
        ) from error


def _content(path: Path) -> Any:
    if path.suffix.lower() != ".npz":
        content = restricted_pickle.load(path, "a model file of the SMPL family")
        if not isinstance(content, dict):
            raise Rejected(
                f"{path}: holds {type(content).__name__}, not the dictionary of an SMPL model file"
            )
        return content
    try:
        return dict(_numbers(path))
    except (OSError, zipfile.BadZipFile, ValueError, EOFError) as error:
        raise Rejected(f"{path}: not a model file of the SMPL family ({error}), or damaged") from error


def _numbers(path: Path) -> Any:
    """Arrays of an ``.npz`` that hold numbers; others (names of joints) would have to be unpickled."""
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            try:
                yield name, file[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise


def _checked(values: dict[str, np.ndarray]) -> ModelFile:
    """Raises ValueError where arrays do not fit each other."""
    vertices, joints = len(values["v_template"]), values["kintree_table"].shape[-1]
    if joints not in FAMILIES:
        raise ValueError(f"{joints} joints; SMPL has 24, SMPL-H 52, MANO 16")
    shapes = values["shapedirs"].reshape(vertices, 3, -1)[:, :, :SHAPES]
    expected = {
        "v_template": (vertices, 3),
        "posedirs": (vertices, 3, 9 * (joints - 1)),
        "J_regressor": (joints, vertices),
        "weights": (vertices, joints),
        "f": (len(values["f"]), 3),
    }
    for name, shape in expected.items():
        if values[name].shape != shape:
            raise ValueError(f"{name} has shape {values[name].shape}, not {shape}")
        if not np.isfinite(values[name]).all():
            raise ValueError(f"{name} holds values that are not finite")
    # The root's parent is written as -1 in 32 bits without sign.
    parents = values["kintree_table"][0].astype(np.int64)
    parents[0] = -1
    if not ((parents[1:] >= 0) & (parents[1:] < np.arange(1, joints))).all():
        raise ValueError("kintree_table is no tree")
    faces = values["f"].astype(np.int64)
    if faces.min() < 0 or faces.max() >= vertices:
        raise ValueError("faces name vertices that do not exist")
    return ModelFile(
        FAMILIES[joints],
        values["v_template"].astype(np.float32),
        shapes.astype(np.float32),
        values["posedirs"].astype(np.float32),
        values["J_regressor"].astype(np.float32),
        values["weights"].astype(np.float32),
        parents.astype(np.int32),
        faces.astype(np.int32),
    )


def install(path: Path) -> Topology:
    """The topology of a user's model file, converted into the cache folder once.

    Raises:
        Rejected: as `read`; or it is a hand (MANO) alone; or the cache folder cannot be written to.
    """
    digest = sha256(path)[:12] if path.is_file() else ""
    for family in ("smpl", "smplh"):
        if digest and installed(f"{family}-{digest}").is_file():
            return Topology.named(f"{family}-{digest}")
    file = read(path)
    if file.family == "mano":
        raise Rejected(f"{path}: a hand (MANO); a body is needed: SMPL_NEUTRAL.pkl, or an SMPL-H file")
    name = f"{file.family}-{digest}"
    try:
        with whole_file(installed(name)) as part:
            _write(topology_of(file, name), part)
    except PermissionError as error:
        raise Rejected(
            f"{installed(name).parent}: cannot be written to ({error.strerror}), and the body has to be put "
            "there; set MIMO_CACHE to a folder of yours"
        ) from error
    return Topology.named(name)


def _write(topology: Topology, path: Path) -> None:
    arrays = {name: value for name, value in vars(topology).items() if isinstance(value, np.ndarray)}
    metadata = {
        "model": topology.model,
        "bone_names": "\n".join(topology.bone_names),
        "part_names": "\n".join(topology.part_names),
    }
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path, metadata)


def topology_of(file: ModelFile, model: str) -> Topology:
    """A model file as a topology: our axes, sparse skin weights, parts and motion code from its geometry.

    Args:
        file: a body's, from `read`.
        model: the name that a motion will give it.
    """
    joints, names = len(file.parents), JOINT_NAMES[file.family]
    vertices = file.template @ AXES.T
    basis = np.einsum("ab,vbs->sva", AXES, file.shape_basis)
    strongest = file.weights.argmax(1)
    width = int((file.weights > 0).sum(1).max())
    skin = np.argsort(-file.weights, axis=1, kind="stable")[:, :width].astype(np.int32)
    key_points, key_weights = _key_points(file, vertices, strongest)
    no_texture: dict[str, Any] = {"uv": np.zeros((0, 2), np.float32), "face_uv": np.zeros((0, 3), np.int32)}
    return Topology(
        model=model,
        bone_names=tuple(names),
        part_names=PARTS,
        mean_vertices=vertices,
        mean_heads=file.joint_regressor @ vertices,
        vertex_basis=basis,
        head_basis=np.einsum("jv,svc->sjc", file.joint_regressor, basis),
        bone_orientations=np.tile(np.eye(3, dtype=np.float32), (joints, 1, 1)),
        parents=file.parents,
        faces=file.faces,
        skin_indices=skin,
        skin_weights=np.take_along_axis(file.weights, skin, 1),
        key_point_indices=key_points,
        key_point_weights=key_weights,
        mirror=cKDTree(vertices).query(vertices * np.array([-1, 1, 1]))[1].astype(np.int32),
        colours=canonical_colours(vertices),
        parts=np.array([PARTS.index(PART_OF.get(name, "hand")) for name in names], np.uint8)[strongest],
        reference_rotations=np.zeros((0, joints, 3), np.float32),
        reference_vertices=np.zeros((0, *vertices.shape), np.float32),
        pose_basis=_turned_pose_basis(file.pose_basis, joints),
        **no_texture,
    )


def _turned_pose_basis(basis: np.ndarray, joints: int) -> np.ndarray:
    """(9 (J - 1), V, 3) float32: offsets along our axes, by entries of rotation matrices in our axes."""
    by_entry = basis.reshape(len(basis), 3, joints - 1, 3, 3)
    turned = np.einsum("ax,vxjcd,ec,fd->jefva", AXES, by_entry, AXES, AXES, optimize=True)
    return turned.reshape(9 * (joints - 1), len(basis), 3).astype(np.float32)


def _key_points(
    file: ModelFile, vertices: np.ndarray, strongest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and weights of BlazePose's points: joints by the regressor, others by the rest shape."""
    names = JOINT_NAMES[file.family]
    rows = []
    for point in KEY_POINTS:
        if point in names:
            rows.append(file.joint_regressor[names.index(point)])
        else:
            rows.append(np.zeros(len(vertices), np.float32))
            rows[-1][_tip(point, vertices, strongest, names)] = 1
    dense = np.stack(rows)
    width = int((np.abs(dense) > 1e-6).sum(1).max())
    indices = np.argsort(-np.abs(dense), axis=1, kind="stable")[:, :width].astype(np.int32)
    chosen = np.take_along_axis(dense, indices, 1)
    return indices, chosen / chosen.sum(1, keepdims=True)


def _tip(point: str, vertices: np.ndarray, strongest: np.ndarray, names: list[str]) -> int:
    """The vertex furthest in a point's direction, of those that follow its joint; T-pose, our axes."""
    side = "right" if "right" in point else "left"
    joint, outwards, back, up = next(tip for part, tip in TIPS.items() if part in point)
    joint = joint if joint in names else f"{side}_{joint}"
    direction = np.array([-outwards if side == "right" else outwards, back, up], np.float32)
    follow = np.flatnonzero(strongest == names.index(joint)) if joint in names else np.zeros(0, np.int64)
    own = follow if len(follow) else np.arange(len(vertices))
    return int(own[np.argmax(vertices[own] @ direction)])
