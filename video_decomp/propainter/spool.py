"""Per-frame arrays on disk: a bounded window of a clip that goes by, and finished results to resume from."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mimo.files import whole_file, write_json


class Spool:
    """The latest arrays of a clip, by frame number, in a file without a name.

    Args:
        folder: where the file is made.
        capacity: how many are kept; one more overwrites the oldest.
        shape, dtype: of every array.
    """

    def __init__(self, folder: Path, capacity: int, shape: tuple[int, ...], dtype: Any) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open as long as the spool lives)
        self._held: list[int | None] = [None] * capacity
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._size = self._dtype.itemsize * int(np.prod(shape))

    def put(self, index: int, array: np.ndarray) -> None:
        """Keep an array.

        Raises:
            ValueError: wrong shape or type.
        """
        if array.shape != self._shape or array.dtype != self._dtype:
            raise ValueError(f"array {array.shape} {array.dtype}, not {self._shape} {self._dtype}")
        slot = index % len(self._held)
        self._file.seek(slot * self._size)
        self._file.write(np.ascontiguousarray(array).data)
        self._held[slot] = index

    def get(self, index: int) -> np.ndarray:
        """The array of a frame.

        Raises:
            KeyError: it was never kept, or has been overwritten.
        """
        slot = index % len(self._held)
        if self._held[slot] != index:
            raise KeyError(f"frame {index} is not kept (any more)")
        self._file.seek(slot * self._size)
        return np.frombuffer(bytearray(self._file.read(self._size)), self._dtype).reshape(self._shape)


class FinishedBlocks:
    """Finished results of a clip, block by block, for a run that goes on where a killed one was.

    Args:
        folder: made if needed; what it holds of another job is thrown away.
        job: everything the results depend on, as values of JSON.
        resume: take what is there; else start anew.
    """

    def __init__(self, folder: Path, job: dict[str, Any], resume: bool) -> None:
        self.folder = folder
        description = folder / "job.json"
        mine = folder.with_name(f"{folder.name}.new") / "job.json"
        write_json(mine, job)
        same = description.is_file() and description.read_bytes() == mine.read_bytes()
        if resume and same:
            shutil.rmtree(mine.parent)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            mine.parent.rename(folder)

    def get(self, block: int) -> list[np.ndarray] | None:
        """The arrays of a block, None if it is not finished."""
        path = self._path(block)
        if not path.is_file():
            return None
        with np.load(path) as stored:
            return [stored[f"arr_{index}"] for index in range(len(stored.files))]

    def put(self, block: int, arrays: list[np.ndarray]) -> None:
        """Keep the arrays of a finished block; it is on the disk when this returns."""
        with whole_file(self._path(block)) as part:
            np.savez(part, *arrays)

    def _path(self, block: int) -> Path:
        return self.folder / f"block-{block:05}.npz"
