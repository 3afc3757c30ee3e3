"""Put synthesised clips back into the scene: feathered box or soft matte, occlusion, blended clip borders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from mimo.composition.extraction import extracted
from mimo.composition.layers import Layer, PersonLayer, shadow_layer
from mimo.composition.matte import ColourMatch, person_matte
from mimo.composition.regions import Box, Clip, Padding, crop, square_padding
from mimo.composition.scenes import Scene

Mode = Literal["reference", "improved"]

# Sides of a box that touch the frame's border → name of the case, in the order of the reference's mask files.
BORDER_CASES = (
    "up_down_left_right",
    "left_right_up",
    "left_right_down",
    "up_down_left",
    "up_down_right",
    "left_right",
    "up_down",
    "left_up",
    "right_up",
    "left_down",
    "right_down",
    "left",
    "right",
    "up",
    "down",
    "inner",
)

# (case, height, width) → (height, width) float32 in [0, 1].
MaskSource = Callable[[str, int, int], np.ndarray]
# Synthesised square, its clip, the frame's scene, the clip's colours → float array of the whole frame.
Compose = Callable[[np.ndarray, Clip, Scene, ColourMatch], np.ndarray]


@dataclass(frozen=True)
class Compositor:
    """Composition of a video's clips.

    Attributes:
        clips: from `mimo.composition.regions.plan_clips`.
        overlap: frames over which neighbouring clips are blended.
        mode: ``reference`` equals the reference implementation, including its rounding; ``improved`` blends
            in float and cuts the person out with a soft matte instead of a box.
        masks: feathered masks of the reference mode.
        match_colours: shift the person's colours as the clip's background was shifted (improved mode).
    """

    clips: Sequence[Clip]
    overlap: int = 4
    mode: Mode = "reference"
    masks: MaskSource | None = None
    match_colours: bool = True

    def frames(self, video: Iterable[np.ndarray], scenes: Iterable[Scene]) -> Iterator[np.ndarray]:
        """Composed frames, in order; holds only the frames that a later clip still needs.

        Args:
            video: synthesised square frames, float32 (h, w, 3) in [0, 1], clip after clip.
            scenes: the template's frames in order, as many as the clips cover.

        Yields:
            uint8 (H, W, 3).
        """
        return map(_to_bytes, self._blended(video, scenes, self._compose))

    def layers(self, video: Iterable[np.ndarray], scenes: Iterable[Scene]) -> Iterator[PersonLayer]:
        """The person of each frame, cut out of it; arguments as for `frames`.

        They hide the person nowhere: what stands in front is left to `mimo.composition.layers.composite`.
        """
        assert self.mode == "improved", "only the improved mode knows the person's outline"
        return map(_as_layer, self._blended(video, scenes, self._cut_out))

    def _blended(
        self, video: Iterable[np.ndarray], scenes: Iterable[Scene], compose: Compose
    ) -> Iterator[np.ndarray]:
        """What `compose` makes of each frame; where clips share frames, one passes into the next."""
        source, rest = iter(video), iter(scenes)
        scene: dict[int, Scene] = {}
        result: dict[int, np.ndarray] = {}
        read = done = 0
        for number, clip in enumerate(self.clips):
            match = ColourMatch()
            shared = sum(1 for i in clip.frames if i in result)
            needed_later = self._first_frame_after(number)
            for i in clip.frames:
                while read <= i:
                    scene[read] = next(rest)
                    read += 1
                new = compose(next(source), clip, scene[i], match)
                if i in result:
                    steps = self.overlap if self.mode == "reference" else shared
                    weight = (i - clip.first + 1) / (steps + 1)
                    new = result[i] * (1 - weight) + new * weight
                result[i] = new.astype(np.uint8) if self.mode == "reference" else new
                while done <= min(i, needed_later - 1):
                    yield result.pop(done)
                    del scene[done]
                    done += 1

    def _first_frame_after(self, number: int) -> int:
        """Lowest frame that a later clip still changes."""
        return min((clip.first for clip in self.clips[number + 1 :]), default=self.clips[-1].last + 1)

    def _compose(self, image: np.ndarray, clip: Clip, scene: Scene, match: ColourMatch) -> np.ndarray:
        if self.mode == "reference":
            return compose_reference(image, clip.box, scene, self.masks or feathered_mask)
        return compose_improved(image, clip.box, scene, match if self.match_colours else None)

    def _cut_out(self, image: np.ndarray, clip: Clip, scene: Scene, match: ColourMatch) -> np.ndarray:
        """The person and their shadow alone: float32 (H, W, 5), see `mimo.composition.extraction`."""
        assert scene.sdc is not None, "the motion code says where the person is"
        inner, _, area = person_in_box(image, clip.box, scene, match if self.match_colours else None)
        feather = feathered_mask(border_case(clip.box, *scene.background.shape[1::-1]), *inner.shape[:2])
        result = np.zeros((*scene.background.shape[:2], 5), np.float32)
        result[area] = extracted(inner, scene.background[area], scene.sdc[area]) * feather[:, :, None]
        return result


def compose_reference(image: np.ndarray, box: Box, scene: Scene, masks: MaskSource) -> np.ndarray:
    """One frame as the reference composes it: everything truncated to 8 bits on the way.

    Args:
        image: float32 (h, w, 3) in [0, 1], the padded square.
        box: of the clip.
        scene: of the frame.
        masks: feathered masks.

    Returns:
        float (H, W, 3), 0 to 255.
    """
    height, width = scene.background.shape[:2]
    part = crop(scene.background, box).shape[:2]
    padding = square_padding(*part)
    side = part[0] + padding.top + padding.bottom
    picture = Image.fromarray((image * 255).astype(np.uint8)).resize((side, side))
    inner = _unpadded(np.asarray(picture), padding)
    canvas = np.full((height, width, 3), 255, np.uint8)
    area = np.s_[box.y0 : box.y0 + part[0], box.x0 : box.x0 + part[1]]
    canvas[area] = inner
    mask = np.zeros((height, width, 1), np.float32)
    mask[area] = masks(border_case(box, width, height), *part)[:, :, None]
    result = canvas * mask + scene.background * (1 - mask)
    if scene.occlusion is not None:
        front = scene.occlusion[:, :, None] / 255.0
        result = result * (1 - front) + scene.video * front
    return result


def compose_improved(image: np.ndarray, box: Box, scene: Scene, match: ColourMatch | None) -> np.ndarray:
    """One frame with the person cut out by a soft matte; arguments as for `person_in_box`."""
    result = scene.background.astype(np.float32)
    inner, matte, area = person_in_box(image, box, scene, match)
    result[area] += (inner - result[area]) * matte[:, :, None]
    if scene.occlusion is not None:
        front = scene.occlusion[:, :, None] / np.float32(255)
        result += (scene.video - result) * front
    return result


def person_in_box(
    image: np.ndarray, box: Box, scene: Scene, match: ColourMatch | None
) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
    """The synthesised picture in its box, and which of it is the person.

    Args:
        image, box, scene: as for `compose_reference`; the scene with its motion code.
        match: colour correction of the clip, updated by this frame; None for none.

    Returns:
        Colours float32 (h, w, 3), 0 to 255; opacity of the person float32 (h, w); rows and columns of the
        frame where they belong.
    """
    assert scene.sdc is not None, "the improved mode needs the motion code"
    behind = crop(scene.background, box)
    padding = square_padding(*behind.shape[:2])
    side = behind.shape[0] + padding.top + padding.bottom
    shrinks = side < image.shape[0]
    inner = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    inner = _unpadded(inner, padding) * 255
    matte = person_matte(inner, behind, crop(scene.sdc, box))
    matte *= feathered_mask(border_case(box, *scene.background.shape[1::-1]), *behind.shape[:2])
    if match is not None:
        inner = match.apply(inner, behind, matte)
    return inner, matte, np.s_[box.y0 : box.y0 + behind.shape[0], box.x0 : box.x0 + behind.shape[1]]


def border_case(box: Box, width: int, height: int) -> str:
    """Which sides of a box touch the frame's border: one of `BORDER_CASES`."""
    left, right, up, down = box.x0 <= 0, box.x1 >= width, box.y0 <= 0, box.y1 >= height
    sides = {"up": up, "down": down, "left": left, "right": right}
    touching = {name for name, touches in sides.items() if touches}
    if not touching:
        return "inner"
    return next(case for case in BORDER_CASES if set(case.split("_")) == touching)


def feathered_mask(case: str, height: int, width: int, share: float = 0.06) -> np.ndarray:
    """Weight of a box's pixels: 1 inside, falling to 0 at the sides that lie inside the frame.

    Args:
        case: one of `BORDER_CASES`.
        height, width: of the box.
        share: width of the ramp as a share of the box's shorter side.

    Returns:
        (height, width) float32 in [0, 1].
    """
    ramp = max(1.0, share * min(height, width))
    touching = set() if case == "inner" else set(case.split("_"))

    def profile(length: int, first: str, second: str) -> np.ndarray:
        position = np.arange(length) + 0.5
        distance = np.full(length, np.inf)
        if first not in touching:
            distance = np.minimum(distance, position)
        if second not in touching:
            distance = np.minimum(distance, length - position)
        weight = np.clip(distance / ramp, 0, 1)
        return (weight * weight * (3 - 2 * weight)).astype(np.float32)

    return profile(height, "up", "down")[:, None] * profile(width, "left", "right")[None]


def masks_from(arrays: Sequence[np.ndarray]) -> MaskSource:
    """Masks given as pictures, such as the reference's own files, in the order of `BORDER_CASES`.

    Args:
        arrays: 16 of (h, w) float32 in [0, 1].
    """

    def mask(case: str, height: int, width: int) -> np.ndarray:
        source = arrays[BORDER_CASES.index(case)]
        return cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)

    return mask


def _unpadded(image: np.ndarray, padding: Padding) -> np.ndarray:
    height, width = image.shape[:2]
    return image[padding.top : height - padding.bottom, padding.left : width - padding.right]


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def _as_layer(image: np.ndarray) -> PersonLayer:
    """The parts of a cut-out frame (see `Compositor._cut_out`) that show anything."""
    person, shadow = (cv2.boundingRect((image[:, :, channel] > 0).astype(np.uint8)) for channel in (3, 4))
    return PersonLayer(_person_in(image, *person), _shadow_in(image, *shadow))


def _person_in(image: np.ndarray, left: int, top: int, width: int, height: int) -> Layer | None:
    part = image[top : top + height, left : left + width]
    return Layer(left, top, part[:, :, :3], part[:, :, 3]) if width else None


def _shadow_in(image: np.ndarray, left: int, top: int, width: int, height: int) -> Layer | None:
    part = image[top : top + height, left : left + width]
    return shadow_layer(left, top, part[:, :, 4]) if width else None
