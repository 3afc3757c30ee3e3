"""A clip of any length through ProPainter in bounded memory: the released inference's numbers, as a stream.

Frames, flow and propagated frames wait on the disk; on the device is only what one step needs. Every stage
runs just as far ahead as the next one looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from video_decomp.propainter.clip import MaskedClip
from video_decomp.propainter.flow_completion import FlowCompletion
from video_decomp.propainter.generator import Generator, quartered_flow, quartered_mask
from video_decomp.propainter.image_propagation import propagate
from video_decomp.propainter.raft import RAFT
from video_decomp.propainter.spool import Spool
from video_decomp.propainter.windows import Windows

LEFT, VOID, HOLE = 1, 2, 4
"""Flags of a propagated frame's pixel: still to be filled; without colour; in the hole."""


@dataclass
class Networks:
    """The three networks on their device, in evaluation mode.

    Attributes:
        raft, completion, generator: all parameters of the type `dtype`.
        iterations: updates of RAFT.
    """

    raft: RAFT
    completion: FlowCompletion
    generator: Generator
    device: torch.device
    dtype: torch.dtype
    iterations: int


@dataclass
class _Encoded:
    """What the generator sees of a frame, all at a quarter of the size and (1, channels, ...)."""

    features: Tensor
    hole: Tensor
    left: Tensor


class Inpainter:
    """Fills the holes of a clip.

    Args:
        clip: frames and holes.
        networks: see `Networks`.
        windows: which frames are computed together; for as many frames as the clip has.
        reach: pixels from the mask to the hole's border.
        flow_reach: the same of the hole in the flow, which is wrong beyond the mask already.
        scratch: folder for files without names.
        first: frame at which to start.
    """

    def __init__(
        self,
        clip: MaskedClip,
        networks: Networks,
        windows: Windows,
        reach: float,
        flow_reach: float,
        scratch: Path,
        first: int = 0,
    ) -> None:
        self._clip, self._networks, self._windows = clip, networks, windows
        self._reach, self._flow_reach = reach, flow_reach
        self._first = first
        size = (clip.height, clip.width)
        # Each stage is at most three sub-videos ahead of what the next one still needs.
        capacity = 3 * windows.sub_video + 32
        stored = np.float16 if networks.dtype == torch.float16 else np.float32
        self._flow = Spool(scratch, capacity, (4, *size), stored)
        self._propagated = Spool(scratch, capacity, (4, *size), np.uint8)
        self._small_flow: dict[int, Tensor] = {}
        self._encoded: dict[int, _Encoded] = {}
        side = windows.sub_video
        lowest = min(windows.sees(windows.middles(first)[0]))
        self._propagated_end = lowest // side * side
        self._completed_end = windows.propagation(lowest // side)[1].start // side * side
        self._raw_end = windows.completion(self._completed_end // side)[1].start
        frames = map(self._on_device, clip.pictures(self._raw_end, clip.count))
        self._pairs = networks.raft.pairs(frames, networks.iterations)

    def pictures(self) -> Iterator[np.ndarray | None]:
        """Filled frames from `first` on.

        Yields:
            (h, w, 3) float32, 0..255, only good in the hole; None for frames without one.
        """
        pending: dict[int, Tensor] = {}
        done = self._first
        for middle in self._windows.middles(self._first):
            with torch.inference_mode():
                pictures = self._group(middle)
            for index, picture in pictures.items():
                pending[index] = 0.5 * pending[index] + 0.5 * picture if index in pending else picture
            while done < middle:
                yield _pixels(pending.pop(done, None))
                done += 1
            pending = {index: picture for index, picture in pending.items() if index >= done}
        while done < self._windows.count:
            yield _pixels(pending.pop(done, None))
            done += 1

    def _group(self, middle: int) -> dict[int, Tensor]:
        """A group of neighbours, filled: (3, h, w) float32 by frame; nothing if none has a hole."""
        near, distant = self._windows.near(middle), self._windows.distant(middle)
        self._propagate(max(*near, *distant) + 1)
        self._complete(near.stop - 1)
        seen = {index: self._encode(index) for index in (*near, *distant)}
        own = [seen[index] for index in near]
        pictures: dict[int, Tensor] = {}
        if any(bool(frame.hole.any()) for frame in own):
            far = [seen[index].features for index in distant]
            forward, backward = torch.cat([self._small_flow[index] for index in near[:-1]]).split(2, dim=1)
            result = self._networks.generator(
                torch.cat([frame.features for frame in own]),
                torch.cat(far) if far else own[0].features[:0],
                forward,
                backward,
                torch.cat([frame.hole for frame in own]),
                torch.cat([frame.left for frame in own]),
            )
            pictures = dict(zip(near, (result.float() + 1) * 127.5, strict=True))
        self._forget(middle)
        return pictures

    def _forget(self, middle: int) -> None:
        """Drop what no later group needs. References come every second group again."""
        step = self._windows.neighbours
        coming = [later for later in (middle + step, middle + 2 * step) if later < self._windows.count]
        needed = {index for later in coming for index in self._windows.sees(later)}
        self._encoded = {index: kept for index, kept in self._encoded.items() if index in needed}
        self._small_flow = {index: kept for index, kept in self._small_flow.items() if index >= middle}

    def _encode(self, index: int) -> _Encoded:
        if index not in self._encoded:
            packed = torch.from_numpy(self._propagated.get(index)).to(self._networks.device)
            flags = packed[3:]
            hole, left, void = (
                (flags & flag > 0).to(self._networks.dtype)[None] for flag in (HOLE, LEFT, VOID)
            )
            frame = self._normalised(packed[:3]) * (1 - void)
            features = self._networks.generator.encode(frame, hole, left)
            self._encoded[index] = _Encoded(features, quartered_mask(hole), quartered_mask(left))
        return self._encoded[index]

    def _propagate(self, stop: int) -> None:
        """Propagate colours at least up to a frame."""
        while self._propagated_end < stop:
            own, seen = self._windows.propagation(self._propagated_end // self._windows.sub_video)
            self._complete(seen.stop - 1)
            frames = map(self._on_device, self._clip.pictures(seen.start, seen.stop))
            holes = list(self._holes(seen, self._reach))

            def flow(step: int, start: int = seen.start) -> tuple[Tensor, Tensor]:
                forward, backward = self._stored_flow(start + step)[None].split(2, dim=1)
                return forward, backward

            filled = propagate((frame[None] for frame in frames), holes, flow)
            for index, hole, (colour, left) in zip(seen, holes, filled, strict=True):
                if index in own:
                    self._propagated.put(index, _packed(colour, hole, left))
            self._propagated_end = own.stop

    def _complete(self, stop: int) -> None:
        """Complete flow at least up to that between frame `stop` - 1 and the next."""
        while self._completed_end < stop:
            own, seen = self._windows.completion(self._completed_end // self._windows.sub_video)
            self._estimate(seen.stop)
            # What has been completed already differs from the estimate only in the holes, which are not read.
            flow = torch.stack([self._stored_flow(index) for index in seen])
            holes = torch.cat(list(self._holes(range(seen.start, seen.stop + 1), self._flow_reach)))
            forward, backward = flow.split(2, dim=1)
            completed = torch.cat(self._networks.completion.complete(forward, backward, holes), dim=1)
            completed = completed[own.start - seen.start :]
            for index, part in zip(own, completed.split(1), strict=False):
                self._flow.put(index, part[0].cpu().numpy())
                ahead, back = part.split(2, dim=1)
                self._small_flow[index] = torch.cat((quartered_flow(ahead), quartered_flow(back)), dim=1)
            self._completed_end = own.stop

    def _estimate(self, stop: int) -> None:
        """Estimate flow up to that between frame `stop` - 1 and the next."""
        while self._raw_end < stop:
            both = torch.cat(next(self._pairs)).to(self._networks.dtype)
            self._flow.put(self._raw_end, both.cpu().numpy())
            self._raw_end += 1

    def _stored_flow(self, index: int) -> Tensor:
        return torch.from_numpy(self._flow.get(index)).to(self._networks.device)

    def _holes(self, frames: range, reach: float) -> Iterable[Tensor]:
        for hole in self._clip.holes(frames.start, frames.stop, reach):
            yield torch.from_numpy(hole)[None, None].to(self._networks.device, self._networks.dtype)

    def _on_device(self, picture: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        return self._normalised(pixels.to(self._networks.device))[0]

    def _normalised(self, pixels: Tensor) -> Tensor:
        """8-bit pixels (3, h, w) as (1, 3, h, w) in -1..1."""
        return (pixels[None].float() / 255 * 2 - 1).to(self._networks.dtype)


def _packed(colour: Tensor, hole: Tensor, left: Tensor) -> np.ndarray:
    """A propagated frame in 8 bits, (4, h, w) uint8: its colours are other frames' pixels, or none at all."""
    # Zero, halfway between two 8-bit values, is the absence of colour.
    void = (colour == 0).all(dim=1, keepdim=True)
    flags = LEFT * left + VOID * void.to(left.dtype) + HOLE * hole
    pixels = ((colour.float() + 1) * 127.5).round()
    return torch.cat((pixels, flags.float()), dim=1)[0].to(torch.uint8).cpu().numpy()


def _pixels(picture: Tensor | None) -> np.ndarray | None:
    return None if picture is None else picture.permute(1, 2, 0).cpu().numpy()
