"""Perception benchmark, occlusion: depth of every frame, masks of everything in a key frame."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    SamConfig,
    SamModel,
)
from transformers.models.sam.configuration_sam import SamVisionConfig

from benchmarks.perception_row import Row, timed
from benchmarks.perception_segmentation import large_config
from mimo.video import VideoReader, VideoWriter
from video_decomp.depth.network import DepthNetwork
from video_decomp.occlusion.automatic_masks import AutomaticMasks, prompted
from video_decomp.occlusion.layering import DEPTH_BATCH
from video_decomp.occlusion.segments import MaskSettings
from video_decomp.sam2.network import VideoNetwork, prepared
from video_decomp.sam2.streams import ahead, batches

SIZES = {
    # channels, blocks, heads, layers taken, channels of the neck and of its fusion
    "S": (384, 12, 6, [3, 6, 9, 12], [48, 96, 192, 384], 64),
    "L": (1024, 24, 16, [5, 12, 18, 24], [256, 512, 1024, 1024], 256),
}
KEY_FRAMES = 3


def depth_config(size: str) -> DepthAnythingConfig:
    """Configuration of `depth-anything/Depth-Anything-V2-Small-hf` or `-Large-hf`."""
    channels, blocks, heads, taken, neck, fusion = SIZES[size]
    backbone = Dinov2Config(
        hidden_size=channels,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        image_size=518,
        patch_size=14,
        out_indices=taken,
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    return DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=channels,
        neck_hidden_sizes=neck,
        fusion_hidden_size=fusion,
        head_hidden_size=32,
    )


def measure(frames: int, size: tuple[int, int], device: str) -> list[Row]:
    """Frames a second and memory on a clip of drifting noise."""
    half = torch.float16 if device.startswith("cuda") else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        clip = _clip(Path(folder) / "clip.mp4", frames, size)
        quarter = _clip(Path(folder) / "quarter.mp4", max(1, frames // 4), size)
        rows = []
        small = _depth("S", device, half)
        _run(small, quarter, DEPTH_BATCH)
        for video in (quarter, clip):
            rows.append(_depth_row("V2-S, batches", small, video, DEPTH_BATCH, device))
        rows.append(_depth_row("V2-S, one by one", small, quarter, 1, device))
        plain = _depth("S", device, torch.float32)
        rows.append(
            _depth_row("V2-S, one by one, float32, as the reference runs it", plain, quarter, 1, device)
        )
        large = _depth("L", device, half)
        _run(large, _clip(Path(folder) / "few.mp4", DEPTH_BATCH, size), DEPTH_BATCH)
        rows.append(_depth_row("V2-L, batches", large, quarter, DEPTH_BATCH, device))
        del small, plain, large
        image = clip.frame(0)
    for name, model in (("SAM 2.1 L", _sam2), ("SAM ViT-H (the reference's)", _sam)):
        rows.append(_masks_row(name, model(device), image, device))
    return rows


def _depth(size: str, device: str, dtype: torch.dtype) -> DepthNetwork:
    torch.manual_seed(0)
    with torch.device(device):
        model = DepthAnythingForDepthEstimation(depth_config(size))
    return DepthNetwork(prepared(model, torch.device(device), dtype))


def _sam2(device: str) -> VideoNetwork:
    with torch.device(device):
        return VideoNetwork(large_config())


def _sam(device: str) -> SamModel:
    vision = SamVisionConfig(
        hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, global_attn_indexes=[7, 15, 23, 31]
    )
    with torch.device(device):
        return SamModel(SamConfig(vision_config=vision))


def _depth_row(variant: str, network: DepthNetwork, video: VideoReader, batch: int, device: str) -> Row:
    seconds, memory = timed(device, lambda: _run(network, video, batch))
    seen = network.size(video.info.height, video.info.width)
    note = f"{len(video)} frames, batch {batch}, {_plain(network.model.dtype)}, seen at {seen[1]}x{seen[0]}"
    note += "; with decoding"
    return Row("occlusion", f"Depth Anything {variant}", len(video) / seconds, memory, note)


def _run(network: DepthNetwork, video: VideoReader, batch: int) -> None:
    for images in ahead(batches(video, batch), 2):
        network(images)


def _masks_row(name: str, model: torch.nn.Module, image: np.ndarray, device: str) -> Row:
    """Key frames a second with the default grid; thresholds at 0, as random networks are sure of nothing."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    settings = MaskSettings(min_predicted_iou=0, min_stability=0)
    masks = AutomaticMasks(prompted(prepared(model, torch.device(device), dtype)), settings)
    masks(image)
    seconds, memory = timed(device, lambda: [masks(image) for _ in range(KEY_FRAMES)])
    each = seconds / KEY_FRAMES
    points = settings.points_per_side
    note = f"{each:.2f} s a key frame: {points}x{points} points in 5 crops, {_plain(dtype)}"
    return Row("occlusion", f"automatic masks, {name}", 1 / each, memory, note)


def _clip(path: Path, frames: int, size: tuple[int, int]) -> VideoReader:
    """A video of smooth noise that drifts, as hard to decode as footage."""
    width, height = size
    random = np.random.default_rng(0)
    cells = random.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    noise = cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC)
    with VideoWriter(path, 30) as writer:
        for number in range(frames):
            writer.write(np.roll(noise, 3 * number, axis=1))
    return VideoReader(path)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
