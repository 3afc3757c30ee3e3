"""Command line: a motion put into a scene becomes a template, for any character and either backend."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mimo.body.motion import Motion
from mimo.files import sha256
from mimo.stage import Rejected, run, stage_arguments, write_record
from video_decomp.motion.placing import Ground, places_of
from video_decomp.motion.writing import motion_of
from video_decomp.staging.driver import Cut, Driver
from video_decomp.staging.frames import Timing, frames_shown
from video_decomp.staging.guide import WEIGHTS
from video_decomp.staging.interface import Scene, Wishes
from video_decomp.staging.occluders import covered, find_things, kept
from video_decomp.staging.scenes import open_scene
from video_decomp.staging.writing import STAGE, Sound, write_config, write_videos


class Settings(Timing, Cut, Wishes):
    """Settings of the staging of a motion in a scene."""

    sound: Literal["auto", "motion", "scene", "none"] = Field(
        "auto", description="whose sound results have; auto: the motion's, if it has any, else the scene's"
    )

    def weight_files(self) -> dict[str, Path | None]:
        """See `StageSettings.weight_files`."""
        return dict.fromkeys(WEIGHTS if self.people else WEIGHTS[-1:])


def main(argv: list[str] | None = None) -> int:
    """Run the stage; see the module's help.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog="python -m video_decomp.staging", description=__doc__)
    parser.add_argument(
        "--motion", type=Path, required=True, metavar="DIR", help="template whose motion is performed"
    )
    parser.add_argument(
        "--scene",
        required=True,
        metavar="SCENE",
        help="a template's folder, a picture, a video, a colour (#203040, white), or: transparent",
    )
    parser.add_argument("-o", "--template", type=Path, required=True, metavar="DIR", help="template to make")
    parser.add_argument("--name", help="name of the template (default: the folder's)")
    args, settings = stage_arguments(parser, Settings, argv)
    name = args.name or args.template.resolve().name
    return run(
        lambda: stage(args.motion, args.scene, args.template, name, settings),
        makes=args.template / "records" / f"{STAGE}.json",
    )


def stage(motion: Path, scene_text: str, folder: Path, name: str, settings: Settings) -> None:
    """Make a template of a motion and a scene.

    Args:
        motion: template whose motion is performed.
        scene_text: where, see `video_decomp.staging.scenes`.
        folder: template to make.
        name: what to call it.
        settings: how.

    Raises:
        Rejected: motion or scene cannot be used.
    """
    for source in (motion, Path(scene_text)):
        if source.resolve() == folder.resolve():
            raise Rejected(f"{folder}: a template cannot be made of itself; give -o another folder")
    driver = Driver.open(motion)
    with tempfile.TemporaryDirectory() as scratch:
        scene = open_scene(scene_text, driver, settings, Path(scratch))
        fps = scene.fps or driver.fps
        performance = driver.perform(float(fps), settings)
        placed = scene.view(performance)
        seen = motion_of(performance.poses, performance.figure, placed.shot, driver.motion.shape)
        numbers = frames_shown(len(seen), scene.length, float(fps), settings)
        front, told = _in_front(scene, seen, numbers, float(fps), settings)
        sound = _sound(driver, scene, settings)
        write_videos(folder, scene, seen, numbers, fps, front, sound)
    write_record(
        folder / "records" / f"{STAGE}.json",
        stage=STAGE,
        backend="",
        settings=settings,
        metrics={"frames": len(seen), "scene_frames": scene.length or 1}
        | performance.metrics
        | placed.metrics
        | told,
        warnings=[*scene.warnings, *driver.skeleton.warnings, *placed.warnings],
        weights=sorted({*driver.weights, *scene.weights}),
        motion={"name": motion.resolve().name, "sha256": sha256(motion / "motion.npz")},
        scene={"kind": scene.kind, "name": scene.name, "ground_from": scene.ground_from},
        sound=None if sound is None else "motion" if sound.path == driver.sound else "scene",
    )
    write_config(folder, name, scene, len(seen), fps)


def _in_front(
    scene: Scene, motion: Motion, numbers: np.ndarray, fps: float, settings: Settings
) -> tuple[Iterator[np.ndarray] | None, dict[str, Any]]:
    """Masks of what covers the person, None where nothing does; and numbers about it for the record."""
    if scene.occ is None or scene.ground is None or settings.occluders == "never":
        return None, {}
    if settings.occluders == "always":
        return scene.occ(numbers), {}
    things = find_things(scene, numbers)
    if not things.count:
        return None, {}
    ground = Ground.of(motion)
    places = places_of(motion, ground) @ ground.forward
    front = covered(things, numbers, places, fps)
    told = {
        "things_in_front": [
            {"distance_m": round(things.distance(thing), 2), "share": round(float(front[:, thing].mean()), 3)}
            for thing in range(things.count)
        ],
        "distance_m": [round(float(places.min()), 2), round(float(places.max()), 2)],
    }
    return (kept(scene.occ, things, front, numbers), told) if front.any() else (None, told)


def _sound(driver: Driver, scene: Scene, settings: Settings) -> Sound | None:
    """The sound of the motion's own video, or of the scene."""
    motions = settings.sound in ("auto", "motion") and settings.speed == 1
    if motions and driver.sound is not None:
        return Sound(driver.sound, driver.seconds(settings)[0])
    if settings.sound in ("auto", "scene") and scene.sound is not None:
        return Sound(scene.sound, settings.offset)
    return None


if __name__ == "__main__":
    sys.exit(main())
