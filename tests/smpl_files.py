"""Small files in the official formats of the SMPL family and of 4D-Humans, made from formulas.

The body is a figure of tubes in T-pose with SMPL's joints, so that it can be posed and looked at; the
networks are tiny, and say that a person stands upright, faces the camera and lets the arms hang.
"""

from __future__ import annotations

import pickle
import sys
import types
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse
from scipy.spatial.transform import Rotation

from mimo.body.smpl import BODY_JOINTS, JOINT_NAMES

# Half of a person in T-pose, SMPL's axes (x to its left, y up, z forwards), metres.
PLACES = {
    "pelvis": (0, -0.22, 0.03),
    "hip": (0.07, -0.31, 0.02),
    "spine1": (0, -0.1, 0),
    "knee": (0.1, -0.69, 0.01),
    "spine2": (0, 0.03, 0.02),
    "ankle": (0.09, -1.09, -0.03),
    "spine3": (0, 0.09, 0.02),
    "foot": (0.11, -1.15, 0.09),
    "neck": (0, 0.3, -0.01),
    "collar": (0.08, 0.21, 0),
    "head": (0, 0.38, 0.02),
    "shoulder": (0.17, 0.23, -0.01),
    "elbow": (0.43, 0.22, -0.02),
    "wrist": (0.68, 0.22, -0.02),
    "hand": (0.76, 0.22, -0.02),
}
TIPS = {"foot": (0.01, 0.0, 0.08), "head": (0, 0.2, 0.02), "hand": (0.1, 0, 0)}
RADII = {"pelvis": 0.14, "spine1": 0.13, "spine2": 0.14, "spine3": 0.15, "head": 0.1, "hip": 0.08}
RING = 8


def joint_place(name: str) -> np.ndarray:
    side, _, part = name.rpartition("_")
    if part in PLACES:
        return np.array(PLACES[part]) * ([-1, 1, 1] if side == "right" else 1)
    finger, link = part[:-1], int(part[-1])
    across = ("thumb", "index", "middle", "ring", "pinky").index(finger)
    place = np.array([0.73 + 0.03 * link, 0.22, 0.02 - 0.015 * across])
    return place * ([-1, 1, 1] if side == "right" else 1)


def parents_of(names: list[str]) -> list[int]:
    tree = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
    if len(names) == 24:
        return [*tree, 20, 21]
    fingers = [20 + (number // 15) if number % 3 == 0 else 21 + number for number in range(30)]
    return tree + fingers


def body(joints: int = 24) -> dict:
    """Content of a model file: arrays float64, as in SMPL_NEUTRAL.pkl; `joints` 24 or 52."""
    names = JOINT_NAMES["smpl" if joints == 24 else "smplh"]
    parents = parents_of(names)
    heads = np.array([joint_place(name) for name in names])
    vertices, faces, weights, regressor = [], [], [], []
    for number, name in enumerate(names):
        part = name.rpartition("_")[2]
        children = [child for child in range(joints) if parents[child] == number]
        side = -1 if name.startswith("right") else 1
        tip = (
            heads[children].mean(0)
            if children
            else heads[number] + np.array(TIPS.get(part, (0.02, 0, 0))) * [side, 1, 1]
        )
        first = len(vertices)
        for share in (0.0, 0.5, 1.0):
            vertices += list(_ring(heads[number], tip, share, RADII.get(part, 0.05 if number < 22 else 0.02)))
            weights += [_weights(joints, number, parents[number], share)] * RING
        faces += _tube(first)
        row = np.zeros(0)
        regressor.append((first, row))
    count = len(vertices)
    matrix = np.zeros((joints, count))
    for number, (first, _) in enumerate(regressor):
        matrix[number, first : first + RING] = 1 / RING
    place = np.array(vertices)
    wave = np.sin(np.arange(count * 3 * 10)).reshape(count, 3, 10) * 1e-3
    wave[:, :, 0] += 0.05 * place
    bends = np.sin(1.7 * np.arange(count * 3 * 9 * (joints - 1))).reshape(count, 3, -1) * 1e-4
    return {
        "v_template": place,
        "shapedirs": wave,
        "posedirs": bends,
        "J_regressor": matrix,
        "weights": np.array(weights),
        "kintree_table": np.array([[4294967295, *parents[1:]], range(joints)], np.uint32),
        "f": np.array(faces, np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def _ring(start: np.ndarray, end: np.ndarray, share: float, radius: float) -> np.ndarray:
    along = (end - start) / np.linalg.norm(end - start)
    first = np.cross(along, [0.3, 0.2, 0.9])
    first /= np.linalg.norm(first)
    turns = np.arange(RING) * 2 * np.pi / RING
    circle = np.cos(turns)[:, None] * first + np.sin(turns)[:, None] * np.cross(along, first)
    return start + share * (end - start) + radius * circle


def _weights(joints: int, joint: int, parent: int, share: float) -> np.ndarray:
    row = np.zeros(joints)
    row[joint] = 1.0 if parent < 0 else 0.7 + 0.3 * share
    row[max(parent, 0)] += 1 - row[joint]
    return row


def _tube(first: int) -> list[tuple[int, int, int]]:
    faces = []
    for ring in (0, 1):
        for corner in range(RING):
            a, b = first + ring * RING + corner, first + ring * RING + (corner + 1) % RING
            faces += [(a, b, b + RING), (a, b + RING, a + RING)]
    for end in (0, 2):
        base = first + end * RING
        faces += [(base, base + corner, base + corner + 1) for corner in range(1, RING - 1)]
    return faces


@contextmanager
def chumpy():
    """The module `chumpy`, whose objects official files hold, as far as pickling them needs."""
    names = ("chumpy", "chumpy.ch", "chumpy.reordering")
    modules = {name: types.ModuleType(name) for name in names}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        setattr(modules[module], name, type(name, (), {"__module__": module}))
    sys.modules.update(modules)
    try:
        yield modules
    finally:
        for name in names:
            del sys.modules[name]


def write_pkl(path: Path, content: dict) -> Path:
    """As the official sites give it: chumpy arrays, a sparse regressor, Python 2's protocol."""
    with chumpy() as modules:
        template = modules["chumpy.ch"].Ch()
        template.x = content["v_template"]
        whole = modules["chumpy.ch"].Ch()
        whole.x = np.concatenate([content["shapedirs"], content["shapedirs"]], 2)
        chosen = modules["chumpy.reordering"].Select()
        shape = content["shapedirs"].shape
        chosen.__dict__ |= {
            "a": whole,
            "idxs": np.arange(whole.x.size).reshape(whole.x.shape)[:, :, : shape[2]].ravel(),
            "preferred_shape": shape,
        }
        official = content | {
            "v_template": template,
            "shapedirs": chosen,
            "J_regressor": scipy.sparse.csc_matrix(content["J_regressor"]),
        }
        path.write_bytes(pickle.dumps(official, protocol=2))
    return path


def write_npz(path: Path, content: dict) -> Path:
    """As SMPL-H for AMASS: plain arrays, and one of objects, which nobody needs."""
    arrays = {name: value for name, value in content.items() if not isinstance(value, str)}
    np.savez(path, **arrays, part2num=np.array({"a": 1}, object))
    return path


def formula(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of a tensor that depend on its name and shape only."""
    seed = zlib.crc32(name.encode()) % 1000
    index = np.arange(int(np.prod(shape)))
    wave = np.sin(0.37 * index + seed) * np.cos(0.011 * index * (1 + seed % 7))
    if len(shape) > 1:
        wave = wave / np.sqrt(np.prod(shape[1:])) * 1.2
    elif "norm" in name and name.endswith("weight"):
        wave = 1 + 0.1 * wave
    else:
        wave = 0.1 * wave
    return wave.reshape(shape).astype(np.float32)


def standing(joints: int) -> np.ndarray:
    """Mean pose (1, 6 J): upright before the camera, arms hanging; of a hand: straight."""
    turns = np.tile(np.eye(3), (joints, 1, 1))
    turns[0] = np.diag([1, -1, -1])
    if joints == 24:
        for side, sign in (("left", -1), ("right", 1)):
            turns[BODY_JOINTS.index(f"{side}_shoulder")] = Rotation.from_euler(
                "z", sign * 70, degrees=True
            ).as_matrix()
    return turns[:, :, :2].swapaxes(1, 2).reshape(1, -1).astype(np.float32)


def network_shapes(head: str, joints: int, hidden: int = 32, depth: int = 2) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a small HMR2 (`head` ``smpl_head``) or HaMeR (``mano_head``)."""
    width, inner, mlp = 16, 128, 24
    shapes: dict[str, tuple[int, ...]] = backbone_shapes(hidden, depth)
    decoder = f"{head}.transformer"
    shapes[f"{decoder}.pos_embedding"] = (1, 1, width)
    shapes[f"{decoder}.to_token_embedding.weight"] = (width, 1)
    shapes[f"{decoder}.to_token_embedding.bias"] = (width,)
    for layer in range(2):
        at = f"{decoder}.transformer.layers.{layer}"
        for part in range(3):
            shapes |= {f"{at}.{part}.norm.weight": (width,), f"{at}.{part}.norm.bias": (width,)}
        shapes[f"{at}.0.fn.to_qkv.weight"] = (3 * inner, width)
        shapes[f"{at}.1.fn.to_kv.weight"] = (2 * inner, hidden)
        shapes[f"{at}.1.fn.to_q.weight"] = (inner, width)
        for part in (0, 1):
            shapes |= {
                f"{at}.{part}.fn.to_out.0.weight": (width, inner),
                f"{at}.{part}.fn.to_out.0.bias": (width,),
            }
        for number, size in ((0, (mlp, width)), (3, (width, mlp))):
            shapes |= {f"{at}.2.fn.net.{number}.weight": size, f"{at}.2.fn.net.{number}.bias": size[:1]}
    for name, size in (("decpose", 6 * joints), ("decshape", 10), ("deccam", 3)):
        shapes |= {f"{head}.{name}.weight": (size, width), f"{head}.{name}.bias": (size,)}
    return shapes


def backbone_shapes(hidden: int, depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a small ViT under ViTPose's names."""
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.pos_embed": (1, 193, hidden),
        "backbone.patch_embed.proj.weight": (hidden, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (hidden,),
        "backbone.last_norm.weight": (hidden,),
        "backbone.last_norm.bias": (hidden,),
    }
    for block in range(depth):
        for name, size in (
            ("norm1", (hidden,)),
            ("norm2", (hidden,)),
            ("attn.qkv", (3 * hidden, hidden)),
            ("attn.proj", (hidden, hidden)),
            ("mlp.fc1", (2 * hidden, hidden)),
            ("mlp.fc2", (hidden, 2 * hidden)),
        ):
            at = f"backbone.blocks.{block}.{name}"
            shapes |= {f"{at}.weight": size, f"{at}.bias": size[:1]}
    return shapes


def network_state(head: str = "smpl_head", joints: int = 24, calm: float = 1.0) -> dict:
    """Tensors of a small network; `calm` below 1 keeps its answer nearer to the mean pose."""
    import torch

    state = {}
    for name, shape in network_shapes(head, joints).items():
        factor = calm if ".dec" in name else 1.0
        state[name] = torch.from_numpy(formula(name, shape) * np.float32(factor))
    mean = "init_body_pose" if head == "smpl_head" else "init_hand_pose"
    state[f"{head}.{mean}"] = torch.from_numpy(standing(joints))
    state[f"{head}.init_betas"] = torch.zeros(1, 10)
    state[f"{head}.init_cam"] = torch.tensor([[1.1, 0.0, 0.13]])
    return state


def write_checkpoint(path: Path, state: dict) -> Path:
    """As Lightning writes it: tensors, counters, and the configuration as an object of yacs."""
    import torch

    yacs = types.ModuleType("yacs")
    config = types.ModuleType("yacs.config")
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    config.CfgNode = node
    sys.modules.update({"yacs": yacs, "yacs.config": config})
    try:
        settings = node(MODEL=node(IMAGE_SIZE=256))
        settings.__dict__["__immutable__"] = True
        more = {
            "smpl.faces_tensor": torch.zeros(3, 3, dtype=torch.int64),
            "discriminator.betas_fc1.weight": torch.zeros(10, 10),
            "initialized": torch.tensor(False),
        }
        torch.save(
            {
                "epoch": 35,
                "global_step": 1000000,
                "pytorch-lightning_version": "1.8.1",
                "state_dict": state | more,
                "optimizer_states": [{"state": {}, "param_groups": [{"lr": 1e-5}]}],
                "hyper_parameters": {"cfg": settings},
                "hparams_name": "cfg",
            },
            path,
        )
    finally:
        del sys.modules["yacs"], sys.modules["yacs.config"]
    return path


def write_whole_body(path: Path, sure: range) -> Path:
    """ViTPose's wholebody.pth, small: key points in `sure` are seen somewhere in the box, no others."""
    import torch

    state = {name: torch.from_numpy(formula(name, shape)) for name, shape in backbone_shapes(32, 2).items()}
    for layer, width in ((0, 32), (3, 256)):
        at = f"keypoint_head.deconv_layers.{layer}"
        state[f"{at}.weight"] = torch.from_numpy(formula(at, (width, 256, 4, 4))) * 0.1
        norm = f"keypoint_head.deconv_layers.{layer + 1}"
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            state[f"{norm}.{name}"] = torch.full((256,), value)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    last = "keypoint_head.final_layer"
    state[f"{last}.weight"] = torch.from_numpy(formula(last, (133, 256, 1, 1)))
    state[f"{last}.bias"] = torch.tensor([0.9 if point in sure else -9.0 for point in range(133)])
    torch.save({"meta": {"epoch": 210}, "state_dict": state}, path)
    return path
