"""Made-up clips of a person among things whose distances are known, with the truth about them for networks.

For the layer rules of the occlusion backend `depth-layers`: in place of the networks stand the true segments
and the true depth, which is in another scale and offset in every frame, as that of a network is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mimo.body.model import BodyModel
from mimo.body.motion import Motion
from mimo.body.raster import fragments
from mimo.video import VideoReader, VideoWriter
from video_decomp.occlusion.layering import Networks, Seed

SIZE = (400, 256)
FRAMES = 48
FOCAL = 450.0
CAMERA = np.array([FOCAL, SIZE[0] / 2, SIZE[1] / 2, *SIZE], np.float32)
DISTANCE = 4.2
GROUND_BELOW = 0.85
"""Metres from the camera down to the ground, on which the person's feet stand at `DISTANCE`."""
FIT_ERROR = 0.02
"""Metres by which the fitted body is beside the true one, to and fro: 2 pixels."""
ys, xs = np.indices(SIZE[::-1])
PERSON = 0

Shape = Callable[[float], np.ndarray]


@dataclass(frozen=True)
class Thing:
    """Something in a scene.

    Attributes:
        name: for messages.
        shape: time 0..1 -> its outline (h, w) bool, whether hidden or not.
        distance: time 0..1 -> metres, a number or (h, w).
        in_front: whether it is nearer than the person and hides some of them at some time.
    """

    name: str
    shape: Shape
    distance: Callable[[float], float | np.ndarray]
    in_front: bool


@dataclass(frozen=True)
class Layout:
    """A scene: things, and where the person is (metres to the right of the middle) at a time 0..1."""

    name: str
    things: list[Thing]
    place: Callable[[float], float]


def layouts(seed: int) -> list[Layout]:
    """The scenes, with sizes, places and distances drawn from a seed."""
    random = np.random.default_rng(seed)

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    def pole(name: str, metres: float, left: float, width: float, in_front: bool) -> Thing:
        slant = between(-0.1, 0.1)
        inside = (xs >= left + slant * ys) & (xs < left + slant * ys + width)
        return Thing(name, lambda _: inside, lambda _: metres, in_front)

    def box(
        name: str,
        metres: float,
        corner: Callable[[float], tuple[float, float]],
        size: tuple[float, float],
        in_front: bool,
    ) -> Thing:
        def shape(time: float) -> np.ndarray:
            left, top = corner(time)
            inside = (xs >= left) & (xs < left + size[0]) & (ys >= top) & (ys < top + size[1])
            return np.asarray(inside)

        return Thing(name, shape, lambda _: metres, in_front)

    far = between(6, 9)
    wall = Thing("wall", lambda _: np.ones(SIZE[::-1], bool), lambda _: far, False)
    plane = GROUND_BELOW * FOCAL / np.maximum(ys + 0.5 - SIZE[1] / 2, 1e-3)
    ground = Thing("ground", lambda _: (ys > SIZE[1] / 2) & (plane < far), lambda _: plane, False)
    scene = [wall, ground]
    stride = between(0.9, 1.2)

    def across(time: float) -> float:
        return stride * (2 * time - 1)

    def sway(time: float) -> float:
        return 0.1 * float(np.sin(6 * time))

    def at_person(time: float) -> float:
        return SIZE[0] / 2 + sway(time) * FOCAL / DISTANCE

    near, farther = between(2.2, 3.6), between(4.9, 5.8)
    held, wide = between(3.9, 4.0), between(30, 60)
    speed = between(440, 560)
    return [
        Layout(
            "poles before and behind",
            [
                *scene,
                pole("behind left", farther, between(95, 115), between(18, 30), False),
                pole("behind right", farther + 0.3, between(255, 275), between(18, 30), False),
                pole("before left", near, between(150, 165), between(14, 30), True),
                pole("before right", near + 0.3, between(215, 235), between(14, 30), True),
            ],
            across,
        ),
        Layout(
            "passing before and behind",
            [
                *scene,
                box("passing behind", farther, lambda t: (speed * t - 60, 120), (wide, 70), False),
                box("passing before", near, lambda t: (420 - speed * t, 100), (wide, 120), True),
            ],
            sway,
        ),
        Layout("ground and wall only", scene, across),
        Layout(
            "a box in the hands",
            [*scene, box("held", held, lambda t: (at_person(t) - wide / 2, 95), (wide, 40), True)],
            sway,
        ),
        Layout(
            "half beside the person",
            [
                *scene,
                box("half beside", near, lambda _: (SIZE[0] / 2 + 8, 60), (wide + 40, 140), True),
                box("beside, nearer", near, lambda _: (60, 90), (45, 120), False),
                box("half behind", farther, lambda _: (SIZE[0] / 2 - 60, 40), (55, 120), False),
            ],
            sway,
        ),
        Layout(
            "a low wall before the legs",
            [*scene, box("low wall", near, lambda _: (100, between(168, 180)), (200, 90), True)],
            across,
        ),
    ]


def around_a_pole() -> Layout:
    """The person goes behind a pole to the right and comes back before it."""
    inside = (xs >= 190) & (xs < 212)
    pole = Thing("pole", lambda _: inside, lambda time: 3.2 if time < 0.5 else 5.4, True)
    wall = Thing("wall", lambda _: np.ones(SIZE[::-1], bool), lambda _: 8.0, False)
    return Layout("around a pole", [wall, pole], lambda time: 0.9 * float(np.sin(np.pi * (2 * time - 0.5))))


class LayeredClip:
    """A layout as a clip on disk, and the truth about every frame of it.

    Args:
        layout: the scene.
        body: the person.
        folder: gets ``vid.mp4``, ``mask.mp4`` and ``motion.npz``.
        seed: of colours, noise and the depth's scales.
    """

    def __init__(self, layout: Layout, body: BodyModel, folder: Path, seed: int = 0) -> None:
        self.layout = layout
        places = [layout.place(time) for time in _times()]
        self._true = walk(body, places)
        error = FIT_ERROR * np.sin(np.arange(FRAMES))
        self.motion = walk(body, [place + float(shift) for place, shift in zip(places, error, strict=True)])
        self.visible: list[np.ndarray] = []
        self._depth: list[np.ndarray] = []
        self._hiding = np.zeros((len(layout.things), FRAMES))
        random = np.random.default_rng(seed)
        colours = random.uniform(40, 215, (len(layout.things) + 1, 1, 3))
        folder.mkdir(parents=True, exist_ok=True)
        with (
            VideoWriter(folder / "vid.mp4", 30) as video,
            VideoWriter(folder / "mask.mp4", 30, kind="mask") as masks,
        ):
            for index, time in enumerate(_times()):
                self._add(index, time, random)
                frame = colours[self.visible[-1], 0] + random.normal(0, 3, (*SIZE[::-1], 3))
                video.write(np.clip(cv2.GaussianBlur(frame, (0, 0), 0.6), 0, 255).astype(np.uint8))
                masks.write((self.visible[-1] == PERSON).astype(np.uint8) * 255)
        self.motion.save(folder / "motion.npz")
        self.frames = VideoReader(folder / "vid.mp4")
        self.masks = VideoReader(folder / "mask.mp4", gray=True)
        self._numbers = {_digest(image): index for index, image in enumerate(self.frames)}

    def networks(self) -> Networks:
        """The truth in the place of the networks."""
        return Networks(self._segments, self._depths, self._follow)

    def coverage(self, layer: list[np.ndarray]) -> dict[str, float]:
        """Share of each thing's visible pixels that a layer has, where it hides some of the person; in all
        frames for things that never do.

        Args:
            layer: (h, w) uint8 for each frame, such as the stage gives it.
        """
        shares = {}
        for number, thing in enumerate(self.layout.things):
            counted = np.flatnonzero(self._hiding[number] > 0.01)
            counted = counted if thing.in_front and counted.size else np.arange(FRAMES)
            seen = sum(int((self.visible[i] == number + 1).sum()) for i in counted)
            taken = sum(int(((self.visible[i] == number + 1) & (layer[i] > 127)).sum()) for i in counted)
            shares[thing.name] = taken / max(1, seen)
        return shares

    def _add(self, index: int, time: float, random: np.random.Generator) -> None:
        """What is seen in a frame, and how far it is."""
        drawn = fragments(self._true.vertices(index), self._true.body.faces, CAMERA, SIZE[::-1])
        body, distance = drawn.faces >= 0, drawn.depth.astype(float)
        visible = np.where(body, PERSON, -1)
        for number, thing in enumerate(self.layout.things):
            own = np.where(thing.shape(time), thing.distance(time), np.inf)
            # Where the feet stand, the ground is as far as they are.
            nearer = (own < distance - 1e-3) & ~((thing.name == "ground") & body)
            visible = np.where(nearer, number + 1, visible)
            distance = np.where(nearer, own, distance)
            self._hiding[number, index] = float((body & nearer).sum()) / max(1, int(body.sum()))
        scale, offset = random.uniform(5, 50), random.uniform(-10, 10)
        noise = random.normal(0, 0.002, distance.shape)
        self.visible.append(visible)
        self._depth.append((scale * (1 / distance + noise) + offset).astype(np.float32))

    def _segments(self, image: np.ndarray) -> list[np.ndarray]:
        """Everything that is seen, its left and upper parts too, and the person."""
        visible = self.visible[self._numbers[_digest(image)]]
        whole = [visible == number for number in np.unique(visible)]
        parts = [mask & half for mask in whole for half in _halves(mask)]
        return [mask for mask in [*whole, *parts] if mask.sum() > 50]

    def _depths(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack([self._depth[self._numbers[_digest(image)]] for image in images])

    def _follow(self, video: VideoReader, seeds: list[Seed]) -> Iterator[np.ndarray]:
        """The things that the seeds are of."""
        numbers = []
        for seed in seeds:
            visible = self.visible[seed.frame][seed.mask]
            numbers.append(int(np.bincount(visible).argmax()))
        for visible in self.visible:
            yield np.array([visible == number for number in numbers])


def walk(body: BodyModel, places: list[float]) -> Motion:
    """A person in the reference pose, facing the camera, shifted sideways (metres)."""
    count = len(places)
    middle = float(body.rest_vertices[:, 2].mean())
    translation = np.stack([places, np.full(count, middle), np.full(count, DISTANCE)], axis=1)
    return Motion(
        model=body.topology.model,
        shape=np.zeros(body.topology.components, np.float32),
        rest_vertices=body.rest_vertices,
        rest_bones=body.rest_bones,
        rotations=np.zeros((count, len(body.bone_names), 3), np.float32),
        root_rotation=np.tile(np.array([np.pi / 2, 0, 0], np.float32), (count, 1)),
        translation=translation.astype(np.float32),
        camera=CAMERA,
        confidence=np.ones(count, np.float32),
        visible=np.ones(count, bool),
        ground=np.zeros(4, np.float32),
    )


def _times() -> list[float]:
    return [index / (FRAMES - 1) for index in range(FRAMES)]


def _halves(mask: np.ndarray) -> list[np.ndarray]:
    rows, columns = np.nonzero(mask)
    return [xs < np.median(columns), ys < np.median(rows)]


def _digest(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()
