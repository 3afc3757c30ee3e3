"""Time and memory of each stage over all videos, as small drawings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from mimo.report.rows import Row
from mimo.run.stages import STAGES

WIDTH, HEIGHT, BASE = 300, 34, 28
BINS = 30
DOTS = 60
"""Values up to which each is drawn as a dot; more are drawn as a histogram."""


@dataclass(frozen=True)
class Point:
    """One job's value, with the row that it belongs to."""

    value: float
    row: Row

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.row.item.name


@dataclass
class StageUse:
    """What the jobs of one stage took.

    Attributes:
        stage: key of `STAGES`.
        jobs: number of jobs that were measured.
        seconds: wall time of all of them.
        times: seconds per frame; of stages without frames, seconds.
        memories: peak memory, MB.
        gpu_memories: peak memory of the GPU, MB, where the backend recorded it.
    """

    stage: str
    jobs: int = 0
    seconds: float = 0.0
    times: list[Point] = field(default_factory=list)
    memories: list[Point] = field(default_factory=list)
    gpu_memories: list[Point] = field(default_factory=list)

    @property
    def median_time(self) -> float:
        """Median of the times."""
        return quantile(sorted(point.value for point in self.times), 0.5)

    @property
    def slowest(self) -> list[Point]:
        """The three with the longest times, the longest first."""
        return sorted(self.times, key=lambda point: -point.value)[:3]


def stage_uses(rows: Iterable[Row]) -> list[StageUse]:
    """What each stage took, in the order of the stages; stages that were not measured are left out."""
    uses = {stage: StageUse(stage) for stage in STAGES}
    for row in rows:
        for outcome in row.item.stages:
            use = uses[outcome.stage]
            if outcome.state != "done" or outcome.seconds is None:
                continue
            use.jobs += 1
            use.seconds += outcome.seconds
            use.times.append(Point(outcome.seconds / (row.frames or 1), row))
            if outcome.megabytes:
                use.memories.append(Point(outcome.megabytes, row))
            gpu = outcome.metrics.get("peak_gpu_gib")
            if isinstance(gpu, int | float) and gpu > 0:
                use.gpu_memories.append(Point(1024 * float(gpu), row))
    return [use for use in uses.values() if use.jobs]


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from `low` to `high` across a drawing."""

    low: float
    high: float

    @classmethod
    def over(cls, points: Iterable[Point]) -> Axis:
        """The axis that holds some values, with a little room beside them."""
        values = [point.value for point in points if point.value > 0] or [1.0]
        return cls(min(values) / 1.25, max(values) * 1.25)

    def place(self, value: float) -> float:
        """Where a value lies, drawing units."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return round(6 + share * (WIDTH - 12), 1)

    def ticks(self) -> list[float]:
        """Round values within: 1, 2 and 5 times powers of ten, or only the powers where these are many."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            found = [s * 10.0**p for p in powers for s in steps if self.low <= s * 10.0**p <= self.high]
            if len(found) <= 6:
                break
        return found


def drawn(points: list[Point], axis: Axis, unit: str) -> Markup:
    """The distribution of some values on an axis: dots or bars, median and the largest, as SVG."""
    values = sorted(point.value for point in points)
    if not values:
        return Markup("")
    parts = _dots(points, axis, unit) if len(points) <= DOTS else _bars(values, axis)
    middle, high = axis.place(quantile(values, 0.5)), axis.place(quantile(values, 0.9))
    parts.append(f'<path class="median" d="M{middle} 3V{BASE + 3}"/>')
    parts.append(f'<path class="high" d="M{high} {BASE - 6}V{BASE + 3}"/>')
    label = (
        f"{len(values)} jobs: median {amount(quantile(values, 0.5), unit)}, nine of ten below "
        f"{amount(quantile(values, 0.9), unit)}, largest {amount(values[-1], unit)}"
    )
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        WIDTH, HEIGHT, label, Markup(f'<path class="base" d="M0 {BASE}H{WIDTH}"/>'), Markup("".join(parts))
    )


def scale(axis: Axis, unit: str) -> Markup:
    """The labels of an axis, as SVG."""
    parts = [
        f'<path class="base" d="M{axis.place(tick)} 14v6"/>'
        f'<text x="{axis.place(tick)}" y="10" text-anchor="middle">{amount(tick, unit)}</text>'
        for tick in axis.ticks()
    ]
    return Markup(f'<svg class="plot" viewBox="0 0 {WIDTH} 20" aria-hidden="true">{"".join(parts)}</svg>')


def amount(value: float, unit: str) -> str:
    """A value as text, two significant digits or so; MB from a thousand on as GB."""
    if unit == "MB" and value >= 1000:
        return f"{value / 1000:.3g} GB"
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"


def duration(seconds: float) -> str:
    """Seconds as text: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def quantile(values: list[float], share: float) -> float:
    """The value below which a share of sorted values lies (the nearest one)."""
    return values[min(len(values) - 1, int(share * len(values)))]


def _dots(points: list[Point], axis: Axis, unit: str) -> list[str]:
    rows = 4
    return [
        f'<a href="#{point.row.key}"><circle class="dot" cx="{axis.place(point.value)}" '
        f'cy="{BASE - 5 - 5 * (number % rows)}" r="2.6"><title>{escape(point.name)}: '
        f"{amount(point.value, unit)}</title></circle></a>"
        for number, point in enumerate(sorted(points, key=lambda point: point.value))
    ]


def _bars(values: list[float], axis: Axis) -> list[str]:
    width = (WIDTH - 12) / BINS
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int((axis.place(value) - 6) / width))] += 1
    most = max(counts)
    return [
        f'<rect class="bar" x="{6 + number * width:.1f}" y="{BASE - height:.1f}" width="{width - 1:.1f}" '
        f'height="{height:.1f}"><title>{count}</title></rect>'
        for number, count in enumerate(counts)
        if (height := (BASE - 4) * count / most) > 0
    ]
