"""State of an interrupted denoising, kept after its steps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mimo.files import whole_file


class DenoisingState:
    """A file that holds the latents after the last finished step, valid for one set of inputs only.

    Args:
        path: the file; None keeps nothing.
        identity: gives whatever tells the clip's inputs from others; called only when a file is kept.
        latents: (1, 4, frames, h, w) initial noise.
        sampling: settings of the run; compared as text.
        scheduler: with its timesteps set.
    """

    def __init__(
        self,
        path: Path | None,
        identity: Callable[[], Iterable[Tensor | bytes]],
        latents: Tensor,
        sampling: Any,
        scheduler: Any,
    ) -> None:
        self._path = path
        if path is None:
            return
        digest = hashlib.sha256(f"{sampling} {type(scheduler).__name__} {scheduler.timesteps}".encode())
        for item in (*identity(), latents):
            digest.update(item.float().cpu().numpy().tobytes() if isinstance(item, Tensor) else item)
        self._digest = digest.hexdigest()

    def restore(self, latents: Tensor) -> tuple[int, dict[str, Tensor]]:
        """Steps done and the tensors of `save`, on the device of `latents`.

        0 and `latents` alone when nothing fitting was kept.
        """
        if self._path is None or not self._path.is_file():
            return 0, {"latents": latents}
        try:
            with safe_open(self._path, "pt") as file:
                kept = file.metadata() or {}
                if kept.get("inputs") != self._digest:
                    return 0, {"latents": latents}
                tensors = {name: file.get_tensor(name).to(latents.device) for name in file.keys()}  # noqa: SIM118
                return int(kept["step"]), tensors
        except SafetensorError:
            return 0, {"latents": latents}

    def save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Keep what is needed to go on after `step` steps, ``latents`` among it."""
        if self._path is None:
            return
        with whole_file(self._path) as part:
            save_file(
                {name: tensor.contiguous().cpu() for name, tensor in tensors.items()},
                part,
                metadata={"inputs": self._digest, "step": str(step)},
            )

    def discard(self) -> None:
        """Remove the file: the clip is finished."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
