"""Pose backend ``phalp``: takes a person from results of PHALP or 4D-Humans that were made elsewhere.

Of the tracked persons it takes the one that overlaps the mask best. No network is needed, the SMPL body is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pydantic import Field

from mimo import weights
from mimo.body.colours import MOTION_CODE, chosen_colours
from mimo.body.smpl import install
from mimo.stage import Rejected
from video_decomp.hmr2.crops import person_box, picture_camera
from video_decomp.hmr2.phalp_results import Results, best_track, read_results
from video_decomp.hmr2.track import Track, empty_track, with_straight_hands
from video_decomp.pose.finish import SmplSettings, finished
from video_decomp.pose.interface import Estimate

SMPL = "smpl-neutral"
SPARE_FRAMES = 2  # by so many frames decoders differ at a clip's end
LEAST_OVERLAP = 0.2


class Settings(SmplSettings):
    """Settings of the backend `phalp`."""

    results: Path = Field(description="results of PHALP: outputs/results/NAME.pkl")
    body: Path | None = Field(
        None, description="the body: SMPL_NEUTRAL.pkl; null: the registry's smpl-neutral"
    )
    first_frame: int = Field(0, ge=0, description="picture of the results that is the clip's first frame")
    results_fps: float | None = Field(
        None, gt=0, le=1000, description="pictures a second of the results; null: as the clip"
    )
    track: int | None = Field(
        None, description="number (tid) of the person; null: who overlaps the mask best"
    )

    def weight_files(self) -> dict[str, Path | None]:
        """See `StageSettings.weight_files`."""
        return {SMPL: self.body} | ({MOTION_CODE: None} if self.colours == "reference" else {})


def estimate(frames: Iterable[tuple[np.ndarray, np.ndarray]], fps: float, settings: Settings) -> Estimate:
    """Take the person's body and motion; see `video_decomp.pose.interface.Backend`.

    Raises:
        Rejected: the results or the body cannot be read, or the results are of another clip.
    """
    topology = install(weights.path(SMPL, settings.body))
    colours = chosen_colours(settings.colours, len(topology.mean_vertices))
    results = read_results(settings.results)
    boxes, size = [], (0, 0)
    for image, mask in frames:
        boxes.append(person_box(mask))
        size = (image.shape[0], image.shape[1])
    scale = _scale(results, size, settings.results)
    picture_of = _pictures(results, len(boxes), fps, settings)
    number, overlap = _chosen(results, boxes, picture_of, scale, settings)
    track = _track(results, number, len(boxes), picture_of, len(topology.parents))
    result = finished(
        track, topology, picture_camera(size[1], size[0]), fps, settings.smoothing, colours, [SMPL]
    )
    result.metrics.update(track=number, tracks=len(results.tracks), track_overlap=round(overlap, 4))
    if len(boxes) != results.frames and settings.results_fps is None:
        result.warnings.append(
            f"The results have {results.frames} pictures, the clip {len(boxes)} frames; those "
            "beyond have an interpolated pose."
        )
    result.warnings.append("PHALP knows no hands; the motion code leaves them out.")
    return result


def _scale(results: Results, size: tuple[int, int], path: Path) -> float:
    """Pixels of the clip, (height, width), over those of the results' pictures."""
    track = next(iter(results.tracks.values()))
    theirs = next(iter(track.values())).size
    across, down = size[1] / theirs[1], size[0] / theirs[0]
    if abs(across / down - 1) > 0.02:
        raise Rejected(
            f"{path}: its pictures are {theirs[1]}x{theirs[0]}, the clip {size[1]}x{size[0]}: another shape, "
            "so another clip; run PHALP on the video that was ingested"
        )
    return across


def _pictures(results: Results, frames: int, fps: float, settings: Settings) -> Callable[[int], int]:
    """Which picture of the results each frame of the clip is.

    Raises:
        Rejected: their numbers do not fit, and no setting explains it.
    """
    rate = (settings.results_fps or fps) / fps
    expected = round(frames * rate)
    there = results.frames - settings.first_frame
    explained = settings.first_frame > 0 and there >= expected
    if abs(there - expected) > max(SPARE_FRAMES, round(rate)) and not explained:
        raise Rejected(
            f"{settings.results}: {there} pictures from picture {settings.first_frame} on, but the "
            f"clip's {frames} frames are {expected}; set first_frame and results_fps if it is this clip, "
            "or run PHALP on vid.mp4"
        )
    return lambda frame: settings.first_frame + round(frame * rate)


def _chosen(
    results: Results,
    boxes: list[np.ndarray | None],
    picture_of: Callable[[int], int],
    scale: float,
    settings: Settings,
) -> tuple[int, float]:
    """Number and overlap of the person's track.

    Raises:
        Rejected: no track of that number, or none overlaps the mask.
    """
    if settings.track is not None:
        if settings.track not in results.tracks:
            there = ", ".join(map(str, sorted(results.tracks)))
            raise Rejected(f"{settings.results}: no track {settings.track}; there is {there}")
        results = Results(results.frames, {settings.track: results.tracks[settings.track]})
    number, overlap = best_track(results, boxes, picture_of, scale)
    if overlap < LEAST_OVERLAP and settings.track is None:
        raise Rejected(
            f"{settings.results}: none of {len(results.tracks)} tracked persons is where the mask is (best "
            f"overlap {overlap:.2f}); it is another clip or another person: see `track`, or run PHALP on "
            "vid.mp4"
        )
    return number, overlap


def _track(
    results: Results, number: int, frames: int, picture_of: Callable[[int], int], joints: int
) -> Track:
    track = empty_track(frames, joints)
    for frame in range(frames):
        sight = results.tracks[number].get(picture_of(frame))
        if sight is not None:
            own = (
                sight.rotations
                if joints == len(sight.rotations)
                else with_straight_hands(sight.rotations[None])[0]
            )
            track.rotations[frame], track.shapes[frame] = own, sight.shape
            track.translation[frame], track.seen[frame] = sight.translation, True
    return track
