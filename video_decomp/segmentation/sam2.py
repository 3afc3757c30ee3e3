"""Backend `sam2`: people by RT-DETR and ViTPose, the subject's mask by SAM 2.1, tracked both ways from the
frame that shows them best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from mimo.corrections import PERSON, UNTOUCHED, Corrections, read_painted
from mimo.stage import Rejected, progress
from mimo.video import VideoReader
from video_decomp.sam2.interface import Prompt, Tracked
from video_decomp.sam2.settings import DETECTOR, KEY_POINTS, NetworkSettings
from video_decomp.sam2.streams import ahead, batches
from video_decomp.segmentation.handover import packed, rows, subject_of
from video_decomp.segmentation.interface import FrameMask, Segmentation, SubjectSettings
from video_decomp.segmentation.specks import without_specks
from video_decomp.segmentation.subject import Sighting, choose, key_frame_spacing, link, too_small
from video_decomp.segments.part import Part

if TYPE_CHECKING:
    from video_decomp.sam2.matting import EdgeMatter
    from video_decomp.sam2.networks import Networks
    from video_decomp.sam2.people import PeopleFinder
    from video_decomp.sam2.tracker import VideoTracker

_FRAMES_AT_ONCE = 8  # key frames in the detector
_FINISHED = 4  # frames masked ahead of their writing
_APART = 0.3  # share of a mask in the detector's box below which the two are of different people
_APART_OFTEN = 0.2  # share of the key frames from which on the user is told


class Settings(SubjectSettings, NetworkSettings):
    """Settings of the backend `sam2`."""

    surveys: ClassVar[bool] = True
    prompted_by_corrections: ClassVar[bool] = True

    batch: int = Field(8, ge=1, le=64, description="frames that SAM 2.1's image encoder takes at once")
    detect: bool = Field(
        True,
        description="find people; false: take what is at the given point or in the given box at subject_time "
        "(default 0), whatever it is: neither detector nor key points are needed, full_body is not checked",
    )

    def weight_files(self) -> dict[str, Path | None]:
        """Entries of the registry for the chosen networks."""
        files = super().weight_files()
        unused = () if self.detect else (DETECTOR, KEY_POINTS)
        return {name: own for name, own in files.items() if name not in unused}

    def divisible(self) -> bool:
        """What is pointed at is pointed at in one frame only; a person who is found is found everywhere."""
        return self.detect


def survey(video: VideoReader, settings: Settings) -> dict[str, np.ndarray]:
    """Find the subject in a whole video, for its segments.

    Raises:
        mimo.stage.Rejected: as `segment`.
    """
    from video_decomp.sam2.networks import Networks

    networks = Networks(settings)
    sightings, people = _find_subject(video, networks.people_finder(), settings)
    best = _best(sightings.values())
    box = [round(value) for value in best.box.tolist()]
    subject = {"chosen": settings.subject, "frame": best.frame, "box": box, "area": round(best.area, 4)}
    return packed(sightings, subject | {"people": people}) | {"weights": np.array(networks.used)}


def segment(
    video: VideoReader,
    settings: Settings,
    part: Part | None = None,
    corrections: Corrections | None = None,
) -> Segmentation:
    """Find the subject and mask them.

    Args:
        video: the clip.
        settings: of this backend.
        part: for a segment, what `survey` of the whole video found.
        corrections: by hand; the person is tracked again with the masks of these frames.

    Raises:
        mimo.stage.Rejected: no person, person too small, or no full body in view; a network's file is missing
            or wrong.
    """
    from video_decomp.sam2.networks import Networks

    networks = Networks(settings)
    tracker, matter = networks.tracker(settings.batch), networks.matter()
    if part is not None:
        told = [Sighting(**row) for row in rows(part.survey, part.place.first)]
        sightings = {one.frame: one for one in told if 0 <= one.frame < len(video)}
        people = subject_of(part.survey)["people"]
    elif settings.detect:
        sightings, people = _find_subject(video, networks.people_finder(), settings)
    else:
        sightings, people = {}, None
    if part is not None and not sightings:
        return Segmentation(
            masks=_nobody(video), subject=subject_of(part.survey), weights=_used(networks, part)
        )
    if sightings:
        best = _best(sightings.values())
        prompt = Prompt(best.frame, box=tuple(best.box.tolist()))
    else:
        prompt = _pointed_at(video, settings)
    mask = networks.first_mask(video.frame(prompt.frame), prompt, tracker) > 0.5
    box, area = _extent(mask)
    if not mask.any():
        raise Rejected(
            f"frame {prompt.frame}: the network that makes the first mask sees nothing at "
            f"{[round(value) for value in np.ravel(prompt.box or prompt.points)]}; "
            "choose another subject or frame"
        )
    if not settings.detect and area < settings.min_area:
        raise too_small(area, settings.min_area)
    subject: dict[str, Any] = {
        "chosen": settings.subject,
        "frame": prompt.frame,
        "box": box,
        "area": round(area, 4),
        "people": people,
    }
    if part is not None:
        subject = subject_of(part.survey)
    result = Segmentation(masks=iter(()), subject=subject, weights=_used(networks, part))
    start = Prompt(prompt.frame, mask=mask)
    again = _masks_by_hand(video, tracker, start, corrections) if corrections else {}
    start = again.pop(start.frame, start)
    tracked = progress(tracker.track(video, [start], list(again.values())), "masking", len(video))
    result.masks = ahead(_finished(tracked, matter, sightings, result.warnings), _FINISHED)
    return result


def _masks_by_hand(
    video: VideoReader, tracker: VideoTracker, start: Prompt, corrections: Corrections
) -> dict[int, Prompt]:
    """Masks of the corrected frames: as tracked without corrections, changed by clicks, then by strokes."""
    prompts: dict[int, Prompt] = {}
    frames = corrections.frames
    tracked = tracker.track(video, [start]) if frames else iter(())
    for frame in progress(tracked, "looking at corrected frames", len(video)):
        if frame.frame not in frames:
            continue
        mask = frame.masks[0]
        clicks = corrections.clicks_of(frame.frame)
        if clicks:
            points = tuple((click.x, click.y) for click in clicks)
            inside = tuple(click.person for click in clicks)
            mask = tracker.changed(frame.image, mask, Prompt(frame.frame, points=points, inside=inside))
        if frame.frame in corrections.painted:
            labels = read_painted(corrections.painted[frame.frame], *mask.shape[::-1])
            mask = np.where(labels == UNTOUCHED, mask, labels == PERSON)
        prompts[frame.frame] = Prompt(frame.frame, mask=mask)
    return prompts


def _used(networks: Networks, part: Part | None) -> list[str]:
    """Names of the networks that a clip's masks come from; of a segment, with those of the survey."""
    surveyed = part.survey["weights"].tolist() if part else []
    return [*networks.used, *(name for name in surveyed if name not in networks.used)]


def _best(sightings: Iterable[Sighting]) -> Sighting:
    """The sighting to start from."""
    return max(sightings, key=lambda one: (one.in_full, one.area * one.score))


def _nobody(video: VideoReader) -> Iterator[FrameMask]:
    """Empty masks: the subject is not in this part of the video."""
    for image in video:
        yield FrameMask(image, np.zeros(image.shape[:2], np.uint8), 0.0)


def _find_subject(
    video: VideoReader, finder: PeopleFinder, settings: Settings
) -> tuple[dict[int, Sighting], int]:
    """The subject's sightings by key frame, and how many people there are."""
    fps = float(video.info.fps)
    spacing, last = key_frame_spacing(fps), len(video) - 1
    frames = enumerate(progress(video, "finding people", len(video)))
    key_frames = ((i, image) for i, image in frames if i % spacing == 0 or i == last)
    people = []
    for batch in ahead(batches(key_frames, _FRAMES_AT_ONCE), 1):
        people += finder.find([image for _, image in batch], [index for index, _ in batch])
    tracks = link(people, fps)
    return choose(tracks, settings, fps), len(tracks)


def _pointed_at(video: VideoReader, settings: Settings) -> Prompt:
    """The prompt that the settings give by themselves.

    Raises:
        Rejected: they give none, or one outside the video.
    """
    subject = settings.subject
    if not isinstance(subject, tuple):
        raise Rejected(
            f"subject {subject}: without detection the subject must be a point [x, y] or a box "
            "[left, top, right, bottom]"
        )
    frame = round((settings.subject_time or 0.0) * float(video.info.fps))
    inside = np.array(subject).reshape(-1, 2)
    size = (video.info.width, video.info.height)
    if frame >= len(video) or (inside < 0).any() or (inside > size).any():
        raise Rejected(
            f"subject {subject} at frame {frame} is outside the video: "
            f"{size[0]}x{size[1]}, {len(video)} frames"
        )
    if len(subject) == 4:
        return Prompt(frame, box=subject)
    return Prompt(frame, points=(subject,), inside=(True,))


def _extent(mask: np.ndarray) -> tuple[list[int], float]:
    """Left, top, right, bottom of a mask, and the share of the frame that this box covers."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return [left, top, left + width, top + height], width * height / mask.size


def _finished(
    tracked: Iterable[Tracked], matter: EdgeMatter | None, sightings: dict[int, Sighting], warnings: list[str]
) -> Iterator[FrameMask]:
    """Masks as they are written; at the end, a warning if they are often not where the subject was seen."""
    apart = []
    for frame in tracked:
        mask, score = frame.masks[0], float(frame.scores[0])
        if matter is not None and mask.any():
            mask = matter.alpha(frame.image, mask) > 0.5
        mask = without_specks(mask)
        if frame.frame in sightings and _share_inside(mask, sightings[frame.frame].box) < _APART:
            apart.append(frame.frame)
        yield FrameMask(frame.image, mask, score if mask.any() else 0.0)
    if len(apart) > _APART_OFTEN * max(len(sightings), 1):
        warnings.append(
            f"the mask is not on the person that the detector sees in {len(apart)} of {len(sightings)} key "
            f"frames, first in frame {apart[0]}; look at mask.mp4, and choose the person by segmentation: "
            "subject and subject_time"
        )


def _share_inside(mask: np.ndarray, box: np.ndarray) -> float:
    """Share of a mask's pixels that lie in a box; 0 for an empty mask."""
    left, top, right, bottom = (int(value) for value in (*np.floor(box[:2]), *np.ceil(box[2:])))
    total = np.count_nonzero(mask)
    return np.count_nonzero(mask[top:bottom, left:right]) / total if total else 0.0
