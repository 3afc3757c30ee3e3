"""A person's motion: `motion.npz` of a template and `body.npz` of a character."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mimo.body.model import BodyModel, Topology
from mimo.files import whole_file
from mimo.stage import Rejected


@dataclass(frozen=True, eq=False)
class Motion:
    """One person's body over T frames, camera space (metres, x right, y down, z away).

    Attributes:
        model: name and version of the body model, such as ``anny-0.6.2`` or ``smpl-`` and a digest.
        shape: (S,) float32, shape coefficients.
        rest_vertices: (V, 3) float32, the person at rest, model axes (z up, faces -y).
        rest_bones: (J, 4, 4) float32, bone to model transforms at rest.
        rotations: (T, J, 3) float32, axis-angle of each bone's local rotation from rest.
        root_rotation: (T, 3) float32, axis-angle, model axes to camera axes.
        translation: (T, 3) float32, of the model's origin.
        camera: (5,) float32: focal length, centre x, centre y, width, height, pixels.
        confidence: (T,) float32, 0 (filled in) to 1.
        visible: (T,) bool, the person was seen.
        ground: (4,) float32: plane n·x = d of the ground, n up; zeros when unknown.
        view: (T, 3, 4) float32, world to camera space in every frame, of a camera that moves over the ground
            (z = 0 of that world); None: it stands, or nothing is known about it.
    """

    model: str
    shape: np.ndarray
    rest_vertices: np.ndarray
    rest_bones: np.ndarray
    rotations: np.ndarray
    root_rotation: np.ndarray
    translation: np.ndarray
    camera: np.ndarray
    confidence: np.ndarray
    visible: np.ndarray
    ground: np.ndarray
    view: np.ndarray | None = None

    def __post_init__(self) -> None:
        frames, bones = self.rotations.shape[:2]
        expected = {
            "rest_vertices": (len(self.rest_vertices), 3),
            "rest_bones": (bones, 4, 4),
            "rotations": (frames, bones, 3),
            "root_rotation": (frames, 3),
            "translation": (frames, 3),
            "camera": (5,),
            "confidence": (frames,),
            "visible": (frames,),
            "ground": (4,),
        }
        if self.view is not None:
            expected["view"] = (frames, 3, 4)
        for name, shape in expected.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}, not {shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name} holds values that are not finite")
        if not frames:
            raise ValueError("there are no frames")

    def __len__(self) -> int:
        return len(self.rotations)

    @staticmethod
    def load(path: Path | str) -> Motion:
        """Read a motion.

        Raises:
            Rejected: the file is missing, damaged, incomplete or inconsistent.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                values: dict[str, Any] = {
                    field.name: file[field.name]
                    for field in fields(Motion)
                    if field.name != "view" or "view" in file
                }
            values["model"] = str(values["model"])
            return Motion(**values)
        except (OSError, KeyError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
            raise Rejected(f"{path}: not a motion file ({error}); run the pose stage again") from error

    def save(self, path: Path | str) -> None:
        """Write the motion, whole or not at all."""
        types = {"model": np.str_, "visible": np.bool_}
        values: dict[str, Any] = {
            field.name: np.asarray(getattr(self, field.name), types.get(field.name, np.float32))
            for field in fields(self)
            if getattr(self, field.name) is not None
        }
        with whole_file(Path(path)) as part, part.open("wb") as file:
            np.savez_compressed(file, **values)  # type: ignore[arg-type]

    def taken(self, frames: np.ndarray | slice) -> Motion:
        """The same person in some of the frames, in any order."""
        over_time = ["rotations", "root_rotation", "translation", "confidence", "visible"]
        over_time += ["view"] if self.view is not None else []
        return replace(self, **{name: getattr(self, name)[frames] for name in over_time})

    @cached_property
    def body(self) -> BodyModel:
        """The person's body.

        Raises:
            Rejected: this computer lacks the body model that it names.
        """
        topology = Topology.named(self.model)
        if len(topology.mean_vertices) != len(self.rest_vertices):
            raise Rejected(f"motion of another {self.model} than the installed one; run the pose stage again")
        return BodyModel(topology, self.rest_vertices, self.rest_bones)

    def vertices(self, index: int) -> np.ndarray:
        """The posed body in a frame, (V, 3) float32, camera space."""
        return self.body.pose(self.rotations[index], self.root_rotation[index], self.translation[index])
