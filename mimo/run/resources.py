"""What a job asks for: threads, main memory, GPUs with their memory, and time, by what it works on.

A job of a stage and backend takes ``job + frame * F + megapixel * P + frame_megapixel * F * P`` seconds, or
MB, where the clip has F frames of P megapixels. The factors stand in `resources.yaml`, as measured; on top
come its margins, and more for every further attempt. Settings say what else they need
(`StageSettings.resources`, `StageSettings.effort`).
"""

from __future__ import annotations

import errno
import json
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import av
import yaml
from pydantic import BaseModel, ConfigDict, Field

from mimo.stage import Rejected, StageSettings
from mimo.untrusted_video import opened

TABLE = Path(__file__).with_name("resources.yaml")
UNKNOWN_STAGE = "other"
"""Row of the table for a backend that has none of its own."""


@dataclass(frozen=True)
class Clip:
    """What a job works on: so many frames of so many pixels."""

    frames: int
    width: int
    height: int

    @property
    def megapixels(self) -> float:
        """Of one frame."""
        return self.width * self.height / 1e6


USUAL = Clip(frames=300, width=1280, height=720)
"""Where nothing is known: a source that cannot be read, and is going to be rejected."""


PICTURE = Clip(frames=1, width=1000, height=1000)
"""What the character stage works on; it takes the same for every picture."""


@dataclass(frozen=True)
class Demand:
    """What a job asks for.

    Attributes:
        threads: processor cores.
        mem_mb: main memory, MB.
        runtime: minutes.
        gpu: number of GPUs.
        gpu_mem_mb: memory of the GPU, MB.
    """

    threads: int
    mem_mb: int
    runtime: int
    gpu: int
    gpu_mem_mb: int


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Amount(_Strict):
    """Seconds or MB that depend on a clip."""

    job: float = Field(0, ge=0)
    frame: float = Field(0, ge=0)
    megapixel: float = Field(0, ge=0)
    frame_megapixel: float = Field(0, ge=0)

    def of(self, clip: Clip) -> float:
        """For a clip."""
        pixels = clip.megapixels
        return self.job + self.megapixel * pixels + clip.frames * (self.frame + self.frame_megapixel * pixels)


class Row(_Strict):
    """What a backend takes on one kind of device, before margins.

    Attributes:
        threads: processor cores that it keeps busy.
        seconds: from start to end.
        mem_mb, gpu_mem_mb: the highest at any time.
        source: where the numbers come from.
    """

    threads: int = Field(ge=1)
    seconds: Amount
    mem_mb: Amount
    gpu_mem_mb: Amount = Field(default_factory=lambda: Amount.model_validate({}))
    source: str


class Devices(_Strict):
    """Rows of a backend: without a GPU, and with one for a backend that can use it."""

    cpu: Row
    gpu: Row | None = None


class Margins(_Strict):
    """What jobs ask for beyond what was measured.

    Attributes:
        mem, gpu_mem, seconds: factors.
        mem_beside: MB that a cluster's executor takes beside the stage.
        least_runtime: minutes, for whatever a cluster does around a job.
    """

    mem: float = Field(ge=1)
    mem_beside: int = Field(ge=0)
    gpu_mem: float = Field(ge=1)
    seconds: float = Field(ge=1)
    least_runtime: int = Field(ge=1)


class Table(_Strict):
    """Content of `resources.yaml`: stages, their backends (a stage without any has ``-``), their rows."""

    margins: Margins
    stages: dict[str, dict[str, Devices]]

    def row(self, stage: str, backend: str, on_gpu: bool) -> Row:
        """Numbers of a backend; those of the row `other` for one that has none."""
        devices = self.stages.get(stage, {}).get(backend or "-") or self.stages[UNKNOWN_STAGE]["-"]
        return devices.gpu if on_gpu and devices.gpu is not None else devices.cpu


@cache
def table() -> Table:
    """The numbers."""
    return Table.model_validate(yaml.safe_load(TABLE.read_text()))


def uses_gpu(settings: StageSettings) -> bool:
    """Whether a job asks for a GPU: if the setting `device` is anything but the CPU."""
    return bool(getattr(settings, "device", "cpu") != "cpu")


def demand(stage: str, backend: str, settings: StageSettings, clip: Clip, attempt: int = 1) -> Demand:
    """What a job asks for.

    Args:
        stage, backend: names as in the configuration; an empty backend for a stage that has none.
        settings: of the backend.
        clip: what it works on.
        attempt: 1, or higher for a job that failed before; memory and time grow with it.
    """
    margins, on_gpu = table().margins, uses_gpu(settings)
    row = table().row(stage, backend, on_gpu)
    own = settings.resources()
    minutes = margins.seconds * expected_seconds(stage, backend, settings, clip) * attempt / 60
    memory = own.get("mem_mb", margins.mem * row.mem_mb.of(clip)) + margins.mem_beside
    gpu_memory = own.get("gpu_mem_mb", margins.gpu_mem * row.gpu_mem_mb.of(clip)) if on_gpu else 0
    return Demand(
        threads=row.threads,
        mem_mb=_rounded(memory * attempt),
        runtime=max(margins.least_runtime * attempt, math.ceil(minutes)),
        gpu=int(on_gpu),
        gpu_mem_mb=_rounded(gpu_memory),
    )


def expected_seconds(stage: str, backend: str, settings: StageSettings, clip: Clip) -> float:
    """What a job takes from start to end, as measured, without a margin; see `demand`."""
    return table().row(stage, backend, uses_gpu(settings)).seconds.of(clip) * settings.effort()


def _rounded(megabytes: float) -> int:
    """Up to a multiple of 100."""
    return 100 * math.ceil(megabytes / 100)


def clip_of_template(folder: Path, waits_for: Path | None = None) -> Clip:
    """The clip of a template or of a segment of one: by ``records/ingest.json``, ``vid.mp4``, or ``sdc.mp4``.

    Args:
        folder: with ``vid.mp4``; one that was dropped in by hand has no record.
        waits_for: input of the job that will be there when the clip is; for the error.

    Raises:
        FileNotFoundError: of `waits_for`, there is no clip yet. Snakemake then says ``<TBD>``, and asks again
            before it submits the job.
    """
    record, video, motion = folder / "records" / "ingest.json", folder / "vid.mp4", folder / "sdc.mp4"
    for path, read in ((record, _recorded), (video, _header), (motion, _header)):
        if path.is_file():
            try:
                return read(str(path), path.stat().st_mtime_ns)[0]
            except (Rejected, ValueError, KeyError, TypeError, OSError):
                return USUAL
    raise FileNotFoundError(errno.ENOENT, "no clip yet", str(waits_for or video))


def clip_of_source(path: Path, settings: StageSettings) -> Clip:
    """The part of a driving video that ingest reads, by the video's header; takes 10 to 20 ms.

    Args:
        path: the driving video.
        settings: of ingest.

    Raises:
        FileNotFoundError: the file is not there.
    """
    try:
        clip, fps = _header(str(path), path.stat().st_mtime_ns)
    except Rejected:
        return USUAL
    start, end, most = (getattr(settings, key, None) for key in ("start", "end", "max_seconds"))
    seconds = min(clip.frames / fps, math.inf if end is None else end) - (start or 0)
    seconds = min(seconds, math.inf if most is None else most)
    return replace(clip, frames=max(1, round(seconds * fps)))


@cache
def _recorded(path: str, changed: int) -> tuple[Clip, float]:
    """The clip and frame rate that an ingest record tells, as of the time it changed."""
    output = json.loads(Path(path).read_bytes())["output"]
    return Clip(int(output["frames"]), int(output["width"]), int(output["height"])), float(output["fps"])


@cache
def _header(path: str, changed: int) -> tuple[Clip, float]:
    """The clip and frame rate that a video's header promises, as of the time it changed."""
    with opened(Path(path)) as (container, stream):
        fps = float(stream.average_rate or stream.base_rate or 30)
        frames = stream.frames or round((container.duration or 0) / av.time_base * fps)
        return Clip(max(frames, 1), stream.width, stream.height), fps


def markdown() -> str:
    """The table for the documentation."""
    lines = [
        "| stage | backend | device | threads | seconds | main memory, MB | GPU memory, MB | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stage, backends in table().stages.items():
        for backend, devices in backends.items():
            for device, row in (("cpu", devices.cpu), ("gpu", devices.gpu)):
                if row is None:
                    continue
                amounts = (row.seconds, row.mem_mb, row.gpu_mem_mb)
                cells = [stage, backend, device, str(row.threads), *map(_formula, amounts), row.source]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _formula(amount: Amount) -> str:
    parts = [(amount.job, ""), (amount.frame, " F"), (amount.megapixel, " P")]
    parts.append((amount.frame_megapixel, " F P"))
    return " + ".join(f"{value:g}{unit}" for value, unit in parts if value) or "0"


if __name__ == "__main__":
    print(markdown(), end="")
