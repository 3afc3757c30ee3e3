"""Results with a transparent background, for other programs: a video file, or a folder of pictures."""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import cv2
import numpy as np

from mimo.files import sha256, whole_folder
from mimo.stage import Rejected
from mimo.video import VideoWriter

AlphaFormat = Literal["prores", "vp9", "png"]

SUFFIXES: dict[AlphaFormat, str] = {"prores": ".mov", "vp9": ".webm", "png": ".frames"}
_PICTURE = re.compile(r"\d{5,}\.png")


def alpha_file(output: Path, format: AlphaFormat) -> Path:
    """The transparent file, or for ``png`` the folder, that belongs to a video."""
    return output.with_suffix(SUFFIXES[format])


def alpha_writer(
    output: Path, format: AlphaFormat, fps: Fraction, audio_from: Path | None, audio_start: float
) -> AlphaWriter:
    """Writer of the transparent file beside a video; its frames are uint8 RGBA with straight alpha.

    Args:
        output: the video.
        format: ``prores``, ``vp9`` or ``png``.
        fps, audio_from, audio_start: as for `mimo.video.VideoWriter`; pictures have no use for them.
    """
    path = alpha_file(output, format)
    if format == "png":
        return PictureFolderWriter(path)
    return VideoWriter(path, fps, kind=format, audio_from=audio_from, audio_start=audio_start)


def alpha_digest(path: Path) -> str:
    """Hex digest of a transparent file; of a folder: of its pictures' names and digests."""
    if path.is_file():
        return sha256(path)
    lines = (f"{sha256(picture)}  {picture.name}\n" for picture in sorted(path.iterdir()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class PictureFolderWriter:
    """Context manager that writes frames as PNG files ``00001.png``...; the folder appears when whole.

    Args:
        path: the folder. One that is there already is replaced, if it is such a folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames_written = 0
        self._open_files = ExitStack()

    def __enter__(self) -> PictureFolderWriter:
        """Begin.

        Raises:
            Rejected: something else has the folder's name.
        """
        if self.path.exists() and not _is_ours(self.path):
            raise Rejected(f"{self.path}: holds something else than numbered pictures; move it away")
        self._folder = self._open_files.enter_context(whole_folder(self.path))
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 (height, width, 4) RGBA.

        Raises:
            OSError: the disk is full, or another reason of the system.
        """
        self.frames_written += 1
        _, coded = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGBA2BGRA))
        (self._folder / f"{self.frames_written:05d}.png").write_bytes(coded.tobytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_files.__exit__(kind, error, trace)


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and all(_PICTURE.fullmatch(path.name) for path in folder.iterdir())


AlphaWriter = VideoWriter | PictureFolderWriter
