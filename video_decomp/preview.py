"""Contact sheet of a template: what each stage made, over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mimo.files import whole_file
from mimo.video import VideoReader

KINDS = ("source", "mask", "body", "sdc", "bk", "occ")
SHEET_WIDTH = 1600
GAP = 4
LABEL_WIDTH = 110
HEADER, LABEL_HEIGHT = 34, 22
WIDE = 1.2
"""Width over height above which the kinds of picture stand side by side and time runs down."""
BACKGROUND = (24, 26, 30)
INK = (235, 235, 235)
MASK_TINT = (255, 64, 96)
OCCLUDER_TINT = (64, 160, 255)
KEY_FRAME_DISTANCE = 120
"""Frames decoded for one that is sought, about half of what x264 leaves between key frames."""
BODY_LEVEL = 10
"""Grey value above which a pixel of ``sdc.mp4`` is the body, as in the reference implementation."""


def write_preview(path: Path, videos: dict[str, VideoReader], times: int, valid: range) -> None:
    """Write the contact sheet as a PNG: every kind of picture at some times.

    Args:
        path: file to write.
        videos: readers of ``vid``, ``mask``, ``sdc``, ``bk`` and, if there is one, ``occ``.
        times: number of times at most.
        valid: frames to show times of.
    """
    info = videos["vid"].info
    fps = float(info.fps)
    numbers = np.unique(np.linspace(valid.start, valid.stop - 1, times).round().astype(int)).tolist()
    kinds = [kind for kind in KINDS if kind != "occ" or "occ" in videos]
    shown = {name: pick(reader, numbers) for name, reader in videos.items()}
    pictures = [
        [draw(kind, {name: f[i] for name, f in shown.items()}) for i in range(len(numbers))] for kind in kinds
    ]
    title = f"{info.width}x{info.height}, {fps:g} fps, {info.frames} frames"
    if "occ" not in videos:
        title += ", nothing passes in front of the person"
    moments = [f"{number} ({number / fps:.2f} s)" for number in numbers]
    if info.width > WIDE * info.height:
        sheet = grid([list(row) for row in zip(*pictures, strict=True)], moments, kinds, title)
    else:
        sheet = grid(pictures, kinds, moments, title)
    with whole_file(path) as part:
        sheet.save(part, format="PNG")


def grid(pictures: list[list[np.ndarray]], rows: list[str], columns: list[str], title: str) -> Image.Image:
    """Pictures in rows and columns, with labels and a title.

    Args:
        pictures: row by row, all (height, width, 3) uint8 of one size.
        rows, columns: their labels.
        title: heading.
    """
    height, width = pictures[0][0].shape[:2]
    tile_width = min(width, (SHEET_WIDTH - LABEL_WIDTH) // len(columns) - GAP)
    tile = (tile_width, round(height * tile_width / width))
    left = [LABEL_WIDTH + column * (tile[0] + GAP) for column in range(len(columns))]
    top = [HEADER + LABEL_HEIGHT + row * (tile[1] + GAP) for row in range(len(rows))]
    sheet = Image.new("RGB", (left[-1] + tile[0] + GAP, top[-1] + tile[1] + GAP), BACKGROUND)
    ink = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    ink.text((8, 7), title, INK, ImageFont.load_default(18))
    for x, label in zip(left, columns, strict=True):
        ink.text((x, HEADER), label, INK, font)
    for y, label, row in zip(top, rows, pictures, strict=True):
        ink.text((8, y + 2), label, INK, font)
        for x, picture in zip(left, row, strict=True):
            sheet.paste(Image.fromarray(picture).resize(tile, Image.Resampling.BOX), (x, y))
    return sheet


def pick(reader: VideoReader, numbers: list[int]) -> list[np.ndarray]:
    """Some frames of a video, uint8; `numbers` ascend."""
    start, stop = numbers[0], numbers[-1] + 1
    if stop - start > len(numbers) * KEY_FRAME_DISTANCE:
        return [reader.frame(number) for number in numbers]
    wanted = set(numbers)
    return [frame for number, frame in enumerate(reader.frames(start, stop), start) if number in wanted]


def draw(kind: str, frames: dict[str, np.ndarray]) -> np.ndarray:
    """One picture of the sheet.

    Args:
        kind: one of `KINDS`.
        frames: the videos' frames of one time, uint8; masks grey.

    Returns:
        (height, width, 3) uint8.
    """
    source = frames["vid"]
    if kind == "source":
        return source
    if kind == "mask":
        return tinted(source, frames["mask"], MASK_TINT)
    if kind == "body":
        body = frames["sdc"].astype(np.float32) @ (0.299, 0.587, 0.114) > BODY_LEVEL
        return np.where(body[..., None], source // 3 + frames["sdc"] // 3 * 2, source)
    if kind == "occ":
        return tinted(source, frames["occ"], OCCLUDER_TINT)
    return frames[kind]


def tinted(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """An image with a soft mask shown over it in a colour; the rest is darkened.

    Args:
        image: (height, width, 3) uint8.
        mask: (height, width) uint8.
        colour: RGB.
    """
    weight = mask[..., None].astype(np.float32) / 255
    inside = image * 0.45 + np.array(colour, np.float32) * 0.55
    return (image * 0.5 * (1 - weight) + inside * weight).astype(np.uint8)
