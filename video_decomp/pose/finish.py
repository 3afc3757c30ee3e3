"""The last step of backends that estimate SMPL's parameters frame by frame: one smooth, measured motion."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from mimo.body.model import Topology
from mimo.stage import StageSettings
from video_decomp.hmr2.track import Track, motion_of, steady, track_metrics
from video_decomp.pose.interface import Estimate, NobodySeen


class SmplSettings(StageSettings):
    """Settings of all backends with an SMPL body."""

    body_model: ClassVar[str | None] = "SMPL"

    colours: Literal["canonical", "reference"] | Path = Field(
        "canonical",
        description="of the motion code: canonical coordinates; those of the reference implementation, which "
        "its weights know (the registry's mimo-motion-code); or a file like its sdc_info.npy",
    )
    smoothing: float = Field(
        6.0,
        ge=0,
        le=60,
        description="motion faster than so many hertz is damped; 0: every frame as estimated",
    )


def finished(
    track: Track,
    topology: Topology,
    camera: np.ndarray,
    fps: float,
    smoothing: float,
    colours: np.ndarray | None,
    used_weights: list[str],
) -> Estimate:
    """A track as the stage's result: filled, smoothed, measured.

    Raises:
        NobodySeen: nobody was seen in any frame.
    """
    if not track.seen.any():
        raise NobodySeen("pose: no frame shows a person; check the mask or the subject")
    smooth, used = steady(track, topology, fps, smoothing)
    warnings = []
    if filled := int((~used).sum()):
        slips = int((track.seen & ~used).sum())
        warnings.append(
            f"{filled} of {len(used)} frames have an interpolated pose: {filled - slips} show no person, "
            f"and in {slips} the whole body was turned for that frame only."
        )
    return Estimate(
        motion_of(smooth, used, topology, camera),
        colours=colours,
        hands=smooth.hands,
        metrics=track_metrics(track, smooth, used, topology, camera),
        warnings=warnings,
        weights=used_weights,
    )
