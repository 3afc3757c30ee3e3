"""Pictures and noise of a clip that needs no files, for speed and equality."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image


class Inputs:
    """Synthetic, seeded pictures and noise of a clip; smooth, moving, different in every frame.

    Args:
        frames: length of the clip.
        size: of its square pictures.
        kept: make the pictures at once and keep them, so that making them takes no time later.
    """

    def __init__(self, frames: int, size: int, *, kept: bool = True) -> None:
        self.count, self.size = frames, size
        self._field = np.random.default_rng(7).integers(0, 256, (24, 24, 3), np.uint8)
        self.reference = Image.fromarray(self._picture(3)).resize((size, size))
        latent = size // 8
        self.noise = torch.randn((1, 4, frames, latent, latent), generator=torch.Generator().manual_seed(1))
        self._kept = [list(self._make_pose()), list(self._make_background())] if kept else None

    def _picture(self, shift: int) -> np.ndarray:
        return np.roll(self._field, shift, axis=1)

    def pose(self) -> Iterator[np.ndarray]:
        """Pose frames, uint8 (size, size, 3): a coloured shape on black."""
        return iter(self._kept[0]) if self._kept else self._make_pose()

    def background(self) -> Iterator[np.ndarray]:
        """Background frames, uint8 (size, size, 3)."""
        return iter(self._kept[1]) if self._kept else self._make_background()

    def _make_pose(self) -> Iterator[np.ndarray]:
        for i in range(self.count):
            frame = np.zeros((self.size, self.size, 3), np.uint8)
            left = self.size // 4 + i % (self.size // 4)
            texture = self._large(self._picture(i)[:12, :12])
            frame[self.size // 8 : -self.size // 8, left : left + self.size // 4] = texture[
                self.size // 8 : -self.size // 8, : self.size // 4
            ]
            yield frame

    def _make_background(self) -> Iterator[np.ndarray]:
        for i in range(self.count):
            yield self._large(self._picture(i))

    def _large(self, picture: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(picture).resize((self.size, self.size), Image.Resampling.BILINEAR))
