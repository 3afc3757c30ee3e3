"""In which frames things in front of the person are looked for."""

from __future__ import annotations

import cv2
import numpy as np

from mimo.body.motion import Motion
from mimo.stage import progress
from mimo.video import VideoReader
from video_decomp.occlusion.hidden import views
from video_decomp.occlusion.layers import LayerRules, cleaned


def key_frames(masks: VideoReader, motion: Motion, rules: LayerRules) -> list[int]:
    """Frames to search, the most promising first.

    Where the person's mask falls into most parts, something is in front (the reference implementation's
    choice). What hides an end of the body leaves one part: so frames in which most of the body is not seen
    are taken too.
    """
    parts = np.zeros(len(masks), int)
    hidden = np.zeros(len(masks))
    seen = np.zeros(len(masks), bool)
    looks = views(masks, motion, rules.fit_tolerance)
    pairs = zip(masks, looks, strict=True)
    for index, (mask, view) in enumerate(progress(pairs, "key frames", total=len(masks))):
        parts[index] = number_of_parts(mask)
        hidden[index] = view.share
        seen[index] = bool(view.person.any())
    return choose(parts, hidden, seen, rules)


def number_of_parts(mask: np.ndarray) -> int:
    """Connected parts of a person's mask (h, w) uint8, specks left out."""
    return int(cv2.connectedComponents(cleaned(mask > 127).astype(np.uint8), connectivity=8)[0]) - 1


def choose(parts: np.ndarray, hidden: np.ndarray, seen: np.ndarray, rules: LayerRules) -> list[int]:
    """Key frames by what is known of each frame.

    Args:
        parts: (T,) int, connected parts of the person's mask.
        hidden: (T,) share of the body that is not seen where it should be.
        seen: (T,) bool, whether the person is seen at all; no other frame is taken.
    """
    by_parts = [int(i) for i in np.lexsort((-hidden, -parts)) if seen[i]]
    by_hidden = [int(i) for i in np.argsort(-hidden, kind="stable") if seen[i] and hidden[i] > 0]
    chosen = _apart(by_parts, rules.key_frames, rules.key_frame_gap)
    # Apart from one another only: a speck beside the person must not keep a frame nearby from being searched.
    more = _apart(by_hidden, rules.hidden_key_frames, rules.key_frame_gap)
    return chosen + [index for index in more if index not in chosen]


def _apart(order: list[int], count: int, gap: int) -> list[int]:
    """The first `count` frames of an order that are at least `gap` apart."""
    chosen: list[int] = []
    for index in order:
        if len(chosen) < count and all(abs(index - other) >= gap for other in chosen):
            chosen.append(index)
    return chosen
