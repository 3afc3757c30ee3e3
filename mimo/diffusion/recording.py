"""The denoiser's pass recorded as a CUDA graph: the same kernels without the gaps between their launches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mimo.models.denoising import Condition, DenoisingUNet

logger = logging.getLogger(__name__)


class RecordedDenoiser:
    """Stands in for the denoiser during one clip: from the third call of a kind on, a recording is played.

    The first call compiles and chooses kernels as ever, the second one is recorded. Intermediate results of a
    recording keep their memory until `close`. Whatever cannot be recorded is computed as without.

    Args:
        unet: its weights must stay where they are in memory until `close`.
    """

    def __init__(self, unet: DenoisingUNet) -> None:
        self._unet = unet
        self._seen: set[tuple[Any, ...]] = set()
        self._recordings: dict[tuple[Any, ...], _Recording] = {}
        self._usable = True

    @property
    def dtype(self) -> torch.dtype:
        """Type of the denoiser's parameters."""
        return self._unet.dtype

    def __call__(
        self,
        sample: Tensor,
        time: Tensor,
        pose: Tensor | None,
        condition: Condition,
        *,
        branch: int = 0,
        deep: Tensor | None = None,
    ) -> Any:
        """See `DenoisingUNet.forward`."""
        inputs = (sample, time, pose, deep)

        def run(*tensors: Tensor | None) -> Any:
            sample, time, pose, deep = tensors
            if not branch:
                return self._unet(sample, time, pose, condition)
            return self._unet(sample, time, pose, condition, branch=branch, deep=deep)

        key = (branch, *(None if x is None else x.shape for x in inputs), *_addresses(condition))
        if not self._usable or not sample.is_cuda or key not in self._seen:
            self._seen.add(key)
            return run(*inputs)
        if key not in self._recordings:
            try:
                self._recordings[key] = _Recording(run, inputs, condition)
            except Exception as error:  # whatever cannot be recorded is computed as without
                logger.warning("steps are not recorded: %s", str(error).split("\n")[0])
                self._usable = False
                self._recordings.clear()
                torch.cuda.synchronize()
                return run(*inputs)
        return self._recordings[key].play(inputs)

    def close(self) -> None:
        """Forget the recordings and give their memory back."""
        self._recordings.clear()
        self._seen.clear()


class _Recording:
    """One recorded pass with its inputs and outputs, which stay where they are.

    Args:
        run: the pass.
        inputs: of the pass; None stays None.
        condition: what else it reads; kept, since the recording knows only addresses.
    """

    def __init__(
        self, run: Callable[..., Any], inputs: tuple[Tensor | None, ...], condition: Condition
    ) -> None:
        self._condition = condition
        self._inputs = tuple(None if x is None else x.clone() for x in inputs)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = run(*self._inputs)

    def play(self, inputs: tuple[Tensor | None, ...]) -> Any:
        """The pass with other values; results are the caller's own."""
        for place, value in zip(self._inputs, inputs, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        self._graph.replay()
        if isinstance(self._outputs, Tensor):
            return self._outputs.clone()
        return tuple(output.clone() for output in self._outputs)


def _addresses(condition: Condition) -> tuple[Any, ...]:
    """Where a condition's values lie, and their shapes."""
    tensors = [x for block in condition for x in block if x is not None]
    return tuple((x.data_ptr(), x.shape) for x in tensors)
