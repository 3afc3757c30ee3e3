"""The inpainting section of the perception benchmark: ProPainter in bounded windows and as released.

Full-size networks with random weights on a synthetic clip: speed and memory are those of the real ones.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.perception_row import Row
from video_decomp.propainter import flow_completion, transformer
from video_decomp.propainter.flow_completion import FlowCompletion
from video_decomp.propainter.generator import Generator, quartered_flow, quartered_mask
from video_decomp.propainter.image_propagation import propagate
from video_decomp.propainter.memory import estimate
from video_decomp.propainter.pipeline import Inpainter, Networks
from video_decomp.propainter.raft import RAFT
from video_decomp.propainter.windows import Windows

GIB = 2**30
PATH_CROP = (0.525, 1.0)
"""Width and height of a walking person's path with its surroundings, as shares of the frame."""
RELEASED_FRAMES = 80


def measure(frames: int, size: tuple[int, int], device: str) -> list[Row]:
    """Rows of the table; see `benchmarks.perception_row`."""
    half = torch.float16 if device.startswith("cuda") else torch.float32
    networks = random_networks(torch.device(device), half)
    path = tuple(int(side * share) // 8 * 8 for side, share in zip(size, PATH_CROP, strict=True))
    run(networks, Scene(12, *path), 12)
    rows = [
        ours(networks, "person's path", Scene(frames, *path)),
        ours(networks, "whole frame", Scene(frames, *size)),
    ]
    # The released inference estimates flow in float32.
    exact = random_networks(torch.device(device), torch.float32)
    networks.raft = exact.raft
    return [*rows, released(networks, Scene(min(frames, RELEASED_FRAMES), *size))]


class Scene:
    """A drifting texture and a hole of a person's size that walks through it, made frame by frame."""

    def __init__(self, count: int, width: int, height: int) -> None:
        self.count, self.height, self.width = count, height, width
        coarse = np.random.default_rng(0).integers(0, 256, (height // 8 + 8, width // 8 + 72, 3), np.uint8)
        self._texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
        self._places = np.mgrid[:height, :width]

    def pictures(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames, (h, w, 3) uint8."""
        for index in range(start, stop):
            drift = index % 512
            yield self._texture[: self.height, drift : drift + self.width]

    def holes(self, start: int, stop: int, reach: float) -> Iterator[np.ndarray]:
        """Holes, (h, w) bool: 6% of a frame of 1280x720."""
        rows, columns = self._places
        for index in range(start, stop):
            middle = self.width * (0.5 + 0.25 * np.sin(index / 40))
            across = (columns - middle) / (0.14 * self.height + reach)
            down = (rows - 0.52 * self.height) / (0.36 * self.height + reach)
            yield across**2 + down**2 < 1


def random_networks(device: torch.device, dtype: torch.dtype) -> Networks:
    """The three networks at their full size; flow of a few pixels."""
    torch.manual_seed(0)
    raft, completion, generator = (
        kind().eval().requires_grad_(False).to(device=device, dtype=dtype)
        for kind in (RAFT, FlowCompletion, Generator)
    )
    raft.update_block.flow_head.conv2.weight.mul_(0.03)
    return Networks(raft, completion, generator, device, dtype, iterations=20)


def run(networks: Networks, scene: Any, frames: int) -> tuple[float, list[float]]:
    """Seconds for all frames, and the highest allocated memory after each, GiB."""
    peaks = []
    with tempfile.TemporaryDirectory() as scratch, measured(networks.device) as peak:
        started = time.perf_counter()
        inpainter = Inpainter(scene, networks, Windows(frames), 16, 22, Path(scratch))
        for picture in inpainter.pictures():
            assert picture is not None
            peaks.append(peak())
        return time.perf_counter() - started, peaks


@contextmanager
def measured(device: torch.device) -> Iterator[Callable[[], float]]:
    """Start anew with the memory's high-water mark; gives a function that reads it, GiB."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        yield lambda: torch.cuda.max_memory_allocated() / GIB
    else:
        yield lambda: 0.0


def ours(networks: Networks, what: str, scene: Scene) -> Row:
    """Our windows, from frames in main memory to filled frames in main memory."""
    seconds, peaks = run(networks, scene, scene.count)
    expected = estimate(scene.height, scene.width, Windows(scene.count), networks.dtype) / GIB
    third = peaks[len(peaks) // 3]
    note = (
        f"{scene.width}x{scene.height}, {scene.count} frames, {str(networks.dtype).removeprefix('torch.')}; "
        f"peak after a third of them {third:.2f}; told before the run {expected:.1f} with the libraries' own"
    )
    return Row("inpainting", f"propainter, {what}", scene.count / seconds, peaks[-1] or None, note)


def released(networks: Networks, scene: Scene) -> Row:
    """The released inference's scheme: the whole frame, one sub-video on the device, nothing kept."""
    frames = scene.count
    with measured(networks.device) as peak, unbounded():
        started = time.perf_counter()
        released_inference(networks, scene)
        seconds = time.perf_counter() - started
        memory = peak()
    note = (
        f"{scene.width}x{scene.height}, {frames} frames, flow in float32, the rest float16; our networks in "
        "the released order, everything on the device, groups encode all their frames anew; the released "
        "networks need more (attention's keys of all windows, four pairs of frames at once)"
    )
    return Row("inpainting", "propainter, released windows", frames / seconds, memory or None, note)


@contextmanager
def unbounded() -> Iterator[None]:
    """Work on all frames and windows at once, as the released networks do."""
    bounds = [
        (flow_completion, "FRAMES_AT_ONCE"),
        (transformer, "FRAMES_AT_ONCE"),
        (transformer, "WINDOWS_AT_ONCE"),
    ]
    before = [getattr(module, name) for module, name in bounds]
    for module, name in bounds:
        setattr(module, name, 10**6)
    try:
        yield
    finally:
        for (module, name), value in zip(bounds, before, strict=True):
            setattr(module, name, value)


@torch.inference_mode()
def released_inference(networks: Networks, scene: Scene) -> list[Tensor]:
    """Filled frames of a clip of one sub-video with everything on the device."""
    device, dtype, count = networks.device, networks.dtype, scene.count
    pictures = torch.from_numpy(np.stack(list(scene.pictures(0, count)))).permute(0, 3, 1, 2)
    frames = pictures.to(device).float() / 127.5 - 1
    masks = torch.from_numpy(np.stack(list(scene.holes(0, count, 16))))[:, None].to(device, dtype)
    both = [networks.raft(frames[i : i + 2], networks.iterations) for i in range(count - 1)]
    forward, backward = (torch.cat(way).to(dtype) for way in zip(*both, strict=True))
    frames = frames.to(dtype)
    completed = torch.cat(networks.completion.complete(forward, backward, masks), dim=1)

    def flow(index: int) -> tuple[Tensor, Tensor]:
        ahead, back = completed[index : index + 1].split(2, dim=1)
        return ahead, back

    steps = list(propagate(frames.split(1), masks.split(1), flow))
    updated, left = (torch.cat(parts) for parts in zip(*steps, strict=True))
    results: dict[int, Tensor] = {}
    windows = Windows(count)
    for middle in windows.middles(0):
        near, distant = windows.near(middle), windows.distant(middle)
        seen = [*near, *distant]
        features = networks.generator.encode(updated[seen], masks[seen], left[seen])
        ahead, back = (quartered_flow(part) for part in completed[near[:-1]].split(2, dim=1))
        small = (quartered_mask(mask[near.start : near.stop]) for mask in (masks, left))
        made = networks.generator(features[: len(near)], features[len(near) :], ahead, back, *small)
        for index, picture in zip(near, ((made.float() + 1) * 127.5).cpu(), strict=True):
            results[index] = 0.5 * results[index] + 0.5 * picture if index in results else picture
    return [results[index] for index in range(count)]
