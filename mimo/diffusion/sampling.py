"""How a clip is computed, and what is computed once for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from mimo.diffusion.frames import FrameStore
from mimo.diffusion.presets import SCHEDULERS, SchedulerName
from mimo.diffusion.windows import closed_windows, open_windows
from mimo.models.denoising import Condition


@dataclass(frozen=True)
class Step:
    """What one denoising step computes.

    Attributes:
        guided: both guidance rows; else only the conditional one.
        full: the whole network; else its shallow branch on the deep features of the last full step.
        kept_rows: guidance rows of this full step's deep features that later shallow steps need: 0 none,
            1 the conditional one, 2 both.
    """

    guided: bool
    full: bool
    kept_rows: int = 0


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
        scheduler: solver; see `mimo.diffusion.solvers.solver`.
        guided_share: first and last share of the steps, between 0 and 1, in which guidance is computed
            (Kynkäänniemi et al., NeurIPS 2024); elsewhere only the conditional row runs.
        guidance_every: of these steps, guidance is computed in every so many.
        kept_guidance: steps without guidance of their own use the last computed difference between both rows
            (as FasterCache does, Lv et al., ICLR 2025), instead of none.
        cache_interval: the whole network runs in every so many steps; in between only its shallow branch
            does, on deep features of the last full step (DeepCache, Ma et al., CVPR 2024).
        cache_branch: layers of the up path in the shallow branch, and one less of the down path.
        fp8: wide feed-forwards in 8 bits, see `mimo.diffusion.quantisation`.
    """

    width: int
    height: int
    steps: int = 25
    guidance_scale: float = 3.5
    context_frames: int = 24
    context_overlap: int = 4
    closed_loop: bool = True
    sequential_guidance: bool = False
    scheduler: SchedulerName = "ddim"
    guided_share: tuple[float, float] = (0.0, 1.0)
    guidance_every: int = 1
    kept_guidance: bool = False
    cache_interval: int = 1
    cache_branch: int = 1
    fp8: bool = False

    def __post_init__(self) -> None:
        start, end = self.guided_share
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f"scheduler {self.scheduler!r}: there is {', '.join(SCHEDULERS)}")
        if not 0 <= start <= end <= 1:
            raise ValueError(f"guided_share {self.guided_share}: two shares, 0 <= first <= second <= 1")
        for name in ("steps", "guidance_every", "cache_interval", "cache_branch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")

    @property
    def guided(self) -> bool:
        """Whether there is an unconditional row in any step."""
        return any(step.guided for step in self.plan())

    def plan(self) -> list[Step]:
        """What each step computes.

        A step is full, too, when it needs features of an unconditional row that the last full step lacked.
        """
        first = self.guided_share[0] * self.steps
        last = self.guided_share[1] * self.steps
        plan: list[Step] = []
        full = 0
        for number in range(self.steps):
            turn = (number - int(first)) % self.guidance_every == 0
            guided = self.guidance_scale > 1 and first <= number < last and turn
            if number % self.cache_interval == 0 or (guided and not plan[full].guided):
                full = number
            plan.append(Step(guided, full == number))
            if full != number:
                rows = max(plan[full].kept_rows, 1 + guided)
                plan[full] = replace(plan[full], kept_rows=rows)
        return plan

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
        return self.condition[0].cross, self.background, self.pose.digest(), repr(self.windows).encode()
