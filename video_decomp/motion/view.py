"""The camera that looks at a motion: fixed, following, orbiting, or that of a template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field
from scipy.ndimage import gaussian_filter1d

from mimo.body.figure import Figure, Poses
from mimo.body.motion import Motion
from mimo.stage import Rejected, StageSettings
from video_decomp.motion.placing import Ground, axes_at, first_seen, mark_at
from video_decomp.motion.retarget import headings

KINDS = ("fixed", "follow", "orbit")
TEMPLATE = "template:"
BEHIND = 0.5
"""Seconds of the Gaussian by which the camera lags around whom it follows."""
FRAMES_AT_ONCE = 200
NEAREST = 0.3
"""Metres in front of the camera within which nothing may come."""


class View(StageSettings):
    """From where a motion is seen."""

    camera: str = Field(
        "fixed",
        description="fixed: frames the whole motion; follow: goes along; orbit: goes along and around; "
        "template:DIR: the camera of a template, whose person's place and direction are taken",
        pattern=f"^({'|'.join(KINDS)}|{TEMPLATE}.+)$",
    )
    azimuth: float = Field(
        20, ge=-360, le=360, description="degrees from the front towards the person's left, in the mean"
    )
    elevation: float = Field(6, ge=-10, le=80, description="degrees by which the camera looks down")
    orbit: float = Field(360, ge=-3600, le=3600, description="degrees that an orbiting camera goes around")
    lens: float = Field(
        1.6,
        ge=0.5,
        le=20,
        description="focal length, in widths of the picture's longer side: larger is flatter",
    )
    margin: float = Field(0.1, ge=0, le=0.4, description="share of the picture that stays free at each edge")
    width: int = Field(720, ge=64, le=3840, multiple_of=2, description="pixels")
    height: int = Field(720, ge=64, le=3840, multiple_of=2, description="pixels")


@dataclass(frozen=True, eq=False)
class Shot:
    """A camera over T frames; its distance from the ground and its tilt never change.

    Attributes:
        axes: (T, 3, 3) world to camera axes (x right, y down, z away).
        places: (T, 3) metres, of the camera in the world.
        camera: (5,) see `mimo.body.camera`.
    """

    axes: np.ndarray
    places: np.ndarray
    camera: np.ndarray

    @property
    def ground(self) -> np.ndarray:
        """(4,) the plane z = 0 in camera space, see `Motion`."""
        return np.array([*self.axes[0, :, 2], -self.places[0, 2]])

    @property
    def moves(self) -> bool:
        """Whether the camera does not stand still."""
        return bool((np.ptp(self.axes, axis=0) > 0).any() or (np.ptp(self.places, axis=0) > 0).any())

    @property
    def view(self) -> np.ndarray:
        """(T, 3, 4) world to camera space, see `Motion`."""
        shift = -np.einsum("tij,tj->ti", self.axes, self.places)
        return np.concatenate([self.axes, shift[:, :, None]], 2)


def shot_of(poses: Poses, figure: Figure, view: View, fps: float) -> Shot:
    """The camera for a motion on the ground z = 0.

    Raises:
        Rejected: the template whose camera is asked for has none.
    """
    if view.camera.startswith(TEMPLATE):
        return _of_template(Path(view.camera.removeprefix(TEMPLATE)), poses)
    frames = len(poses)
    heading = headings(poses.turns[:, 0])
    facing = np.arctan2(np.sin(heading).mean(), np.cos(heading).mean())
    turned = (
        np.radians(view.orbit) * np.arange(frames) / frames if view.camera == "orbit" else np.zeros(frames)
    )
    axes = _axes(facing + np.radians(view.azimuth) + turned, np.radians(view.elevation))
    centre = np.zeros((frames, 3))
    if view.camera != "fixed":
        centre[:, :2] = _followed(poses.hips[:, :2], BEHIND * fps)
    focal = view.lens * max(view.width, view.height)
    camera = np.array([focal, view.width / 2, view.height / 2, view.width, view.height])
    offset = _framing(poses, figure, axes, centre, camera, view.margin)
    return Shot(axes, centre + np.einsum("tji,j->ti", axes, offset), camera)


def _followed(track: np.ndarray, sigma: float) -> np.ndarray:
    """A track (T, 2) smoothed; at its ends it goes on as it came, so that the camera does not fall behind."""
    beyond = min(len(track) - 1, round(4 * sigma))
    padded = np.pad(track, ((beyond, beyond), (0, 0)), mode="reflect", reflect_type="odd")
    return np.asarray(gaussian_filter1d(padded, sigma, axis=0)[beyond : beyond + len(track)])


def _axes(azimuth: np.ndarray, elevation: float) -> np.ndarray:
    """(T, 3, 3) world to camera axes of cameras that stand at an azimuth (T,) from -y, and look down."""
    towards = np.stack([np.sin(azimuth), -np.cos(azimuth), np.zeros_like(azimuth)], 1) * np.cos(elevation)
    away = -(towards + np.array([0, 0, np.sin(elevation)]))
    right = np.cross(away, [0, 0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(away, right), away], 1)


def _framing(
    poses: Poses, figure: Figure, axes: np.ndarray, centre: np.ndarray, camera: np.ndarray, margin: float
) -> np.ndarray:
    """(3,) where the camera stands from the centre, in its axes, as near as it sees everything.

    A point at (x, y, z) from the centre is within the picture's width if |x - cx| <= k (z + d): the largest
    x / k - z and -x / k - z give both the side step cx and the distance d.
    """
    reach = (0.5 - margin) * camera[3:] / camera[0]
    bounds = np.full((2, 2), -np.inf)
    nearest = np.inf
    for start in range(0, len(poses), FRAMES_AT_ONCE):
        part = slice(start, start + FRAMES_AT_ONCE)
        points = figure.skin(Poses(poses.turns[part], poses.hips[part]), figure.sample)
        seen = np.einsum("tij,tnj->tni", axes[part], points - centre[part, None])
        for axis in range(2):
            for sign in (0, 1):
                far = (1 - 2 * sign) * seen[..., axis] / reach[axis] - seen[..., 2]
                bounds[axis, sign] = max(bounds[axis, sign], far.max())
        nearest = min(nearest, seen[..., 2].min())
    distance = max(float(bounds.mean(1).max()), NEAREST - nearest)
    steps = reach * (bounds[:, 0] - bounds[:, 1]) / 2
    return np.array([steps[0], steps[1], -distance])


def _of_template(folder: Path, poses: Poses) -> Shot:
    """The camera of a template; the motion begins where its person does, in the same direction.

    Raises:
        Rejected: it has no motion of its own.
    """
    path = folder / "motion.npz"
    if not path.is_file():
        raise Rejected(f"{path}: not there; --camera template:DIR needs a template that was made here")
    theirs = Motion.load(path)
    ground = Ground.of(theirs)
    mark = mark_at(theirs, ground, first_seen(theirs))
    axes = axes_at(ground, mark.heading, 0)
    return shot_at(ground, axes, poses.hips[0] * np.array([1, 1, 0]), mark.place, len(poses))


def shot_at(ground: Ground, axes: np.ndarray, point: np.ndarray, place: np.ndarray, frames: int) -> Shot:
    """A camera that stands, by a place that it sees.

    Args:
        ground: before it.
        axes: (3, 3) see `video_decomp.motion.placing.axes_at`.
        point: (3,) of the world's ground.
        place: (3,) where it is in camera space.
        frames: of the motion.
    """
    stands = point - axes.T @ place
    return Shot(np.tile(axes, (frames, 1, 1)), np.tile(stands, (frames, 1)), ground.camera)
