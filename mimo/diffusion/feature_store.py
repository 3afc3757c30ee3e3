"""Deep features of a clip's windows between two full steps: the first on the device, the rest on disk."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

# Windows on their way to the disk at a time; the host waits for the GPU beyond that.
_WRITES = 2


class FeatureStore:
    """Keeps tensors by key, so that memory does not grow with their number.

    At 784x784 a window of 24 frames has 295 MB of them in 16 bits for both guidance rows and a branch of one
    or two layers, 147 MB for three to five. Beyond `device_bytes` they go through pinned memory (at most four
    windows' worth) into a temporary file that the operating system caches as it sees fit, and are read ahead
    by a thread while another window is computed.

    Args:
        device_bytes: bytes that may stay where the tensors are.
    """

    def __init__(self, device_bytes: int) -> None:
        self._room = device_bytes
        self._kept: dict[Hashable, Tensor] = {}
        self._slots: dict[Hashable, tuple[int, tuple[int, ...]]] = {}
        self._end = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the store)
        self._thread = ThreadPoolExecutor(1)
        self._writes: deque[Future[None]] = deque()
        self._reads: dict[Hashable, Future[tuple[Tensor, torch.cuda.Event | None]]] = {}
        self._stream: torch.cuda.Stream | None = None

    def put(self, key: Hashable, features: Tensor) -> None:
        """Keep features (n, channels, h, w), in place of what the key had; the tensor may be kept itself."""
        old = self._kept.pop(key, None)
        if old is not None:
            self._room += old.nbytes
        if key not in self._slots and features.nbytes <= self._room:
            self._room -= features.nbytes
            self._kept[key] = features
            return
        rows = features.permute(0, 2, 3, 1).contiguous()
        while len(self._writes) >= _WRITES:
            self._writes.popleft().result()
        copied = None
        if rows.is_cuda:
            host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            rows = host.copy_(rows, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        position, shape = self._slots.get(key, (self._end, ()))
        if len(rows) > (shape[0] if shape else 0):
            position, self._end = self._end, self._end + rows.nbytes
        self._slots[key] = position, tuple(rows.shape)
        self._writes.append(self._thread.submit(self._write, position, rows, copied))

    def prefetch(self, key: Hashable, like: Tensor) -> None:
        """Begin to read what `get` will be asked for next; does nothing for features on the device.

        Args:
            key: of earlier features.
            like: a tensor on their device and of their type.
        """
        if key in self._slots and key not in self._reads:
            if like.is_cuda and self._stream is None:
                self._stream = torch.cuda.Stream(like.device)
            self._reads[key] = self._thread.submit(self._read, *self._slots[key], like.device, like.dtype)

    def get(self, key: Hashable, like: Tensor) -> Tensor:
        """Features that were put last under a key, (n, channels, h, w); arguments as for `prefetch`.

        Raises:
            KeyError: there are none.
            OSError: the disk could not take or give them.
        """
        if key in self._kept:
            return self._kept[key]
        if key not in self._slots:
            raise KeyError(key)
        self.prefetch(key, like)
        rows, ready = self._reads.pop(key).result()
        # The thread does one thing after the other: what was to be written before is, or failed.
        while self._writes and self._writes[0].done():
            self._writes.popleft().result()
        if ready is not None:
            current = torch.cuda.current_stream(rows.device)
            current.wait_event(ready)
            rows.record_stream(current)
        return rows.permute(0, 3, 1, 2)

    def close(self) -> None:
        """Give memory and disk space back."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._file.close()
        self._kept.clear()
        self._reads.clear()

    def _write(self, position: int, rows: Tensor, copied: torch.cuda.Event | None) -> None:
        if copied is not None:
            copied.synchronize()
        self._file.seek(position)
        self._file.write(rows.view(torch.uint8).numpy().data)

    def _read(
        self, position: int, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, torch.cuda.Event | None]:
        rows = torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")
        content = rows.view(torch.uint8).numpy()
        self._file.seek(position)
        if self._file.readinto(content.reshape(-1).data) != content.nbytes:  # type: ignore[attr-defined]
            raise OSError("deep features: the temporary file is shorter than what was written to it")
        if self._stream is None:
            return rows, None
        with torch.cuda.stream(self._stream):
            moved = rows.to(device, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        return moved, event
