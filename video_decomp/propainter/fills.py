"""What fills a shot's holes, frame by frame, computed or taken up from an interrupted run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimo.files import sha256
from mimo.stage import Rejected
from video_decomp.propainter.checkpoints import FILES, load_networks
from video_decomp.propainter.clip import MaskedClip
from video_decomp.propainter.memory import check_memory, estimate
from video_decomp.propainter.pipeline import Inpainter
from video_decomp.propainter.spool import FinishedBlocks
from video_decomp.propainter.windows import Windows


@dataclass(frozen=True)
class Holes:
    """Pixels from the mask to the border of the hole, and of what is not believed of the flow."""

    reach: float
    flow_reach: float


class Engine:
    """The networks on their device, and what identifies their results.

    Args:
        weights: folder with the three published files.
        iterations: updates of the flow network.
        device: ``auto``, ``cuda``, ``cuda:1`` or ``cpu``.
        precision: ``auto``, ``float16`` or ``float32``.

    Raises:
        Rejected: a weight file is missing or wrong, or the device is.
    """

    def __init__(self, weights: Path, iterations: int, device: str, precision: str) -> None:
        self.device = _device(device)
        half = precision == "float16" or (precision == "auto" and self.device.type == "cuda")
        self.dtype = torch.float16 if half else torch.float32
        files = {name: weights / name for name in FILES}
        self.networks = load_networks(files, self.device, self.dtype, iterations)
        # Where the weights lie and what computes does not matter to what has been computed.
        self.job: dict[str, Any] = {name: sha256(file) for name, file in files.items()}
        self.job |= {"iterations": iterations, "dtype": str(self.dtype)}


class Fills:
    """Values of every hole of a shot.

    Iterating gives one (n, 3) uint8 a frame, in the order of the hole's pixels in the crop.

    Args:
        engine: the networks.
        clip: frames and masks.
        windows: which frames are computed together.
        holes: how far they reach.
        job: what else the results depend on, as values of JSON.
        folder: keeps finished sub-videos and, without names, what waits for the next step.
        resume: take what an earlier run of the same job has finished.

    Attributes:
        resumed: sub-videos that an earlier run had finished.

    Raises:
        Rejected: the device has too little memory.
    """

    def __init__(
        self,
        engine: Engine,
        clip: MaskedClip,
        windows: Windows,
        holes: Holes,
        job: dict[str, Any],
        folder: Path,
        resume: bool,
    ) -> None:
        self._networks, self._clip, self._windows, self._holes = engine.networks, clip, windows, holes
        needed = estimate(clip.height, clip.width, windows, engine.dtype)
        check_memory(engine.device, needed, clip.height, clip.width)
        job = job | engine.job | {"shot": [clip.shot.start, clip.shot.stop], "crop": asdict(clip.crop)}
        job |= {"windows": asdict(windows), "holes": asdict(holes)}
        self._finished = FinishedBlocks(folder, job, resume)
        self.resumed = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        pictures: Iterator[np.ndarray | None] | None = None
        for number in range(self._windows.blocks):
            block = self._windows.block(number)
            values = self._finished.get(number)
            if values is not None:
                self.resumed += 1
                pictures = None
            else:
                pictures = pictures or self._start(block.start)
                holes = self._clip.holes(block.start, block.stop, self._holes.reach)
                # The holes come first, so that no picture too many is taken.
                values = [_values(hole, picture) for hole, picture in zip(holes, pictures, strict=False)]
                self._finished.put(number, values)
            yield from values

    def _start(self, first: int) -> Iterator[np.ndarray | None]:
        holes = self._holes
        return Inpainter(
            self._clip,
            self._networks,
            self._windows,
            holes.reach,
            holes.flow_reach,
            self._finished.folder,
            first,
        ).pictures()


def _values(hole: np.ndarray, picture: np.ndarray | None) -> np.ndarray:
    if picture is None:
        return np.zeros((0, 3), np.uint8)
    return picture[hole].round().clip(0, 255).astype(np.uint8)


def _device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        Rejected: it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Rejected(f"device {name}: {str(error).splitlines()[0]}; set device to auto or cpu") from None
    return device
