"""The source's audio over the time span of the output."""

from __future__ import annotations

import errno
import os
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg

from mimo.untrusted_video import GUARDED
from mimo.video import command, local_url
from video_decomp.ingest.source import Source

HIGHEST_SAMPLE_RATE = 48000
BIT_RATE = "192k"


def extract(source: Source, begin: Fraction, duration: Fraction, path: Path) -> str | None:
    """Write the audio from `begin` on as AAC, with silence where the source has none yet.

    Args:
        source: a file with audio.
        begin: seconds of the source's clock that become time 0.
        duration: seconds to keep.
        path: ``.m4a`` file to write.

    Returns:
        None, or why there is no audio in `path`: a sentence for the user.

    Raises:
        OSError: the disk is full.
    """
    assert source.audio
    start, length = f"{float(begin):.6f}", f"{float(duration):.6f}"
    # -copyts keeps the clock that the frames are timed by.
    stream = ffmpeg.input(local_url(source.path), copyts=None, **GUARDED)[str(source.audio.index)]
    stream = stream.filter("atrim", start=start, end=f"{float(begin + duration):.6f}")
    stream = stream.filter("asetpts", f"PTS-({start})/TB")
    stream = stream.filter("aresample", **{"async": 1, "first_pts": 0}).filter("atrim", end=length)
    output = ffmpeg.output(
        stream,
        local_url(path),
        acodec="aac",
        audio_bitrate=BIT_RATE,
        ac=min(2, source.audio.channels),
        ar=min(source.audio.sample_rate, HIGHEST_SAMPLE_RATE),
        vn=None,
    )
    done = subprocess.run(command(output), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    words = done.stderr.decode(errors="replace").strip()[-300:]
    if done.returncode and os.strerror(errno.ENOSPC) in words:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if done.returncode or not path.exists():
        return f"the audio ({source.audio.codec}) cannot be decoded and is left out: {words}"
    if not _has_samples(path):
        return "the audio does not overlap with the pictures and is left out"
    return None


def _has_samples(path: Path) -> bool:
    try:
        with av.open(local_url(path)) as container:
            return any(packet.size for packet in container.demux(audio=0))
    except (av.FFmpegError, IndexError):
        return False
