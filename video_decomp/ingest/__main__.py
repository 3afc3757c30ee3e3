"""Normalise a driving video: constant frame rate, upright, square pixels, moderate size, audio in sync."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from pydantic import Field, model_validator

from mimo.files import sha256
from mimo.stage import Rejected, StageSettings, progress, run, stage_arguments, write_record
from mimo.video import VideoWriter
from video_decomp.ingest.audio import extract
from video_decomp.ingest.frames import decode, output_rate, resample
from video_decomp.ingest.picture import Converter, is_hdr, plan_geometry
from video_decomp.ingest.source import STANDARD_RATES, Source, scan, snapped


class Settings(StageSettings):
    """Settings of the ingest stage; times count from the source's first frame."""

    fps: float = Field(
        30,
        ge=1,
        le=240,
        description="highest frame rate to write; slower sources keep theirs, faster ones are divided evenly",
    )
    short_side: int = Field(
        720, ge=64, le=4320, description="pixels of the shorter side at most; never enlarged"
    )
    start: float = Field(0.0, ge=0, description="seconds to skip")
    end: float | None = Field(None, gt=0, description="second to stop at; none: the end")
    max_seconds: float | None = Field(None, gt=0, description="seconds to keep at most; none: all")
    crop: tuple[int, int, int, int] | None = Field(
        None, description="[x, y, width, height] to keep, in pixels of the upright source; none: all"
    )
    min_frames: int = Field(8, ge=1, description="shorter clips are rejected")

    @model_validator(mode="after")
    def _in_order(self) -> Settings:
        if self.end is not None and self.end <= self.start:
            raise ValueError("end must be after start")
        if self.crop and (min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise ValueError("crop is [x, y, width, height] with x, y >= 0 and width, height >= 1")
        return self


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(prog="python -m video_decomp.ingest", description=__doc__)
    parser.add_argument("source", type=Path, help="the driving video, any format")
    parser.add_argument("--template", type=Path, required=True, help="folder to write vid.mp4 into")
    args, settings = stage_arguments(parser, Settings, argv)
    record = args.template / "records" / "ingest.json"
    return run(lambda: ingest(args.source, args.template, settings), makes=record)


def ingest(path: Path, template: Path, settings: Settings) -> None:
    """Write ``vid.mp4`` and ``records/ingest.json`` of a template.

    Raises:
        Rejected: the source cannot be used.
    """
    source = scan(path)
    span = plan(source, settings)
    with tempfile.TemporaryDirectory() as scratch:
        outcome = write_video(source, span, settings, template / "vid.mp4", Path(scratch))
    write_record(
        template / "records" / "ingest.json",
        stage="ingest",
        backend="pyav",
        settings=settings,
        metrics={
            "frames": outcome.frames,
            "repeated_frames": outcome.repeated,
            "source_frames_in_span": outcome.decoded,
        },
        warnings=source.warnings + outcome.warnings,
        source={
            "name": path.name,
            "sha256": sha256(path),
            "width": source.width,
            "height": source.height,
            "fps": round(float(source.rate), 6),
            "variable_fps": source.variable,
            "codec": source.codec,
            "pixel_format": source.pixel_format,
            "container": source.container,
            "rotation": outcome.rotation,
            "frames": source.frames,
            "duration": round(float(source.duration), 6),
            "first_time": round(float(outcome.first - span.zero), 6),
            "last_time": round(float(outcome.last - span.zero), 6),
            "audio": asdict(source.audio) if source.audio else None,
        },
        output={
            "width": outcome.size[0],
            "height": outcome.size[1],
            "fps": round(float(span.rate), 6),
            "frames": outcome.frames,
            "audio": outcome.audio,
        },
    )


@dataclass(frozen=True)
class Span:
    """The part of the source to keep, in seconds of its clock, and the rate to write it at.

    Attributes:
        zero: time of the source's first frame.
        begin, end: the output shows the source from `begin` to before `end`.
        rate: output frames a second.
        ticks: output frames to expect; a damaged file may give fewer.
    """

    zero: Fraction
    begin: Fraction
    end: Fraction
    rate: Fraction
    ticks: int


def plan(source: Source, settings: Settings) -> Span:
    """Choose the span and the output rate.

    Raises:
        Rejected: too few frames would be left.
    """
    zero = int(source.times[0]) * source.time_base if len(source.times) else Fraction(0)
    start = _seconds(settings.start)
    begin = zero + start
    ends = [source.duration]
    if settings.end is not None:
        ends.append(_seconds(settings.end))
    if settings.max_seconds is not None:
        ends.append(start + _seconds(settings.max_seconds))
    # The exact fraction of a rate such as 29.97.
    limit = snapped(settings.fps, STANDARD_RATES, 1e-4)
    rate = output_rate(source.rate, limit)
    end = zero + min(ends)
    ticks = max(0, math.ceil((end - begin) * rate - Fraction(1, 4)))
    _demand(ticks, source, settings)
    return Span(zero, begin, end, rate, ticks)


def _seconds(setting: float) -> Fraction:
    """The number that was typed, not its nearest binary one: 1.4 s is a whole number of frames."""
    return Fraction(setting).limit_denominator(1_000_000)


def _demand(frames: int, source: Source, settings: Settings) -> None:
    if frames < settings.min_frames:
        raise Rejected(
            f"{source.path}: too short: {frames} frames ({float(source.duration):.2f} s in the file); "
            f"give a clip or a span of at least {settings.min_frames} frames, or lower min_frames"
        )


@dataclass(frozen=True)
class Outcome:
    """What was written: counts, source times of the first and last frame shown, and what went wrong."""

    frames: int
    repeated: int
    decoded: int
    size: tuple[int, int]
    rotation: int
    first: Fraction
    last: Fraction
    audio: bool
    warnings: list[str]


def write_video(source: Source, span: Span, settings: Settings, path: Path, scratch: Path) -> Outcome:
    """Decode, resample and convert the span, and write it with its audio.

    Raises:
        Rejected: nothing can be decoded, or too few frames.
    """
    problems: Counter[str] = Counter()
    decoded = decode(source, span.begin, problems)
    first = next(decoded, None)
    if first is None:
        raise Rejected(f"{source.path}: none of its frames can be decoded; export it again, such as to H.264")
    begin = max(span.begin, first.time)
    geometry = plan_geometry(source, first.frame, settings.short_side, settings.crop)
    convert = Converter(geometry)
    audio, warnings = None, []
    if source.audio:
        audio = scratch / "audio.m4a"
        trouble = extract(source, begin, span.end - begin, audio)
        if trouble:
            audio, warnings = None, [trouble]
    times: list[Fraction] = []
    with VideoWriter(path, span.rate, kind="yuv", audio_from=audio) as writer:
        ticks = resample(chain([first], decoded), begin, span.end, span.rate, 1 / source.rate)
        for timed in progress(ticks, "ingest", total=span.ticks):
            if not times or timed.time != times[-1]:
                planes = convert(timed.frame)
            times.append(timed.time)
            writer.write(planes)
        _demand(len(times), source, settings)
    inside = source.times[(source.times * float(source.time_base) >= float(begin))]
    return Outcome(
        frames=len(times),
        repeated=len(times) - len(set(times)),
        decoded=int((inside * float(source.time_base) < float(span.end)).sum()),
        size=geometry.size,
        rotation=first.frame.rotation,
        first=times[0],
        last=times[-1],
        audio=audio is not None,
        warnings=warnings + _complaints(problems, first.frame),
    )


def _complaints(problems: Counter[str], frame: av.VideoFrame) -> list[str]:
    sentences = []
    if problems["damaged"]:
        sentences.append(
            f"{problems['damaged']} damaged frames were left out; the frames beside them are shown longer"
        )
    if problems["out of order"]:
        sentences.append(f"{problems['out of order']} frames whose time runs backwards were left out")
    if problems["interlaced"]:
        sentences.append("the video is interlaced: it was deinterlaced to one frame for two fields")
    if is_hdr(frame):
        sentences.append(
            "the video is HDR: it was converted to a normal brightness range, highlights are cut"
        )
    return sentences


if __name__ == "__main__":
    sys.exit(main())
