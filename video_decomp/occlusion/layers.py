"""What is in front of the person in one frame: the layer rules of the reference implementation, with names.

Depth Anything's depth is relative: a larger value is nearer, in an unknown scale and offset that differ from
frame to frame. So depths are compared only within one frame: those of a thing with those of the person there.
Numbers of pixels of the reference (at 1280x720) are shares of the frame here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from mimo.stage import StageSettings


class LayerRules(StageSettings):
    """Thresholds; the defaults are the reference implementation's unless the description says otherwise."""

    key_frames: int = Field(5, ge=0, description="frames searched whose person's mask falls into most parts")
    hidden_key_frames: int = Field(
        5,
        ge=0,
        description="further ones in which most of the fitted body is not seen; the reference has none",
    )
    key_frame_gap: int = Field(20, ge=1, description="frames between two key frames, at least")
    depth_rule: Literal["share", "mean"] = Field(
        "share",
        description="what is nearer: share (the reference): nearer_share of a thing's pixels are nearer than "
        "the person's mean; mean (the paper): its mean is nearer",
    )
    nearer_share: float = Field(0.4, gt=0, le=1, description="share of a thing's pixels that must be nearer")
    same_as_person: float = Field(
        0.8, gt=0, le=1, description="a thing that covers more of the person than this is the person"
    )
    part_of_person: float = Field(
        0.5, gt=0, le=1, description="a thing more of which is person than this is part of the person"
    )
    body_overlap: float = Field(
        1.1e-4, ge=0, le=1, description="share of the frame in which a thing must hide the body (100 pixels)"
    )
    large_body_overlap: float = Field(
        6.5e-4, ge=0, le=1, description="the same for things larger than the person (600 pixels)"
    )
    ground_height: float = Field(
        0.014,
        gt=0,
        le=0.5,
        description="share of the height of the strip at the bottom that ground covers (10 rows)",
    )
    ground_width: float = Field(0.9, gt=0, le=1, description="share of that strip that ground covers")
    ground_overlap: float = Field(
        0.1, ge=0, le=1, description="share of the body that ground must hide to be in front"
    )
    fit_tolerance: float = Field(
        0.01,
        ge=0,
        le=0.1,
        description="width of the body's rim that does not count as hidden, share of its height, since the "
        "body is fitted only so well; 0: as the reference",
    )
    known_share: float = Field(
        0.8, gt=0, le=1, description="a thing more of which than this is followed already is not new"
    )
    known_cover: float = Field(
        0.5, gt=0, le=1, description="nor is one that covers more than this of what is followed already"
    )


@dataclass(frozen=True)
class FrameLayers:
    """One frame to judge things in.

    Attributes:
        person: (h, w) bool, the person's visible pixels.
        body: (h, w) bool, silhouette of the fitted body, hidden or not.
        depth: (h, w) float32, larger is nearer; scale and offset unknown.
    """

    person: np.ndarray
    body: np.ndarray
    depth: np.ndarray


def things_in_front(segments: list[np.ndarray], frame: FrameLayers, rules: LayerRules) -> list[np.ndarray]:
    """The segments of a frame that are in front of the person and hide some of the body.

    Args:
        segments: (h, w) bool each, in any order; may overlap.

    Returns:
        (h, w) bool each, without the person's pixels, the largest first.
    """
    if not frame.person.any():
        return []
    nearer = frame.depth > float(frame.depth[frame.person].mean())
    inner = without_rim(frame.body, rules.fit_tolerance)
    things = []
    for segment in sorted(segments, key=lambda segment: -int(segment.sum())):
        if is_person(segment, frame.person, rules):
            continue
        thing = cleaned(segment) & ~frame.person
        if not thing.any() or not _is_nearer(thing, nearer, frame, rules):
            continue
        if (thing & nearer & inner).sum() >= _least_overlap(segment, thing, frame, rules):
            things.append(thing)
    return things


def is_person(segment: np.ndarray, person: np.ndarray, rules: LayerRules) -> bool:
    """Whether a segment (h, w) bool is the person or a part of them."""
    both = int((segment & person).sum())
    return both > rules.same_as_person * person.sum() or both > rules.part_of_person * segment.sum()


def is_ground(segment: np.ndarray, rules: LayerRules) -> bool:
    """Whether a segment covers the bottom of the frame."""
    rows = max(1, round(rules.ground_height * segment.shape[0]))
    return float(segment[-rows:].mean()) >= rules.ground_width


def is_known(thing: np.ndarray, followed: np.ndarray, rules: LayerRules) -> bool:
    """Whether a thing is what is followed already in this frame, both (h, w) bool."""
    both = int((thing & followed).sum())
    return both > rules.known_share * thing.sum() or both > rules.known_cover * max(1, followed.sum())


def mean_margin(thing: np.ndarray, person: np.ndarray, depth: np.ndarray) -> float:
    """How much nearer a thing is than the person, by their means, in units of the frame's spread of depth.

    Args:
        thing, person: (h, w) bool.
        depth: (h, w) float32, larger is nearer.

    Returns:
        Positive in front; NaN when one of them is not seen.
    """
    if not thing.any() or not person.any():
        return float("nan")
    low, high = np.percentile(depth, (5, 95))
    difference = float(depth[thing].mean()) - float(depth[person].mean())
    return difference / max(float(high - low), 1e-6)


def without_rim(body: np.ndarray, tolerance: float) -> np.ndarray:
    """A body's silhouette (h, w) bool without a rim as wide as `tolerance` times its height."""
    rows = np.flatnonzero(body.any(axis=1))
    width = tolerance * (rows[-1] - rows[0] + 1) if rows.size else 0.0
    if width < 1:
        return body
    # The frame's border is no rim: a body that leaves the frame goes on outside.
    padded = np.pad(body, 1, mode="edge").astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3))[1:-1, 1:-1] > width


def cleaned(mask: np.ndarray) -> np.ndarray:
    """A mask (h, w) bool with small holes closed and specks and hairs removed, as the reference does it."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))) > 0


def _is_nearer(thing: np.ndarray, nearer: np.ndarray, frame: FrameLayers, rules: LayerRules) -> bool:
    if rules.depth_rule == "mean":
        return mean_margin(thing, frame.person, frame.depth) > 0
    return (thing & nearer).sum() >= rules.nearer_share * thing.sum()


def _least_overlap(segment: np.ndarray, thing: np.ndarray, frame: FrameLayers, rules: LayerRules) -> float:
    """Pixels of the body that a thing must hide."""
    if is_ground(segment, rules):
        return rules.ground_overlap * int(frame.body.sum())
    large = thing.sum() > frame.person.sum()
    return max(1.0, (rules.large_body_overlap if large else rules.body_overlap) * thing.size)
