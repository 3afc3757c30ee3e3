"""How well other bodies keep the driver's feet and reach, against only taking over its rotations.

    python -m benchmarks.retargeting --templates templates --characters prepared

Motions: five clips of DeepMimic, and the templates ``tree_walk`` and ``balance`` (motion.npz is enough).
Bodies: people from the shape space in their own height, and the prepared characters ``man`` and ``woman``,
dressed, in the driver's. "Before" takes over the driver's rotations and puts the standing foot where the
driver's is, frame by frame. Writes benchmarks/results/retargeting.md. All is measured on posed vertices:

- slide: distance of the soles' heel and ball from their mean place in a stance, mean over its frames, and the
  95th percentile;
- footprint: distance of the ball's mean place in a stance from that of the driver's;
- height: of the touching sole's lowest vertex from the ground of the stance, mean without sign;
- sunk: how deep the body gets into the ground under the stances, where the driver does not;
- hands: change of the distance between the hands, and of a hand to the trunk, in frames in which the driver's
  are nearer than 5 cm; height above the driver's of hands that it has on the ground;
- knee: largest change of a knee's angle from frame to frame beyond that of the driver.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from benchmarks.machine import describe
from mimo import weights
from mimo.body.figure import Figure
from mimo.body.limbs import leg
from mimo.body.model import BodyModel, Topology
from mimo.body.motion import Motion
from mimo.body.rig import SIDES, rig_of
from mimo.body.world import World
from mimo.character import Character
from mimo.puppet.lift import lift
from mimo.retargeting.performance import Performance
from mimo.retargeting.proportions import scaled, tall
from mimo.retargeting.standing import Standing, standing
from video_decomp.motion.__main__ import main as import_motion

RESULTS = Path(__file__).parent / "results" / "retargeting.md"
CLIPS = ("walk", "run", "dance", "jump", "cartwheel")
FILMED = {"tree_walk": 25.0, "balance": 25.0}
CHARACTERS = ("man", "woman")
PEOPLE: dict[str, dict[int, float]] = {
    "child 1.15 m": {0: 2.2},
    "short 1.55 m": {0: 0.8},
    "tall 2.05 m": {0: -1.0},
    "wide": {3: 3.0, 5: 3.0},
}
"""Shape coefficients that are not 0."""
CLOSE = 0.05
MM = 1000

Posing = Callable[[int], np.ndarray]
"""Vertices (V, 3) of a frame, camera space."""


def main() -> int:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True, help="folder with tree_walk and balance")
    parser.add_argument("--characters", type=Path, required=True, help="folder with man and woman")
    args = parser.parse_args()
    lines = ["# Body retargeting", ""]
    lines += [f"Written by `python -m benchmarks.retargeting`: {describe()}. Before → after.", ""]
    totals: list[tuple[Measured, Measured]] = []
    for name, motion, fps in motions(args.templates):
        lines += [f"## {name} ({len(motion)} frames)", "", *HEADER]
        for person, body in bodies(motion, args.characters):
            pair = compared(motion, body, fps)
            totals.append(pair)
            lines.append(row(person, *pair))
            print(name, lines[-1], flush=True)
        lines.append("")
    lines += ["## Mean over all", "", *HEADER]
    lines.append(row("all", *(Measured.mean([pair[which] for pair in totals]) for which in (0, 1))))
    RESULTS.write_text("\n".join(lines) + "\n")
    return 0


def motions(templates: Path) -> Iterator[tuple[str, Motion, float]]:
    """Names, motions, and frames a second."""
    with tempfile.TemporaryDirectory() as folder:
        for name in CLIPS:
            made = Path(folder) / name
            command = [str(weights.path(f"motion-{name}")), "-o", str(made), "--width=64", "--height=64"]
            with contextlib.redirect_stderr(io.StringIO()):
                import_motion(command)
            yield name, Motion.load(made / "motion.npz"), 30.0
    for name, fps in FILMED.items():
        yield name, Motion.load(templates / name / "motion.npz"), fps


def bodies(driver: Motion, characters: Path) -> Iterator[tuple[str, BodyModel]]:
    """Who performs."""
    for name, coefficients in PEOPLE.items():
        shape = np.zeros(max(coefficients) + 1)
        shape[list(coefficients)] = list(coefficients.values())
        yield name, Topology.load().body(shape)
    for name in CHARACTERS:
        character = Character.load(characters / name)
        yield name, scaled(lift(character, 0.0).body, tall(driver) / tall(character.body))


@dataclass(frozen=True)
class Measured:
    """Numbers of one performance: millimetres, degrees, milliseconds a frame; NaN: nothing to measure."""

    slide: float
    slide_95: float
    footprint: float
    height: float
    sunk: float
    between_hands: float
    to_body: float
    on_ground: float
    knee: float
    cost: float

    @classmethod
    def mean(cls, many: list[Measured]) -> Measured:
        """Of several performances."""
        return cls(*np.nanmean([list(vars(one).values()) for one in many], axis=0).tolist())


HEADER = [
    "| body | slide | 95 % | footprint | height | sunk | hand to hand | to body | to ground | knee | ms |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
]


def row(name: str, before: Measured, after: Measured) -> str:
    """A line of the table."""
    cells = [
        "–" if np.isnan(a) else f"{a:.1f} → {b:.1f}"
        for a, b in zip(vars(before).values(), vars(after).values(), strict=True)
    ]
    return f"| {name} | {' | '.join(cells)} |"


def compared(motion: Motion, body: BodyModel, fps: float) -> tuple[Measured, Measured]:
    """Both methods on one motion and body."""
    figures = Figure(motion.body, rig_of(body.topology)), Figure(body, rig_of(body.topology))
    world = World.of(motion)
    stances = standing(motion, figures[0], world, fps)
    theirs = Tracks.of(motion.vertices, motion, figures[0], world)
    made = []
    for method in (RotationsOnly, Performance):
        started = time.process_time()
        performer = method(motion, body, fps)
        for frame in range(len(motion)):
            performer.vertices(frame)
        cost = (time.process_time() - started) / len(motion)
        ours = Tracks.of(performer.vertices, motion, figures[1], world)
        made.append(measured(ours, theirs, stances, cost))
    return made[0], made[1]


class RotationsOnly:
    """The driver's rotations on another body, its standing foot where the driver's is."""

    def __init__(self, motion: Motion, body: BodyModel, _: float) -> None:
        foot = body.topology.parts == body.topology.part_names.index("foot")
        left = body.topology.mean_vertices[:, 0] > 0
        self._feet = [np.flatnonzero(foot & left), np.flatnonzero(foot & ~left)]
        self._motion, self._body, self._up = motion, body, World.of(motion).up
        offsets = np.array([self._offset(frame) for frame in range(len(motion))])
        self._offsets = gaussian_filter1d(offsets, 1.5, axis=0, mode="nearest")

    def vertices(self, frame: int) -> np.ndarray:
        """(V, 3) of a frame."""
        motion = self._motion
        moved = motion.translation[frame] + self._offsets[frame]
        return self._body.pose(motion.rotations[frame], motion.root_rotation[frame], moved)

    def _offset(self, frame: int) -> np.ndarray:
        rotations, root = self._motion.rotations[frame], self._motion.root_rotation[frame]
        posed = [body.pose(rotations, root) for body in (self._motion.body, self._body)]
        gaps, heights = [], []
        for foot in self._feet:
            soles = []
            for points in posed:
                height = points[foot] @ self._up
                sole = points[foot].mean(axis=0)
                soles.append(sole + self._up * (height.min() - sole @ self._up))
            gaps.append(soles[0] - soles[1])
            heights.append(soles[0] @ self._up)
        weight = np.exp(-(np.array(heights) - min(heights)) / 0.03)
        return np.asarray((np.array(gaps) * weight[:, None]).sum(axis=0) / weight.sum())


@dataclass(frozen=True)
class Tracks:
    """What is looked at of a performance, in the world: metres, T frames.

    Attributes:
        soles: (T, 2, 2, 3) mean of the vertices under heel and ball of the left and the right foot.
        low: (T, 2) their lowest vertex.
        lowest: (T,) of the whole body.
        between_hands, to_body, hands: (T,), (T, 2), (T, 2) distances between the hands, from each to head,
            trunk and legs, and height of each hand's lowest vertex.
        knees: (T, 2) angles, degrees.
    """

    soles: np.ndarray
    low: np.ndarray
    lowest: np.ndarray
    between_hands: np.ndarray
    to_body: np.ndarray
    hands: np.ndarray
    knees: np.ndarray

    @classmethod
    def of(cls, posing: Posing, motion: Motion, figure: Figure, world: World) -> Tracks:
        """Look at every frame."""
        topology = figure.body.topology
        part = np.array(topology.part_names)[topology.parts]
        is_left = topology.mean_vertices[:, 0] > 0
        hands = [np.flatnonzero((part == "hand") & (is_left == left))[::6] for left in (True, False)]
        trunk = np.flatnonzero(np.isin(part, ("torso", "leg", "head")))[::3]
        patches = [_patches(figure, side) for side in SIDES]
        values: dict[str, list[object]] = {name: [] for name in cls.__annotations__}
        for frame in range(len(motion)):
            vertices = posing(frame)
            points = (vertices - world.shift) @ world.axes
            values["soles"].append([[points[patch].mean(0) for patch in pair] for pair in patches])
            values["low"].append([min(points[patch, 2].min() for patch in pair) for pair in patches])
            values["lowest"].append(points[:, 2].min())
            left, right = (points[hand] for hand in hands)
            values["between_hands"].append(cKDTree(left).query(right)[0].min())
            tree = cKDTree(points[trunk])
            values["to_body"].append([tree.query(hand)[0].min() for hand in (left, right)])
            values["hands"].append([left[:, 2].min(), right[:, 2].min()])
            values["knees"].append([_knee(figure, points, side) for side in SIDES])
        return cls(**{name: np.array(value, float) for name, value in values.items()})


def _patches(figure: Figure, side: str) -> list[np.ndarray]:
    """Vertices of the sole under heel and ball."""
    topology, rest = figure.body.topology, figure.body.rest_vertices
    foot = topology.parts == topology.part_names.index("foot")
    foot &= (topology.mean_vertices[:, 0] > 0) == (side == "left")
    sole = foot & (rest[:, 2] < figure.sole(side) + 0.015)
    back, ball = rest[foot, 1].max(), figure.contacts(side)[1, 1]
    heel = np.flatnonzero(sole & (rest[:, 1] > back - 0.06))
    return [heel, np.flatnonzero(sole & (np.abs(rest[:, 1] - ball) < 0.03))]


def _knee(figure: Figure, points: np.ndarray, side: str) -> float:
    """Angle of a knee, degrees, from the vertices around hip, knee and ankle."""
    limb = leg(figure, side)
    tops = [points[_around(figure, bone)].mean(0) for bone in (limb.root, limb.middle, limb.end)]
    thigh, shin = tops[0] - tops[1], tops[2] - tops[1]
    cosine = thigh @ shin / np.linalg.norm(thigh) / np.linalg.norm(shin)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _around(figure: Figure, bone: int) -> np.ndarray:
    """The vertices nearest to a bone's head at rest."""
    distance = np.linalg.norm(figure.body.rest_vertices - figure.heads[bone], axis=1)
    return np.argsort(distance)[:24]


def measured(ours: Tracks, theirs: Tracks, stances: Standing, cost: float) -> Measured:
    """The numbers of a performance against the driver's."""
    slides, prints, heights = [np.zeros(0)], [0.0], [np.zeros(0)]
    for side, own in enumerate(stances.feet):
        for stance in own:
            part = slice(stance.start, stance.stop)
            heights.append(np.abs(ours.low[part, side] - stance.height))
            for point in range(2):
                touching = stance.touches[:, point]
                if touching.any():
                    track = ours.soles[part, side, point, :2][touching]
                    slides.append(np.linalg.norm(track - track.mean(0), axis=1))
                    if point == 1:
                        driver = theirs.soles[part, side, point, :2][touching].mean(0)
                        prints.append(float(np.linalg.norm(track.mean(0) - driver)))
    slide, frames = np.concatenate(slides), len(ours.lowest)
    known = np.full(frames, np.nan)
    for stance in (stance for own in stances.feet for stance in own):
        known[stance.start : stance.stop] = np.fmin(known[stance.start : stance.stop], stance.height)
    there = np.flatnonzero(~np.isnan(known))
    ground = np.minimum(np.interp(np.arange(frames), there, known[there]), theirs.lowest)
    changed = [np.abs(np.diff(tracks.knees, axis=0)).max() for tracks in (ours, theirs)]
    return Measured(
        slide=MM * float(slide.mean()),
        slide_95=MM * float(np.percentile(slide, 95)),
        footprint=MM * float(np.mean(prints[1:])),
        height=MM * float(np.concatenate(heights).mean()),
        sunk=MM * float(np.maximum(ground - ours.lowest, 0).max()),
        between_hands=_change(ours.between_hands, theirs.between_hands, theirs.between_hands < CLOSE),
        to_body=_change(ours.to_body, theirs.to_body, theirs.to_body < CLOSE),
        on_ground=_change(ours.hands, theirs.hands, theirs.hands < CLOSE),
        knee=max(changed[0] - changed[1], 0),
        cost=MM * cost,
    )


def _change(ours: np.ndarray, theirs: np.ndarray, where: np.ndarray) -> float:
    """Mean difference without sign, millimetres; NaN where there is nothing to compare."""
    return MM * float(np.abs(ours - theirs)[where].mean()) if where.any() else float("nan")


if __name__ == "__main__":
    raise SystemExit(main())
