"""Opens videos that came from anywhere: as one of the usual containers, and nothing that it refers to.

FFmpeg also opens what is no video file: playlists, which name other files or addresses, lists of pictures,
text. Such a file could show what its sender may not read. Here a file is opened as a container that holds its
own pictures, whatever it is called, or not at all; only files are read, no addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from mimo.stage import Rejected
from mimo.video import DECODER_THREADS, local_url

CONTAINERS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo"),
    *("asf", "flv", "ogg", "mxf", "gxf", "nut", "ivf", "wtv", "rm", "dv", "m4v", "h261", "h263", "h264"),
    *(
        "hevc",
        "av1",
        "obu",
        "vvc",
        "vc1",
        "dirac",
        "cavsvideo",
        "gif",
        "apng",
        "mjpeg",
        "yuv4mpegpipe",
        "nsv",
    ),
    *("mp3", "wav", "flac", "aac", "aiff"),
)
"""Demuxers that a file may be opened with: of videos, and of sound, to say so. None opens other files."""

GUARDED = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
"""Options for FFmpeg's libraries, and for its program before an input."""

MOST_PIXELS = 1 << 27
"""Of a frame, at most: 16384 × 8192. A stream may come with larger ones than its header says."""

_STILL = ("jpeg", "png", "webp", "tiff", "bmp", "svg", "exr", "dpx", "psd", "jpegxl", "j2k", "hdr", "qoi")


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its video stream (not a cover picture) for decoding.

    Raises:
        Rejected: the file is missing, not media, has no moving pictures, or too large ones.
    """
    if not path.is_file():
        raise Rejected(f"{path}: no such file; check the path")
    try:
        container = av.open(local_url(path), options=GUARDED)
    except av.PermissionError:
        raise Rejected(f"{path}: may not be read; change its permissions") from None
    except av.FFmpegError as error:
        raise Rejected(_why_not(path, error)) from None
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise Rejected(f"{path}: holds no moving pictures, only sound or other data; give a video")
        if stream.codec_context is None or not stream.width or not stream.height:
            raise Rejected(f"{path}: its pictures cannot be decoded; export it again, such as to H.264")
        if stream.width * stream.height > MOST_PIXELS:
            raise Rejected(f"{path}: {stream.width} × {stream.height} pixels are too many; make it smaller")
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = DECODER_THREADS
        yield container, stream


def _why_not(path: Path, error: av.FFmpegError) -> str:
    if isinstance(error, av.ArgumentError):
        what = "a still picture" if _is_picture(path) else "a text, a playlist or something else"
        return f"{path}: is {what}, not a video; give a video"
    return (
        f"{path}: cannot be opened as a video ({error.strerror}); it is damaged, cut off before its index or "
        "no video; export it again, such as to MP4"
    )


def _is_picture(path: Path) -> bool:
    """Whether the content, whatever the name, is that of a picture."""
    pictures = ",".join(f"{name}_pipe" for name in _STILL)
    try:
        with path.open("rb") as file:
            # Without its name, by which FFmpeg would take it for one of a list of pictures.
            start = BytesIO(file.read(1 << 20))
        with av.open(start, options={"format_whitelist": pictures}):
            return True
    except av.FFmpegError:
        return False
