"""Readers of 3D motion: joints where plain forward kinematics puts them; clear words for files of no use."""

import json
import math

import numpy as np
import pytest
from motion_files import amass_poses, bvh_places, quaternion, smpl_places, write_bvh
from scipy.spatial.transform import Rotation
from smpl_files import body, parents_of, write_npz
from test_pose_phalp import dump, tracked

from mimo import weights
from mimo.body.motion import Motion
from mimo.body.rig import SIDES
from mimo.body.smpl import JOINT_NAMES
from mimo.stage import Rejected
from video_decomp.motion.__main__ import main
from video_decomp.motion.interface import REQUIRED, Source, leg_length
from video_decomp.motion.joint_names import roles_by_name
from video_decomp.motion.readers.amass import rest_places
from video_decomp.motion.reading import read_motion

MILLIMETRE = 1e-3


def read(path, **source):
    return read_motion(path, Source(**source))


@pytest.mark.parametrize("order", ["ZYX", "XZY", "YXZ"])
def test_bvh_joints_are_where_its_numbers_say(tmp_path, order):
    path = write_bvh(tmp_path / "clip.bvh", order=order)
    motion = read(path)
    names, expected = bvh_places(path)
    places = motion.places()[:, [motion.names.index(name) for name in names]]
    assert places.shape == (40, 22, 3)
    assert np.abs(places - expected / 100).max() < MILLIMETRE, "centimetres were guessed"
    assert motion.fps == pytest.approx(60, abs=1e-3)
    assert motion.up.tolist() == [0, 1, 0]


def test_bvh_with_a_joint_that_carries_the_person_and_z_up(tmp_path):
    path = write_bvh(tmp_path / "clip.bvh", reference=True)
    motion = read(path)
    names, expected = bvh_places(path)
    assert names[:2] == ["Reference", "Hips"]
    assert motion.names[0] == "Hips"
    places = motion.places()[:, [motion.names.index(name) for name in names[1:]]]
    assert np.abs(places - expected[:, 1:] / 100).max() < MILLIMETRE
    assert motion.up.tolist() == [0, 0, 1]
    assert np.ptp(motion.translation[:, 1]) > 0.1, "it travels"


@pytest.mark.parametrize("layout", ["SMPL-H", "SMPL-X", "SMPL-X parts"])
def test_amass_joints_are_where_its_numbers_say(tmp_path, layout):
    poses, trans = amass_poses(20), np.cumsum(np.full((20, 3), [0.01, 0.02, 0]), axis=0)
    flat = poses.reshape(20, -1)
    face = np.full((20, 9), 0.3)
    rate = {"mocap_framerate": np.array(120.0)}
    if layout == "SMPL-H":
        arrays = {"poses": flat, "dmpls": np.zeros((20, 8)), "gender": np.array("male")}
    elif layout == "SMPL-X":
        arrays = {"poses": np.concatenate([flat[:, :66], face, flat[:, 66:]], 1)}
        rate = {"mocap_frame_rate": np.array(120.0)}
    else:
        parts = (flat[:, :3], flat[:, 3:66], flat[:, 66:])
        arrays = dict(zip(("root_orient", "pose_body", "pose_hand"), parts, strict=True))
    path = tmp_path / "clip_stageii.npz"
    np.savez(path, trans=trans, betas=np.zeros(16), surface_model_type=np.array("smplx"), **rate, **arrays)
    motion = read(path)
    expected = smpl_places(poses, rest_places(), parents_of(JOINT_NAMES["smplh"]), trans)
    assert np.abs(motion.places() - expected).max() < MILLIMETRE
    assert (motion.fps, motion.up.tolist()) == (120, [0, 0, 1])


def test_amass_on_the_users_smpl_body_keeps_shape_and_joints(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    content = body(52)
    file = write_npz(tmp_path / "SMPLH_NEUTRAL.npz", content)
    poses, betas = amass_poses(6), 0.5 * np.cos(np.arange(16))
    trans = np.zeros((6, 3))
    np.savez(
        tmp_path / "clip.npz", trans=trans, betas=betas, poses=poses.reshape(6, -1), mocap_framerate=30.0
    )
    words = [tmp_path / "clip.npz", "-o", tmp_path / "t", f"--body={file}", "--ground=false"]
    assert main([str(word) for word in [*words, "--width=64", "--height=64"]]) == 0
    motion = Motion.load(tmp_path / "t" / "motion.npz")
    assert motion.model.startswith("smplh-")
    shaped = content["v_template"] + content["shapedirs"] @ betas[:10]
    rest = content["J_regressor"] @ shaped
    expected = smpl_places(poses, rest, parents_of(JOINT_NAMES["smplh"]), trans)
    for frame in range(6):
        transforms = motion.body.bone_transforms(motion.rotations[frame])
        heads = motion.rest_bones[:, :, 3]
        found = np.einsum("jab,jb->ja", transforms, heads)[:, :3]
        turn, _ = Rotation.align_vectors(expected[frame] - expected[frame, 0], found - found[0])
        error = turn.apply(found - found[0]) - (expected[frame] - expected[frame, 0])
        assert np.abs(error).max() < MILLIMETRE


def test_deepmimic_joints_are_where_its_numbers_say():
    weights.fetch(["motion-cartwheel"])
    path = weights.path("motion-cartwheel")
    motion = read(path)
    frames = json.loads(path.read_text())["Frames"]
    places = motion.places()
    at = motion.names.index
    for number in (0, 60, 110):
        values = frames[number]
        root = quaternion(*values[4:8])
        thigh = root @ quaternion(*values[16:20])
        knee = np.array(values[1:4]) + root @ [0, 0, 0.084887] + thigh @ [0, -0.421546, 0]
        bend = values[20]
        shin = thigh @ np.array(
            [[math.cos(bend), -math.sin(bend), 0], [math.sin(bend), math.cos(bend), 0], [0, 0, 1]]
        )
        assert np.abs(places[number, at("right_knee")] - knee).max() < MILLIMETRE
        assert np.abs(places[number, at("right_ankle")] - knee - shin @ [0, -0.40987, 0]).max() < MILLIMETRE
        chest = root @ quaternion(*values[8:12])
        upper = chest @ quaternion(*values[39:43])
        elbow = (
            np.array(values[1:4])
            + root @ [0, 0.236151, 0]
            + chest @ [-0.02405, 0.2435, -0.18311]
            + upper @ [0, -0.274788, 0]
        )
        assert np.abs(places[number, at("left_elbow")] - elbow).max() < MILLIMETRE
    assert motion.fps == pytest.approx(60, abs=0.01)


def test_phalp_person_is_chosen_and_gaps_are_filled(tmp_path):
    masks = np.zeros((12, 480, 270), np.uint8)
    masks[:, 100:400, 80:180] = 255
    path = dump(tmp_path / "demo.pkl", tracked(masks, 12))
    motion = read(path)
    assert (len(motion), motion.fps, motion.kind) == (12, 30, "PHALP")
    assert any("see --track" in said for said in motion.warnings)
    turns = motion.world_rotations()
    assert np.abs(turns[:, 0] - np.diag([1, -1, -1])).max() < 1e-6, "upright before the camera"
    picked = read(path, track=1, source_fps=25)
    assert picked.fps == 25
    assert any("In 1 of 12 frames" in said for said in picked.warnings)
    assert np.abs(np.diff(picked.translation, axis=0)).max() < 0.01, "the frame it was lost in is filled"
    with pytest.raises(Rejected, match="no track 9; there is 1, 3"):
        read(path, track=9)


FAMILIES = {
    "CMU": "Hips LHipJoint {S}UpLeg {S}Leg {S}Foot {S}ToeBase LowerBack Spine Spine1 Neck Neck1 Head "
    "{S}Shoulder {S}Arm {S}ForeArm {S}Hand {S}FingerBase {S}HandIndex1",
    "Mixamo": "mixamorig:Hips mixamorig:Spine mixamorig:Spine2 mixamorig:Neck mixamorig:Head "
    "mixamorig:{S}Shoulder mixamorig:{S}Arm mixamorig:{S}ForeArm mixamorig:{S}Hand mixamorig:{S}UpLeg "
    "mixamorig:{S}Leg mixamorig:{S}Foot mixamorig:{S}ToeBase",
    "LAFAN1": "Hips {S}UpLeg {S}Leg {S}Foot {S}Toe Spine Spine1 Spine2 Neck Head {S}Shoulder {S}Arm "
    "{S}ForeArm {S}Hand",
    "Rokoko": "Hips {S}Thigh {S}Shin {S}Foot {S}Toe Spine1 Spine2 Neck Head {S}Shoulder {S}Arm {S}ForeArm "
    "{S}Hand",
    "Truebones": "Bip01 Bip01_Spine Bip01_Neck Bip01_Head Bip01_{l}_Clavicle Bip01_{l}_UpperArm "
    "Bip01_{l}_Forearm Bip01_{l}_Hand Bip01_{l}_Thigh Bip01_{l}_Calf Bip01_{l}_Foot Bip01_{l}_Toe0",
    "Poser": "hip abdomen chest neck head {o}Collar {o}Shldr {o}ForeArm {o}Hand {o}Thigh {o}Shin {o}Foot "
    "{o}Toe",
    "SMPL": "Pelvis {l}_Hip {l}_Knee {l}_Ankle {l}_Foot Spine1 Neck Head {l}_Collar {l}_Shoulder {l}_Elbow "
    "{l}_Wrist",
    "Xsens": "Hips Chest Neck Head {S}Collar {S}Shoulder {S}Elbow {S}Wrist {S}Hip {S}Knee {S}Ankle {S}Toe",
    "Unreal": "pelvis spine_01 neck_01 head clavicle_{o} upperarm_{o} lowerarm_{o} hand_{o} thigh_{o} "
    "calf_{o} foot_{o} ball_{o}",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_common_families_of_names_are_known(family):
    words = FAMILIES[family].split()
    sides = ({"S": "Left", "l": "L", "o": "l"}, {"S": "Right", "l": "R", "o": "r"})
    names = tuple(dict.fromkeys(word.format(**side) for side in sides for word in words))
    roles, _ = roles_by_name(names, {})
    assert [role for role in REQUIRED if role not in roles] == []
    for side, letter in zip(SIDES, "lr", strict=True):
        for role in ("hip", "knee", "ankle", "toe", "collar", "shoulder", "elbow", "wrist"):
            name = names[roles[f"{side}_{role}"]].removeprefix("mixamorig:").removeprefix("Bip01_").lower()
            assert name.startswith((side, f"{letter}_", letter)) or name.endswith(f"_{letter}"), name
    ordered = [roles[f"left_{role}"] for role in ("hip", "knee", "ankle", "toe")]
    assert ordered == sorted(ordered), "from the hip down"


def test_units_axes_and_own_names(tmp_path):
    path = write_bvh(tmp_path / "clip.bvh", names=lambda name: name.replace("LeftLeg", "shin one"))
    with pytest.raises(Rejected, match=r"no joint known as left_knee; .* not mapped: .*shin one.*--joints"):
        read(path)
    motion = read(path, joints={"left_knee": "shin one"}, unit=0.02, up="-z", source_fps=10)
    assert leg_length(motion.rest_places(), motion.roles) == pytest.approx(2 * 0.85, abs=0.02)
    assert (motion.up.tolist(), motion.fps) == ([0, 0, -1], 10)
    with pytest.raises(Rejected, match="no role 'knee'"):
        read(path, joints={"knee": "shin one"})
    with pytest.raises(Rejected, match="does not hang on"):
        read(path, joints={"left_knee": "RightLeg"})


def test_what_cannot_be_used_is_told(tmp_path, capsys):
    good = write_bvh(tmp_path / "good.bvh").read_text()
    head, _, numbers = good.partition("MOTION")
    animal = head.replace("Left", "Front").replace("Right", "Rear") + "MOTION" + numbers
    cut = good[: -len(good) // 3]
    poses = amass_poses(4).reshape(4, -1)
    for name, content, why in (
        ("animal.bvh", animal, "no joint known as left_hip"),
        ("open.bvh", good.replace("}", "", 1), "not a BVH file, or damaged"),
        ("letters.bvh", good.replace("Frames: 40", "Frames: x"), "not a BVH file, or damaged"),
        ("two.bvh", head + head.replace("HIERARCHY", "") + "MOTION" + numbers, "several skeletons"),
        ("clip.txt", '{"Frames": [[0.1, 0, 0], [0.1, 0, 0]]}', "humanoid3d clips have 44"),
        ("torn.txt", '{"Loop": "wrap", "Frames": [[0.1, 0', "not a clip of DeepMimic"),
        ("words.txt", "hello", "not a motion that is known"),
        ("rate.npz", {"poses": poses, "trans": np.zeros((4, 3))}, "frame rate"),
        ("odd.npz", {"poses": poses[:, :50], "trans": np.zeros((4, 3)), "fps": 30.0}, "SMPL-X 165"),
        ("objects.npz", {"poses": np.array([{}]), "trans": np.zeros((4, 3)), "fps": 30.0}, "allow_pickle"),
        ("short.npz", {"poses": poses, "trans": np.zeros((3, 3)), "fps": 30.0}, "do not fit"),
    ):
        path = tmp_path / name
        if isinstance(content, dict):
            np.savez(path, **content)
        else:
            path.write_text(content)
        with pytest.raises(Rejected, match=why):
            read(path)
    (tmp_path / "cut.bvh").write_text(cut)
    assert "The file says 40 frames and has" in read(tmp_path / "cut.bvh").warnings[0]
    assert main([str(tmp_path / "none.bvh"), "-o", str(tmp_path / "t")]) == 3
    assert "REJECTED: " in capsys.readouterr().err
    assert not (tmp_path / "t" / "config.json").exists()
