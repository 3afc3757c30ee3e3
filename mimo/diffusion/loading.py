"""The pipeline that a process keeps loaded from one clip to the next, fitted to each clip's memory."""

from __future__ import annotations

import gc
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mimo.diffusion.acceleration import Compilation, accelerate
from mimo.diffusion.checkpoints import WeightsError
from mimo.diffusion.memory import Placement, Plan
from mimo.models.blocks import limit_feed_forward
from mimo.pipeline import MimoPipeline
from mimo.stage import Rejected
from mimo.weights import cache_dir

_MOST_FEATURE_BYTES = 2_500_000_000


@dataclass(frozen=True)
class Key:
    """What one loaded pipeline is made of.

    Attributes:
        weights: folder.
        files: of the folder, see `listing`.
        device: such as ``cuda:0``.
        precision: name of the networks' type.
        compilation: as for `accelerate`.
        placement: where the networks wait.
    """

    weights: Path
    files: tuple[str, ...]
    device: str
    precision: str
    compilation: Compilation
    placement: Placement


@dataclass
class Loaded:
    """A pipeline, and the clip that it was loaded for."""

    key: Key
    pipeline: MimoPipeline
    loaded_by: str
    seconds: float


_kept: list[Loaded] = []


def on_device(name: str) -> str:
    """The device that a setting names; ``auto``: the GPU if there is one.

    Raises:
        Rejected: there is no such GPU.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise Rejected(
            f"device {name}: PyTorch sees no GPU here; choose --device cpu, or install its CUDA build"
        )
    return name


def key(weights: Path, device: str, precision: str, compilation: Compilation, placement: Placement) -> Key:
    """The key of a pipeline; a folder whose files change is another one."""
    return Key(weights.resolve(), listing(weights), device, precision, compilation, placement)


def listing(folder: Path) -> tuple[str, ...]:
    """Names, sizes and times of a folder's files, for weights too large to read."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(path, path.stat()) for path in files]
    return tuple(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)


def loaded(wanted: Key, clip: str) -> Loaded:
    """The kept pipeline if it is the wanted one; else it makes room for that.

    Args:
        wanted: what to load.
        clip: what it is loaded for, in words.

    Raises:
        Rejected: the weights are missing or wrong.
    """
    if _kept and _kept[0].key == wanted:
        return _kept[0]
    release()
    logging.getLogger("mimo.kernels").setLevel(logging.INFO)
    started = time.perf_counter()
    waits = wanted.placement != "none"
    try:
        pipeline = MimoPipeline.from_pretrained(
            wanted.weights,
            torch_dtype=getattr(torch, wanted.precision),
            device="cpu" if waits else wanted.device,
        )
    except WeightsError as error:
        raise Rejected(f"{error} (setting weights: {wanted.weights})") from None
    accelerate(
        pipeline,
        compilation=wanted.compilation,
        cache=cache_dir() / "compiled",
        offload=wanted.placement,
        device=wanted.device,
    )
    _kept.append(Loaded(wanted, pipeline, clip, time.perf_counter() - started))
    return _kept[0]


def release() -> None:
    """Forget the kept pipeline and give its memory back."""
    _kept.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def rest() -> None:
    """Leave the GPU to others as far as the kept pipeline's placement allows, until the next clip."""
    for kept in _kept:
        if kept.pipeline.offload is not None:
            kept.pipeline.offload.leave()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fit(pipeline: MimoPipeline, plan: Plan) -> None:
    """Let a pipeline compute a clip as planned."""
    pipeline.vae_batch = plan.vae_batch
    pipeline.kept_poses = plan.kept_poses
    pipeline.kept_feature_bytes = min(_MOST_FEATURE_BYTES, plan.spare)
    limit_feed_forward(plan.mode.feed_forward_values)


def free_memory(device: str) -> int:
    """Bytes that a clip may take on a GPU: free ones, and those that this process holds already."""
    place: Any = torch.device(device)
    return torch.cuda.mem_get_info(place)[0] + torch.cuda.memory_reserved(place)
