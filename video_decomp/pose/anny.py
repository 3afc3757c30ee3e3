"""Embedded pose backend: BlazePose landmarks and the mask's outline, fitted with the Anny body.

No weights beyond BlazePose's are needed, and it runs on a CPU. After SMPLify (Bogo et al. 2016) in spirit;
solved by Gauss-Newton over whole windows of the clip, so that motion is smooth without a filter afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from mimo.body.model import WEIGHTS, Topology
from mimo.body.motion import Motion
from mimo.stage import StageSettings
from mimo.video import KEY_FRAME_INTERVAL, VideoReader
from video_decomp.blazepose import LandmarkNetwork
from video_decomp.pose.fit import ClipFit, Plan
from video_decomp.pose.ground import ground_plane, sole_depth
from video_decomp.pose.interface import Estimate, NobodySeen
from video_decomp.pose.kinematics import Kinematics, State
from video_decomp.pose.metrics import fit_metrics
from video_decomp.pose.objective import Errors
from video_decomp.pose.observations import Observations, mask_box, observe
from video_decomp.pose.skeleton import UP, Skeleton
from video_decomp.segments.part import Part

LOOKED_AT = 8
"""In a survey of a long video, so many frames are looked at for each that the person's build is fitted to."""


class Settings(StageSettings):
    """Settings of the backend `anny`."""

    body_model: ClassVar[str | None] = "Anny"
    surveys: ClassVar[bool] = True

    network: Literal["full", "heavy"] = Field(
        "heavy", description="BlazePose network: heavy, or full (half the time, less exact in depth)"
    )
    focal_length: float | None = Field(
        None, description="focal length in pixels of the video; by default the long side of the picture", gt=0
    )
    outline: bool = Field(True, description="fit the body's outline to the mask")
    smoothness: float = Field(
        1.0, description="above 1 the motion is smoother, below 1 it follows closer", gt=0, le=20
    )
    window: int = Field(120, description="frames fitted at once; memory grows with it", ge=30, le=600)
    shape_frames: int = Field(
        24, description="frames that the person's build is estimated from", ge=1, le=200
    )
    threads: int = Field(2, description="threads of the landmark network", ge=1, le=64)

    def divisible(self) -> bool:
        """See `StageSettings.divisible`."""
        return True


def estimate(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], fps: float, settings: Settings, part: Part | None = None
) -> Estimate:
    """Find the person's body and motion; see `video_decomp.pose.interface.Backend`.

    Args:
        frames, fps, settings: the clip, its rate, and how.
        part: for a segment, what `survey` of the whole video found.

    Raises:
        NobodySeen: no frame shows a person.
    """
    network = LandmarkNetwork(settings.network, settings.threads)
    fit = _prepared(frames, fps, settings, network)
    if part is None:
        state = fit.run()
    else:
        told = part.survey
        fit.measured_as(told["world_lengths"], float(told["scale"]))
        state = fit.run(told["shape"])
    motion = _motion(fit, state, fps)
    warnings = []
    filled = int((~fit.observations.seen).sum())
    if filled:
        warnings.append(f"{filled} of {len(motion)} frames show no person; their pose is interpolated.")
    return Estimate(
        motion, metrics=fit_metrics(fit, state), warnings=warnings, weights=[network.weights_name, WEIGHTS]
    )


def survey(frames: VideoReader, masks: VideoReader, settings: Settings) -> dict[str, np.ndarray]:
    """The person's build, from frames spread over a whole video, for its segments.

    Raises:
        NobodySeen: no frame shows a person.
    """
    there = [index for index, mask in enumerate(masks) if mask_box(mask) is not None]
    count = min(len(there), LOOKED_AT * settings.shape_frames)
    places = np.linspace(0, max(0, len(there) - 1), count).round().astype(int).tolist()
    chosen = [there[place] for place in places] or [0]
    pairs = zip(picked(frames, chosen), picked(masks, chosen), strict=True)
    network = LandmarkNetwork(settings.network, settings.threads)
    fit = _prepared(pairs, float(frames.info.fps), settings, network)
    return {
        "shape": fit.fit_shape(fit.initial()),
        "world_lengths": fit.world_lengths,
        "scale": np.array(fit.observations.scale),
    }


def picked(video: VideoReader, chosen: list[int]) -> Iterator[np.ndarray]:
    """Some frames of a video, ascending: read in one pass, or each by itself where they are far apart."""
    if chosen[-1] - chosen[0] > len(chosen) * KEY_FRAME_INTERVAL:
        yield from (video.frame(index) for index in chosen)
        return
    wanted = set(chosen)
    for index, image in enumerate(video.frames(chosen[0], chosen[-1] + 1), chosen[0]):
        if index in wanted:
            yield image


def _prepared(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], fps: float, settings: Settings, network: LandmarkNetwork
) -> ClipFit:
    """The fit of frames that have been looked at."""
    iterator = iter(frames)
    first = next(iterator)
    height, width = first[0].shape[:2]
    focal = settings.focal_length or float(max(height, width))
    camera = np.array([focal, width / 2, height / 2, width, height], np.float32)
    observations = observe(itertools.chain([first], iterator), network, focal)
    if not observations.seen.any():
        raise NobodySeen(
            "pose: no frame shows a person whose joints can be found; check the mask or the subject"
        )
    kinematics = Kinematics(Skeleton.of(Topology.load()))
    return ClipFit(kinematics, observations, camera, _errors(settings, fps), _plan(settings))


def _errors(settings: Settings, fps: float) -> Errors:
    """Expected residuals at this frame rate: accelerations shrink with the square of the frame time."""
    base = Errors()
    factor = (30 / fps) ** 2 / settings.smoothness
    across, up, away = (size * factor for size in base.slide)
    return Errors(turn=base.turn * factor, angle=base.angle * factor, slide=(across, up, away))


def _plan(settings: Settings) -> Plan:
    return Plan(
        shape_frames=settings.shape_frames,
        window=settings.window,
        overlap=min(12, settings.window // 3),
        outline=settings.outline,
    )


def _motion(fit: ClipFit, state: State, fps: float) -> Motion:
    observations: Observations = fit.observations
    body = fit.body(state.shape)
    points = np.stack([body.key_points(vertices) for vertices in fit.bodies(state, body)])
    skeleton = fit.kinematics.skeleton
    return Motion(
        model=skeleton.topology.model,
        shape=state.shape.astype(np.float32),
        rest_vertices=body.rest_vertices,
        rest_bones=body.rest_bones,
        rotations=skeleton.rotations(state.angles).astype(np.float32),
        root_rotation=Rotation.from_matrix(state.root).as_rotvec().astype(np.float32),
        translation=state.translation.astype(np.float32),
        camera=fit.camera,
        confidence=observations.visibility.mean(1).astype(np.float32),
        visible=observations.seen,
        ground=ground_plane(points, state.root @ UP, fps, observations.seen, sole_depth(body)),
    )
