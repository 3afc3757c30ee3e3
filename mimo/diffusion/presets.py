"""Named choices of `mimo.diffusion.sampling.Sampling`'s settings (no heavy library is imported here)."""

from __future__ import annotations

from typing import Any, Literal, get_args

Preset = Literal["exact", "fast"]
SchedulerName = Literal["ddim", "dpm++", "unipc"]

SCHEDULERS: tuple[SchedulerName, ...] = get_args(SchedulerName)
# Settings that differ from `Sampling`'s defaults; benchmarks/results/approximation.md says what they cost.
PRESETS: dict[Preset, dict[str, Any]] = {
    "exact": {},
    "fast": {"scheduler": "dpm++", "steps": 12, "cache_interval": 2},
}
