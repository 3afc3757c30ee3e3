"""Videos of segments joined to one: groups of pictures are copied, frames around seams made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from mimo.segments import Division, part_name
from mimo.stage import Rejected
from mimo.video import Kind, VideoError, VideoReader, VideoWriter
from video_decomp.segments.packets import Coded, write_packets
from video_decomp.segments.part import Place

Makes = Callable[[int, int], Iterator[np.ndarray]]
"""Frames `start` to `stop` (exclusive) of a joined layer."""


@dataclass(frozen=True)
class Segments:
    """All segments of one video.

    Attributes:
        template: folder of the whole video.
        folders: of the segments, in order.
        places: where they lie.
    """

    template: Path
    folders: list[Path]
    places: list[Place]

    @staticmethod
    def of(template: Path, parts: int) -> Segments:
        """The segments of a template.

        Raises:
            Rejected: one is missing, or they are of another division.
        """
        folders = [template.parent / part_name(template.name, index) for index in range(parts)]
        places = [Place.read(folder) for folder in folders]
        for folder, place in zip(folders, places, strict=True):
            alike = (place.parts, place.frames, place.overlap) == (
                parts,
                places[0].frames,
                places[0].overlap,
            )
            if not alike:
                raise Rejected(f"{folder}: of another division of the video; cut it again")
        return Segments(template, folders, places)

    @cached_property
    def division(self) -> Division:
        """Of the video."""
        return Division(self.places[0].frames, len(self.places), self.places[0].overlap)

    @cached_property
    def rate(self) -> Fraction:
        """Frames a second."""
        return VideoReader(self.template / "vid.mp4").info.fps

    def alone(self, index: int) -> range:
        """Frames that show a segment and nothing of its neighbours."""
        division = self.division
        start = division.seam(index - 1).stop if index else 0
        stop = division.seam(index).start if index + 1 < division.parts else division.frames
        return range(start, stop)

    def in_seams(self) -> np.ndarray:
        """(T,) bool: frames in which one segment passes into the next."""
        inside = np.zeros(self.division.frames, bool)
        for index in range(self.division.parts - 1):
            seam = self.division.seam(index)
            inside[seam.start : seam.stop] = True
        return inside

    def shares(self, frame: int) -> list[tuple[int, float]]:
        """The segments that a frame is blended of, and their shares."""
        index = next(i for i in range(self.division.parts) if frame in self.division.own(i))
        for left in (index - 1, index):
            if 0 <= left < self.division.parts - 1 and frame in self.division.seam(left):
                seam = self.division.seam(left)
                share = (frame - seam.start + 0.5) / len(seam)
                return [(left, 1 - share), (left + 1, share)]
        return [(index, 1.0)]

    def blended(self, readers: list[VideoReader | None], start: int, stop: int) -> Iterator[np.ndarray]:
        """Frames of a layer, each segment fading into the next; one without a reader is black there.

        Yields:
            As the readers, float32.
        """
        running: dict[int, Iterator[np.ndarray]] = {}
        for frame in range(start, stop):
            total: np.ndarray | float = 0.0
            for index, share in self.shares(frame):
                reader = readers[index]
                if reader is None:
                    continue
                if index not in running:
                    running[index] = reader.frames(frame - self.places[index].first)
                total = total + np.float32(share) * next(running[index])
            if isinstance(total, float):
                known = next(reader for reader in readers if reader is not None)
                shape = (known.info.height, known.info.width) + (() if known.gray else (3,))
                total = np.zeros(shape, np.float32)
            yield total


def splice(
    segments: Segments,
    name: str,
    kind: Kind,
    make: Makes,
    again: np.ndarray,
    usable: list[bool] | None = None,
) -> float:
    """Join a layer's videos.

    Args:
        segments: of the video.
        name: of the layer's file, such as ``bk.mp4``.
        kind: as for `VideoWriter`.
        make: gives the joined frames where they cannot be copied.
        again: (T,) bool, frames that may not be copied.
        usable: segments that have such a file; all by default.

    Returns:
        Share of the frames that were copied.

    Raises:
        VideoError: a segment's file cannot be read, or has another length than the segment.
    """
    coded = {
        index: Coded(folder / name)
        for index, folder in enumerate(segments.folders)
        if usable is None or usable[index]
    }
    for index, layer in coded.items():
        place = segments.places[index]
        if len(layer.times) != place.stop - place.first:
            raise VideoError(f"{layer.path}: {len(layer.times)} frames, not {place.stop - place.first}")
    if len({layer.header() for layer in coded.values()}) > 1:
        again = np.ones_like(again)
    runs = list(copied_runs(segments, coded, again))
    with _scratch(segments.template / f".{name}-pieces") as scratch:
        pieces: list[tuple[Coded, int, int]] = []
        done = 0
        for index, start, stop in [*runs, (-1, segments.division.frames, segments.division.frames)]:
            if start > done:
                path = scratch / f"{done}.mp4"
                _encode(path, segments.rate, kind, make(done, start))
                pieces.append((Coded(path), 0, start - done))
            if stop > start:
                first = segments.places[index].first
                pieces.append((coded[index], start - first, stop - first))
            done = stop
        if len({piece.header() for piece, _, _ in pieces}) > 1:
            _encode(segments.template / name, segments.rate, kind, make(0, segments.division.frames))
            return 0.0
        write_packets(segments.template / name, pieces)
    return sum(stop - start for _, start, stop in runs) / segments.division.frames


def copied_runs(
    segments: Segments, coded: dict[int, Coded], again: np.ndarray
) -> Iterator[tuple[int, int, int]]:
    """Segment, start and stop (in the whole video) of runs of whole groups of pictures without changes."""
    for index, layer in coded.items():
        alone, first = segments.alone(index), segments.places[index].first
        keys = [first + key for key in layer.keys]
        run: tuple[int, int] | None = None
        for start, stop in pairwise(keys):
            inside = alone.start <= start and stop <= alone.stop and not again[start:stop].any()
            if inside and run and run[1] == start:
                run = run[0], stop
            elif inside:
                run = start, stop
            elif run:
                yield index, *run
                run = None
        if run:
            yield index, *run


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards; what a killed run left in it is thrown away."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _encode(path: Path, rate: Fraction, kind: Kind, frames: Iterator[np.ndarray]) -> None:
    with VideoWriter(path, rate, kind=kind) as writer:
        for frame in frames:
            writer.write(frame)
