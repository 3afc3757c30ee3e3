"""Work that the host gives to the GPU all at once.

One step of SAM 2.1 is some 550 kernels of 6 ms in all on an H100, and the host needs 15 ms to launch them one
by one. A CUDA graph launches them together.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

_USUAL = (
    20  # calls with the same shapes after which a graph is made; shapes of a clip's first frames come once
)
_MOST = 6  # graphs of one function: each keeps its memory


class Graphed:
    """A function of tensors that is replayed as a CUDA graph where its shapes have become usual.

    Results are those of the function, in tensors of their own. A function that cannot be captured is called
    as it is, which is said once.

    Args:
        function: takes and gives tensors, in lists, tuples and dictionaries, and plain values; does nothing
            else, and never waits for the device.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, _Graph] = {}
        self._failed = False

    def __call__(self, *args: Any, **more: Any) -> Any:
        """Call the function, or replay it."""
        leaves, form = pytree.tree_flatten((args, more))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        key = (form, tuple(_kind(leaf) for leaf in leaves))
        if key in self._graphs:
            return self._graphs[key].replay(tensors)
        self._calls[key] += 1
        if self._calls[key] < _USUAL or self._failed:
            return self._function(*args, **more)
        if len(self._graphs) >= _MOST:
            oldest = next(iter(self._graphs))
            del self._graphs[oldest], self._calls[oldest]
        try:
            self._graphs[key] = _captured(self._function, leaves, form)
        except RuntimeError as error:
            self._failed = True
            print(f"no CUDA graph, slower: {' '.join(str(error).split())[:200]}", file=sys.stderr)
            return self._function(*args, **more)
        return self._graphs[key].replay(tensors)


def _kind(leaf: Any) -> Hashable:
    """What must be equal for a graph to serve."""
    if isinstance(leaf, torch.Tensor):
        return leaf.shape, leaf.dtype, leaf.device
    return leaf


@dataclass
class _Graph:
    """A captured call: where it reads, and where it leaves its results."""

    graph: torch.cuda.CUDAGraph
    inputs: list[torch.Tensor]
    results: Any

    def replay(self, tensors: list[torch.Tensor]) -> Any:
        for place, tensor in zip(self.inputs, tensors, strict=True):
            place.copy_(tensor)
        self.graph.replay()
        return pytree.tree_map(
            lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, self.results
        )


def _captured(function: Callable[..., Any], leaves: list[Any], form: Any) -> _Graph:
    """Capture a call with these arguments, which are copied first."""
    own = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    args, more = pytree.tree_unflatten(own, form)
    graph = torch.cuda.CUDAGraph()
    # Other threads read video and reserve memory meanwhile: only this one's calls are looked at.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = function(*args, **more)
    return _Graph(graph, [leaf for leaf in own if isinstance(leaf, torch.Tensor)], results)
