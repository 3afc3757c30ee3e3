"""Perception benchmark, pose: HMR2 in batches and one frame at a time; with hands; drawing the result."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.perception_row import Row, timed
from mimo.body.motion_code import DRAWERS, drawn_body
from mimo.body.smpl import ModelFile, topology_of
from mimo.video import VideoReader, VideoWriter
from video_decomp.hmr2.crops import picture_camera
from video_decomp.hmr2.hands import Hands
from video_decomp.hmr2.network import MeshNetwork
from video_decomp.hmr2.recovery import Recovery
from video_decomp.pose.__main__ import masked_frames

GIB = 1 << 30
BATCH = 32
CLIP = 60  # frames of the video, which is read again and again
VERTICES, AROUND, JOINTS = 6890, 65, 24


def measure(frames: int, size: tuple[int, int], device: str) -> list[Row]:
    """Frames a second and memory of the networks of random weights, at full size on a GPU."""
    full = device.startswith("cuda")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.pth"
        torch.save(random_state(device, full), weights)
        video, masks = _clip(Path(folder), size)
        camera = picture_camera(*size)

        def row(variant: str, body: MeshNetwork, hands: Hands | None, batch: int, count: int) -> Row:
            recovery = Recovery(body, hands, 52 if hands else JOINTS, batch)
            recovery.track(_frames(video, masks, batch), camera)
            seconds, memory = timed(device, lambda: recovery.track(_frames(video, masks, count), camera))
            note = f"{count} frames, batch {batch}, {str(body.dtype).removeprefix('torch.')}"
            return Row("pose", variant, count / seconds, memory, f"{note}; with decoding, boxes and crops")

        few = max(frames // 4, 1)
        dtype = torch.float16 if full else torch.float32
        body = MeshNetwork(weights, "smpl_head.", "HMR2", device, dtype)
        rows.append(row("HMR2, batches", body, None, BATCH, frames))
        rows.append(row("HMR2, batches, a quarter of the frames", body, None, BATCH, few))
        rows.append(row("HMR2, one by one", body, None, 1, few))
        hands = Hands(weights, weights, device, dtype)
        rows.append(row("HMR2 with hands, batches", body, hands, BATCH, frames))
        del body, hands
        body = MeshNetwork(weights, "smpl_head.", "HMR2", device, torch.float32)
        rows.append(row("HMR2, one by one, as the reference runs it", body, None, 1, few))
        started = time.perf_counter()
        count = sum(1 for _ in _frames(video, masks, frames))
        speed = count / (time.perf_counter() - started)
        rows.append(Row("pose", "decoding alone", speed, None, f"{count} frames and masks, on the CPU"))
    rows.append(_drawing(size))
    return rows


def random_state(device: str, full: bool) -> dict[str, torch.Tensor]:
    """Random tensors of HMR2, HaMeR and ViTPose for the whole body, with one backbone for all.

    Args:
        device: where they are drawn; they come back to the CPU.
        full: at the published size; else small.
    """
    hidden, depth, width = (1280, 32, 1024) if full else (64, 2, 64)
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.pos_embed": (1, 193, hidden),
        "backbone.patch_embed.proj.weight": (hidden, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (hidden,),
        "backbone.last_norm.weight": (hidden,),
        "backbone.last_norm.bias": (hidden,),
    }
    for block in range(depth):
        at = f"backbone.blocks.{block}"
        linear = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
        for name, (rows, columns) in linear.items():
            shapes |= {
                f"{at}.{name}.weight": (rows * hidden, columns * hidden),
                f"{at}.{name}.bias": (rows * hidden,),
            }
        for name in ("norm1", "norm2"):
            shapes |= {f"{at}.{name}.weight": (hidden,), f"{at}.{name}.bias": (hidden,)}
    shapes |= _head("smpl_head", JOINTS, "init_body_pose", hidden, width)
    shapes |= _head("mano_head", 16, "init_hand_pose", hidden, width)
    points = "keypoint_head"
    for layer, entry in ((0, hidden), (3, 256)):
        shapes[f"{points}.deconv_layers.{layer}.weight"] = (entry, 256, 4, 4)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{points}.deconv_layers.{layer + 1}.{name}"] = (256,)
        shapes[f"{points}.deconv_layers.{layer + 1}.num_batches_tracked"] = ()
    shapes |= {f"{points}.final_layer.weight": (133, 256, 1, 1), f"{points}.final_layer.bias": (133,)}
    generator = torch.Generator(device).manual_seed(0)
    state = {name: _values(name, shape, generator, device) for name, shape in shapes.items()}
    # Both hands are seen in every frame.
    state[f"{points}.final_layer.bias"] += 1
    return state


def _head(head: str, joints: int, mean: str, context: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{head}.{mean}": (1, 6 * joints),
        f"{head}.init_betas": (1, 10),
        f"{head}.init_cam": (1, 3),
        f"{head}.transformer.pos_embedding": (1, 1, width),
        f"{head}.transformer.to_token_embedding.weight": (width, 1),
        f"{head}.transformer.to_token_embedding.bias": (width,),
    }
    for layer in range(6):
        at = f"{head}.transformer.transformer.layers.{layer}"
        shapes |= {
            f"{at}.0.fn.to_qkv.weight": (1536, width),
            f"{at}.1.fn.to_kv.weight": (1024, context),
            f"{at}.1.fn.to_q.weight": (512, width),
        }
        for part, name, rows, columns in (
            (0, "to_out.0", width, 512),
            (1, "to_out.0", width, 512),
            (2, "net.0", 1024, width),
            (2, "net.3", width, 1024),
        ):
            shapes |= {
                f"{at}.{part}.fn.{name}.weight": (rows, columns),
                f"{at}.{part}.fn.{name}.bias": (rows,),
            }
        for part in range(3):
            shapes |= {f"{at}.{part}.norm.weight": (width,), f"{at}.{part}.norm.bias": (width,)}
    for name, rows in (("decpose", 6 * joints), ("decshape", 10), ("deccam", 3)):
        shapes |= {f"{head}.{name}.weight": (rows, width), f"{head}.{name}.bias": (rows,)}
    return shapes


def _values(name: str, shape: tuple[int, ...], generator: torch.Generator, device: str) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if "norm" in name or "running_var" in name or ".deconv_layers.1.weight" in name:
        return torch.full(shape, 1.0 if name.endswith(("weight", "var")) else 0.0)
    fan = float(np.prod(shape[1:])) if len(shape) > 1 else 100.0
    return (torch.randn(shape, generator=generator, device=device) / fan**0.5).cpu()


def _clip(folder: Path, size: tuple[int, int]) -> tuple[VideoReader, VideoReader]:
    """A video of drifting smooth noise, and a mask that walks through it."""
    width, height = size
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    noise = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    with (
        VideoWriter(folder / "vid.mp4", Fraction(30)) as video,
        VideoWriter(folder / "mask.mp4", Fraction(30), kind="mask") as masks,
    ):
        for number in range(CLIP):
            video.write(np.roll(noise, 3 * number, axis=1))
            mask = np.zeros((height, width), np.uint8)
            centre = (width // 3 + 5 * number, height // 2)
            cv2.ellipse(mask, centre, (height // 8, 2 * height // 5), 0, 0, 360, 255, -1)
            masks.write(mask)
    return VideoReader(folder / "vid.mp4"), VideoReader(folder / "mask.mp4", gray=True)


def _frames(video: VideoReader, masks: VideoReader, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """So many frames: the clip again and again."""
    endless = itertools.chain.from_iterable(masked_frames(video, masks) for _ in itertools.count())
    return itertools.islice(endless, count)


def body_like_smpl() -> ModelFile:
    """A body of SMPL's size: a cylinder."""
    rng = np.random.default_rng(0)
    ring, place = np.divmod(np.arange(VERTICES), AROUND)
    height, turn = ring / (VERTICES // AROUND) * 1.8 - 0.9, place / AROUND * 2 * np.pi
    vertices = np.stack([0.15 * np.cos(turn), height, 0.15 * np.sin(turn)], 1)
    corner = np.arange(VERTICES - AROUND - 1)
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + AROUND], 1),
            np.stack([corner + 1, corner + AROUND + 1, corner + AROUND], 1),
        ]
    )
    joints = np.clip(((height + 0.9) / 1.8 * JOINTS).astype(int), 0, JOINTS - 1)
    weights = np.zeros((VERTICES, JOINTS), np.float32)
    weights[np.arange(VERTICES), joints] = 1
    return ModelFile(
        family="smpl",
        template=vertices.astype(np.float32),
        shape_basis=rng.normal(0, 0.01, (VERTICES, 3, 10)).astype(np.float32),
        pose_basis=rng.normal(0, 1e-4, (VERTICES, 3, 9 * (JOINTS - 1))).astype(np.float32),
        joint_regressor=(weights / np.maximum(weights.sum(0), 1)).T.copy(),
        weights=weights,
        parents=np.arange(-1, JOINTS - 1, dtype=np.int32),
        faces=faces.astype(np.int32),
    )


def _drawing(size: tuple[int, int]) -> Row:
    """Posing and drawing a body of SMPL's size, which the stage does on the CPU after the networks."""
    rng = np.random.default_rng(0)
    topology = topology_of(body_like_smpl(), "smpl-benchmark")
    body, camera = topology.body(np.zeros(10)), picture_camera(*size)
    count, colours = 30, topology.colours.astype(np.float32)
    distance = np.array([0, 0, 2.4 * camera[0] / size[1]], np.float32)
    started = time.perf_counter()
    for _ in range(count):
        posed = body.pose(rng.normal(0, 0.05, (JOINTS, 3)), np.array([np.pi / 2, 0, 0]), distance)
        drawn_body(posed, topology.faces, colours, camera)
    seconds = time.perf_counter() - started
    note = f"{count} frames, {VERTICES} vertices, by one thread of the {DRAWERS}; without writing the video"
    return Row("pose", "posing and drawing the body", count / seconds, None, note)
