"""Contact sheet of a template: what each stage made, over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mimo.files import whole_file
from mimo.video import VideoReader

ROWS = ("source", "mask", "body", "sdc", "bk", "occ")
TILE_AREA = 230 * 230
GAP = 4
LABEL_WIDTH = 92
HEADER = 34
BACKGROUND = (24, 26, 30)
INK = (235, 235, 235)
MASK_TINT = (255, 64, 96)
OCCLUDER_TINT = (64, 160, 255)
KEY_FRAME_DISTANCE = 120
"""Frames decoded for one that is sought, about half of what x264 leaves between key frames."""
BODY_LEVEL = 10
"""Grey value above which a pixel of ``sdc.mp4`` is the body, as in the reference implementation."""


def write_preview(path: Path, videos: dict[str, VideoReader], times: int, valid: range) -> None:
    """Write the contact sheet as a PNG: a row for each kind of picture, a column for each time.

    Args:
        path: file to write.
        videos: readers of ``vid``, ``mask``, ``sdc``, ``bk`` and, if there is one, ``occ``.
        times: number of columns at most.
        valid: frames to show times of.
    """
    numbers = np.unique(np.linspace(valid.start, valid.stop - 1, times).round().astype(int)).tolist()
    info = videos["vid"].info
    scale = min(1.0, (TILE_AREA / (info.width * info.height)) ** 0.5)
    tile = (max(1, round(info.width * scale)), max(1, round(info.height * scale)))
    shown = {name: pick(reader, numbers) for name, reader in videos.items()}
    fps = float(info.fps)
    title = f"{info.width}x{info.height}, {fps:g} fps, {info.frames} frames"

    width = LABEL_WIDTH + len(numbers) * (tile[0] + GAP)
    heading = ImageFont.load_default(18)
    small = ImageFont.load_default(14)
    height = HEADER + 20 + 5 * (tile[1] + GAP) + (tile[1] if "occ" in videos else 28)
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 7), title, INK, heading)
    for column, number in enumerate(numbers):
        x = LABEL_WIDTH + column * (tile[0] + GAP)
        draw.text((x, HEADER), f"{number}  ({number / fps:.2f} s)", INK, small)
        frames = {name: pictures[column] for name, pictures in shown.items()}
        for row, name in enumerate(ROWS):
            picture = draw_row(name, frames)
            if picture is not None:
                y = HEADER + 20 + row * (tile[1] + GAP)
                sheet.paste(Image.fromarray(picture).resize(tile, Image.Resampling.BOX), (x, y))
    for row, name in enumerate(ROWS):
        y = HEADER + 20 + row * (tile[1] + GAP)
        draw.text((8, y + 4), name, INK, heading)
        if name == "occ" and "occ" not in videos:
            draw.text((LABEL_WIDTH, y + 4), "nothing passes in front of the person", INK, small)
    with whole_file(path) as part:
        sheet.save(part, format="PNG")


def pick(reader: VideoReader, numbers: list[int]) -> list[np.ndarray]:
    """Some frames of a video, uint8; `numbers` ascend."""
    start, stop = numbers[0], numbers[-1] + 1
    if stop - start > len(numbers) * KEY_FRAME_DISTANCE:
        return [reader.frame(number) for number in numbers]
    wanted = set(numbers)
    return [frame for number, frame in enumerate(reader.frames(start, stop), start) if number in wanted]


def draw_row(name: str, frames: dict[str, np.ndarray]) -> np.ndarray | None:
    """One picture of the sheet.

    Args:
        name: row, one of `ROWS`.
        frames: the videos' frames of one time, uint8; masks grey.

    Returns:
        (height, width, 3) uint8, or None when the video does not exist.
    """
    source = frames["vid"]
    if name == "source":
        return source
    if name == "mask":
        return tinted(source, frames["mask"], MASK_TINT)
    if name == "body":
        body = frames["sdc"].astype(np.float32) @ (0.299, 0.587, 0.114) > BODY_LEVEL
        return np.where(body[..., None], source // 3 + frames["sdc"] // 3 * 2, source)
    if name == "occ":
        return tinted(source, frames["occ"], OCCLUDER_TINT) if "occ" in frames else None
    return frames[name]


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
