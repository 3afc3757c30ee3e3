"""From key frames to layers: things in front of the person are found, followed both ways and drawn.

The networks come from outside (`Networks`), so that the rules can be tested on true depth and true segments.
Memory is bounded: frames stream, the masks of followed things wait in a temporary file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import cv2
import numpy as np

from mimo.body.motion import Motion
from mimo.stage import progress
from mimo.video import VideoReader
from video_decomp.occlusion.hidden import View, silhouette, views
from video_decomp.occlusion.interface import Occluder, Occlusion
from video_decomp.occlusion.key_frames import key_frames
from video_decomp.occlusion.layers import FrameLayers, LayerRules, is_known, mean_margin, things_in_front
from video_decomp.sam2.spill import MaskSpill
from video_decomp.sam2.streams import ahead, batches
from video_decomp.segmentation.edges import refine

DEPTH_BATCH = 8
MEDIAN_FRAMES = 5


@dataclass(frozen=True)
class Seed:
    """A thing to follow: where it is in one frame, (h, w) bool."""

    frame: int
    mask: np.ndarray


@dataclass(frozen=True)
class Networks:
    """What looks at the pictures.

    Attributes:
        segments: a frame (h, w, 3) uint8 RGB -> masks (h, w) bool of everything in it, in any order.
        depth: frames -> (frames, h', w') float32, larger is nearer, in any scale and offset; at any size.
        follow: a clip and things -> for each frame from 0 where the things are seen, (things, h, w) bool.
    """

    segments: Callable[[np.ndarray], list[np.ndarray]]
    depth: Callable[[list[np.ndarray]], np.ndarray]
    follow: Callable[[VideoReader, list[Seed]], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Drawing:
    """How layers are drawn.

    Attributes:
        every_frame: a thing is drawn only in frames in which its mean depth is nearer than the person's
            (the paper's rule); else in all (the reference implementation's).
        soften: a picture (h, w, 3) uint8 and a mask (h, w) bool -> opacity (h, w) float32 0..1, with its
            edges on those of the picture; None: hard edges.
    """

    every_frame: bool
    soften: Callable[[np.ndarray, np.ndarray], np.ndarray] | None


class Followed:
    """Masks of all things that are followed, frame by frame, in temporary files."""

    def __init__(self) -> None:
        self.seeds: list[Seed] = []
        self._files = ExitStack()
        self._spills: list[MaskSpill] = []

    def add(self, seeds: list[Seed], tracks: Iterator[np.ndarray]) -> None:
        """Keep the masks of some more things, (things, h, w) bool for each frame."""
        spill = MaskSpill(self._files.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115
        for index, masks in enumerate(tracks):
            spill.put(index, masks, np.ones(len(masks), np.float32))
        self._spills.append(spill)
        self.seeds += seeds

    def at(self, frame: int) -> np.ndarray:
        """Where each thing is seen in a frame, (things, h, w) bool."""
        return np.concatenate([spill.take(frame)[0] for spill in self._spills])

    def close(self) -> None:
        """Remove the files."""
        self._files.close()


@dataclass
class Judged:
    """What is known of each thing after a look at all frames.

    Attributes:
        hides: (things, T) share of the body that it hides.
        margins: (things, T) how much nearer than the person it is (`layers.mean_margin`), NaN where not
            known; (things, 0) if depth was not looked at.
        in_front: (things, T) bool, where it belongs to the layer in front.
    """

    hides: np.ndarray
    margins: np.ndarray
    in_front: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.in_front = np.ones(self.hides.shape, bool)
        if self.margins.shape[1]:
            self.in_front = np.array([nearer_over_time(margin) for margin in self.margins])


def find_layers(
    frames: VideoReader,
    masks: VideoReader,
    motion: Motion,
    networks: Networks,
    rules: LayerRules,
    drawing: Drawing,
) -> Occlusion:
    """Find what is in front of the person and follow it; see `interface.Backend`."""
    chosen = key_frames(masks, motion, rules)
    followed = Followed()
    confidences: list[float] = []
    looked_at = 0
    for index in progress(chosen, "things in front", total=len(chosen)):
        image = frames.frame(index)
        frame = _layers_of(index, image, masks.frame(index), motion, networks)
        segments = networks.segments(image)
        looked_at += len(segments)
        seeds = _new_seeds(index, things_in_front(segments, frame, rules), followed, rules)
        if seeds:
            followed.add(seeds, networks.follow(frames, seeds))
            nearer = frame.depth > float(frame.depth[frame.person].mean())
            confidences += [float(nearer[seed.mask].mean()) for seed in seeds]
    metrics = {"key_frames": sorted(chosen), "segments": looked_at, "followed": len(followed.seeds)}
    if not followed.seeds:
        followed.close()
        return Occlusion([], iter(()), metrics)
    judged = _judge(frames, masks, motion, networks, followed, drawing.every_frame)
    kept = np.flatnonzero(judged.in_front.any(axis=1)).tolist()
    if not kept:
        followed.close()
        return Occlusion([], iter(()), metrics)
    occluders = [_occluder(followed.seeds[k], judged, k, confidences[k]) for k in kept]
    return Occlusion(occluders, _drawn(frames, masks, followed, judged, drawing), metrics)


def nearer_over_time(margins: np.ndarray) -> np.ndarray:
    """In which frames a thing is in front, by its margin in each frame.

    Only signs within a frame mean something, single wrong ones are voted down by their neighbours. Where the
    person or the thing is not seen, the nearest frame in which both are decides: who is wholly hidden has
    the thing in front of them.

    Args:
        margins: (T,) as `layers.mean_margin`.

    Returns:
        (T,) bool; nowhere if nothing is known.
    """
    known = np.flatnonzero(~np.isnan(margins))
    if not known.size:
        return np.zeros(len(margins), bool)
    frames = np.arange(len(margins))
    after = known[np.searchsorted(known, frames).clip(max=known.size - 1)]
    before = known[(np.searchsorted(known, frames, side="right") - 1).clip(min=0)]
    nearest = np.where(np.abs(after - frames) < np.abs(frames - before), after, before)
    padded = np.pad(margins[nearest], MEDIAN_FRAMES // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_FRAMES), axis=1) > 0


def soften_by_colours(image: np.ndarray, mask: np.ndarray, error: float) -> np.ndarray:
    """Opacity (h, w) float32 0..1 of a mask (h, w) bool, by the picture's colours around its edges.

    Args:
        error: of the mask's edges that is expected, pixels.
    """
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), error)
    return refine(image, np.asarray(soft), error, None)


def _layers_of(
    index: int, image: np.ndarray, mask: np.ndarray, motion: Motion, networks: Networks
) -> FrameLayers:
    size = (image.shape[0], image.shape[1])
    depth = cv2.resize(networks.depth([image])[0], size[::-1], interpolation=cv2.INTER_LINEAR)
    return FrameLayers(mask > 127, silhouette(motion, index, motion.camera, size), np.asarray(depth))


def _new_seeds(index: int, things: list[np.ndarray], followed: Followed, rules: LayerRules) -> list[Seed]:
    """Things of a key frame that are not followed yet, and not twice among these."""
    if not things:
        return []
    known = np.zeros(things[0].shape, bool)
    if followed.seeds:
        known = np.asarray(followed.at(index).any(axis=0))
    seeds = []
    for thing in things:
        if not is_known(thing, known, rules):
            seeds.append(Seed(index, thing))
            known |= thing
    return seeds


def _judge(
    frames: VideoReader,
    masks: VideoReader,
    motion: Motion,
    networks: Networks,
    followed: Followed,
    every_frame: bool,
) -> Judged:
    """Look at every frame: what each thing hides, and with `every_frame` whether it is nearer."""
    count, length = len(followed.seeds), len(frames)
    hides = np.zeros((count, length))
    margins = np.full((count, length if every_frame else 0), np.nan)
    depths = _depths(frames, networks) if every_frame else iter(())
    for view in progress(views(masks, motion, tolerance=0.01), "layers", total=length):
        things = [_shrunk(thing, view) for thing in followed.at(view.index)]
        covered = [int((thing & view.body & ~view.person).sum()) for thing in things]
        hides[:, view.index] = np.array(covered) / max(1, int(view.body.sum()))
        if every_frame:
            depth = np.asarray(
                cv2.resize(next(depths), view.body.shape[::-1], interpolation=cv2.INTER_LINEAR)
            )
            margins[:, view.index] = [
                mean_margin(thing & ~view.person, view.person, depth) for thing in things
            ]
    return Judged(hides, margins)


def _depths(frames: VideoReader, networks: Networks) -> Iterator[np.ndarray]:
    """Depth (h', w') of every frame, a few at a time, decoded while the network works."""
    for batch in ahead(batches(frames, DEPTH_BATCH), 2):
        yield from networks.depth(batch)


def _shrunk(mask: np.ndarray, view: View) -> np.ndarray:
    """A mask (H, W) bool at a view's resolution."""
    small = cv2.resize(mask.astype(np.uint8) * 255, view.body.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small) > 127


def _occluder(seed: Seed, judged: Judged, number: int, confidence: float) -> Occluder:
    shares = np.where(judged.in_front[number], judged.hides[number], 0)
    hiding = np.flatnonzero(shares > 0)
    rows, columns = np.flatnonzero(seed.mask.any(axis=1)), np.flatnonzero(seed.mask.any(axis=0))
    return Occluder(
        kind="followed",
        first_frame=int(hiding[0]) if hiding.size else seed.frame,
        last_frame=int(hiding[-1]) if hiding.size else seed.frame,
        hidden_share=round(float(shares.max()), 3),
        confidence=round(confidence, 2),
        box=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
    )


def _drawn(
    frames: VideoReader, masks: VideoReader, followed: Followed, judged: Judged, drawing: Drawing
) -> Iterator[np.ndarray]:
    """The soft mask of everything in front, frame by frame."""
    try:
        for index, (image, person) in enumerate(zip(frames, masks, strict=True)):
            hard = followed.at(index)[judged.in_front[:, index]].any(axis=0) & (person <= 127)
            layer = hard.astype(np.float32)
            if drawing.soften is not None and hard.any():
                layer = drawing.soften(image, hard)
                # What is seen of the person is not behind anything.
                layer[person > 127] = 0
            yield np.round(255 * layer).astype(np.uint8)
    finally:
        followed.close()
