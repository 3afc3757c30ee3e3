"""Where the person is: boxes around the rendered body, clips of frames that share a box, square padding.

The numbers equal those of the reference implementation; `plan_clips` can also do better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

# Grey value above which a pixel of a motion-code frame is body; below lies compression noise.
BODY_THRESHOLD = 10
# A clip ends when some frame's box covers less than this share of the clip's.
SPLIT_SHARE = 0.5
# Frames held for the next clip, at most.
_MOST_SHARED = 64

Frame = TypeVar("Frame")


class Box(NamedTuple):
    """Pixel rectangle [x0, x1) × [y0, y1)."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def width(self) -> int:
        """x1 - x0."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """y1 - y0."""
        return self.y1 - self.y0

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.width * self.height

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.x0 >= self.x1 or self.y0 >= self.y1

    def union(self, other: Box) -> Box:
        """Smallest box around both."""
        return Box(
            min(self.x0, other.x0), max(self.x1, other.x1), min(self.y0, other.y0), max(self.y1, other.y1)
        )


class Padding(NamedTuple):
    """Rows and columns added around a picture."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Clip:
    """Consecutive frames computed with one box.

    Attributes:
        first, last: frame indices, both inside; the first few may also belong to the clip before.
        box: where its result goes.
    """

    first: int
    last: int
    box: Box

    @property
    def frames(self) -> range:
        """Indices of its frames."""
        return range(self.first, self.last + 1)


def body_mask(sdc: np.ndarray) -> np.ndarray:
    """Body pixels of a motion-code frame.

    Args:
        sdc: (h, w, 3) uint8 RGB, body on black.

    Returns:
        (h, w) uint8, 255 = body.
    """
    return np.where(cv2.cvtColor(sdc, cv2.COLOR_RGB2GRAY) > BODY_THRESHOLD, 255, 0).astype(np.uint8)


def clean_mask(mask: np.ndarray) -> np.ndarray:
    """Close gaps of up to four pixels and remove single ones."""
    wide = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 5))
    narrow = cv2.getStructuringElement(cv2.MORPH_RECT, (2, 2))
    return cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, wide), cv2.MORPH_OPEN, narrow)


def body_box(mask: np.ndarray) -> Box:
    """Box around a mask, a tenth taller and a twentieth wider on each side, inside the picture."""
    x, y, width, height = cv2.boundingRect(mask)
    more_y, more_x = int(height * 0.1), int(width * 0.05)
    return Box(
        max(0, x - more_x),
        min(mask.shape[1], x + width + more_x),
        max(0, y - more_y),
        min(mask.shape[0], y + height + more_y),
    )


def even_box(box: Box) -> Box:
    """The box with even sides (grown to the right and down)."""
    return Box(box.x0, box.x1 + box.width % 2, box.y0, box.y1 + box.height % 2)


def square_padding(height: int, width: int) -> Padding:
    """What to add to make a picture square with sides divisible by 16, centred."""
    side = -(-max(height, width) // 16) * 16
    top, left = (side - height) // 2, (side - width) // 2
    return Padding(top, side - height - top, left, side - width - left)


def square_box(box: Box, height: int, width: int) -> Box:
    """The box made square with sides divisible by 16, as far as the frame (height, width) allows."""
    more = square_padding(box.height, box.width)
    return Box(
        max(0, box.x0 - more.left),
        min(width, box.x1 + more.right),
        max(0, box.y0 - more.top),
        min(height, box.y1 + more.bottom),
    )


def frame_box(sdc: np.ndarray) -> Box:
    """The box of one motion-code frame as `plan_clips` takes it; (0, 0, 0, 0) without a body."""
    box = even_box(body_box(clean_mask(body_mask(sdc))))
    return square_box(box, *sdc.shape[:2])


def whole_clip_box(sdc_frames: Iterable[np.ndarray]) -> Box:
    """One box around the body in all frames, as image animation uses it (MIMO's ``run_animate``).

    May reach one pixel past the frame, since its sides are even.
    """
    union = Box(10000, 0, 10000, 0)
    for frame in sdc_frames:
        union = union.union(body_box(body_mask(frame)))
    return even_box(union)


def plan_clips(boxes: Sequence[Box], overlap: int = 4, *, improved: bool = False) -> list[Clip]:
    """Divide a video into clips, each with one box; a new clip starts when boxes become too unequal.

    Args:
        boxes: from `frame_box`, one a frame; at least one.
        overlap: frames at the start of a clip that also end the clip before.
        improved: frames without a body do not draw the box to the corner, the last frame can start a clip,
            and a clip's box also covers the body in the frames shared with the clip before.

    Returns:
        Clips in order; together they cover all frames.
    """
    assert overlap <= _MOST_SHARED
    clips: list[Clip] = []
    start = 0
    nothing = Box(10000, 0, 10000, 0)
    union = nothing
    areas = np.array([box.area / 100 for box in boxes])

    def close(stop: int, box: Box) -> None:
        shared = min(overlap, len(clips[-1].frames)) if clips else 0
        if improved:
            for other in boxes[start - shared : start]:
                box = box if other.empty else box.union(other)
        clips.append(Clip(start - shared, stop - 1, box))

    for i, box in enumerate(boxes):
        before = union
        if not (improved and box.empty):
            union = union.union(box)
        last = i == len(boxes) - 1
        area = 0 if union.empty else union.area / 100
        shares = areas[start:i] / area if area else np.zeros(i - start)
        if improved:
            shares = shares[areas[start:i] > 0]
        unequal = bool(np.any(shares < SPLIT_SHARE)) and shares.sum() != 0
        if unequal and not (last and not improved):
            close(i, before)
            start, union = i, box
        if last:
            close(i + 1, Box(0, 0, 0, 0) if union == nothing else union)
    return clips


def in_clips(frames: Iterable[Frame], clips: Sequence[Clip]) -> Iterator[tuple[Clip, Frame]]:
    """Frames of a video clip after clip; those that clips share come again.

    Args:
        frames: the video's, in order; read once, only shared frames are held.
        clips: from `plan_clips`.
    """
    source = enumerate(frames)
    held: dict[int, Frame] = {}
    for clip in clips:
        held = {i: frame for i, frame in held.items() if i >= clip.first}
        for i in clip.frames:
            if i not in held:
                number, frame = next(source)
                assert number == i, "clips are in order and leave no frame out"
                # Any later clip shares at most the last few frames.
                held[i] = frame
                held.pop(i - _MOST_SHARED, None)
            yield clip, held[i]


def crop(image: np.ndarray, box: Box) -> np.ndarray:
    """A box's part of a picture; without a box, all but the last row and column (as the reference)."""
    if box.empty:
        return image[:-1, :-1]
    return image[box.y0 : box.y1, box.x0 : box.x1]


def pad_square(image: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, Padding]:
    """Pad a picture (h, w, 3) to a square with sides divisible by 16."""
    padding = square_padding(*image.shape[:2])
    return cv2.copyMakeBorder(image, *padding, cv2.BORDER_CONSTANT, value=colour), padding


def crop_picture(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The character's part of a picture: the mask's box, a twentieth taller above and below.

    Args:
        image: (h, w, 3) uint8.
        mask: (h, w) uint8, 255 = the character.
    """
    x, y, width, height = cv2.boundingRect(mask)
    more = int(height * 0.05)
    return image[max(0, y - more) : min(image.shape[0], y + height + more), x : x + width]
