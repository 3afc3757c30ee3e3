"""What in a record asks for a person's look: measures, their limits, and a plain sentence for each.

A flag is no verdict. The limits lie between what the stages reach on real clips they do well
(`benchmarks/results/`) and what damaged or misread clips give (`tests/test_report_flags.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mimo.report.outcomes import StageOutcome

Record = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One measure with its limit.

    Attributes:
        key: name of the flag for filters, a word.
        title: what is wrong, two or three words.
        stage: whose record has it.
        measure: the number in a record; None where the backend did not measure it.
        limit: the flag is raised above it, or below it if `low`.
        shown: format of number and limit.
        sentence: what was found and where to look, with ``{value}`` and ``{limit}``.
        why: reason for the limit.
    """

    key: str
    title: str
    stage: str
    measure: Callable[[Record], float | None]
    limit: float
    shown: str
    sentence: str
    why: str
    low: bool = False

    def raised(self, record: Record) -> Flag | None:
        """The flag, if the record's number is beyond the limit."""
        value = self.measure(record)
        if value is None or not (value < self.limit if self.low else value > self.limit):
            return None
        numbers = {"value": self.shown.format(value), "limit": self.shown.format(self.limit)}
        return Flag(self, value, self.sentence.format(**numbers) + _where(self.key, record))

    @property
    def limit_text(self) -> str:
        """The limit in words, such as ``below 0.82``."""
        return f"{'below' if self.low else 'above'} {self.shown.format(self.limit)}"


@dataclass(frozen=True)
class Flag:
    """A measure beyond its limit.

    Attributes:
        check: the measure.
        value: its number.
        sentence: one plain sentence with the number.
    """

    check: Check
    value: float
    sentence: str


def flags(outcomes: Iterable[StageOutcome]) -> list[Flag]:
    """Flags of some stages' records, in the order of `CHECKS`."""
    records = {outcome.stage: outcome.record for outcome in outcomes if outcome.state == "done"}
    raised = (check.raised(records[check.stage]) for check in CHECKS if check.stage in records)
    return [flag for flag in raised if flag is not None]


def number(record: Record, *path: str) -> float | None:
    """A number in nested mappings; None if it is not there."""
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def metric(*path: str) -> Callable[[Record], float | None]:
    """A measure that is a number among a record's metrics."""
    return lambda record: number(record, "metrics", *path)


def lost_share(record: Record) -> float | None:
    """Share of the frames between the person's first and last sighting in which the person is missing."""
    first, last = number(record, "first_frame"), number(record, "last_frame")
    missing = record.get("missing_frames")
    if first is None or last is None or not isinstance(missing, list):
        return None
    return sum(first < frame < last for frame in missing) / (last - first + 1)


def absent_share(record: Record) -> float | None:
    """Share of the clip before the first and after the last sighting."""
    first, last, frames = (
        number(record, "first_frame"),
        number(record, "last_frame"),
        number(record, "metrics", "frames"),
    )
    return None if first is None or last is None or not frames else 1 - (last - first + 1) / frames


def guessed_share(record: Record) -> float | None:
    """Share of frames whose pose was filled in from their neighbours."""
    frames, filled = number(record, "metrics", "frames"), number(record, "metrics", "filled_frames")
    if not frames or filled is None:
        return None
    return (filled + (number(record, "metrics", "outlier_frames") or 0)) / frames


def flicker_excess(record: Record) -> float | None:
    """How much more filled places change from frame to frame than half again the places around (levels)."""
    filled = number(record, "metrics", "flicker", "filled")
    around = number(record, "metrics", "flicker", "around")
    return None if filled is None or around is None else filled - 1.5 * around


def layer_jumps(record: Record) -> float | None:
    """Jumps of the layer in front beyond one appearance and one disappearance of each thing in it."""
    jumps = number(record, "metrics", "layer_jumps")
    return None if jumps is None else max(0.0, jumps - 2 * len(record.get("occluders", [])))


def _where(key: str, record: Record) -> str:
    """The frames that a flag is about, if the record names them."""
    lists = {"mask-jumps": "area_jump_frames", "occluder": "layer_jump_frames"}
    found = record.get("metrics", {}).get(lists.get(key, ""))
    if key == "lost-track":
        first, last = record["first_frame"], record["last_frame"]
        found = [frame for frame in record["missing_frames"] if first < frame < last]
    if not found:
        return ""
    more = ", …" if len(found) > 8 else ""
    return f" Frame{'s' if len(found) > 1 else ''} {', '.join(map(str, found[:8]))}{more}."


CHECKS = [
    Check(
        "mask-jumps", "mask jumps", "segmentation", metric("area_jumps"), 0, "{:.0f}",
        "From one frame to the next the mask's area changes by more than a quarter ({value} ×): "
        "a limb may be lost, or another person taken in.",
        "none in clips without a fault; a person entering or leaving the picture does not count",
    ),
    Check(
        "lost-track", "lost track", "segmentation", lost_share, 0.01, "{:.1%}",
        "The person is missing in {value} of the frames between first and last sighting.",
        "single frames are filled in unseen; more than one in a hundred shows",
    ),
    Check(
        "mostly-absent", "mostly absent", "segmentation", absent_share, 0.5, "{:.0%}",
        "{value} of the clip lie before the person's first or after the last sighting and are left out.",
        "a clip that is used by less than half is often the wrong clip, or the wrong person",
    ),
    Check(
        "body-fit", "body off", "pose", metric("landmark_error_percent"), 0.8, "{:.2f} %",
        "The fitted body lies {value} of the person's height off the joints seen in the picture on average.",
        "0.34-0.57 % on clips that are right; 1.0 % where the 3D pose was wrong (see pose_accuracy.md)",
    ),
    Check(
        "body-overlap", "body overlap", "pose", metric("mask_iou_median"), 0.82, "{:.2f}",
        "The fitted body's outline and the mask overlap by {value} (IoU) only: "
        "wide clothes, or a wrong body or mask.",
        "0.88-0.93 on clips that are right; 0.78 where the 3D pose was wrong",
        low=True,
    ),
    Check(
        "guessed-pose", "guessed pose", "pose", guessed_share, 0.05, "{:.0%}",
        "In {value} of the frames the pose is guessed from the frames around.",
        "gaps of a few frames are bridged well; more is seen as gliding",
    ),
    Check(
        "sliding", "feet slide", "staging", metric("slide_mm"), 10.0, "{:.0f} mm",
        "In the scene standing feet slide by {value} on average.",
        "0.1-0.7 mm on motions of motion capture; a centimetre is seen on a floor with a pattern",
    ),
    Check(
        "outside", "out of the picture", "staging", metric("outside_share"), 0.2, "{:.0%}",
        "{value} of the motion lie outside the scene's picture: choose another place, turn or scale.",
        "a hand or a foot at the border is none; a person who leaves is",
    ),
    Check(
        "merged", "people merged", "group", metric("contested_share_max"), 0.25, "{:.0%}",
        "In one frame {value} of a person's pixels are claimed by another person's mask, too: "
        "the two may be one in both.",
        "people who touch share a tenth at their borders",
    ),
    Check(
        "occluder", "occluder unstable", "occlusion", layer_jumps, 0, "{:.0f}",
        "What passes in front of the person appears, vanishes or changes size abruptly "
        "more often than things come and go ({value} ×).",
        "each thing may come once and go once",
    ),
    Check(
        "seam", "seam", "inpainting", metric("seam"), 3.0, "{:.1f} levels",
        "The border of the filled-in background shows as a step of {value} of brightness.",
        "-0.1 to 0.6 on the demonstration's clips; a step of 3 of 255 is seen on smooth walls",
    ),
    Check(
        "flicker", "background flicker", "inpainting", flicker_excess, 1.0, "{:.1f} levels",
        "The filled-in background changes from frame to frame by {value} more than one and a half times "
        "what the scene around does.",
        "filled places flicker less than the scene around on all benchmark clips, camera moving or not",
    ),
    Check(
        "drift", "background drift", "inpainting", metric("psnr_outside_db"), 36.0, "{:.1f} dB",
        "Far from the person the background differs from the video ({value}): it is shifted or discoloured.",
        "the codec alone leaves 44-46 dB",
        low=True,
    ),
    Check(
        "invented", "scene invented", "inpainting", metric("never_seen"), 0.4, "{:.0%}",
        "{value} of what the person covers is never seen in the clip and was invented.",
        "28 % passes unnoticed in the demonstration, where it is grass and wall",
    ),
    Check(
        "character-fit", "character's body", "character",
        lambda record: number(record, "fit", "silhouette_iou"), 0.75, "{:.2f}",
        "Body and outline of the character's picture overlap by {value} (IoU) only.",
        "0.88-0.89 on the demonstration's pictures; wide clothes lower it",
        low=True,
    ),
    Check(
        "scene-change", "scene changed", "synthesis", metric("scene_change", "around"), 6.0, "{:.1f} levels",
        "Beside the character the result differs from the scene by {value} of brightness: "
        "a box or a halo may show.",
        "below 2 where only the character and its shadow were put into the scene",
    ),
]  # fmt: skip
"""Every measure that may raise a flag, in the order of the stages."""
