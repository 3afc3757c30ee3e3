"""Settings that trade exactness for speed, and named choices of them (no heavy library is imported here)."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from mimo.stage import StageSettings

Preset = Literal["exact", "fast"]
SchedulerName = Literal["ddim", "dpm++", "unipc"]

SCHEDULERS: tuple[SchedulerName, ...] = get_args(SchedulerName)
# Settings that differ from the defaults; benchmarks/results/approximation.md says what they cost.
PRESETS: dict[Preset, dict[str, Any]] = {
    "exact": {},
    "fast": {"scheduler": "dpm++", "steps": 6},
}


class ApproximationSettings(StageSettings):
    """Which approximations a video is made with; see `mimo.diffusion.sampling.Sampling`."""

    preset: Preset = Field(
        "exact",
        description="exact: the reference's numbers; fast: a quarter of the work, by scheduler and steps "
        "unless they are given (errors: benchmarks/results/approximation.md)",
    )
    steps: int = Field(25, ge=1, le=200, description="denoising steps")
    scheduler: SchedulerName = Field(
        "ddim", description="solver: ddim as the reference; dpm++ and unipc need about half the steps"
    )
    guided_share: tuple[float, float] = Field(
        (0.0, 1.0),
        description="part of the steps with guidance, [0, 0.5] is the first half; the others cost about half",
    )
    guidance_every: int = Field(
        1, ge=1, le=10, description="of the steps with guidance, compute it in every so many"
    )
    kept_guidance: bool = Field(
        False, description="steps without guidance of their own go on with the last one computed"
    )
    cache_interval: int = Field(
        1, ge=1, le=10, description="compute the whole network in every so many steps (DeepCache)"
    )
    cache_branch: int = Field(
        1, ge=1, le=11, description="layers of the part of the network that is computed in every step"
    )

    fp8: bool = Field(
        False,
        description="widest feed-forwards in 8 bits on GPUs of compute capability 8.9 and above; gains "
        "next to nothing, and loses where compilation is off",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        """Fill in what the preset says where nothing else is said."""
        if not isinstance(values, dict):
            return values
        chosen = [preset for name, preset in PRESETS.items() if name == values.get("preset")]
        return chosen[0] | values if chosen else values

    @model_validator(mode="after")
    def _shares_in_order(self) -> ApproximationSettings:
        start, end = self.guided_share
        if not 0 <= start <= end <= 1:
            raise ValueError("guided_share must be two shares of the steps, 0 <= first <= second <= 1")
        return self

    def approximations(self) -> dict[str, Any]:
        """The settings that `Sampling` knows, by its names."""
        names = set(ApproximationSettings.model_fields) - {"preset"}
        return {name: getattr(self, name) for name in sorted(names)}
