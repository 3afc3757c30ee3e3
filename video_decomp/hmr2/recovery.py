"""A masked clip through the networks, batch by batch: the person's parameters in every frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mimo.stage import Rejected
from video_decomp.hmr2.crops import cut, in_picture, person_box, square_around
from video_decomp.hmr2.hands import Hands
from video_decomp.hmr2.network import MeshNetwork, normalised
from video_decomp.hmr2.track import Track, empty_track, with_straight_hands
from video_decomp.sam2.streams import ahead


@dataclass
class Recovery:
    """The networks and how many frames go through them at a time.

    Attributes:
        body: HMR2.
        hands: HaMeR with its key points, or None.
        joints: of the body to fill: 24 (SMPL) or 52 (SMPL-H).
        batch: frames.
    """

    body: MeshNetwork
    hands: Hands | None
    joints: int
    batch: int

    def track(self, frames: Iterable[tuple[np.ndarray, np.ndarray]], camera: np.ndarray) -> Track:
        """The person's parameters.

        Args:
            frames: RGB frames (h, w, 3) and masks (h, w), uint8, read once; two batches of them are held.
            camera: (5,) of the picture.

        Raises:
            Rejected: the networks' answer is not finite.
        """
        done, waiting, count = _Results(), _Batch(), 0
        for number, (image, mask) in enumerate(ahead(frames, self.batch)):
            count = number + 1
            box = person_box(mask)
            if box is not None:
                waiting.add(number, image, box)
            if len(waiting.numbers) == self.batch:
                self._run(waiting, camera, done)
                waiting = _Batch()
        if waiting.numbers:
            self._run(waiting, camera, done)
        return done.track(count, self.joints)

    def _run(self, batch: _Batch, camera: np.ndarray, done: _Results) -> None:
        squares = [square_around(box) for box in batch.boxes]
        crops = [cut(image, square) for image, square in zip(batch.images, squares, strict=True)]
        found = self.body(normalised(crops, self.body.device))
        rotations = found.rotations.cpu().double().numpy()
        seen = np.zeros((len(rotations), 2), bool)
        if self.hands is not None:
            rotations, seen = self.hands(batch.images, batch.boxes, rotations)
        elif self.joints != rotations.shape[1]:
            rotations = with_straight_hands(rotations)
        shapes, weak = found.shape.cpu().double().numpy(), found.camera.cpu().double().numpy()
        for number, *values in zip(batch.numbers, rotations, shapes, weak, strict=True):
            if not all(np.isfinite(value).all() for value in values):
                raise Rejected(
                    f"pose: the networks give no numbers for frame {number}; set precision: float32, and if "
                    "it stays so, compare the checkpoints with those of their sites"
                )
        done.numbers += batch.numbers
        done.rotations.append(rotations)
        done.shapes.append(shapes)
        done.places.append(in_picture(weak, squares, camera))
        done.hands.append(seen)


@dataclass
class _Batch:
    numbers: list[int] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)

    def add(self, number: int, image: np.ndarray, box: np.ndarray) -> None:
        self.numbers.append(number)
        self.images.append(image)
        self.boxes.append(box)


@dataclass
class _Results:
    numbers: list[int] = field(default_factory=list)
    rotations: list[np.ndarray] = field(default_factory=list)
    shapes: list[np.ndarray] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    hands: list[np.ndarray] = field(default_factory=list)

    def track(self, frames: int, joints: int) -> Track:
        track = empty_track(frames, joints)
        if self.numbers:
            track.rotations[self.numbers] = np.concatenate(self.rotations)
            track.shapes[self.numbers] = np.concatenate(self.shapes)
            track.translation[self.numbers] = np.concatenate(self.places)
            track.hands[self.numbers] = np.concatenate(self.hands)
            track.seen[self.numbers] = True
        return track
