"""A diffusion problem whose best velocity has a formula: a mixture of normal distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from mimo.diffusion.checkpoints import SCHEDULER
from mimo.diffusion.frames import FrameStore
from mimo.diffusion.prediction import ClipPredictor
from mimo.diffusion.sampling import ClipInputs, Sampling
from mimo.diffusion.solvers import set_steps, solver
from mimo.models.blocks import BlockCondition


class Mixture:
    """Clips (1, 4, frames, side, side) near some of many centres; the condition names a part of them.

    Stands in for the denoiser: its velocity is that of a network that was trained for ever.

    Args:
        centres: how many.
        named: how many of them the condition leaves.
        deviation: of clips around their centre.
    """

    dtype = torch.float32

    def __init__(self, centres: int = 32, named: int = 6, deviation: float = 0.15, seed: int = 3) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._shape = (1, 4, 2, 4, 4)
        self._centres = torch.randn((centres, *self._shape[1:]), generator=generator).double()
        self._named = named
        self._variance = deviation**2
        self._ddim = DDIMScheduler(**SCHEDULER)
        self._noise = torch.randn((16, *self._shape), generator=generator)

    def solve(self, **options: Any) -> Tensor:
        """Clips (16, 4, frames, side, side) that the given sampling makes of fixed noise."""
        return torch.cat([self._clip(noise, Sampling(32, 32, **options)) for noise in self._noise])

    def _clip(self, noise: Tensor, sampling: Sampling) -> Tensor:
        rows = torch.zeros(2 if sampling.guided else 1, 1, 1)
        frames = self._shape[2]
        inputs = ClipInputs(
            (BlockCondition(rows, rows, rows),),
            torch.zeros(self._shape),
            _no_pose(frames),
            [list(range(frames))],
            [torch.arange(frames)],
            torch.ones(1, 1, frames, 1, 1),
        )
        predictor = ClipPredictor(self, inputs, sampling, lambda images: torch.zeros(len(images), 1, 4, 4))  # type: ignore[arg-type]
        scheduler = solver(sampling.scheduler, self._ddim)
        set_steps(scheduler, sampling.steps)
        latents = noise
        for step, time in enumerate(scheduler.timesteps):
            velocity = predictor.velocity(latents, time[None], step)
            latents = scheduler.step(velocity, time, latents).prev_sample
        predictor.close()
        inputs.pose.close()
        return latents

    def __call__(self, sample: Tensor, time: Tensor, pose: Tensor, condition: Any) -> Tensor:
        """Velocity of each guidance row; the unconditional one knows all centres."""
        latents = sample[:, :4].double()
        conditional = self._velocity(latents, time, self._centres[: self._named])
        if len(condition[0].cross) == 1:
            return conditional.float()
        return torch.cat([self._velocity(latents, time, self._centres), conditional]).float()

    def _velocity(self, latents: Tensor, time: Tensor, centres: Tensor) -> Tensor:
        level = self._ddim.alphas_cumprod[time].double()
        signal, noise = level.sqrt(), (1 - level).sqrt()
        spread = level * self._variance + noise**2
        distances = (latents - signal * centres).square().flatten(1).sum(1)
        weights = torch.softmax(-distances / (2 * spread), 0)
        # Of each centre's normal distribution: the expected clip and noise behind what is seen.
        rest = latents - signal * centres
        clips = centres + signal * self._variance / spread * rest
        velocities = signal * (noise / spread * rest) - noise * clips
        return (weights.view(-1, 1, 1, 1, 1) * velocities).sum(0, keepdim=True)


def _no_pose(frames: int) -> FrameStore:
    store = FrameStore(1, 1)
    for _ in range(frames):
        store.append(np.zeros((1, 1, 3), np.uint8))
    return store
