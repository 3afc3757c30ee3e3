"""A small scene for staging: somebody in red goes through it, a post stands in the way; and its parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from background_scenes import picture

from mimo.body.camera import project
from mimo.body.motion import Motion
from mimo.files import sha256
from mimo.template import Template, TemplateConfig, time_crop
from mimo.video import VideoReader, VideoWriter
from video_decomp.motion.placing import Ground

RED = np.array([230, 20, 20], np.uint8)


def post_at(ground: Ground, x: float, distance: float, wide: float = 0.25) -> np.ndarray:
    """(h, w) uint8 mask of a post that stands on the ground, seen at column x; soft at its edges."""
    width, height = (int(value) for value in ground.camera[3:])
    rows = np.linspace(0, height, 4 * height)
    along = [ground.at_pixel(x, row) for row in rows]
    foot = min((p for p in along if p is not None), key=lambda p: abs(p @ ground.forward - distance))
    reach = wide / 2 * ground.camera[0] / foot[2]
    across = np.abs(np.arange(width) + 0.5 - x)
    column = np.clip((reach - across) / 2 + 0.5, 0, 1) * 255
    mask = np.tile(column, (height, 1))
    mask[int(project(foot, ground.camera)[1]) :] = 0
    return mask.astype(np.uint8)


def red_person(folder: Path, motion: Path, post: float | None = None) -> Template:
    """A template with another's motion: its person is red; a post at so many metres hides it at times."""
    folder.mkdir()
    walk = Motion.load(motion / "motion.npz")
    walk.save(folder / "motion.npz")
    code = VideoReader(motion / "sdc.mp4")
    width, height = code.info.width, code.info.height
    ground = Ground.of(walk)
    empty = picture()[:height, :width]
    middle = float(project(walk.vertices(len(walk) // 2).mean(0), walk.camera)[0])
    front = post_at(ground, middle, post) if post else np.zeros((height, width), np.uint8)
    share = front[..., None] / 255
    scene = (empty * (1 - share) + 40 * share).astype(np.uint8)
    names = {"vid": "colour", "bk": "colour", "sdc": "colour", "mask": "mask", "occ": "mask"}
    writers = {
        name: VideoWriter(folder / f"{name}.mp4", code.info.fps, kind=kind)
        for name, kind in names.items()
        if name != "occ" or post
    }
    for writer in writers.values():
        writer.__enter__()
    for drawn in code:
        body = drawn.max(2) > 40
        seen = np.where(body[..., None], RED, scene)
        shown = {
            "vid": (seen * (1 - share) + 40 * share).astype(np.uint8),
            "bk": scene,
            "sdc": drawn,
            "mask": np.where(body & (front < 128), 255, 0).astype(np.uint8),
            "occ": front,
        }
        for name, writer in writers.items():
            writer.write(shown[name])
    for writer in writers.values():
        writer.__exit__(None, None, None)
    occ = folder / "occ.mp4"
    TemplateConfig(
        fps=float(code.info.fps),
        time_crop=time_crop(float(code.info.fps), 0, len(code)),
        pipeline={"occ_sha256": sha256(occ) if post else None},
    ).write(folder / "config.json")
    return Template.load(folder)
