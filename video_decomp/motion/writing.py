"""A motion template on disk: ``motion.npz``, ``sdc.mp4``, record, ``preview.png``; ``config.json`` last."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.figure import Figure, Poses
from mimo.body.motion import Motion
from mimo.body.motion_code import drawn_motion
from mimo.files import sha256, whole_file
from mimo.stage import StageSettings, progress, write_record
from mimo.template import CONFIG, MOTION, FrameCrop, TemplateConfig, time_crop
from mimo.video import VideoReader, VideoWriter
from video_decomp.motion.view import Shot
from video_decomp.pack import licences, made_files, read_record
from video_decomp.preview import grid, pick

STAGE = "motion"
PREVIEW_ROWS, PREVIEW_COLUMNS = 2, 6


def motion_of(poses: Poses, figure: Figure, shot: Shot, shape: np.ndarray) -> Motion:
    """Poses as a camera sees them, as `Motion`.

    Args:
        poses: in the world.
        figure: whose they are.
        shot: the camera.
        shape: (S,) the body's shape coefficients.
    """
    body, parents = figure.body, figure.body.parents
    frames = len(poses)
    local = poses.turns[:, np.maximum(parents, 0)].swapaxes(-1, -2) @ poses.turns
    local[:, 0] = np.eye(3)
    root = shot.axes @ poses.turns[:, 0]
    place = np.einsum("tij,tj->ti", shot.axes, figure.places(poses)[:, 0] - shot.places)
    rotations = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(frames, -1, 3)
    return Motion(
        model=body.topology.model,
        shape=shape.astype(np.float32),
        rest_vertices=body.rest_vertices,
        rest_bones=body.rest_bones,
        rotations=rotations.astype(np.float32),
        root_rotation=Rotation.from_matrix(root).as_rotvec().astype(np.float32),
        translation=(place - root @ figure.heads[0]).astype(np.float32),
        camera=shot.camera.astype(np.float32),
        confidence=np.ones(frames, np.float32),
        visible=np.ones(frames, bool),
        ground=shot.ground.astype(np.float32),
        view=shot.view.astype(np.float32) if shot.moves else None,
    )


def write_template(
    folder: Path,
    name: str,
    path: Path,
    motion: Motion,
    fps: float,
    settings: StageSettings,
    *,
    metrics: dict[str, object],
    warnings: list[str],
    weights: list[str],
    source: str,
) -> None:
    """Write the template; ``config.json`` comes last and makes the folder one.

    Args:
        folder: to write to.
        name: of the template.
        path: the file that it was made of.
        motion: what it holds.
        fps: frames a second.
        settings: of the import.
        metrics, warnings, weights: for the record.
        source: kind of the file.
    """
    (folder / CONFIG).unlink(missing_ok=True)
    motion.save(folder / "motion.npz")
    rate = Fraction(fps).limit_denominator(1001)
    with VideoWriter(folder / "sdc.mp4", rate) as writer:
        for image, _ in progress(drawn_motion(motion), "drawing", len(motion)):
            writer.write(image)
    write_record(
        folder / "records" / f"{STAGE}.json",
        stage=STAGE,
        backend="",
        settings=settings,
        metrics=metrics,
        warnings=warnings,
        weights=weights,
        source=path.name,
        source_sha256=sha256(path) if path.is_file() else None,
        source_kind=source,
    )
    _write_preview(folder / "preview.png", VideoReader(folder / "sdc.mp4"), f"{name}: {source}")
    records = {STAGE: read_record(folder, STAGE)}
    width, height = (int(value) for value in motion.camera[3:])
    TemplateConfig(
        fps=fps,
        time_crop=time_crop(fps, 0, len(motion)),
        frame_crop=FrameCrop(end_idx_x=width, end_idx_y=height),
        layer_recover=False,
        pipeline={
            "kind": MOTION,
            "name": name,
            "fps": f"{rate}",
            "frames": len(motion),
            "size": [width, height],
            "valid": [0, len(motion)],
            "files": {file.name: sha256(file) for file in made_files(folder)},
            "licences": licences(records),
            "stages": records,
        },
    ).write(folder / CONFIG)


def _write_preview(path: Path, video: VideoReader, title: str) -> None:
    """Frames over time as a PNG."""
    cells = min(PREVIEW_ROWS * PREVIEW_COLUMNS, len(video))
    columns = min(PREVIEW_COLUMNS, cells)
    numbers = np.linspace(0, len(video) - 1, cells // columns * columns).round().astype(int).tolist()
    frames = pick(video, sorted(set(numbers)))
    shown = [frames[sorted(set(numbers)).index(number)] for number in numbers]
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    labels = [f"{numbers[start]}" for start in range(0, len(shown), columns)]
    sheet = grid(rows, labels, [""] * columns, f"{title}, {len(video)} frames")
    with whole_file(path) as part:
        sheet.save(part, format="PNG")
