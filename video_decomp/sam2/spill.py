"""Masks of many frames out of memory: compressed in a file, read back in any order."""

from __future__ import annotations

import zlib
from typing import IO

import numpy as np


class MaskSpill:
    """Keeps frames' masks in a file; memory holds a few bytes a frame.

    Args:
        file: empty, open for reading and writing bytes, such as a temporary file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0
        self._places: dict[int, tuple[int, int, tuple[int, ...], np.ndarray]] = {}

    def put(self, frame: int, masks: np.ndarray, scores: np.ndarray) -> None:
        """Keep a frame's masks.

        Args:
            frame: index.
            masks: bool (things, height, width).
            scores: float32 (things,).
        """
        packed = zlib.compress(np.packbits(masks).tobytes(), 1)
        self._places[frame] = (self._end, len(packed), masks.shape, scores)
        self._file.seek(self._end)
        self._file.write(packed)
        self._end += len(packed)

    def take(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """A frame's masks and scores as they were put.

        Raises:
            KeyError: none were put for this frame.
        """
        start, length, shape, scores = self._places[frame]
        self._file.seek(start)
        packed = np.frombuffer(zlib.decompress(self._file.read(length)), np.uint8)
        return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool), scores
