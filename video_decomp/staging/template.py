"""A template as a scene: its camera and ground, its person's place and way, what passes in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mimo.body.motion import Motion
from mimo.stage import Rejected
from mimo.template import Template
from mimo.video import has_audio
from video_decomp.motion.placing import Ground, Mark, firm, goes, marks_of
from video_decomp.staging.camera import LENS, camera_height, pixels, spot
from video_decomp.staging.driver import Driver, Performance
from video_decomp.staging.frames import of_video
from video_decomp.staging.interface import Frames, Placed, Scene, Wishes
from video_decomp.staging.placement import TURNS, Candidate, place_at, put, turned
from video_decomp.staging.unattended import by_hand, view

LATER = 0.005
"""Cost of beginning elsewhere than on the person's way (see `video_decomp.staging.placement.put`)."""
EVERY = 0.25
"""Seconds between places of the scene's person at which the motion may begin."""
SOLID = 250
"""Level of a mask from which a pixel belongs to the thing in front alone."""
BESIDE = 5
"""Pixels around the scene's person that may still show it."""
IGNORED = ("horizon", "lens", "size", "occluder")


def recognises(text: str) -> bool:
    """Whether it is a folder."""
    return Path(text).is_dir()


def open_scene(text: str, driver: Driver, wishes: Wishes, scratch: Path) -> Scene:
    """Open a template; see `video_decomp.staging.interface`.

    Raises:
        Rejected: it is not whole, or has no scene.
    """
    template = Template.load(text)
    info = template.info
    if info.width % 2 or info.height % 2:
        raise Rejected(f"{text}: {info.width}x{info.height} pixels; a scene's sizes must be even")
    person = _person(template)
    size = (info.width, info.height)
    read = {name: _numbered(of_video(video), template) for name, video in template.videos.items()}
    occ = read["occ"] if template.has_occluder else None
    vid = read["vid"] if occ is None else partial(_without_person, read["vid"], read["bk"], read["mask"], occ)
    if template.motion is None:
        ground = by_hand(size, (wishes.lens or LENS) * max(size), wishes, 1, driver)
        into = view(ground, wishes, 1)
    else:
        ground, marks = _ground(template, person, wishes, driver)
        front = next(occ(np.zeros(1, int))) if occ is not None and wishes.occluders != "never" else None
        into = partial(_view, ground=ground, marks=marks, wishes=wishes, front=front)
    ours = template.config.pipeline
    return Scene(
        kind="template",
        name=template.name,
        size=size,
        fps=info.fps if ours else Fraction(template.config.fps).limit_denominator(1001),
        length=len(template.frame_numbers),
        view=into,
        vid=vid,
        bk=read["bk"],
        mask=read.get("mask"),
        occ=occ,
        ground=ground,
        person=person,
        ground_from="template" if template.motion else "guess",
        sound=template.videos["vid"].path if has_audio(template.videos["vid"].path) else None,
        warnings=_warnings(template, wishes),
        weights=tuple((ours or {}).get("licences", ())),
        plain=template.plain,
        transparent=template.transparent,
    )


def _person(template: Template) -> Motion | None:
    """Motion of whoever is seen, at the frames in use."""
    if template.scene_motion is None:
        return None
    motion = Motion.load(template.scene_motion)
    if len(motion) != template.info.frames:
        raise Rejected(f"{template.scene_motion}: {len(motion)} frames, vid.mp4 has {template.info.frames}")
    return motion.taken(template.frame_numbers)


def _ground(
    template: Template, person: Motion | None, wishes: Wishes, driver: Driver
) -> tuple[Ground, list[Mark]]:
    """The template's ground at the scale of who is put on it, and where its person is."""
    assert template.motion is not None
    motion = person or Motion.load(template.motion).taken(template.frame_numbers)
    own = Ground.of(motion)
    fps = float(template.info.fps)
    there = motion.visible & firm(motion, own)
    marks = [mark for mark, stands in zip(marks_of(motion, own, fps), there, strict=True) if stands]
    marks = marks[:: max(round(EVERY * fps), 1)] or [Mark(own.under(own.forward * 3), -own.forward)]
    above = own.height / wishes.scale
    if wishes.height is not None:
        tall = float(np.ptp(driver.motion.rest_vertices[:, 2]))
        size = (template.info.width, template.info.height)
        at = spot(size, wishes, 1) if wishes.at else _pixel(own, marks[0].place)
        wanted = pixels(wishes.height, size[1], 1)
        above = camera_height(own.camera, own.up, at, wanted, tall) / wishes.scale
    larger = above / own.height
    return own.scaled(larger), [Mark(mark.place * larger, mark.heading) for mark in marks]


def _pixel(ground: Ground, place: np.ndarray) -> tuple[float, float]:
    x, y = place[:2] / place[2] * ground.camera[0] + ground.camera[1:3]
    return float(x), float(y)


def _view(
    performance: Performance, ground: Ground, marks: list[Mark], wishes: Wishes, front: np.ndarray | None
) -> Placed:
    """Begin where the person does and go where it goes; later on its way, or turned, if that does not fit.

    Who stays where he is does so in the middle of the picture, as far as the person comes.
    """
    turn = (0.0,) if wishes.turn is None else (wishes.turn,)
    turns = TURNS if wishes.turn is None else turn
    if wishes.at is not None:
        place = place_at(ground, *wishes.at)
        nearest = min(marks, key=lambda mark: float(np.linalg.norm(mark.place - place)))
        return put(performance, ground, turned(ground, Mark(place, nearest.heading), "start", turns))
    inward = sorted(marks, key=lambda mark: abs(_pixel(ground, mark.place)[0] - ground.camera[1]))
    candidates: list[Candidate] = []
    for mark in marks if goes(performance.poses) else inward:
        candidates += turned(ground, mark, "start", turn)
    for mark in inward:
        candidates += turned(ground, mark, "middle", turns, LATER)
    return put(performance, ground, candidates, front)


def _numbered(frames: Frames, template: Template) -> Frames:
    """Frames by their place in the template's time."""
    return lambda numbers: frames(template.frame_numbers[numbers])


def _without_person(
    vid: Frames, bk: Frames, mask: Frames, occ: Frames, numbers: np.ndarray
) -> Iterator[np.ndarray]:
    """Frames whose things in front show nothing of the scene's person, who may not be behind them any more.

    At their soft edges, and beside the person, they are taken from the background.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BESIDE + 1, 2 * BESIDE + 1))
    for frame, empty, person, thing in zip(*(each(numbers) for each in (vid, bk, mask, occ)), strict=True):
        touched = (thing > 0) & ((thing < SOLID) | (cv2.dilate(person, kernel) > 0))
        yield np.where(touched[..., None], empty, frame)


def _warnings(template: Template, wishes: Wishes) -> tuple[str, ...]:
    found = []
    pipeline = (template.config.pipeline or {}).get("stages", {})
    if pipeline.get("inpainting", {}).get("metrics", {}).get("camera", "static") != "static":
        found.append(
            "the scene's camera moves, and the motion does not move with it: feet may slip over the ground"
        )
    given = [name for name in IGNORED if getattr(wishes, name) is not None]
    if template.motion is not None and given:
        found.append(f"{', '.join(given)}: left out, the template knows its own")
    return tuple(found)
