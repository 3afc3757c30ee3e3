"""How close the fitted 3D joints are to those triangulated from four calibrated cameras.

    python -m benchmarks.pose_accuracy --template templates/balance

Needs the template of the demonstration clip ``balance`` (pose2sim's camera 2, every second frame) with
``vid.mp4`` and ``mask.mp4``, and the footage ``pose2sim-cam01`` ... ``pose2sim-cam04`` and
``pose2sim-calibration`` in the cache. Runs the pose stage on a copy of the template. The reference is itself
made of BlazePose landmarks (heavy network, four views at 60 Hz, smoothed at 6 Hz), so it shares their
definition of joints; its own error is told by the reprojection error.

Where landmarks lie on the body (video_decomp/pose/landmark_offsets.py) was calibrated on the demonstration
clips. So ingest, segmentation and pose also run on clips that played no part in that. Writes
benchmarks/results/pose_accuracy.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import butter, filtfilt
from scipy.spatial.transform import Rotation

from benchmarks.machine import describe
from mimo import weights
from mimo.body.motion import Motion
from mimo.stage import Rejected
from mimo.video import VideoReader
from video_decomp.blazepose import LandmarkNetwork, PersonDetector
from video_decomp.body_region import Landmark
from video_decomp.ingest.__main__ import main as ingest
from video_decomp.pose.__main__ import main as pose
from video_decomp.pose.observations import Look, look_at, steady
from video_decomp.segmentation.__main__ import main as segmentation

RESULTS = Path(__file__).parent / "results" / "pose_accuracy.md"
CAMERAS = ("cam01", "cam02", "cam03", "cam04")
VIEW = "cam02"  # the camera of the template
UNSEEN = (
    ("pose2sim-cam01", "largest", "the same scene from another side, camera rolled by 13 degrees"),
    ("pose2sim-cam03", "largest", "the same scene from behind"),
    ("pose2sim-cam04", "largest", "the same scene from behind, camera rolled by 26 degrees"),
    ("pose2sim-multi-cam02", "largest", "the motion of `balance` with a second person in front"),
    ("pose2sim-multi-cam02", "[125, 530]", "that second person, a woman from behind"),
)
"""Footage not used for calibration, the subject (setting of the segmentation), what it is."""
SOURCE_RATE = 60.0
LOW_PASS = 6.0  # Hz
EXPECTED, WRONG = 20.0, 30.0  # reprojection errors, pixels: usual, and of a view that is mistaken
JOINTS = [
    Landmark[f"{side}_{part}"]
    for part in ("SHOULDER", "ELBOW", "WRIST", "HIP", "KNEE", "ANKLE")
    for side in ("LEFT", "RIGHT")
]


@dataclass(frozen=True)
class Camera:
    """A calibrated camera.

    Attributes:
        matrix: (3, 3) intrinsics, pixels.
        distortion: (5,) OpenCV coefficients.
        rotation: (3, 3) world to camera axes (x right, y down, z away).
        translation: (3,) metres.
    """

    matrix: np.ndarray
    distortion: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray

    def normalised(self, pixels: np.ndarray) -> np.ndarray:
        """Undistorted directions (N, 2) of pixels (N, 2)."""
        return cv2.undistortPoints(pixels[:, None].astype(float), self.matrix, self.distortion)[:, 0]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of world points (N, 3)."""
        turn = Rotation.from_matrix(self.rotation).as_rotvec()
        return cv2.projectPoints(points, turn, self.translation, self.matrix, self.distortion)[0][:, 0]


def read_qualisys(path: Path) -> dict[str, Camera]:
    """Cameras of a Qualisys calibration file by their serial.

    Lengths are millimetres; image lengths are in 1/64 pixel; the rotation takes camera axes (x right, y up, z
    towards the viewer) to the world's, stored by columns.
    """
    cameras = {}
    for node in ElementTree.parse(path).getroot().iter("camera"):
        place, inner = node.find("transform"), node.find("intrinsic")
        assert place is not None
        assert inner is not None
        value = {key: float(text) / 64 for key, text in inner.attrib.items() if key[-1] in "UV"}
        matrix = np.array(
            [
                [value["focalLengthU"], 0, value["centerPointU"]],
                [0, value["focalLengthV"], value["centerPointV"]],
                [0, 0, 1],
            ]
        )
        names = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
        distortion = np.array([*(float(inner.attrib[name]) for name in names), 0.0])
        columns = [[float(place.attrib[f"r{row}{column}"]) for column in (1, 2, 3)] for row in (1, 2, 3)]
        rotation = np.diag([1.0, -1.0, -1.0]) @ np.array(columns)
        origin = np.array([float(place.attrib[axis]) for axis in "xyz"]) / 1000
        cameras[node.attrib["serial"]] = Camera(matrix, distortion, rotation, -rotation @ origin)
    return cameras


def same_person(cameras: list[Camera], videos: list[Path]) -> list[np.ndarray]:
    """Boxes (4,) of one person in the first frames: of all people found, those whose rays meet best."""
    network, detector = LandmarkNetwork("heavy"), PersonDetector()
    found = []
    for path in videos:
        image = VideoReader(path).frame(0)
        found.append([network.run_twice(image, one.roi) for one in detector.detect_small(image)])
    choices = list(itertools.product(*found))
    errors = []
    for choice in choices:
        seen = np.stack([np.column_stack([one.image[:, :2], one.visibility]) for one in choice])
        errors.append(float(np.median(triangulate(cameras, seen[:, None])[1])))
    return [one.box for one in choices[int(np.argmin(errors))]]


def landmarks(path: Path, boxes: Iterable[np.ndarray] | None, first: np.ndarray | None = None) -> np.ndarray:
    """BlazePose landmarks (T, 33, 3) x, y, visibility of one person of a video.

    Args:
        path: the video.
        boxes: the person's box in each frame; or nothing, then it is followed from `first`.
        first: the box in the first frame.
    """
    network = LandmarkNetwork("heavy")
    looks: list[list[Look]] = []
    box, given = first, None if boxes is None else iter(boxes)
    for image in VideoReader(path):
        box = box if given is None else next(given)
        looks.append(look_at(image, box, network, float(max(image.shape))))
        if looks[-1]:
            points = looks[-1][-1].landmarks
            box = np.concatenate([points.min(0), points.max(0)])
    result = np.zeros((len(looks), 33, 3))
    for number, one in enumerate(steady(looks)):
        if one is not None:
            result[number, :, :2], result[number, :, 2] = one.landmarks, one.visibility
    return result


def triangulate(cameras: list[Camera], seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (T, 33, 3) in world metres of landmarks (C, T, 33, 3), and reprojection errors (T, 33), pixels.

    The errors are medians over the views. From the views whose point fits most views (consensus), then
    from all views weighted by how well they fit.
    """
    flat = seen.reshape(len(cameras), -1, 3)
    rays = np.stack([camera.normalised(view[:, :2]) for camera, view in zip(cameras, flat, strict=True)])
    sure = flat[..., 2]
    points, best = np.zeros((flat.shape[1], 3)), np.full(flat.shape[1], np.inf)
    for count in range(len(cameras), 1, -1):
        for views in itertools.combinations(range(len(cameras)), count):
            share = np.zeros_like(sure)
            share[list(views)] = sure[list(views)]
            trial = _linear(cameras, rays, share + 1e-6)
            cost = (sure * np.minimum(_reprojection(cameras, trial, flat), WRONG)).sum(0)
            better = cost < best
            points[better], best[better] = trial[better], cost[better]
    for _ in range(5):
        square = (_reprojection(cameras, points, flat) / EXPECTED) ** 2
        points = _linear(cameras, rays, sure / (1 + square) + 1e-6)
    error = np.median(_reprojection(cameras, points, flat), axis=0)
    return points.reshape(*seen.shape[1:3], 3), error.reshape(seen.shape[1:3])


def reprojected(camera: Camera, points: np.ndarray) -> list[np.ndarray]:
    """Box (4,) of points (T, 33, 3) in each frame of a camera's video, steadied by a median over time."""
    pixels = camera.project(points.reshape(-1, 3)).reshape(*points.shape[:2], 2)
    corners = np.concatenate([np.quantile(pixels, 0.03, 1), np.quantile(pixels, 0.97, 1)], 1)
    return list(median_filter(corners, (9, 1), mode="nearest"))


def _linear(cameras: list[Camera], rays: np.ndarray, share: np.ndarray) -> np.ndarray:
    rows = []
    for camera, ray, weight in zip(cameras, rays, share, strict=True):
        pose = np.hstack([camera.rotation, camera.translation[:, None]])
        for axis in range(2):
            rows.append(weight[:, None] * (ray[:, axis, None] * pose[2] - pose[axis]))
    homogeneous = np.linalg.svd(np.stack(rows, 1))[2][:, -1]
    return homogeneous[:, :3] / homogeneous[:, 3:]


def _reprojection(cameras: list[Camera], points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            np.linalg.norm(camera.project(points) - view[:, :2], axis=1)
            for camera, view in zip(cameras, seen, strict=True)
        ]
    )


def aligned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points (N, 3) after the similarity that brings them closest to the target (Procrustes)."""
    centre, aim = points.mean(0), target.mean(0)
    turn, _ = Rotation.align_vectors(target - aim, points - centre)
    turned = turn.apply(points - centre)
    scale = (turned * (target - aim)).sum() / (turned**2).sum()
    return scale * turned + aim


def compare(fitted: np.ndarray, truth: np.ndarray, rate: float) -> dict[str, float]:
    """Errors of fitted joints (T, N, 3) in metres against the truth, in the same axes.

    Returns:
        millimetres: `pa_mpjpe` aligned frame by frame; `clip_mpjpe` aligned once for the whole clip;
        `hip_mpjpe` after moving the hips onto each other; `acceleration`, in m/s².
    """
    frame = np.stack([aligned(one, aim) for one, aim in zip(fitted, truth, strict=True)])
    clip = aligned(fitted.reshape(-1, 3), truth.reshape(-1, 3)).reshape(truth.shape)
    hips = [JOINTS.index(Landmark.LEFT_HIP), JOINTS.index(Landmark.RIGHT_HIP)]
    moved = fitted - (fitted - truth)[:, hips].mean(1, keepdims=True)
    bend = np.diff(clip, 2, axis=0) - np.diff(truth, 2, axis=0)
    return {
        "pa_mpjpe": 1e3 * float(np.linalg.norm(frame - truth, axis=2).mean()),
        "clip_mpjpe": 1e3 * float(np.linalg.norm(clip - truth, axis=2).mean()),
        "hip_mpjpe": 1e3 * float(np.linalg.norm(moved - truth, axis=2).mean()),
        "acceleration": float(np.linalg.norm(bend, axis=2).mean()) * rate**2,
    }


def reference(calibration: dict[str, Camera]) -> tuple[np.ndarray, dict[str, float]]:
    """Smoothed joints (T, joints, 3) at 60 Hz in world metres; their own errors."""
    cameras = [calibration[name] for name in CAMERAS]
    videos = [weights.path(f"pose2sim-{name}") for name in CAMERAS]
    boxes = same_person(cameras, videos)
    seen = np.stack([landmarks(path, None, box) for path, box in zip(videos, boxes, strict=True)])
    rough, _ = triangulate(cameras, seen)
    # Look again where the person must be: a view that lost them, or saw them reversed, has a second chance.
    seen = np.stack(
        [landmarks(path, reprojected(camera, rough)) for path, camera in zip(videos, cameras, strict=True)]
    )
    points, error = triangulate(cameras, seen)
    joints = points[:, JOINTS]
    steadied = median_filter(joints, (7, 1, 1), mode="nearest")
    smooth = filtfilt(*butter(4, LOW_PASS / (SOURCE_RATE / 2)), steadied, axis=0)
    quality = {
        "reprojection_px": float(np.median(error[:, JOINTS])),
        "smoothing_mm": 1e3 * float(np.linalg.norm(joints - smooth, axis=2).mean()),
    }
    return smooth, quality


def fitted_joints(motion: Motion) -> np.ndarray:
    """(T, joints, 3) of a motion, camera space, metres."""
    return np.stack([motion.body.key_points(motion.vertices(i))[JOINTS] for i in range(len(motion))])


def measure(template: Path, settings: str, truth: np.ndarray, view: Camera | None) -> dict[str, float]:
    """Run the pose stage on a template; what it recorded and, with a calibrated view, the errors in 3D.

    Raises:
        Rejected: the pose stage failed.
    """
    if pose(["--template", str(template), "--settings", settings]):
        raise Rejected(f"{template}: the pose stage failed")
    metrics = json.loads((template / "records" / "pose.json").read_text())["metrics"]
    if view is None:
        return metrics
    motion = Motion.load(template / "motion.npz")
    rate = float(VideoReader(template / "vid.mp4").info.fps)
    seen = truth[:: round(SOURCE_RATE / rate)][: len(motion)] @ view.rotation.T + view.translation
    return metrics | compare(fitted_joints(motion), seen, rate) | ground_errors(motion, view)


def ground_errors(motion: Motion, view: Camera) -> dict[str, float]:
    """Degrees between the ground's normal and the vertical; mean distance (cm) of the lowest point to it."""
    normal, height = motion.ground[:3], motion.ground[3]
    tilt = np.degrees(np.arccos(np.clip(normal @ view.rotation[:, 2], -1, 1)))
    lowest = [float((motion.vertices(i) @ normal).min() - height) for i in range(len(motion))]
    return {"ground_degrees": float(tilt), "feet_cm": 100 * float(np.abs(lowest).mean())}


def prepare(footage: str, subject: str, template: Path) -> None:
    """Ingest and segmentation of some footage.

    Raises:
        Rejected: a stage failed.
    """
    where = ["--template", str(template)]
    if ingest([str(weights.path(footage)), *where]) or segmentation([*where, "--subject", subject]):
        raise Rejected(f"{footage}: ingest or segmentation failed")


def main() -> int:
    """Run the pose stage, compare, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--template", type=Path, required=True, help="the template of the clip `balance`")
    parser.add_argument("--settings", default="{}", help="settings of the pose backend, JSON")
    args = parser.parse_args()
    calibration = read_qualisys(weights.path("pose2sim-calibration"))
    truth, quality = reference(calibration)
    unseen = []
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "balance"
        template.mkdir()
        for name in ("vid.mp4", "mask.mp4"):
            shutil.copy(args.template / name, template)
        seen = measure(template, args.settings, truth, calibration[VIEW])
        for number, (footage, subject, _) in enumerate(UNSEEN):
            template = Path(folder) / str(number)
            prepare(footage, subject, template)
            view = calibration.get(footage.removeprefix("pose2sim-"))
            unseen.append(measure(template, args.settings, truth, view))
    table = _table(seen, quality, unseen)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(table)
    print(table)
    return 0


def _table(seen: dict[str, float], quality: dict[str, float], unseen: list[dict[str, float]]) -> str:
    rows = [
        ("PA-MPJPE of the 12 main joints (aligned in each frame)", f"{seen['pa_mpjpe']:.1f} mm"),
        ("MPJPE, hips moved onto each other (true camera axes)", f"{seen['hip_mpjpe']:.1f} mm"),
        ("MPJPE, one alignment for the whole clip", f"{seen['clip_mpjpe']:.1f} mm"),
        ("acceleration error", f"{seen['acceleration']:.2f} m/s²"),
        ("landmark error in the picture", f"{seen['landmark_error_percent']} % of the height"),
        ("median overlap with the mask (IoU)", f"{seen['mask_iou_median']}"),
        ("ground's normal off the vertical", f"{seen['ground_degrees']:.1f}°"),
        ("mean distance of the lowest point to the ground", f"{seen['feet_cm']:.1f} cm"),
        ("pose stage, wall time", f"{seen['seconds_per_frame']} seconds/frame"),
        ("reference: median reprojection error, 1080x1920", f"{quality['reprojection_px']:.1f} px"),
        ("reference: mean change by smoothing", f"{quality['smoothing_mm']:.1f} mm"),
    ]
    lines = [
        "# Pose accuracy",
        "",
        "Written by `python -m benchmarks.pose_accuracy`: one camera against the triangulation of four.",
        "",
        f"Backend anny; {describe()}.",
        "",
        "| measure | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "## Clips not used for calibration",
        "",
        "The 2D error above is measured against landmark places that were calibrated on this very clip and",
        "`tree walk`. These clips played no part in that (the man is the same, the woman is new), so theirs",
        "is the error to expect; ingest, segmentation and pose ran with the default settings.",
        "",
        "| clip | landmark error, % of height | IoU | PA-MPJPE, mm | ground off, ° | feet to ground, cm |",
        "|---|---|---|---|---|---|",
        *(_row(f"`{footage}`: {what}", one) for (footage, _, what), one in zip(UNSEEN, unseen, strict=True)),
    ]
    return "\n".join(lines) + "\n"


def _row(clip: str, one: dict[str, float]) -> str:
    cells = [clip, one["landmark_error_percent"], one["mask_iou_median"]]
    cells += [f"{one[key]:.1f}" if key in one else "–" for key in ("pa_mpjpe", "ground_degrees", "feet_cm")]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
