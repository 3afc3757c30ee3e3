"""Pose backend hmr2 on a real clip, with small networks and bodies in the official formats."""

from __future__ import annotations

import json
import shutil
import tarfile
import weakref

import numpy as np
import pytest
import yaml
from real_clips import balancing_man
from scipy.spatial.transform import Rotation
from smpl_files import body, network_state, write_checkpoint, write_npz, write_pkl, write_whole_body

from mimo import weights
from mimo.body.camera import project
from mimo.body.motion import Motion
from mimo.body.smpl import AXES, install
from mimo.video import VideoReader
from video_decomp.hmr2.crops import picture_camera
from video_decomp.hmr2.smoothing import filled_rotations
from video_decomp.hmr2.track import empty_track, joint_places, motion_of, steady
from video_decomp.pose.__main__ import main

FRAMES, GAP, SIZE = 10, (4, 5), (270, 480)
HANDS = range(112, 133)  # the right hand's key points; the left hand's are the 21 before

# By 4D-Humans' own code (hmr2.models, commit 6ec7965) on the same tensors and the same crops, float32.
BY_HMR2 = {
    "rotations": {
        0: [0.998522, 0.026276, -0.047572, 0.01404, -0.970352, -0.241287, -0.052502, 0.240262, -0.969287],
        5: [0.974198, 0.214309, 0.070784, -0.202056, 0.96789, -0.149542, -0.100559, 0.131381, 0.986218],
        23: [0.988916, 0.14554, 0.029393, -0.148098, 0.981023, 0.125143, -0.010622, -0.128109, 0.991703],
    },
    "shape": [
        0.17697,
        0.202771,
        0.195373,
        0.161413,
        0.114637,
        0.071348,
        0.045168,
        0.042684,
        0.061301,
        0.089955,
    ],
    "camera": [[0.896128, -0.190934, -0.016115], [0.895757, -0.191082, -0.016036]],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Official files, small."""
    folder = tmp_path_factory.mktemp("official")
    write_pkl(folder / "SMPL_NEUTRAL.pkl", body(24))
    write_npz(folder / "SMPLH_NEUTRAL.npz", body(52))
    write_checkpoint(folder / "hmr2.ckpt", network_state(calm=0.3))
    write_checkpoint(folder / "hamer.ckpt", network_state("mano_head", 16, calm=0.3))
    write_whole_body(folder / "wholebody.pth", HANDS)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return balancing_man(tmp_path_factory.mktemp("clip") / "balance", FRAMES, SIZE, nobody=GAP)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory, clip):
    """A cache folder with what other stages of the clip need, for converted bodies."""
    folder = tmp_path_factory.mktemp("cache")
    weights.fetch(["anny-body"])
    (folder / "anny-body.safetensors").symlink_to(weights.path("anny-body"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMO_CACHE", str(folder))
        yield folder


def options(files, **more):
    """The command line's options."""
    given = {"checkpoint": files / "hmr2.ckpt", "body": files / "SMPL_NEUTRAL.pkl", "device": "cpu"} | more
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def with_hands(files):
    return {
        "hands": True,
        "body": files / "SMPLH_NEUTRAL.npz",
        "hamer": files / "hamer.ckpt",
        "whole_body": files / "wholebody.pth",
    }


def run(clip, folder, arguments):
    """Run the stage on a copy of the clip; its motion, record and motion code."""
    template = folder / "template"
    shutil.copytree(clip, template, dirs_exist_ok=True)
    code = main(["--backend", "hmr2", "--template", str(template), *arguments])
    if code:
        return code
    record = json.loads((template / "records" / "pose.json").read_text())
    return Motion.load(template / "motion.npz"), record, list(VideoReader(template / "sdc.mp4"))


@pytest.fixture(scope="module")
def fitted(files, clip, own_cache, tmp_path_factory):
    return run(clip, tmp_path_factory.mktemp("fitted"), options(files, batch=4))


def test_network_equals_4d_humans(tmp_path):
    import torch

    from video_decomp.hmr2.network import MeshNetwork

    path = write_checkpoint(tmp_path / "a.ckpt", network_state())
    network = MeshNetwork(path, "smpl_head.", "HMR2", "cpu", torch.float32)
    wave = np.sin(np.arange(2 * 3 * 256 * 256) * 0.0137).reshape(2, 3, 256, 256).astype(np.float32)
    found = network(torch.from_numpy(wave))
    for joint, expected in BY_HMR2["rotations"].items():
        assert found.rotations[1, joint].flatten().tolist() == pytest.approx(expected, abs=2e-5)
    assert found.shape[1].tolist() == pytest.approx(BY_HMR2["shape"], abs=2e-5)
    assert found.camera.tolist() == [pytest.approx(camera, abs=2e-5) for camera in BY_HMR2["camera"]]


def test_person_is_recovered_in_every_frame(fitted, clip):
    motion, record, drawn = fitted
    assert len(motion) == len(drawn) == record["metrics"]["frames"] == FRAMES
    assert motion.model.startswith("smpl-")
    assert motion.rotations.shape[1] == 24
    assert drawn[0].shape == (SIZE[1], SIZE[0], 3)
    # The networks say that he stands facing the camera; boxes and cameras put him where the mask is.
    masks = list(VideoReader(clip / "mask.mp4", gray=True))
    for index in set(range(FRAMES)) - set(GAP):
        rows, columns = np.nonzero(drawn[index].astype(int).sum(2) > 60)
        inside, across = np.nonzero(masks[index] > 127)
        assert abs(rows.mean() - inside.mean()) < 0.1 * np.ptp(inside)
        assert abs(columns.mean() - across.mean()) < 0.15 * np.ptp(inside)
        assert 0.7 < np.ptp(rows) / np.ptp(inside) < 1.2
    upright = Rotation.from_rotvec(motion.root_rotation).apply([0, 0, 1])
    assert (upright[:, 1] < -0.9).all()


def test_gaps_are_filled_and_marked_and_motion_is_smooth(fitted):
    motion, record, _ = fitted
    metrics = record["metrics"]
    assert motion.visible.tolist() == [index not in GAP for index in range(FRAMES)]
    assert (motion.confidence == motion.visible).all()
    assert metrics["filled_frames"] == len(GAP)
    assert "2 of 10 frames have an interpolated pose" in record["warnings"][0]
    assert 0 < metrics["jitter_px"] < metrics["jitter_network_px"]
    pelvis = motion.translation / motion.translation[:, 2:]
    assert np.abs(np.diff(pelvis, axis=0)).max() < 0.01


def test_without_hand_networks_hands_are_left_out(fitted, clip, files, own_cache, tmp_path):
    motion, record, drawn = fitted
    assert record["metrics"]["hand_frames"] == [0, 0]
    assert any("No hands were estimated" in warning for warning in record["warnings"])
    hand = motion.body.topology.parts == motion.body.topology.part_names.index("hand")
    for index in (0, FRAMES - 1):
        points = project(motion.vertices(index)[hand], motion.camera)
        tips = points[np.argsort(-points[:, 1])[:8]].astype(int)
        assert all(drawn[index][y, x].sum() < 60 for x, y in tips)


def test_hands_are_attached_where_they_are_seen(files, clip, own_cache, tmp_path):
    motion, record, drawn = run(clip, tmp_path, options(files, **with_hands(files)))
    assert motion.model.startswith("smplh-")
    assert motion.rotations.shape[1] == 52
    assert record["metrics"]["hand_frames"] == [0, FRAMES - len(GAP)]
    assert sorted(record["weights"]) == ["hamer", "hmr2", "smplh-neutral", "vitpose-wholebody"]
    fingers = np.linalg.norm(motion.rotations[:, 22:], axis=2).reshape(FRAMES, 2, 15)
    assert fingers[:, 0].max() < 1e-6
    assert fingers[0, 1].max() > 0.01
    # The right hand's orientation is HaMeR's: upright before the camera, whatever the arm does.
    topology = motion.body.topology
    right = (topology.parts == topology.part_names.index("hand")) & (topology.mean_vertices[:, 0] < 0)
    points = project(motion.vertices(0)[right], motion.camera).astype(int)
    inside = points[(points > 1).all(1) & (points < np.array(SIZE) - 2).all(1)]
    assert np.mean([drawn[0][y, x].sum() > 60 for x, y in inside]) > 0.8


def test_colours_of_the_reference_are_used(files, clip, own_cache, tmp_path, capsys):
    count = len(body(24)["v_template"])
    colours = np.tile(np.uint8([[10, 200, 90, 255]]), (count, 1))
    np.save(tmp_path / "sdc_info.npy", {"smpl": colours}, allow_pickle=True)
    np.save(tmp_path / "plain.npy", colours[:, :3] / np.float32(255))
    for name in ("sdc_info.npy", "plain.npy"):
        drawn = run(clip, tmp_path / name[:3], options(files, colours=tmp_path / name))[2]
        pixels = drawn[0][drawn[0].astype(int).sum(2) > 150].astype(float)
        assert np.median(pixels, axis=0) == pytest.approx([10, 200, 90], abs=8)
    assert run(clip, tmp_path, options(files, colours="reference")) == 3
    assert "python -m mimo.weights fetch mimo-motion-code" in capsys.readouterr().err


def test_wrong_files_are_rejected(files, clip, own_cache, tmp_path, capsys):
    colours = tmp_path / "few.npy"
    np.save(colours, np.zeros((5, 3), np.uint8))
    archive = tmp_path / "hmr2_data.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(files / "hmr2.ckpt", "hmr2.ckpt")
    text = tmp_path / "page.ckpt"
    text.write_text("<html>log in</html>")
    cut_off = tmp_path / "cut.ckpt"
    cut_off.write_bytes((files / "hmr2.ckpt").read_bytes()[:20000])
    small = {name: value for name, value in network_state().items() if "decshape" not in name}
    for given, why in (
        ({"checkpoint": tmp_path / "none.ckpt"}, "none.ckpt: not there"),
        ({"checkpoint": files / "hamer.ckpt"}, "its head is missing or of another kind"),
        ({"checkpoint": archive}, "an archive; unpack it"),
        ({"checkpoint": text}, "not the HMR2 checkpoint of 4D-Humans, or damaged"),
        ({"checkpoint": cut_off}, "or damaged"),
        ({"checkpoint": files}, "a folder; give the HMR2 checkpoint"),
        ({"checkpoint": files / "SMPL_NEUTRAL.pkl"}, "HMR2 checkpoint"),
        ({"checkpoint": write_checkpoint(tmp_path / "small.ckpt", small)}, "lacks decshape.bias"),
        ({"body": files / "hmr2.ckpt"}, "SMPL"),
        (with_hands(files) | {"body": files / "SMPL_NEUTRAL.pkl"}, "hands need an SMPL-H file"),
        (with_hands(files) | {"whole_body": files / "hmr2.ckpt"}, "it has no key points"),
        ({"colours": colours}, "colours of 5 vertices, but the body has 576"),
    ):
        assert run(clip, tmp_path, options(files, **given)) == 3
        assert why in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(clip, tmp_path, options(files, hamer=files / "hamer.ckpt"))
    assert "set hands: true" in capsys.readouterr().err


def test_hostile_checkpoint_is_refused(files, clip, own_cache, tmp_path, capsys):
    import os

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = write_checkpoint(tmp_path / "evil.ckpt", network_state() | {"extra": Hostile()})
    assert run(clip, tmp_path, options(files, checkpoint=path)) == 3
    assert "refused as the HMR2 checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_answers_that_are_no_numbers_are_told(files, clip, own_cache, tmp_path, capsys):
    state = network_state()
    state["smpl_head.deccam.bias"][0] = float("nan")
    path = write_checkpoint(tmp_path / "nan.ckpt", state)
    assert run(clip, tmp_path, options(files, checkpoint=path)) == 3
    assert "no numbers for frame 0; set precision: float32" in capsys.readouterr().err


def test_long_clips_hold_few_frames(files):
    import torch

    from video_decomp.hmr2.network import MeshNetwork
    from video_decomp.hmr2.recovery import Recovery

    alive, most = weakref.WeakValueDictionary(), []

    def frames():
        for number in range(120):
            image = np.zeros((96, 64, 3), np.uint8)
            alive[number] = image
            most.append(len(alive))
            mask = np.zeros((96, 64), np.uint8)
            mask[10:80, 20:40] = 255
            yield image, mask
            del image

    network = MeshNetwork(files / "hmr2.ckpt", "smpl_head.", "HMR2", "cpu", torch.float32)
    track = Recovery(network, None, 24, batch=8).track(frames(), picture_camera(64, 96))
    assert track.seen.sum() == len(track) == 120
    assert max(most) <= 8 + 8 + 4


def test_missing_registry_files_are_named(clip, own_cache, tmp_path, capsys):
    assert run(clip, tmp_path, []) == 3
    assert "python -m mimo.weights fetch hmr2" in capsys.readouterr().err


def test_known_parameters_come_back_through_the_whole_way(files, own_cache):
    """A motion made of known parameters draws the joints where kinematics puts them."""
    topology = install(files / "SMPL_NEUTRAL.pkl")
    rng = np.random.default_rng(0)
    track = empty_track(3, 24)
    track.rotations[:] = Rotation.from_rotvec(rng.normal(0, 0.3, (72, 3))).as_matrix().reshape(3, 24, 3, 3)
    track.rotations[:, 0] = Rotation.from_euler("xyz", [170, 20, 5], degrees=True).as_matrix()
    track.translation[:] = rng.normal(0, 0.5, (3, 3)) + np.array([0, 0, 30])
    track.shapes[:], track.seen[:] = rng.normal(0, 1, 10), True
    camera = picture_camera(640, 360)
    smooth, used = steady(track, topology, 30, cutoff=0)
    motion = motion_of(smooth, used, topology, camera)
    places = joint_places(track, topology)
    for frame in range(3):
        transforms = motion.body.bone_transforms(motion.rotations[frame])
        heads = (
            np.einsum("jab,jb->ja", transforms[:, :3, :3], motion.rest_bones[:, :3, 3]) + transforms[:, :3, 3]
        )
        turn = Rotation.from_rotvec(motion.root_rotation[frame]).as_matrix()
        assert heads @ turn.T + motion.translation[frame] == pytest.approx(places[frame], abs=1e-4)
    pelvis = topology.body(track.shapes[0]).rest_bones[0, :3, 3] @ AXES
    assert places[:, 0] == pytest.approx(track.translation + pelvis, abs=1e-5)


def test_gaps_are_turned_through_and_slips_taken_out(files, own_cache):
    turns = Rotation.from_euler("x", np.linspace(0, 90, 7)[:, None], degrees=True).as_matrix()[:, None]
    seen = np.array([False, True, False, False, True, True, False])
    filled = filled_rotations(np.where(seen[:, None, None, None], turns, np.eye(3)), seen)
    assert filled[1:6] == pytest.approx(turns[1:6], abs=1e-9)
    assert filled[0] == pytest.approx(turns[1])
    assert filled[6] == pytest.approx(turns[5])
    track = empty_track(9, 24)
    track.seen[:] = True
    track.translation[:] = [0, 0, 20]
    track.rotations[4, 0] = Rotation.from_euler("y", 150, degrees=True).as_matrix()
    smooth, used = steady(track, install(files / "SMPL_NEUTRAL.pkl"), 30, 6.0)
    assert used.tolist() == [index != 4 for index in range(9)]
    assert smooth.rotations[4, 0] == pytest.approx(np.eye(3), abs=0.05)


def test_workflow_runs_the_stage(checkout, files, clip, own_cache):
    """With own copies of the registry's files, found by their names in the user's folder."""
    folder = checkout.folder
    for name in ("videos", "characters", "mine"):
        (folder / name).mkdir()
    (folder / "videos" / "balance.mp4").write_bytes((clip / "vid.mp4").read_bytes())
    shutil.copytree(clip, folder / "templates" / "balance")
    shutil.copy(files / "hmr2.ckpt", folder / "mine" / "epoch=35-step=1000000.ckpt")
    shutil.copy(files / "SMPL_NEUTRAL.pkl", folder / "mine")
    config = {"weights": ["mine"], "pose": {"backend": "hmr2", "device": "cpu"}}
    (folder / "more.yaml").write_text(yaml.safe_dump(config))
    target = ["--configfile", "more.yaml", "--allowed-rules", "pose", "--", "templates/balance/sdc.mp4"]
    result = checkout.snakemake(*target)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(VideoReader(folder / "templates" / "balance" / "sdc.mp4")) == FRAMES
