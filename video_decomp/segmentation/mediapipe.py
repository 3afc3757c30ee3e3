"""Backend `mediapipe`: the landmark network's mask, tracked, refined to the image and steadied in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, tee
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from mimo.stage import progress
from mimo.video import VideoReader
from video_decomp.blazepose import LandmarkNetwork, PersonDetector, PoseLandmarks
from video_decomp.body_region import Roi
from video_decomp.segmentation.edges import refine
from video_decomp.segmentation.handover import packed, rows, subject_of
from video_decomp.segmentation.interface import FrameMask, Segmentation, SubjectSettings
from video_decomp.segmentation.landmark_sightings import LandmarkSighting, find_people
from video_decomp.segmentation.plate import Plate, PlateBuilder
from video_decomp.segmentation.rivals import MOST, Sightings, rivals, start_of_all, told_apart, uncovered
from video_decomp.segmentation.specks import without_specks
from video_decomp.segmentation.steady import SoftMask, steady
from video_decomp.segmentation.subject import Track, choose, key_frame_spacing, link
from video_decomp.segmentation.tracking import follow
from video_decomp.segments.part import Part

LOOK_BACK = 10.0
"""Seconds before a segment, at most, from which on the person is followed into it."""
_LOOKS = ((0.87, True), (0.75, False))
"""Further looks at the person for the mask: scale of the region, mirrored or not. Smaller regions show more
detail and leak less into things that touch the person."""


class Settings(SubjectSettings):
    """Settings of the backend `mediapipe`."""

    surveys: ClassVar[bool] = True

    network: Literal["full", "heavy"] = Field(
        "full", description="landmark network; heavy is fetched separately and takes twice the time"
    )
    refine: bool = Field(True, description="move the mask's edge to the image's edges")
    steady: bool = Field(True, description="blend masks along the motion, against flicker")
    threads: int = Field(2, ge=1, description="CPU threads of the networks")

    def divisible(self) -> bool:
        """See `StageSettings.divisible`."""
        return True


@dataclass(frozen=True)
class _Known:
    """What is known of a clip before its frames are masked.

    Attributes:
        sightings: of the subject in key frames, by frame index.
        rivals: sightings of people who come near the subject.
        plate: the empty scene, if masks are refined.
        subject: who it is, for the record.
    """

    sightings: Sightings
    rivals: list[Sightings]
    plate: Plate | None
    subject: dict[str, Any]


def survey(video: VideoReader, settings: Settings) -> dict[str, np.ndarray]:
    """Find the subject in a whole video, for its segments.

    Raises:
        mimo.stage.Rejected: as `segment`.
    """
    known = _look_over(video, LandmarkNetwork(settings.network, settings.threads), settings)
    values = _packed(known.sightings, known.subject)
    for number, rival in enumerate(known.rivals):
        values |= {f"{key}_of_{number}": value for key, value in _packed(rival, {}).items()}
    if known.plate is not None:
        values |= {"plate": known.plate.lab, "trust": known.plate.trust}
    return values


def segment(video: VideoReader, settings: Settings, part: Part | None = None) -> Segmentation:
    """Find the subject and mask them.

    Args:
        video: the clip.
        settings: of this backend.
        part: for a segment, what `survey` of the whole video found.

    Raises:
        mimo.stage.Rejected: no person, person too small, or no full body in view.
    """
    network = LandmarkNetwork(settings.network, settings.threads)
    ours = range(len(video))
    if part is None:
        known = _look_over(video, network, settings)
    else:
        known, ours = _told(part), range(part.place.first, part.place.stop)
        video = VideoReader(part.whole / "vid.mp4")
    # Masks are steadied by their neighbours' (and those of a segment's ends by the frames beside it).
    near = range(max(0, ours.start - 1), min(len(video), ours.stop + 1))
    masks = _soft_masks(video, near, known, network, settings)
    finished = map(_harden, steady(masks) if settings.steady else masks)
    return Segmentation(
        masks=islice(finished, ours.start - near.start, ours.stop - near.start),
        subject=known.subject,
        weights=["blazepose-detector", network.weights_name],
    )


def _look_over(video: VideoReader, network: LandmarkNetwork, settings: Settings) -> _Known:
    """Find the subject in a clip's key frames."""
    builder = PlateBuilder()
    tracks = _survey(video, network, builder, settings)
    chosen = choose(tracks, settings, float(video.info.fps))
    sightings, *others = told_apart([chosen, *rivals(chosen, tracks)])
    best = max(sightings.values(), key=lambda sighting: sighting.area * sighting.score)
    subject = {
        "chosen": settings.subject,
        "frame": best.frame,
        "box": [round(value) for value in best.box.tolist()],
        "area": round(best.area, 4),
        "people": len(tracks),
    }
    plate = builder.build(sightings) if settings.refine else None
    return _Known(sightings, others, plate, subject)


def _told(part: Part) -> _Known:
    """What a survey of the whole video tells of a segment."""
    told = part.survey
    others = [
        _unpacked({key.removesuffix(end): value for key, value in told.items() if key.endswith(end)})
        for end in (f"_of_{number}" for number in range(MOST))
        if f"frame{end}" in told
    ]
    plate = Plate(told["plate"], told["trust"]) if "plate" in told else None
    return _Known(_unpacked(told), others, plate, subject_of(told))


def _packed(sightings: Sightings, subject: dict[str, Any]) -> dict[str, np.ndarray]:
    people = [sightings[frame] for frame in sorted(sightings)]
    rois = np.array([[one.roi.x, one.roi.y, one.roi.side, one.roi.angle] for one in people])
    return packed(sightings, subject) | {"roi": rois, "outline": np.array([one.outline for one in people])}


def _unpacked(told: Mapping[str, np.ndarray]) -> Sightings:
    places = zip(rows(told), told["roi"].tolist(), told["outline"], strict=True)
    return {
        row["frame"]: LandmarkSighting(**row, roi=Roi(*roi), outline=outline) for row, roi, outline in places
    }


def _survey(
    video: VideoReader, network: LandmarkNetwork, builder: PlateBuilder, settings: Settings
) -> list[Track[LandmarkSighting]]:
    """Everyone in the clip, seen in key frames; the frames go to the plate's builder, too."""
    detector = PersonDetector(settings.threads)
    thorough = settings.subject != "largest"
    fps = float(video.info.fps)
    spacing = key_frame_spacing(fps)
    key_frames = []
    for index, image in enumerate(progress(video, "finding people", len(video))):
        if index % spacing == 0 or index == len(video) - 1:
            key_frames.append(find_people(image, index, detector, network, thorough=thorough))
            builder.offer(index, image)
    return link(key_frames, fps)


def _soft_masks(
    video: VideoReader, ours: range, known: _Known, network: LandmarkNetwork, settings: Settings
) -> Iterator[SoftMask]:
    """Masks of some frames of a video; the person is followed from the last sighting before them."""
    rate = float(video.info.fps)
    spacing = key_frame_spacing(rate)
    earliest = max(0, ours.start - round(LOOK_BACK * rate))
    start = start_of_all([known.sightings, *known.rivals], ours.start, earliest)
    frames = video.frames(start, min(len(video), ours.stop + spacing))
    shown, beside = tee(uncovered(frames, known.sightings, known.rivals, spacing, network, start))
    followed = follow((one.alone for one in shown), known.sightings, spacing, network, start)
    wanted = islice(zip(followed, beside, strict=True), ours.start - start, ours.stop - start)
    for tracked, frame in progress(wanted, "masking", len(ours)):
        if tracked.landmarks is None:
            yield SoftMask(frame.image, np.zeros(frame.image.shape[:2], np.float32), 0.0)
            continue
        soft = _look_again(frame.alone, tracked.landmarks, network)
        if settings.refine:
            cell = tracked.landmarks.roi.side * _LOOKS[0][0] / tracked.landmarks.mask.shape[0]
            soft = refine(frame.alone, soft, cell, known.plate)
        if frame.others is not None:
            soft = np.where(frame.others, 0, soft)
        yield SoftMask(frame.image, soft, tracked.landmarks.score)


def _look_again(image: np.ndarray, landmarks: PoseLandmarks, network: LandmarkNetwork) -> np.ndarray:
    """Mean of the masks of several looks, each where its region reaches; (height, width) float32 0..1."""
    height, width = image.shape[:2]
    roi = landmarks.roi
    total = roi.paste(landmarks.mask, height, width)
    count = np.ones((height, width), np.float32)
    for scale, mirrored in _LOOKS:
        region = Roi(roi.x, roi.y, roi.side * scale, roi.angle)
        mask = network.mask(image, region, mirrored=mirrored)
        total += region.paste(mask, height, width)
        count += region.paste(np.ones_like(mask), height, width)
    return np.clip(total / count, 0, 1)


def _harden(mask: SoftMask) -> FrameMask:
    """Threshold a soft mask and drop its specks."""
    return FrameMask(mask.image, without_specks(mask.soft > 0.5), mask.score)
