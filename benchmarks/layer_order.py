"""Order accuracy of the layer rules: are all things in front of the person found, and none that is not?

    python -m benchmarks.layer_order

Clips of known depth order (`benchmarks.layered_scenes`), with the true depth and the true segments in place
of the networks: what is measured are the rules of the occlusion backend `depth-layers`, no network. Writes
benchmarks/results/layer_order.md. Needs the body (`python -m mimo.weights fetch`).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.layered_scenes import FRAMES, SIZE, LayeredClip, Layout, layouts
from benchmarks.machine import describe
from mimo.body.model import BodyModel, Topology
from video_decomp.occlusion.layering import Drawing, find_layers
from video_decomp.occlusion.layers import LayerRules

RESULTS = Path(__file__).parent / "results" / "layer_order.md"
VARIANTS = {
    "default": (LayerRules(), False),
    "default, depth on every frame (the paper's rule)": (LayerRules(depth_rule="mean"), True),
    "reference's choices alone": (LayerRules(hidden_key_frames=0, fit_tolerance=0), False),
}
FOUND, SPILT = 0.5, 0.1
"""A thing in front is found if half of it is in the layer, where it hides the person; one that is not in
front is wrongly found if a tenth of it is in the layer."""


@dataclass
class Count:
    """Things in front that were found and missed, and things wrongly found."""

    found: int = 0
    missed: int = 0
    wrong: int = 0

    @property
    def precision(self) -> float:
        """Share of what was found that is in front."""
        return self.found / max(1, self.found + self.wrong)

    @property
    def recall(self) -> float:
        """Share of what is in front that was found."""
        return self.found / max(1, self.found + self.missed)


def coverage(
    layout: Layout, body: BodyModel, seed: int, rules: LayerRules, every_frame: bool
) -> dict[str, float]:
    """Share of each thing that the layer in front has (see `LayeredClip.coverage`)."""
    with tempfile.TemporaryDirectory() as folder:
        clip = LayeredClip(layout, body, Path(folder), seed)
        drawing = Drawing(every_frame, None)
        found = find_layers(clip.frames, clip.masks, clip.motion, clip.networks(), rules, drawing)
        layer = list(found.frames) if found.occluders else [np.zeros(SIZE[::-1], np.uint8)] * FRAMES
        return clip.coverage(layer)


def count(layout: Layout, shares: dict[str, float]) -> Count:
    """Compare what was found in a scene with the truth."""
    result = Count()
    for thing in layout.things:
        if thing.in_front:
            result.found += shares[thing.name] >= FOUND
            result.missed += shares[thing.name] < FOUND
        else:
            result.wrong += shares[thing.name] > SPILT
    return result


def average_person() -> BodyModel:
    """The body of the scenes' person."""
    topology = Topology.load()
    return topology.body(np.zeros(topology.components, np.float32))


def main() -> int:
    """Run every scene in every variant and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="clips of each scene (default: 5)")
    args = parser.parse_args()
    body = average_person()
    lines = ["# Order accuracy of the layer rules", "", "Written by `python -m benchmarks.layer_order`.", ""]
    lines += [
        f"{args.seeds} clips of each scene, {FRAMES} frames of {SIZE[0]}x{SIZE[1]}, the fitted body up to 2",
        "pixels beside the true one, true depth with noise, in another scale in every frame, true segments",
        "(whole things and parts of them).",
        "",
        f"Machine: {describe()}.",
        "",
        "| variant | scene | in front, found | missed | wrongly found | precision | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant, (rules, every_frame) in VARIANTS.items():
        total = Count()
        for number, name in enumerate(layout.name for layout in layouts(0)):
            scene = Count()
            for seed in range(args.seeds):
                layout = layouts(seed)[number]
                one = count(layout, coverage(layout, body, seed, rules, every_frame))
                for counted in (scene, total):
                    counted.found += one.found
                    counted.missed += one.missed
                    counted.wrong += one.wrong
            lines.append(f"| {variant} | {name} | {scene.found} | {scene.missed} | {scene.wrong} | | |")
            print(lines[-1], flush=True)
        lines.append(
            f"| **{variant}** | **all** | {total.found} | {total.missed} | {total.wrong} "
            f"| **{total.precision:.3f}** | **{total.recall:.3f}** |"
        )
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
