"""Pictures on their way into the networks: resized once, kept on disk, read window by window."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Frame = Image.Image | np.ndarray


def resized(frame: Frame, width: int, height: int) -> np.ndarray:
    """A frame at the network's size, as diffusers' image processor resizes it (Lanczos).

    Args:
        frame: PIL image, or uint8 (h, w, 3) RGB.

    Returns:
        uint8 (height, width, 3).
    """
    image = Image.fromarray(frame) if isinstance(frame, np.ndarray) else frame
    image = image.convert("RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image)


def as_pixels(frames: np.ndarray | Sequence[np.ndarray], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Frames as network input.

    Args:
        frames: uint8, n of (h, w, 3).

    Returns:
        (n, 3, h, w) in [0, 1], channels last in memory; divided in float32 before the cast.
    """
    pixels = torch.from_numpy(frames if isinstance(frames, np.ndarray) else np.stack(frames))
    if device.type == "cuda":
        # From pinned memory the copy waits in the GPU's queue; the host goes on.
        pixels = pixels.pin_memory()
    pixels = pixels.to(device, non_blocking=True)
    return (pixels.permute(0, 3, 1, 2).float() / 255).to(dtype)


def batches(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Consecutive groups of at most `size` items."""
    group: list[np.ndarray] = []
    for frame in frames:
        group.append(frame)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


class FrameStore:
    """Frames of one size in a temporary file, so that memory does not grow with the clip.

    Args:
        height, width: size of every frame.
    """

    def __init__(self, height: int, width: int) -> None:
        self._shape = (height, width, 3)
        self._bytes = height * width * 3
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the store)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, frame: np.ndarray) -> None:
        """Add a uint8 (height, width, 3) frame."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame {frame.shape} {frame.dtype}, not {self._shape} uint8")
        self._file.seek(self._count * self._bytes)
        self._file.write(np.ascontiguousarray(frame).data)
        self._count += 1

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """The frames at `indices`, uint8 (n, height, width, 3)."""
        out = np.empty((len(indices), *self._shape), np.uint8)
        for row, index in enumerate(indices):
            if not 0 <= index < self._count:
                raise IndexError(f"no frame {index}, there are {self._count}")
            self._file.seek(index * self._bytes)
            self._file.readinto(out[row].reshape(-1).data)  # type: ignore[attr-defined]
        return out

    def digest(self) -> bytes:
        """Digest of all frames."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").digest()  # type: ignore[arg-type]

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
