"""How equal the parts of a long clip are to the undivided one, in the diffusion synthesiser.

Run from the repository's root: ``python -m benchmarks.synthesis_parts WEIGHTS``, with a folder of small
networks such as the golden ones (unpacked from ``tests/golden/weights.zip``); three minutes on one core.
Prints the table of ``docs/long-videos.md``.

``--mixing 8`` multiplies what the motion modules add: frames of a window then change each other more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from mimo.diffusion.excerpts import Excerpt, excerpt, noise
from mimo.diffusion.sampling import Sampling
from mimo.pipeline import MimoPipeline
from mimo.synthesis.join import blended
from mimo.synthesis.mimo import Settings
from mimo.synthesis.parts import Part, Span

SIZE, FRAMES, PARTS = 128, 120, 2
SAMPLING = Sampling(SIZE, SIZE, steps=6, guidance_scale=0, context_frames=8, context_overlap=2)
AROUND = 8
"""Frames before and after a seam that count as near it."""


class Scene:
    """A swaying body before a wall, in frames that can be computed in excerpts."""

    def __init__(self, pipeline: MimoPipeline) -> None:
        random = np.random.default_rng(0)
        self._pipeline = pipeline
        self._character = cv2.resize(random.integers(0, 255, (8, 8, 3), np.uint8), (SIZE, SIZE))
        self._wall = cv2.resize(random.integers(60, 200, (4, 4, 3), np.uint8), (SIZE, SIZE))

    def frames(self, part: Excerpt) -> np.ndarray:
        """The own frames of an excerpt, uint8 (n, SIZE, SIZE, 3)."""
        side = SIZE // self._pipeline.vae_scale_factor
        latents = self._pipeline.denoise(
            self._character,
            [self._pose(place) for place in part.places],
            [self._wall] * len(part.places),
            SAMPLING,
            latents=noise(42, part.places, FRAMES, side, side),
            windows=part.windows,
        )
        frames = self._pipeline.decode(latents[:, :, part.own])
        return np.array([np.rint(frame * 255) for frame in frames]).astype(np.uint8)

    def _pose(self, place: int) -> np.ndarray:
        code = np.zeros((SIZE, SIZE, 3), np.uint8)
        middle, colour = (int(64 + 28 * np.sin(place / 9)), 64), (200, 120 + int(60 * np.sin(place / 7)), 90)
        cv2.ellipse(code, middle, (16, 40), 20 * np.sin(place / 5), 0, 360, colour, -1)
        return code


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels; 99 for equal pictures."""
    error = float(((one.astype(np.float64) - other) ** 2).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def row(scene: Scene, whole: np.ndarray, context: int) -> str:
    """One line of the table: the parts with so many windows of context, against the whole."""
    windows = SAMPLING.windows(FRAMES)
    pieces: list[np.ndarray] = []
    tail, shared, near, computed = whole[:0], 99.0, set[int](), 0
    for number in range(1, PARTS + 1):
        span = Span.of(Part(number, PARTS), FRAMES, Settings.seam_frames)
        part = excerpt(windows, span.rendered, context, closed=SAMPLING.closed_loop)
        computed += len(part.windows)
        frames = scene.frames(part)
        if span.head:
            shared = min(shared, psnr(tail, frames[: span.head]))
            near |= set(range(span.own.start - AROUND, span.own.start + AROUND))
        pieces += [blended(tail, frames[: span.head]), frames[span.head : len(span.own)]]
        tail = frames[len(span.own) :]
    joined = np.concatenate(pieces)
    seams, worst = sorted(near), min(map(psnr, joined, whole))
    values = (psnr(joined, whole), psnr(joined[seams], whole[seams]), worst, shared)
    largest = int(np.abs(joined.astype(int) - whole).max())
    cells = [
        str(context),
        f"{computed} of {len(windows)}",
        *(f"{value:.0f}" for value in values),
        str(largest),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--mixing", type=float, default=1.0)
    parser.add_argument("--contexts", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    pipeline = MimoPipeline.from_pretrained(args.weights)
    for name, values in pipeline.denoising_unet.named_parameters():
        if "motion" in name and name.endswith("proj_out.weight"):
            values.data *= args.mixing
    scene = Scene(pipeline)
    windows = SAMPLING.windows(FRAMES)
    whole = scene.frames(excerpt(windows, range(FRAMES), 0, closed=SAMPLING.closed_loop))
    print("| context | windows | all, dB | seams | worst frame | shared frames | largest difference |")
    print("|---|---|---|---|---|---|---|")
    for context in args.contexts:
        print(row(scene, whole, context), flush=True)


if __name__ == "__main__":
    main()
