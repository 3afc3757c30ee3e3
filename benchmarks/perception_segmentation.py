"""Perception benchmark, segmentation: SAM 2.1 L, streamed as here and by the library's own session."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel, Sam2VisionConfig
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig

from benchmarks.perception_row import Row, timed
from mimo.video import VideoReader, VideoWriter
from video_decomp.sam2.frames import to_pixels
from video_decomp.sam2.network import VideoNetwork, prepared
from video_decomp.sam2.tracker import Prompt, VideoTracker

BOX = (0.35, 0.2, 0.6, 0.95)  # of the tracked thing, in units of the frame


def large_config() -> Sam2VideoConfig:
    """Configuration of `facebook/sam2.1-hiera-large`."""
    stages = [144, 288, 576, 1152]
    backbone = Sam2HieraDetConfig(
        hidden_size=144,
        num_attention_heads=2,
        blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=stages,
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
        global_attention_blocks=[23, 33, 43],
    )
    return Sam2VideoConfig(
        vision_config=Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=stages[::-1])
    )


def measure(frames: int, size: tuple[int, int], device: str) -> list[Row]:
    """Frames a second and memory of tracking one person through a clip of random content."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    torch.manual_seed(0)
    with torch.device(device):
        model = prepared(VideoNetwork(large_config()), torch.device(device), dtype)
        plain = prepared(Sam2VideoModel(large_config()), torch.device(device), dtype)
    with tempfile.TemporaryDirectory() as folder:
        video = _clip(Path(folder) / "clip.mp4", frames, size)
        quarter = _clip(Path(folder) / "quarter.mp4", max(frames // 4, 9), size)
        tracker = VideoTracker(model)
        timed(device, lambda: _ours(tracker, quarter))
        rows = []
        for clip in (quarter, video):
            seconds, memory = timed(device, lambda clip=clip: _ours(tracker, clip))
            note = f"{len(clip)} frames, batch {tracker.batch}, {dtype}; with decoding and full-size masks"
            rows.append(Row("segmentation", "SAM 2.1 L, streamed", len(clip) / seconds, memory, note))
        pixels = torch.cat([_pixels(model, image) for image in video])
        seconds, memory = timed(device, lambda: _library(plain, pixels, size))
        note = f"{len(video)} frames, {dtype}; all frames decoded and on the device before"
        rows.append(Row("segmentation", "SAM 2.1 L, transformers session", frames / seconds, memory, note))
    return rows


def _clip(path: Path, frames: int, size: tuple[int, int]) -> VideoReader:
    """A video of smooth noise that drifts, as hard to decode as footage."""
    width, height = size
    rng = np.random.default_rng(0)
    noise = cv2.resize(
        rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC
    )
    with VideoWriter(path, Fraction(30)) as writer:
        for number in range(frames):
            writer.write(np.roll(noise, 3 * number, axis=1))
    return VideoReader(path)


def _ours(tracker: VideoTracker, video: VideoReader) -> None:
    width, height = video.info.width, video.info.height
    left, top, right, bottom = BOX
    prompt = Prompt(0, box=(left * width, top * height, right * width, bottom * height))
    for _ in tracker.track(video, [prompt]):
        pass


def _pixels(model: VideoNetwork, image: np.ndarray) -> torch.Tensor:
    side = (model.image_size, model.image_size)
    return to_pixels(torch.from_numpy(image)[None], side, model.device, model.dtype)


@torch.inference_mode()
def _library(model: Sam2VideoModel, pixels: torch.Tensor, size: tuple[int, int]) -> None:
    """The library's way: a session that holds the whole video, and masks at full size on the host."""
    session = Sam2VideoInferenceSession(
        video=pixels,
        video_width=size[0],
        video_height=size[1],
        inference_device=pixels.device,
        inference_state_device=pixels.device,
        video_storage_device=pixels.device,
        dtype=pixels.dtype,
    )
    corners = torch.tensor(BOX, device=pixels.device).view(1, 1, 2, 2) * model.image_size
    labels = torch.tensor([[[2, 3]]], dtype=torch.int32, device=pixels.device)
    index = session.obj_id_to_idx(1)
    session.add_point_inputs(index, 0, {"point_coords": corners, "point_labels": labels})
    session.obj_with_new_inputs = [1]
    for output in model.propagate_in_video_iterator(session, start_frame_idx=0):
        masks = torch.nn.functional.interpolate(output.pred_masks.float(), size[::-1], mode="bilinear")
        (masks > 0).cpu()
