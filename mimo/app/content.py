"""What an uploaded file is, by its content: its name and what the browser says of it count for nothing."""

from __future__ import annotations

import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from mimo.app.limits import Limits
from mimo.stage import Rejected
from mimo.untrusted_video import opened

VIDEO_SUFFIX = {
    **{"mov": ".mp4", "matroska": ".mkv", "avi": ".avi", "mpegts": ".ts", "mpeg": ".mpg", "asf": ".wmv"},
    **{"flv": ".flv", "ogg": ".ogv", "mxf": ".mxf"},
}
"""Suffix by the first word of a demuxer's name."""
PICTURE_SUFFIX = {
    **{"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "BMP": ".bmp"},
    **{"TIFF": ".tif", "AVIF": ".avif"},
}
PICTURE_FORMATS = [name for name in PICTURE_SUFFIX if name != "MPO"]  # opened as JPEG
SMALLEST_PICTURE = 32
MEGABYTE = 10**6
LARGEST_TEXT = 20 * MEGABYTE
"""Bytes of a clip as JSON at most: it takes ten times as much in memory."""


def size_limit(kind: str, limits: Limits) -> int:
    """Bytes of a file of a kind at most."""
    megabytes = {
        "videos": limits.video_megabytes,
        "scenes": max(limits.video_megabytes, limits.picture_megabytes),
        "characters": limits.picture_megabytes,
        "motions": limits.motion_megabytes,
    }[kind]
    return int(megabytes * MEGABYTE)


def suffix_of(path: Path, kind: str, limits: Limits) -> str:
    """Suffix that a file of a kind gets, by what it holds.

    Raises:
        Rejected: it is something else, damaged, or over a limit; the message names no file.
    """
    if kind == "videos":
        return _video(path, limits)
    if kind == "characters":
        return _picture(path, limits)
    if kind == "scenes":
        return _picture(path, limits) if _is_picture(path) else _video(path, limits)
    return _motion(path, limits)


def _video(path: Path, limits: Limits) -> str:
    try:
        with opened(path) as (container, stream):
            suffix = VIDEO_SUFFIX.get(container.format.name.split(",")[0])
            if suffix is None:
                raise Rejected(f"a video as {container.format.name} is not taken; convert it to MP4")
            if max(stream.width, stream.height) > limits.video_side:
                raise Rejected(
                    f"the video has {stream.width} × {stream.height} pixels; {limits.video_side} a side are "
                    "taken at most: make it smaller"
                )
            if not any(True for _ in container.decode(stream)):
                raise Rejected("no picture of the video can be decoded; export it again, such as to H.264")
        with opened(path) as (container, stream):
            _check_length(container, stream, limits)
    except av.FFmpegError as error:
        raise Rejected(f"the video is damaged ({error.strerror}); export it again, such as to MP4") from None
    except Rejected as error:
        raise Rejected(str(error).removeprefix(f"{path}: ")) from None
    return suffix


def _check_length(container: av.container.InputContainer, stream: av.VideoStream, limits: Limits) -> None:
    """Read all packets, since a header may promise less than there is."""
    first = last = None
    packets = 0
    rate = float(stream.average_rate or stream.guessed_rate or 30)
    step = Fraction(stream.time_base or Fraction(1, 1000))
    for packet in container.demux(stream):
        if not packet.size:
            continue
        packets += 1
        if packet.pts is not None:
            first = packet.pts if first is None else min(first, packet.pts)
            last = packet.pts if last is None else max(last, packet.pts)
        seconds = float((last - first) * step) if first is not None and last is not None else packets / rate
        if seconds > limits.video_seconds:
            raise Rejected(
                f"the video is longer than {limits.video_seconds:g} s; cut it, or ask whoever runs this "
                "server for more"
            )


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path, formats=PICTURE_FORMATS):
            return True
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _picture(path: Path, limits: Limits) -> str:
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as picture:
            kind, (width, height) = str(picture.format), picture.size
            if width * height > limits.picture_megapixels * MEGABYTE:
                raise Rejected(
                    f"the picture has {width} × {height} pixels; "
                    f"{limits.picture_megapixels:g} million are taken at most: make it smaller"
                )
            if min(width, height) < SMALLEST_PICTURE:
                raise Rejected(f"the picture is only {width} × {height} pixels; give a larger one")
            picture.load()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise Rejected("that is no picture that is known; give a PNG, JPEG or WebP") from None
    except (OSError, ValueError, SyntaxError, MemoryError, EOFError) as error:
        raise Rejected(f"the picture is damaged ({error}); save it again") from None
    return PICTURE_SUFFIX[kind]


def _motion(path: Path, limits: Limits) -> str:
    start = path.open("rb").read(64)
    if start.startswith(b"PK\x03\x04"):
        _check_arrays(path, limits)
        return ".npz"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").upper().startswith(b"HIERARCHY"):
        return ".bvh"
    if start.lstrip().startswith(b"{"):
        _check_clip(path)
        return ".txt"
    raise Rejected(
        "that is no motion that is taken here; give an AMASS .npz, a BVH, DeepMimic's humanoid3d .txt, or "
        "motion.npz of a template (PHALP's .pkl: whoever runs this server can put it into the folder)"
    )


def _check_arrays(path: Path, limits: Limits) -> None:
    """Look at the table of contents and the header of each array; nothing is unpacked whole."""
    most = limits.motion_megabytes * MEGABYTE
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > most:
                raise Rejected(
                    f"the motion unpacks to more than {limits.motion_megabytes:g} MB; cut it into pieces"
                )
            for member in members:
                with archive.open(member) as file:
                    _check_array(file, member)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise Rejected(f"the motion is no file of arrays, or damaged ({error}); save it again") from None


def _check_array(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Refuse what is larger than its header of the archive says, or would have to be unpickled."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    # Python's numbers, since a product of NumPy's may pass its largest number unnoticed.
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if size > member.file_size and not dtype.hasobject:
        raise ValueError(f"{member.filename} says it is {size} bytes large")


def _check_clip(path: Path) -> None:
    """A DeepMimic clip is an object with `Frames`."""
    if path.stat().st_size > LARGEST_TEXT:
        raise Rejected(
            f"the motion is larger than {LARGEST_TEXT / MEGABYTE:g} MB as text; cut it into pieces"
        )
    try:
        clip = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise Rejected(
            "the motion is damaged: it begins as JSON and does not go on so; save it again"
        ) from None
    if not isinstance(clip, dict) or not isinstance(clip.get("Frames"), list):
        raise Rejected("that is no motion: JSON without 'Frames'; give DeepMimic's humanoid3d .txt")
