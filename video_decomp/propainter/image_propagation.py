"""Image propagation: colours carried along completed flow into the hole, as far as it can be trusted
(ProPainter, §3.2). Nothing here is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor

from video_decomp.propainter.warping import consistent, warp

COVERED = 0.1
"""Share of hole in a warped pixel above which it carries no colour."""


def propagate(
    frames: Iterable[Tensor], holes: Iterable[Tensor], flows: Callable[[int], tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Fill holes with pixels of other frames.

    Only colours and holes of the run are held; flow is asked for as it is needed, twice.

    Args:
        frames: t times (1, 3, h, w) in -1..1.
        holes: t times (1, 1, h, w) of 0 and 1.
        flows: completed flow between frame i and the next, forward and backward, (1, 2, h, w) each.

    Yields:
        t times the frame with what was found in its hole (zero where nothing was), and the part of the hole
        that is left, (1, 1, h, w) of 0 and 1.
    """
    left = list(holes)
    colours = [frame * (1 - hole) for frame, hole in zip(frames, left, strict=True)]
    for index in range(len(colours) - 2, -1, -1):
        colours[index], left[index] = _fill(
            colours[index], left[index], colours[index + 1], left[index + 1], *flows(index)
        )
    for index in range(len(colours)):
        if index:
            forward, backward = flows(index - 1)
            colours[index], left[index] = _fill(
                colours[index], left[index], colours[index - 1], left[index - 1], backward, forward
            )
        yield colours[index], left[index]


def _fill(
    colour: Tensor, hole: Tensor, source: Tensor, source_hole: Tensor, flow: Tensor, back: Tensor
) -> tuple[Tensor, Tensor]:
    """One frame's hole (1, 1, h, w) filled from a neighbour, where the flow leads to colour and back."""
    seen = consistent(flow, back) * (warp(source_hole, flow) <= COVERED).to(hole.dtype)
    found = hole * seen
    # Outside of the hole nothing ever changes.
    return found * warp(source, flow, "nearest") + (1 - found) * colour, hole * (1 - seen)
