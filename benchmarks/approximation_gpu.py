"""Milliseconds of the approximations at full size on a GPU; a section of `benchmarks.approximation`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.denoiser_work import window_step
from benchmarks.measuring import psnr, timed
from benchmarks.random_weights import random_pipeline
from benchmarks.synthetic_clip import Inputs
from mimo.diffusion.acceleration import Compilation, accelerate
from mimo.diffusion.presets import PRESETS
from mimo.diffusion.quantisation import obstacle, use_fp8
from mimo.diffusion.sampling import Sampling
from mimo.pipeline import MimoPipeline

SIZE, WINDOW = 784, 24
CACHED = {"scheduler": "dpm++", "steps": 12, "cache_interval": 2}


@torch.no_grad()
def tables(compilation: Compilation) -> Iterator[str]:
    """Lines of all tables; two minutes uncompiled."""
    device = torch.device("cuda")
    pipeline = random_pipeline(device, torch.float16)
    accelerate(pipeline, compilation=compilation, compile_vae=False)
    yield f"## Time, {torch.cuda.get_device_name()}, fp16, random weights, compilation {compilation}"
    yield ""
    yield from _window_steps(pipeline)
    yield from _stores(pipeline)
    yield from _clips(pipeline)


def _window_steps(pipeline: MimoPipeline) -> Iterator[str]:
    net, device = pipeline.denoising_unet, pipeline.device
    both = _condition(pipeline)
    one = tuple(block._replace(cross=block.cross[1:]) for block in both)
    generator = torch.Generator(device).manual_seed(3)
    latent = SIZE // 8
    sample = torch.randn((1, 8, WINDOW, latent, latent), device=device, generator=generator).half()
    channels = net.config.block_out_channels[0]
    pose = torch.randn((WINDOW, channels, latent, latent), device=device, generator=generator).half()
    pose = pose.contiguous(memory_format=torch.channels_last)
    inputs = sample, torch.tensor([519], device=device), pose
    yield "| a window-step | ms | share | share of the work |"
    yield "|---|---|---|---|"
    whole = timed(lambda: net(*inputs, both), 3)

    def row(name: str, milliseconds: float, rows: int, branch: int = 0) -> str:
        work = window_step(rows, branch) / window_step()
        return f"| {name} | {milliseconds:.1f} | {milliseconds / whole:.3f} | {work:.3f} |"

    yield row("the whole network, both rows", whole, 2)
    yield row("the whole network, conditional row", timed(lambda: net(*inputs, one), 3), 1)
    for branch in (1, 2, 3):
        for name, condition in (("both rows", both), ("conditional row", one)):
            rows = len(condition[0].cross)
            deep = net(*inputs, condition, branch=branch)[1]
            run = _shallow(net, inputs, condition, branch, deep)
            yield row(f"branch of {branch}, {name}", timed(run, 3), rows, branch)
    reason = obstacle(device)
    if reason is None:
        exact = net(*inputs, both).float()
        count = use_fp8(net, True)
        eight = net(*inputs, both).float()
        error = float((eight - exact).norm() / exact.norm())
        milliseconds = timed(lambda: net(*inputs, both), 3)
        use_fp8(net, False)
        yield row(f"{count} feed-forwards in fp8 (velocity {error:.1e} off)", milliseconds, 2)
    else:
        yield f"| {reason} | | | |"
    yield ""


def _shallow(net: Any, inputs: tuple[Tensor, ...], condition: Any, branch: int, deep: Tensor) -> Any:
    return lambda: net(*inputs, condition, branch=branch, deep=deep)


def _condition(pipeline: MimoPipeline) -> Any:
    clip = Inputs(1, SIZE)
    inputs = pipeline.encode(clip.reference, clip.pose(), clip.background(), Sampling(SIZE, SIZE))
    inputs.pose.close()
    return inputs.condition


def _stores(pipeline: MimoPipeline) -> Iterator[str]:
    """Deep features on the device and on disk: equal results, and what the way costs."""
    sampling = Sampling(SIZE, SIZE, 4, cache_interval=2)
    clip = Inputs(64, SIZE)
    windows = len(sampling.windows(64))
    results, seconds = [], []
    for room in (0, windows * 300_000_000):
        pipeline.kept_feature_bytes = room
        latents, taken = _denoised(pipeline, clip, sampling)
        results.append(latents)
        seconds.append(taken)
    difference = float((results[0] - results[1]).abs().max())
    yield (
        f"Deep features of {windows} windows, 4 steps, cache interval 2: {seconds[1]:.1f} s where they stay "
        f"on the GPU, {seconds[0]:.1f} s through the disk; the results differ by {difference:.1e}."
    )
    yield ""


def _clips(pipeline: MimoPipeline) -> Iterator[str]:
    """A clip of one window, whole."""
    clip = Inputs(WINDOW, SIZE)
    yield "| 24 frames | s | share | PSNR to exact, random weights (dB) |"
    yield "|---|---|---|---|"
    exact, whole = _denoised(pipeline, clip, Sampling(SIZE, SIZE))
    video = np.stack(list(pipeline.decode(exact)))
    yield f"| exact | {whole:.2f} | 1 | |"
    for name, options in (("fast", PRESETS["fast"]), ("dpm++ 12, cache 2", CACHED)):
        latents, seconds = _denoised(pipeline, clip, Sampling(SIZE, SIZE, **options))
        decibels = psnr(np.stack(list(pipeline.decode(latents))), video)
        yield f"| {name} | {seconds:.2f} | {seconds / whole:.3f} | {decibels:.1f} |"
    yield ""


def _denoised(pipeline: MimoPipeline, clip: Inputs, sampling: Sampling) -> tuple[Tensor, float]:
    """Latents, and the seconds of all steps; the first is reckoned from the mean of its like."""
    marks: list[float] = []

    def mark(*_: Any) -> None:
        torch.cuda.synchronize()
        marks.append(time.perf_counter())

    latents = pipeline.denoise(
        clip.reference,
        clip.pose(),
        clip.background(),
        sampling,
        latents=clip.noise,
        callback_on_step_end=mark,
    )
    full = [step.full for step in sampling.plan()]
    taken = np.diff(marks)
    first = float(np.mean([t for t, is_full in zip(taken, full[1:], strict=True) if is_full]))
    return latents, float(taken.sum()) + first
