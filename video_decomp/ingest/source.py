"""What a source file holds: its streams and the presentation time of every frame, read without decoding."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from mimo.stage import Rejected
from mimo.untrusted_video import opened

STANDARD_RATES = [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)]
STANDARD_RATES += [Fraction(n * 1000, 1001) for n in (15, 24, 30, 48, 60, 120)]
# A file of these seconds less than it promises was cut off.
MISSING_SECONDS = 0.5
LONG_GAP_SECONDS = 5
# The second field of an interlaced frame may be a packet without a time; more of them, and there is no clock.
UNTIMED_SHARE = 0.6
# A frame rate is even when this share of the steps is like the median; the rest are frames left out.
EVEN_SHARE = 0.9


@dataclass(frozen=True)
class Audio:
    """The audio stream that goes with the video: its index in the file and properties."""

    index: int
    codec: str
    channels: int
    sample_rate: int


@dataclass(frozen=True)
class Source:
    """A video file and its time line.

    Attributes:
        path: the file.
        container, codec, pixel_format: names in ffmpeg's words.
        stream: index of the video stream.
        width, height: stored pixels, before rotation.
        pixel_aspect: width of a stored pixel divided by its height.
        times: (frames,) int64, ascending presentation times in `time_base` seconds; empty when the file has
            no time stamps.
        keys: (key frames,) int64, likewise.
        time_base: seconds of one step of `times`.
        rate: frames a second; of a variable rate, that of its fast passages.
        variable: the frames are not evenly spaced.
        audio: None without audio.
        warnings: sentences for the user.
    """

    path: Path
    container: str
    codec: str
    pixel_format: str
    stream: int
    width: int
    height: int
    pixel_aspect: Fraction
    times: np.ndarray
    keys: np.ndarray
    time_base: Fraction
    frames: int
    rate: Fraction
    variable: bool
    audio: Audio | None
    warnings: list[str] = field(default_factory=list)

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last."""
        if not len(self.times):
            return self.frames / self.rate
        return int(self.times[-1] - self.times[0]) * self.time_base + 1 / self.rate


def scan(path: Path) -> Source:
    """Read a file's time line: every packet once, nothing decoded.

    Raises:
        Rejected: see `opened`; or there is no whole frame in it.
    """
    with opened(path) as (container, stream):
        times: list[int] = []
        keys: list[int] = []
        packets = untimed = damaged = 0
        end = Fraction(0)
        try:
            for packet in container.demux():
                if not packet.size:
                    continue
                if packet.is_corrupt:
                    damaged += 1
                    continue
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream_index != stream.index:
                    continue
                packets += 1
                if packet.pts is None:
                    untimed += 1
                elif not packet.is_discard:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.FFmpegError:
            damaged += 1
        if not packets:
            raise Rejected(f"{path}: holds no whole frame; it was cut off: copy or export it again")
        warnings = []
        promised = Fraction(container.duration or 0, av.time_base)
        if damaged or (end and promised - end > MISSING_SECONDS):
            warnings.append("the file is damaged or cut off: what is whole of it is used")
        timeless = untimed > UNTIMED_SHARE * packets
        if timeless:
            times, keys = [], []
            warnings.append("the file has no time stamps: an even frame rate is assumed")
        table = np.unique(np.array(times, np.int64))
        time_base = Fraction(stream.time_base or Fraction(1, 1000))
        declared = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
        if len(table) > 1 and int(np.diff(table).max()) * time_base > LONG_GAP_SECONDS:
            warnings.append(f"there is a gap of more than {LONG_GAP_SECONDS} s between two frames")
        rate, variable = frame_rate(table, time_base, declared[::-1] if timeless else declared)
        if variable:
            warnings.append("the frame rate varies: each output frame shows the source frame nearest in time")
        audio = _audio(container)
        if container.streams.audio and audio is None:
            warnings.append("the audio is of an unknown format and is left out")
        return Source(
            path=path,
            container=container.format.name,
            codec=stream.codec_context.name,
            pixel_format=stream.codec_context.pix_fmt or "unknown",
            stream=stream.index,
            width=stream.width,
            height=stream.height,
            pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
            times=table,
            keys=np.unique(np.array(keys, np.int64)),
            time_base=time_base,
            frames=packets if timeless else len(table),
            rate=rate,
            variable=variable,
            audio=audio,
            warnings=warnings,
        )


def _audio(container: InputContainer) -> Audio | None:
    """The best audio stream that can be decoded; phones add one in a format of their own."""
    best = container.streams.best("audio")
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    stream = best if best in known else next(iter(known), None)
    if not isinstance(stream, AudioStream):
        return None
    return Audio(stream.index, stream.codec_context.name, stream.channels, stream.sample_rate)


def frame_rate(times: np.ndarray, time_base: Fraction, declared: list[Fraction]) -> tuple[Fraction, bool]:
    """Frame rate of a time line.

    Args:
        times: (frames,) int64, ascending, in steps of `time_base` seconds.
        declared: rates that the file's header claims, the most trusted first.

    Returns:
        Frames a second, exact where the time stamps agree with a declared or standard rate; and whether the
        rate varies, when it is that of the fast passages.
    """
    if len(times) < 3:
        return declared[0] if declared else Fraction(30), False
    steps = np.diff(times)
    even = np.abs(steps - np.median(steps)) <= np.maximum(2, 0.3 * np.median(steps))
    if even.mean() >= EVEN_SHARE:
        step = steps[even].mean()
        tolerance = 5e-4 + 2 / float(steps[even].sum())
        return snapped(1 / (step * float(time_base)), declared + STANDARD_RATES, tolerance), False
    step = steps[steps <= 1.3 * np.percentile(steps, 20)].mean()
    return snapped(1 / (step * float(time_base)), STANDARD_RATES, 0.02), True


def snapped(rate: float, candidates: list[Fraction], tolerance: float) -> Fraction:
    """The first candidate within a relative tolerance of a rate, else the rate as a simple fraction."""
    for candidate in candidates:
        if abs(rate / float(candidate) - 1) <= tolerance:
            return candidate
    return Fraction(rate).limit_denominator(1001)
