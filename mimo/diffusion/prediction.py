"""Velocity of a whole clip in one denoising step: its windows one after the other, averaged and guided."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mimo.diffusion.feature_store import FeatureStore
from mimo.diffusion.recording import RecordedDenoiser
from mimo.diffusion.sampling import ClipInputs, Sampling, Step
from mimo.models.denoising import Condition, DenoisingUNet


class ClipPredictor:
    """Predicts a clip's velocity step by step.

    Nothing here waits for the GPU, so that the host prepares a window while another one is computed; but for
    deep features that are on the disk.

    Args:
        unet: the denoiser.
        inputs, sampling: of the clip.
        pose_features: uint8 (n, h, w, 3) pose images → (n, channels, h / 8, w / 8).
        kept_poses, kept_feature_bytes: see `mimo.pipeline.MimoPipeline`.
    """

    def __init__(
        self,
        unet: DenoisingUNet | RecordedDenoiser,
        inputs: ClipInputs,
        sampling: Sampling,
        pose_features: Callable[[np.ndarray], Tensor],
        kept_poses: int = 0,
        kept_feature_bytes: int = 0,
    ) -> None:
        self._unet, self._inputs, self._sampling = unet, inputs, sampling
        self._pose_features, self._kept_poses = pose_features, kept_poses
        self._plan = sampling.plan()
        self._branch = sampling.cache_branch if sampling.cache_interval > 1 else 0
        self._features = FeatureStore(kept_feature_bytes)
        self._kept: dict[int, Tensor] = {}
        self._difference: Tensor | None = None

    def velocity(self, latents: Tensor, time: Tensor, step: int) -> Tensor:
        """Velocity of the whole clip.

        Args:
            latents: (1, 4, frames, h, w) float32.
            time: (1,), the timestep, on the latents' device.
            step: its number; shallow steps need the full one before them.

        Returns:
            (1, 4, frames, h, w) float32.
        """
        inputs, plan = self._inputs, self._plan[step]
        passes = self._passes(plan)
        jobs = [(window, part) for window in range(len(inputs.windows)) for part in range(len(passes))]
        total = latents.new_zeros((1 + plan.guided, *latents.shape[1:]))
        for (window, part), following in zip(jobs, [*jobs[1:], None], strict=True):
            index = inputs.indices[window]
            sample = torch.cat([latents[:, :, index], inputs.background[:, :, index].float()], 1)
            sample = sample.to(self._unet.dtype)
            if not plan.full and following is not None:
                self._features.prefetch(self._key(plan, *following), sample)
            pose = self._window_pose(inputs.windows[window])
            key = self._key(plan, window, part)
            velocity = self._window_velocity(sample, time, pose, passes[part], plan, key)
            total[part : part + len(velocity)].index_add_(2, index, velocity.float())
        mean = total / inputs.count
        return self._guide(mean, plan)

    def state(self) -> dict[str, Tensor]:
        """What later steps need of the steps so far, before a full step, for `restore`."""
        return {} if self._difference is None else {"difference": self._difference}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._difference = state.get("difference")

    def can_go_on_from(self, step: int) -> bool:
        """Whether `state` suffices to begin with this step; shallow steps need features beside it."""
        return step == len(self._plan) or self._plan[step].full

    def close(self) -> None:
        """Give the kept features' room back."""
        self._features.close()

    def _passes(self, step: Step) -> list[Condition]:
        """Conditions of the rows that go through the network together."""
        condition = self._inputs.condition
        if not self._sampling.guided or (step.guided and not self._sampling.sequential_guidance):
            return [condition]
        rows = _separate_rows(condition)
        return list(rows) if step.guided else [rows[1]]

    def _key(self, step: Step, window: int, part: int) -> tuple[int, int]:
        """Features' key: the window, and the last guidance row in them."""
        separate = self._sampling.sequential_guidance and step.guided
        return window, part if separate else 1

    def _window_velocity(
        self,
        sample: Tensor,
        time: Tensor,
        pose: Tensor,
        condition: Condition,
        step: Step,
        key: tuple[int, int],
    ) -> Tensor:
        if not self._branch:
            return self._unet(sample, time, pose, condition)
        rows = len(condition[0].cross)
        if not step.full:
            deep = self._features.get(key, sample)[-rows * sample.shape[2] :]
            return self._unet(sample, time, pose, condition, branch=self._branch, deep=deep)
        velocity, deep = self._unet(sample, time, pose, condition, branch=self._branch)
        # One memory layout wherever they wait, or a compiled network would be compiled for each.
        deep = deep.contiguous(memory_format=torch.channels_last)
        if step.kept_rows > 1 - key[1]:
            needed = min(rows, step.kept_rows)
            self._features.put(key, deep if needed == rows else deep[-needed * sample.shape[2] :].clone())
        return velocity

    def _guide(self, mean: Tensor, step: Step) -> Tensor:
        """Guided velocity of the rows' mean velocities (1 or 2, 4, frames, h, w)."""
        scale = self._sampling.guidance_scale
        if step.guided:
            unconditional, conditional = mean.chunk(2)
            difference = conditional - unconditional
            if self._sampling.kept_guidance:
                self._difference = difference
            return unconditional + scale * difference
        if self._difference is not None:
            return mean + (scale - 1) * self._difference
        return mean

    def _window_pose(self, window: list[int]) -> Tensor:
        """Pose features of a window's frames, from those kept if all are there."""
        kept = self._kept
        if any(frame not in kept for frame in window):
            features = self._pose_features(self._inputs.pose.read(window))
            for frame, feature in zip(window, features, strict=True):
                if frame < self._kept_poses:
                    kept[frame] = feature.clone()
            return features
        return torch.stack([kept[frame] for frame in window]).contiguous(memory_format=torch.channels_last)


def _separate_rows(condition: Condition) -> tuple[Condition, Condition]:
    """The unconditional row, which sees no bank, and the conditional one."""
    first = tuple(
        block._replace(cross=block.cross[:1], bank_key=None, bank_value=None) for block in condition
    )
    second = tuple(block._replace(cross=block.cross[1:]) for block in condition)
    return first, second
