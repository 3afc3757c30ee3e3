"""A part of a long sequence for the denoiser: its windows, those around it, and its share of the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Excerpt:
    """Some windows of a sequence.

    Attributes:
        places: of the sequence, ascending: those that are in the windows.
        windows: as those of the whole sequence, but as indices into `places`.
        own: indices into `places` of what was asked for.
    """

    places: list[int]
    windows: list[list[int]]
    own: slice


def excerpt(windows: Sequence[Sequence[int]], own: range, context: int, *, closed: bool) -> Excerpt:
    """The windows that hold some places, and others around them.

    In every denoising step, neighbouring windows are averaged where they overlap. The windows at the
    excerpt's ends lack that; what they get wrong wanders inwards through the overlaps, weaker from window to
    window. With all windows of the sequence, nothing is wrong.

    Args:
        windows: of the whole sequence, in order.
        own: the places.
        context: further windows at each end.
        closed: the last window is a neighbour of the first.
    """
    needed = [number for number, window in enumerate(windows) if not {*window}.isdisjoint(own)]
    if closed:
        around = range(-context, context + 1)
        chosen = sorted({(number + more) % len(windows) for number in needed for more in around})
    else:
        chosen = list(range(max(0, needed[0] - context), min(len(windows), needed[-1] + context + 1)))
    places = sorted({*chain.from_iterable(windows[number] for number in chosen)})
    index = {place: i for i, place in enumerate(places)}
    first = index[own.start]
    return Excerpt(
        places,
        [[index[place] for place in windows[number]] for number in chosen],
        slice(first, first + len(own)),
    )


def noise(seed: int, places: Sequence[int], total: int, height: int, width: int, channels: int = 4) -> Tensor:
    """Noise at some places of a sequence, equal to what `torch.randn` draws for the whole.

    It is drawn in blocks, so that memory holds no more than one and what is asked for.

    Args:
        seed: of a generator on the CPU.
        places: ascending.
        total: length of the whole sequence.
        height, width: of the latents.
        channels: of the latents.

    Returns:
        (1, channels, len(places), height, width) float32.
    """
    generator = torch.Generator().manual_seed(seed)
    area = height * width
    result = torch.empty(channels, len(places), area)
    # Of each wanted picture, in the order in which they are drawn: where it begins, and where it goes.
    wanted = [
        ((c * total + place) * area, result[c, i]) for c in range(channels) for i, place in enumerate(places)
    ]
    size, begin, next_wanted = channels * total * area, 0, 0
    while begin < size:
        # The generator makes 16 numbers at a time, and the last 16 of a tensor together.
        end = begin + _BLOCK if size - begin >= _BLOCK + 16 else size
        block = torch.randn(end - begin, generator=generator)
        for start, target in wanted[next_wanted:]:
            if start >= end:
                break
            first, last = max(start, begin), min(start + area, end)
            target[first - start : last - start] = block[first - begin : last - begin]
            next_wanted += start + area <= end
        begin = end
    return result.view(1, channels, len(places), height, width)
