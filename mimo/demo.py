"""Sets up the demonstration: two real driving videos, two characters from real footage, and their settings.

Writes ``videos/``, ``characters/`` and ``config.yaml`` into a folder; first fetches what the cache lacks.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import av
import yaml
from PIL import Image

from mimo import weights
from mimo.files import whole_file
from mimo.stage import run

VIDEOS = {"tree walk": "sports2d-demo", "balance": "pose2sim-cam02"}
TREE_WALK_INGEST = {"start": 1.33, "end": 5.49, "crop": [200, 450, 1568, 544]}
"""Frames 40 to 164, and the part of the picture where the woman walks (a man jumps further back)."""

CHARACTERS = {
    "woman": ("sports2d-demo", 84, (1000, 470, 1400, 980)),
    "man": ("pose2sim-cam02", 84, (200, 270, 900, 1260)),
}
"""Footage, frame number and box (left, top, right, bottom) of each character's picture."""


def set_up(folder: Path) -> None:
    """Write the demonstration's inputs and configuration.

    Args:
        folder: where to; what is there under the same names is replaced.

    Raises:
        WeightsError: a download failed.
    """
    weights.fetch([*weights.select([]), *VIDEOS.values()])
    for name, footage in VIDEOS.items():
        with whole_file(folder / "videos" / f"{name}.mp4") as part:
            shutil.copyfile(weights.path(footage), part)
    for name, (footage, number, box) in CHARACTERS.items():
        with whole_file(folder / "characters" / f"{name}.png") as part:
            picture(weights.path(footage), number).crop(box).save(part, format="PNG")
    folders = ("videos", "characters", "templates", "prepared", "results", "logs")
    config: dict[str, Any] = {name: f"{folder.as_posix()}/{name}" for name in folders}
    config |= {"overrides": {"tree walk": {"ingest": TREE_WALK_INGEST}}}
    with whole_file(folder / "config.yaml") as part:
        part.write_text(yaml.safe_dump(config, sort_keys=False))
    print(f"now run: snakemake --cores 2 --configfile {folder}/config.yaml")


def picture(video: Path, number: int) -> Image.Image:
    """One frame of a video, by its number."""
    with av.open(str(video)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            if i == number:
                return frame.to_image()
    raise IndexError(f"{video}: no frame {number}")


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m mimo.demo", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo"), help="default: demo")
    args = parser.parse_args(argv)
    return run(lambda: set_up(args.folder))


if __name__ == "__main__":
    raise SystemExit(main())
