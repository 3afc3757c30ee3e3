"""Synthetic clips with known backgrounds for the tests of inpainting and occlusion."""

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from mimo.video import VideoReader, VideoWriter

SIZE = (320, 192)
FPS = 30


def picture(width: int = 640, height: int = 384, seed: int = 0) -> np.ndarray:
    """A scene with large and small structure, (height, width, 3) uint8.

    Its colours change slowly and its edges are grey, since 4:2:0 video cannot hold anything else.
    """
    random = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for scale, strength, colours in ((64, 20, 3), (32, 25, 1), (8, 14, 1), (3, 8, 1)):
        shape = (height // scale + 2, width // scale + 2, colours)
        noise = random.normal(0, strength, shape).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, -1)
    image += 115
    for _ in range(40):
        left, top = random.integers(0, (width, height))
        corner = (int(left + random.integers(10, 80)), int(top + random.integers(10, 60)))
        colour = (float(random.integers(30, 200)),) * 3
        cv2.rectangle(image, (int(left), int(top)), corner, colour, -1 if random.random() < 0.5 else 2)
    return np.clip(image, 0, 255).astype(np.uint8)


def view(
    scene: np.ndarray, x: float, y: float, scale: float = 1.0, size: tuple[int, int] = SIZE
) -> np.ndarray:
    """What a camera sees whose upper left corner is at (x, y) of the scene; `scale` scene pixels a pixel."""
    matrix = np.array([[scale, 0, x], [0, scale, y]], float)
    return cv2.warpAffine(scene, matrix, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def figure(x: float, y: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Mask of a simple person whose head's centre is at (x, y), bool."""
    mask = np.zeros(size[::-1], np.uint8)
    cv2.circle(mask, (round(x), round(y)), 9, 255, -1)
    cv2.ellipse(mask, (round(x), round(y) + 38), (14, 32), 0, 0, 360, 255, -1)
    for side in (-1, 1):
        foot = (round(x) + 9 * side, round(y) + 100)
        cv2.line(mask, (round(x) + 4 * side, round(y) + 60), foot, 255, 9)
    return mask > 0


def write_clip(
    folder: Path,
    backgrounds: Iterable[np.ndarray],
    masks: Iterable[np.ndarray],
    change_mask: Callable[[np.ndarray], np.ndarray] = lambda mask: mask,
    noise: float = 1.0,
) -> None:
    """Write ``vid.mp4`` (a red figure over the backgrounds) and ``mask.mp4``."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        VideoWriter(folder / "vid.mp4", FPS, crf=8) as video,
        VideoWriter(folder / "mask.mp4", FPS, kind="mask") as mask_file,
    ):
        for background, mask in zip(backgrounds, masks, strict=True):
            soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)[..., None]
            frame = background * (1 - soft) + soft * np.array([235.0, 30, 40])
            frame += random.normal(0, noise, frame.shape)
            video.write(np.clip(np.round(frame), 0, 255).astype(np.uint8))
            mask_file.write(change_mask(mask).astype(np.uint8) * 255)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """In dB, over all values."""
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second.astype(float)) ** 2)))


def frames(path: Path, gray: bool = False) -> np.ndarray:
    """All frames of a short clip."""
    return np.stack(list(VideoReader(path, gray=gray)))
