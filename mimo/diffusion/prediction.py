"""Velocity of a whole clip in one denoising step: its windows one after the other, averaged and guided."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mimo.diffusion.sampling import ClipInputs, Sampling
from mimo.models.denoising import Condition, DenoisingUNet


class ClipPredictor:
    """Predicts a clip's velocity step by step.

    Nothing here waits for the GPU, so that the host prepares a window while another one is computed.

    Args:
        unet: the denoiser.
        inputs, sampling: of the clip.
        pose_features: uint8 (n, h, w, 3) pose images → (n, channels, h / 8, w / 8).
        kept_poses: see `mimo.pipeline.MimoPipeline`.
    """

    def __init__(
        self,
        unet: DenoisingUNet,
        inputs: ClipInputs,
        sampling: Sampling,
        pose_features: Callable[[np.ndarray], Tensor],
        kept_poses: int = 0,
    ) -> None:
        self._unet, self._inputs, self._sampling = unet, inputs, sampling
        self._pose_features, self._kept_poses = pose_features, kept_poses
        self._kept: dict[int, Tensor] = {}

    def velocity(self, latents: Tensor, time: Tensor) -> Tensor:
        """Velocity of the whole clip.

        Args:
            latents: (1, 4, frames, h, w) float32.
            time: (1,), the timestep, on the latents' device.

        Returns:
            (1, 4, frames, h, w) float32.
        """
        inputs, sampling = self._inputs, self._sampling
        passes = [inputs.condition]
        if sampling.guided and sampling.sequential_guidance:
            passes = list(_separate_rows(inputs.condition))
        total = latents.new_zeros((2 if sampling.guided else 1, *latents.shape[1:]))
        for window, index in zip(inputs.windows, inputs.indices, strict=True):
            pose = self._window_pose(window)
            sample = torch.cat([latents[:, :, index], inputs.background[:, :, index].float()], 1)
            sample = sample.to(self._unet.dtype)
            velocity = torch.cat([self._unet(sample, time, pose, one) for one in passes])
            total.index_add_(2, index, velocity.float())
        mean = total / inputs.count
        if not sampling.guided:
            return mean
        unconditional, conditional = mean.chunk(2)
        return unconditional + sampling.guidance_scale * (conditional - unconditional)

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
