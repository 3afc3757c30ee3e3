"""Pose backend ``hmr2``: HMR2 of 4D-Humans on every frame, in batches, on the user's SMPL body; smoothed.

With HaMeR's weights, the whole-body key points and an SMPL-H body, hands too, as the reference implementation
of MIMO composes them; without, the body has no hands in the motion code, as where hands are not seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from mimo import weights
from mimo.body.colours import MOTION_CODE, chosen_colours
from mimo.body.smpl import install
from mimo.device import DEVICE, PRECISION, Precision, resolve
from mimo.stage import Rejected
from mimo.worker.keeping import KeptSettings, kept
from video_decomp.pose.finish import SmplSettings, finished
from video_decomp.pose.interface import Estimate

if TYPE_CHECKING:
    import torch

    from video_decomp.hmr2.hands import Hands
    from video_decomp.hmr2.network import MeshNetwork

HMR2, HAMER, WHOLE_BODY, SMPL, SMPLH = "hmr2", "hamer", "vitpose-wholebody", "smpl-neutral", "smplh-neutral"


class Settings(SmplSettings, KeptSettings):
    """Settings of the backend `hmr2`."""

    checkpoint: Path | None = Field(
        None, description="4D-Humans' checkpoint (epoch=35-step=1000000.ckpt); null: the registry's hmr2"
    )
    body: Path | None = Field(
        None,
        description="the body: SMPL_NEUTRAL.pkl, or with hands an SMPL-H file; null: the registry's "
        "smpl-neutral, with hands smplh-neutral",
    )
    hands: bool = Field(False, description="estimate hands too: needs HaMeR, whole-body ViTPose and SMPL-H")
    hamer: Path | None = Field(
        None, description="HaMeR's checkpoint (hamer.ckpt); null: the registry's hamer"
    )
    whole_body: Path | None = Field(
        None, description="ViTPose's wholebody.pth, which finds hands; null: the registry's vitpose-wholebody"
    )
    batch: int = Field(32, ge=1, le=512, description="frames that go through the networks together")
    device: str = Field("auto", description=DEVICE)
    precision: Precision = Field("auto", description=PRECISION)

    def divisible(self) -> bool:
        """See `StageSettings.divisible`: every frame is estimated by itself."""
        return True

    @model_validator(mode="after")
    def _hands_are_wanted(self) -> Settings:
        if not self.hands and (self.hamer or self.whole_body):
            raise ValueError("hamer and whole_body are for hands: set hands: true, or leave them out")
        return self

    def weight_files(self) -> dict[str, Path | None]:
        """See `StageSettings.weight_files`."""
        files: dict[str, Path | None] = {HMR2: self.checkpoint, SMPLH if self.hands else SMPL: self.body}
        if self.hands:
            files |= {HAMER: self.hamer, WHOLE_BODY: self.whole_body}
        if self.colours == "reference":
            files[MOTION_CODE] = None
        return files


def estimate(frames: Iterable[tuple[np.ndarray, np.ndarray]], fps: float, settings: Settings) -> Estimate:
    """Find the person's body and motion; see `video_decomp.pose.interface.Backend`.

    Raises:
        Rejected: no frame shows a person, a file is missing or of another kind, or there is no GPU as asked.
    """
    needed = settings.weight_files()
    files = {name: weights.path(name, own) for name, own in needed.items()}
    body = files[SMPLH if settings.hands else SMPL]
    topology = install(body)
    if settings.hands and len(topology.parents) == 24:
        raise Rejected(f"{body}: SMPL, which has no fingers; hands need an SMPL-H file (52 joints)")
    colours = chosen_colours(settings.colours, len(topology.mean_vertices))

    from video_decomp.hmr2.crops import picture_camera
    from video_decomp.hmr2.recovery import Recovery

    device, dtype = resolve(settings.device, settings.precision)
    network = _body_network(files[HMR2], device, dtype)
    hands = _hand_networks(files[WHOLE_BODY], files[HAMER], device, dtype) if settings.hands else None
    iterator = iter(frames)
    first = next(iterator)
    camera = picture_camera(first[0].shape[1], first[0].shape[0])
    recovery = Recovery(network, hands, len(topology.parents), settings.batch)
    track = recovery.track(itertools.chain([first], iterator), camera)
    result = finished(track, topology, camera, fps, settings.smoothing, colours, list(needed))
    if not settings.hands:
        result.warnings.append("No hands were estimated (hands: false); the motion code leaves them out.")
    return result


@kept
def _body_network(checkpoint: Path, device: str, dtype: torch.dtype) -> MeshNetwork:
    from video_decomp.hmr2.network import MeshNetwork

    return MeshNetwork(checkpoint, "smpl_head.", "the HMR2 checkpoint of 4D-Humans", device, dtype)


@kept
def _hand_networks(whole_body: Path, hamer: Path, device: str, dtype: torch.dtype) -> Hands:
    from video_decomp.hmr2.hands import Hands

    return Hands(whole_body, hamer, device, dtype)
