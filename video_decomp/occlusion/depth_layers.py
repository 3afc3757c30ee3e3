"""Occlusion backend ``depth-layers``: what is nearer than the person, by networks for depth and segments.

As in the reference implementation of MIMO (and section 3.2 of its paper): in a few key frames SAM finds
everything, Depth Anything V2 tells what of it is nearer than the person, and what hides some of the fitted
body is followed through the clip by SAM 2.1. The rules are in `layers`, the steps in `layering`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from mimo import weights
from mimo.body.motion import Motion
from mimo.device import DEVICE, PRECISION, Precision, resolve
from mimo.video import VideoReader
from mimo.worker.keeping import KeptSettings
from video_decomp.occlusion.interface import Occlusion
from video_decomp.occlusion.layering import Drawing, Networks, Seed, find_layers, soften_by_colours
from video_decomp.occlusion.layers import LayerRules
from video_decomp.occlusion.segments import MaskSettings
from video_decomp.sam2.interface import Prompt
from video_decomp.sam2.settings import MATTING, SAM

DEPTH = {"small": "depth-anything-v2-small", "large": "depth-anything-v2-large"}
"""Names in the weights registry."""


class Settings(LayerRules, MaskSettings, KeptSettings):
    """Settings of the depth-layers backend."""

    depth: Literal["small", "large"] = Field(
        "small", description="Depth Anything V2; large (the reference's) must not be used commercially"
    )
    depth_weights: Path | None = Field(
        None, description="folder of a Depth Anything network; null: the registry's, by `depth`"
    )
    sam2_size: Literal["tiny", "small", "base-plus", "large"] = Field(
        "large", description="of the registry's SAM 2.1; smaller ones are faster and less exact"
    )
    sam2_weights: Path | None = Field(
        None, description="SAM 2.1: folder or Meta's .pt file; null: the registry's, by `sam2_size`"
    )
    segments: Literal["sam2.1", "sam"] = Field(
        "sam2.1",
        description="what finds things in key frames: the tracker's network, or SAM (the reference's)",
    )
    sam_weights: Path | None = Field(
        None, description="SAM: Meta's .pth file or folder; null: the registry's; only with segments: sam"
    )
    depth_side: int = Field(
        518, ge=28, le=2072, description="shorter side of the pictures that the depth network sees, pixels"
    )
    every_frame: bool = Field(
        False,
        description="the paper's rule: depth in every frame, and a thing is in front only where its mean is "
        "nearer; for people who walk around things. Else what is in front in a key frame always is",
    )
    edges: Literal["hard", "colours", "vitmatte"] = Field(
        "colours", description="of what is in front: hard, moved to the picture's colours, or by ViTMatte"
    )
    edge_error: float = Field(
        2.0, gt=0, le=10, description="error of outlines that is expected with edges: colours; pixels"
    )
    vitmatte_weights: Path | None = Field(
        None, description="folder of a ViTMatte network; null: the registry's; only with edges: vitmatte"
    )
    tracker_batch: int = Field(8, ge=1, le=64, description="frames that the tracker encodes at a time")
    device: str = Field("auto", description=DEVICE)
    precision: Precision = Field("auto", description=PRECISION)

    def divisible(self) -> bool:
        """See `StageSettings.divisible`: key frames are looked for in every segment."""
        return True

    def weight_files(self) -> dict[str, Path | None]:
        """Entries of the registry that are loaded, with what the user gives in their place."""
        files: dict[str, Path | None] = {DEPTH[self.depth]: self.depth_weights, self.sam2: self.sam2_weights}
        files |= {SAM: self.sam_weights} if self.segments == "sam" else {}
        return files | ({MATTING: self.vitmatte_weights} if self.edges == "vitmatte" else {})

    @property
    def sam2(self) -> str:
        """Name of SAM 2.1 in the registry."""
        return f"sam2.1-hiera-{self.sam2_size}"


def find_occluders(frames: VideoReader, masks: VideoReader, motion: Motion, settings: Settings) -> Occlusion:
    """Find what passes in front of the person; see `interface.Backend`.

    Raises:
        Rejected: weights are missing or of another network, or the GPU that is asked for is not there.
    """
    places = {name: weights.path(name, own) for name, own in settings.weight_files().items()}
    networks, drawing = load(places, settings)
    found = find_layers(frames, masks, motion, networks, settings, drawing)
    found.weights = list(places)
    return found


def load(places: dict[str, Path], settings: Settings) -> tuple[Networks, Drawing]:
    """The networks on their device, and the way layers are drawn.

    Args:
        places: where the entries of `Settings.weight_files` lie.

    Raises:
        Rejected: a file holds another network, or the GPU that is asked for is not there.
    """
    import torch

    from video_decomp.depth.network import DepthNetwork, load_depth
    from video_decomp.occlusion.automatic_masks import AutomaticMasks, prompted
    from video_decomp.sam2.loading import load_image_network, load_matting, load_video_network
    from video_decomp.sam2.matting import EdgeMatter
    from video_decomp.sam2.network import loaded
    from video_decomp.sam2.tracker import VideoTracker

    name, dtype = resolve(settings.device, settings.precision)
    device = torch.device(name)
    depth_network = loaded(load_depth, places[DEPTH[settings.depth]], device, dtype)
    depth = DepthNetwork(depth_network, settings.depth_side)
    # SAM 2 was trained and is released for bfloat16; its memories leave the range of float16.
    sam_dtype = torch.bfloat16 if dtype == torch.float16 else dtype
    model = loaded(load_video_network, places[settings.sam2], device, sam_dtype)
    asked = loaded(load_image_network, places[SAM], device, sam_dtype) if SAM in places else model
    tracker = VideoTracker(model, settings.tracker_batch)

    def follow(video: VideoReader, seeds: list[Seed]) -> Iterator[np.ndarray]:
        for tracked in tracker.track(video, [Prompt(seed.frame, mask=seed.mask) for seed in seeds]):
            yield tracked.masks

    soften: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray] | None] = {
        "hard": None,
        "colours": partial(soften_by_colours, error=settings.edge_error),
    }
    if settings.edges == "vitmatte":
        soften["vitmatte"] = EdgeMatter(loaded(load_matting, places[MATTING], device, torch.float32)).alpha
    networks = Networks(AutomaticMasks(prompted(asked), settings), depth, follow)
    return networks, Drawing(settings.every_frame, soften[settings.edges])
