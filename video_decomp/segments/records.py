"""Records of a stage on the segments of a video, joined to the record of the video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from mimo.files import write_json
from video_decomp.records import read_record
from video_decomp.segments.splice import Segments

SUMS = {"filled_frames", "frames_with_hidden_parts", "plates", "resumed_blocks"}
MOST = {"hidden_share_max"}
LEAST = {"lowest_score"}
NAMED = 20


def read_records(segments: Segments, stage: str) -> list[dict[str, Any]]:
    """Records of a stage, one a segment.

    Raises:
        Rejected: one is missing or damaged.
    """
    return [read_record(folder, stage) for folder in segments.folders]


def write_joined(
    segments: Segments,
    records: list[dict[str, Any]],
    stage: str,
    metrics: dict[str, Any],
    copied: float,
    warnings: Iterable[str] = (),
    **more: Any,
) -> None:
    """Write the record of the video.

    Args:
        segments: of the video.
        records: theirs.
        stage: the stage.
        metrics: measured on the joined result; others are joined from the segments' (see `joined_metrics`).
        copied: share of the frames whose coded pictures were copied.
        warnings: of the video, before those of the segments.
        more: further values, in place of the first segment's.
    """
    lengths = [len(segments.division.own(index)) for index in range(segments.division.parts)]
    told = [
        f"segment {index:03}: {sentence}"
        for index, record in enumerate(records)
        for sentence in record["warnings"]
    ]
    joined = {
        "metrics": joined_metrics([record["metrics"] for record in records], lengths) | metrics,
        "warnings": [*warnings, *told],
        "weights": sorted({name for record in records for name in record["weights"]}),
        "segments": {
            "parts": segments.division.parts,
            "seams": [
                [segments.division.seam(i).start, segments.division.seam(i).stop]
                for i in range(segments.division.parts - 1)
            ],
            "copied_share": round(copied, 4),
        },
    }
    write_json(segments.template / "records" / f"{stage}.json", records[0] | joined | more)


def joined_metrics(metrics: list[dict[str, Any]], lengths: list[int]) -> dict[str, Any]:
    """Numbers of segments as numbers of the video.

    Counts are added up, extremes kept, other numbers averaged, segments counting by their length; what is no
    number and differs becomes a list.
    """
    keys = dict.fromkeys(key for part in metrics for key in part)
    pairs = list(zip(metrics, lengths, strict=True))
    return {key: _joined(key, [(part[key], length) for part, length in pairs if key in part]) for key in keys}


def joined_jumps(
    segments: Segments, metrics: list[dict[str, Any]], count: str, frames: str
) -> dict[str, Any]:
    """Number and frames of jumps, each counted in the segment that its frame belongs to.

    Args:
        segments: of the video.
        metrics: of the segments.
        count, frames: keys of their number, and of the list of the first of them.
    """
    named: list[int] = []
    total = 0
    for index, part in enumerate(metrics):
        listed = [segments.places[index].first + frame for frame in part.get(frames) or []]
        ours = [frame for frame in listed if frame in segments.division.own(index)]
        named += ours
        total += part.get(count, 0) - len(listed) + len(ours)
    return {count: total, frames: named[:NAMED]}


def _joined(key: str, values: list[tuple[Any, int]]) -> Any:
    known = [(value, length) for value, length in values if value is not None]
    if known and all(isinstance(value, Mapping) for value, _ in known):
        return joined_metrics([dict(value) for value, _ in known], [length for _, length in known])
    if known and all(isinstance(value, Real) and not isinstance(value, bool) for value, _ in known):
        numbers = [value for value, _ in known]
        if key in SUMS:
            return sum(numbers)
        if key in MOST | LEAST:
            return max(numbers) if key in MOST else min(numbers)
        return round(float(np.average(numbers, weights=[length for _, length in known])), 5)
    distinct: list[Any] = []
    for value, _ in known:
        distinct += [value] if value not in distinct else []
    return distinct[0] if len(distinct) == 1 else distinct or None
