"""What ProPainter's tests and their golden numbers share: random weights and small clips, always the same."""

from pathlib import Path

import numpy as np
import torch

from video_decomp.propainter.flow_completion import FlowCompletion
from video_decomp.propainter.generator import Generator
from video_decomp.propainter.raft import RAFT

NETWORKS = {
    "raft-things.pth": (RAFT, 1),
    "recurrent_flow_completion.pth": (FlowCompletion, 2),
    "ProPainter.pth": (Generator, 3),
}


def random_state(network: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Values of a network's size that keep activations near one, offsets of deformable taps included."""
    random = np.random.default_rng(seed)
    smaller = {"update_block.flow_head.conv2.weight": 0.03, "decoder.6.weight": 0.3}
    state: dict[str, torch.Tensor] = {}
    for key, like in sorted(network.state_dict().items()):
        if not like.is_floating_point():
            state[key] = (
                like.clone() if like.device.type != "meta" else torch.zeros(like.shape, dtype=like.dtype)
            )
            continue
        values = random.standard_normal(tuple(like.shape), dtype=np.float32)
        if key.endswith("running_var"):
            values = 1 + 0.1 * np.abs(values)
        elif like.ndim > 1:
            values *= 1.2 * smaller.get(key, 1) / np.sqrt(np.prod(like.shape[1:]))
        elif "norm" in key and key.endswith("weight"):
            values = 1 + 0.1 * values
        else:
            values *= 0.1
        state[key] = torch.from_numpy(values)
    for key in state:
        if "norm3." in key:
            # The published file holds these under a second name.
            state[key.replace("norm3", "downsample.1")] = state[key]
    return state


def write_official(folder: Path) -> Path:
    """The three official files with random weights, 200 MB."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (network, seed) in NETWORKS.items():
        state = random_state(network(), seed)
        if name == "raft-things.pth":
            state = {f"module.{key}": value for key, value in state.items()}
        torch.save(state, folder / name)
    return folder


def clip(count: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A drifting texture and a hole that walks through it.

    Returns:
        frames (count, 3, height, width) in -1..1, in steps of 8-bit pixels, and holes
        (count, 1, height, width) of 0 and 1.
    """
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    frames, holes = [], []
    for time in range(count):
        x, y = columns + 1.7 * time, rows - 0.6 * time
        waves = [
            np.sin(x / 5.3) * np.cos(y / 7.1) + 0.5 * np.sin((x + y) / 3.1),
            np.cos(x / 9.7 + 1) * np.sin(y / 4.3) + 0.4 * np.cos((x - 2 * y) / 6.7),
            np.sin((x * 0.7 + y * 0.9) / 6.1) + 0.5 * np.cos(x / 2.9),
        ]
        pixels = np.round(np.stack(waves) * 80 + 127.5).clip(0, 255)
        frames.append(pixels / 255 * 2 - 1)
        across, down = width * (0.3 + 0.03 * time), height * (0.5 + 0.02 * np.sin(time))
        inside = ((columns - across) / (width * 0.13)) ** 2 + ((rows - down) / (height * 0.3)) ** 2 < 1
        holes.append(inside[None])
    return torch.from_numpy(np.stack(frames)).float(), torch.from_numpy(np.stack(holes)).float()


def flows(count: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward and backward flow between the frames of `clip`, right but for a patch, (count - 1, 2, ...)."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    ahead = []
    for time in range(count - 1):
        wrong = 3 * ((np.abs(columns - 20 - 4 * time) < 12) & (np.abs(rows - 30) < 12))
        ahead.append(np.stack([-1.7 + 0.2 * np.sin(rows / 9) + wrong, 0.6 + 0.2 * np.cos(columns / 11)]))
    forward = torch.from_numpy(np.stack(ahead)).float()
    return forward, -forward.flip(-1)


def sampled(values: np.ndarray, most: int = 4000) -> np.ndarray:
    """Some of an array's values, the same places for the same shape."""
    return values.ravel()[np.random.default_rng(0).permutation(values.size)[:most]]
