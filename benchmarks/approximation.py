"""What the approximations of the diffusion synthesiser cost in quality and save in work and time.

Run from the repository's root: ``python -m benchmarks.approximation``; sections are chosen by ``--sections``.

work    floating-point operations at full size, counted without a GPU.
oracle  an exact answer: the velocity of a mixture of normal distributions, which has a formula, in place of
        the network; shows the solvers and the guidance without a network's own errors.
shapes  MIMO's networks in small, trained for minutes on dressed figures that move over scenes
        (`benchmarks.moving_shapes`); shows everything. ``--trained FILE`` keeps the weights for the next run.
gpu     the full-size networks with random weights: milliseconds of a window-step; their errors say little,
        since a random network is no denoiser.

The first three take a quarter of an hour on one core, with ``--trained`` half as long.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import mixture, moving_shapes
from benchmarks.denoiser_work import clip_work, feature_bytes, window_step
from benchmarks.machine import describe
from mimo.diffusion.sampling import Sampling

RESULTS = Path(__file__).parent / "results" / "approximation.md"
SECTIONS = ("work", "oracle", "shapes", "gpu")
Options = dict[str, Any]

EXACT: Options = {"steps": 25}
FINE: Options = {"steps": 200}
# Name in the tables: settings that differ from `EXACT`.
SOLVERS: dict[str, Options] = {
    f"{name}, {steps} steps": {"scheduler": name, "steps": steps}
    for name in ("ddim", "dpm++", "unipc")
    for steps in (15, 12, 10, 8, 6)
}
GUIDANCE: dict[str, Options] = {
    "first half guided": {"guided_share": (0, 0.5)},
    "second half guided": {"guided_share": (0.5, 1)},
    "first half, then kept": {"guided_share": (0, 0.5), "kept_guidance": True},
    "every 2nd, else kept": {"guidance_every": 2, "kept_guidance": True},
    "every 3rd, else kept": {"guidance_every": 3, "kept_guidance": True},
}
CACHES: dict[str, Options] = {
    f"cache {interval}, branch {branch}": {"cache_interval": interval, "cache_branch": branch}
    for interval, branch in ((2, 1), (3, 1), (5, 1), (2, 2), (3, 2), (2, 3))
}
TOGETHER: dict[str, Options] = {
    f"{name} {steps}, cache 2": {"scheduler": name, "steps": steps, "cache_interval": 2}
    for name in ("dpm++", "unipc")
    for steps in (20, 15, 12, 10)
} | {
    "dpm++ 12, every 2nd kept": {"scheduler": "dpm++", "steps": 12, **GUIDANCE["every 2nd, else kept"]},
    "dpm++ 10, every 2nd kept": {"scheduler": "dpm++", "steps": 10, **GUIDANCE["every 2nd, else kept"]},
    "dpm++ 8, every 2nd kept": {"scheduler": "dpm++", "steps": 8, **GUIDANCE["every 2nd, else kept"]},
    "unipc 10, every 2nd kept": {"scheduler": "unipc", "steps": 10, **GUIDANCE["every 2nd, else kept"]},
    "dpm++ 8, cache 2, branch 2": {"scheduler": "dpm++", "steps": 8, **CACHES["cache 2, branch 2"]},
    "dpm++ 15, cache 2, every 2nd kept": {
        "scheduler": "dpm++",
        "steps": 15,
        "cache_interval": 2,
        **GUIDANCE["every 2nd, else kept"],
    },
}


def main() -> int:
    """Run the sections and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS[:3])
    parser.add_argument("--trained", type=Path, metavar="FILE.safetensors", help="weights of `shapes`")
    parser.add_argument("--iterations", type=int, default=900, help="of their training")
    parser.add_argument("--clips", type=int, default=2, help="clips of `shapes`")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows of `oracle` and `shapes`")
    parser.add_argument("--compile", choices=["off", "default"], default="off", help="of `gpu`")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    run = {"work": work, "oracle": oracle, "shapes": shapes, "gpu": gpu}
    lines = [f"Written by `python -m benchmarks.approximation`: {describe()}.", ""]
    for name in args.sections:
        for line in run[name](args):
            print(line, flush=True)
            lines.append(line)
    args.output.write_text("# Approximations\n\n" + "\n".join(lines) + "\n")
    return 0


def work(args: argparse.Namespace) -> Iterator[str]:
    """Operations of single window-steps and of all steps together."""
    whole = window_step()
    yield "## Work"
    yield ""
    yield f"784x784, windows of 24 frames, guidance: {whole:.1f} TFLOP a window-step."
    yield ""
    yield "| computed | TFLOP, both rows | share | TFLOP, conditional row | share | MB of features |"
    yield "|---|---|---|---|---|---|"
    for branch in range(6):
        name = f"branch of {branch}" if branch else "the whole network"
        both, one = window_step(2, branch), window_step(1, branch)
        size = f"{feature_bytes(branch) / 1e6:.0f}" if branch else ""
        yield f"| {name} | {both:.1f} | {both / whole:.3f} | {one:.1f} | {one / whole:.3f} | {size} |"
    yield ""


def oracle(args: argparse.Namespace) -> Iterator[str]:
    """Solvers and guidance on the mixture."""
    yield "## Mixture of normal distributions"
    yield ""
    yield "Signal to noise in dB, of the distance to 25 steps of DDIM, and to 200; guidance 3.5."
    yield ""
    problem = mixture.Mixture()
    together = {name: chosen for name, chosen in TOGETHER.items() if "cache_interval" not in chosen}
    yield from _comparison(_wanted(args, SOLVERS | GUIDANCE | together), [problem.solve])


def shapes(args: argparse.Namespace) -> Iterator[str]:
    """Everything on the small trained networks."""
    pipeline = moving_shapes.trained(args.trained, args.iterations)
    clips = moving_shapes.held_out_clips(args.clips, frames=12)

    def solver(clip: Any, noise: Tensor) -> Callable[..., Tensor]:
        return lambda **options: pipeline.synthesise(clip, noise, **options)

    yield "## Moving shapes"
    yield ""
    yield (
        f"Small networks after {args.iterations} training steps; {args.clips} clips of 12 frames in two "
        "windows, guidance 3.5. PSNR of latents, peak 4."
    )
    yield ""
    options = SOLVERS | GUIDANCE | CACHES | {"fp8 in all feed-forwards": {"fp8": True}} | TOGETHER
    problems, truths = [solver(*pair) for pair in clips], [clip.latents for clip, _ in clips]
    yield from _comparison(_wanted(args, options), problems, truths, peak=4.0)


def _wanted(args: argparse.Namespace, options: dict[str, Options]) -> dict[str, Options]:
    """The options that the command line names; all when it names none."""
    return {name: chosen for name, chosen in options.items() if not args.only or name in args.only}


def _comparison(
    options: dict[str, Options],
    problems: list[Callable[..., Tensor]],
    truths: list[Tensor] | None = None,
    peak: float = 1.0,
) -> Iterator[str]:
    """Table of each option's distance to the exact run, to a much finer one, and to the truth."""
    exact = [solve(**EXACT) for solve in problems]
    fine = [solve(**FINE) for solve in problems]
    truth_column = " to the truth |" if truths else ""
    yield f"| | work | to 25 steps of DDIM | to 200 steps |{truth_column}"
    yield "|---|---|---|---|" + "---|" * bool(truths)
    known = {"ddim, 25 steps": exact, "ddim, 200 steps": fine}
    for name, chosen in {"ddim, 25 steps": EXACT, "ddim, 200 steps": FINE, **options}.items():
        results = known.get(name) or [solve(**EXACT | chosen) for solve in problems]
        cells = [
            f"{_work_share(chosen):.2f}",
            _decibels(results, exact, peak),
            _decibels(results, fine, peak),
        ]
        if truths:
            cells.append(_decibels(results, truths, peak))
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def _work_share(options: Options) -> float:
    """Work at full size, as a share of 25 guided steps."""
    exact = Sampling(784, 784, **EXACT)
    chosen = {name: value for name, value in (EXACT | options).items() if name != "fp8"}
    return clip_work(Sampling(784, 784, **chosen)) / clip_work(exact)


def _decibels(results: list[Tensor], expected: list[Tensor], peak: float) -> str:
    error = torch.stack([(a - b).square().mean() for a, b in zip(results, expected, strict=True)]).mean()
    return "same" if error == 0 else f"{float(10 * torch.log10(peak**2 / error)):.1f}"


def gpu(args: argparse.Namespace) -> Iterator[str]:
    """Milliseconds at full size."""
    from benchmarks.approximation_gpu import tables

    yield from tables(args.compile)


if __name__ == "__main__":
    raise SystemExit(main())
