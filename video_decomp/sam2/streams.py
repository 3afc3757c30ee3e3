"""Frames on their way to a network: read ahead, in batches, in both directions of time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from mimo.video import KEY_FRAME_INTERVAL, VideoReader

Item = TypeVar("Item")

_CHUNK = KEY_FRAME_INTERVAL // 2  # frames held at once when a clip is read backwards


def forwards(video: VideoReader, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Frames `start` to the last, each with its index; uint8 (height, width, 3) RGB."""
    yield from enumerate(video.frames(start), start)


def backwards(video: VideoReader, last: int) -> Iterator[tuple[int, np.ndarray]]:
    """Frames `last` to 0, each with its index, at most half a key frame interval of them in memory."""
    stop = last + 1
    while stop > 0:
        start = (stop - 1) // _CHUNK * _CHUNK
        chunk = list(video.frames(start, stop))
        while chunk:
            yield start + len(chunk) - 1, chunk.pop()
        stop = start


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists of `size`, the last one shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The same items, produced in a thread of their own up to `count` ahead of their use.

    An error of the producer is raised where its item would have been taken. A consumer that stops early
    ends the thread.
    """
    waiting: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(count)
    stopped = threading.Event()

    def put(entry: tuple[bool, Item | BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            more, item = waiting.get()
            if more:
                yield item  # type: ignore[misc]
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        stopped.set()
        thread.join()
