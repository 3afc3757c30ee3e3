"""How a clip is computed, and what is computed once for it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mimo.diffusion.frames import FrameStore
from mimo.diffusion.windows import closed_windows, open_windows
from mimo.models.denoising import Condition


@dataclass(frozen=True)
class Sampling:
    """How a clip is computed.

    Attributes:
        width, height: size to compute at, multiples of 8.
        steps: denoising steps.
        guidance_scale: strength of classifier-free guidance; 1 or less runs without.
        context_frames, context_overlap: frames the net sees at once (at most 32), and shared ones.
        closed_loop: windows wrap from the last frame to the first, as in the reference.
        sequential_guidance: run the guidance rows one after the other: less memory, a little slower.
    """

    width: int
    height: int
    steps: int = 25
    guidance_scale: float = 3.5
    context_frames: int = 24
    context_overlap: int = 4
    closed_loop: bool = True
    sequential_guidance: bool = False

    @property
    def guided(self) -> bool:
        """Whether there is an unconditional row."""
        return self.guidance_scale > 1

    def windows(self, frames: int) -> list[list[int]]:
        """Frame indices of each window of a clip."""
        make = closed_windows if self.closed_loop else open_windows
        return make(frames, self.context_frames, self.context_overlap)


@dataclass(frozen=True)
class ClipInputs:
    """A clip's pictures, encoded.

    Attributes:
        condition: what the character contributes, for both guidance rows or the conditional one alone.
        background: (1, 4, frames, h, w), scaled latents.
        pose: pose images at the network's size.
        windows: frame indices of each window.
        indices: the same on the device.
        count: (1, 1, frames, 1, 1) float32, windows that each frame is in.
    """

    condition: Condition
    background: Tensor
    pose: FrameStore
    windows: list[list[int]]
    indices: list[Tensor]
    count: Tensor

    def identity(self) -> tuple[Tensor | bytes, ...]:
        """What tells these inputs from others."""
        return self.condition[0].cross, self.background, self.pose.digest()
