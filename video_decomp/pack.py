"""Stage `template`: checks that everything made from a video fits together, and makes it a template.

Writes ``preview.png`` and, last, ``config.json``: a folder that has it is a whole template.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field

from mimo import weights
from mimo.files import remove, sha256
from mimo.stage import Rejected, StageSettings, run, stage_arguments
from mimo.template import (
    CONFIG,
    FrameCrop,
    TemplateConfig,
    check_alike,
    open_videos,
    time_crop,
)
from video_decomp.preview import write_preview
from video_decomp.records import read_record

STAGES = ("ingest", "segmentation", "pose", "occlusion", "inpainting")


class Settings(StageSettings):
    """Settings of the stage."""

    preview_times: int = Field(8, ge=1, le=24, description="columns of preview.png")


def pack(folder: Path, name: str, settings: Settings) -> None:
    """Make a folder of stage outputs a template.

    Args:
        folder: ``templates/NAME/`` with the videos, ``motion.npz`` and ``records/``.
        name: what to call the template.
        settings: as the configuration has them.

    Raises:
        Rejected: a file is missing, stale, or does not fit the others.
    """
    config = folder / CONFIG
    remove(config)
    records = {stage: read_record(folder, stage) for stage in STAGES}
    videos = open_videos(folder)
    check_alike(folder, videos)
    if not (folder / "motion.npz").is_file():
        raise Rejected(f"{folder / 'motion.npz'}: missing; run the pose stage")
    occ = folder / "occ.mp4"
    if records["occlusion"].get("occ_sha256") and not occ.is_file():
        raise Rejected(f"{occ}: missing, though something passes in front; run the occlusion stage again")

    info = videos["vid"].info
    start, stop = valid_range(records["segmentation"], info.frames)
    write_preview(folder / "preview.png", videos, settings.preview_times, range(start, stop))
    write_template_config(
        folder, name, info.fps, info.frames, (info.width, info.height), (start, stop), records
    )


def write_template_config(
    folder: Path,
    name: str,
    fps: Fraction,
    frames: int,
    size: tuple[int, int],
    valid: tuple[int, int],
    records: dict[str, dict[str, Any]],
    **more: Any,
) -> None:
    """Write ``config.json`` of a folder that is whole but for it, with the digests of its files.

    Args:
        folder: the template, or group.
        name: what it is called.
        fps, frames, size: of its videos; size is width and height.
        valid: first frame to use, and the one after the last.
        records: of its stages, by their names.
        more: further keys of `pipeline`.
    """
    rate, occ = float(fps), folder / "occ.mp4"
    TemplateConfig(
        fps=round(rate) if abs(rate - round(rate)) < 0.05 else rate,
        time_crop=time_crop(rate, *valid),
        frame_crop=FrameCrop(end_idx_x=size[0], end_idx_y=size[1]),
        layer_recover=True,
        pipeline=more
        | {
            "name": name,
            "fps": f"{fps}",
            "frames": frames,
            "size": list(size),
            "valid": list(valid),
            # Of the file that is there: one retouched or added by hand is taken as it is.
            "occ_sha256": sha256(occ) if occ.is_file() else None,
            "files": {path.name: sha256(path) for path in made_files(folder)},
            "licences": licences(records),
            "stages": records,
        },
    ).write(folder / CONFIG)


def licences(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """SPDX expression of every model file that the records name."""
    names = sorted({name for record in records.values() for name in record.get("weights", [])})
    known = weights.registry().files
    return {name: known[name].licence.spdx if name in known else "unknown" for name in names}


def made_files(folder: Path) -> list[Path]:
    """Videos and motion of a template folder, in name order."""
    return sorted(
        path for path in folder.iterdir() if path.suffix in (".mp4", ".npz") and path.name[0] != "."
    )


def valid_range(record: dict[str, Any], frames: int) -> tuple[int, int]:
    """First frame and end (exclusive) of the part with the person, after segmentation's record."""
    first, last = record.get("first_frame"), record.get("last_frame")
    start = 0 if first is None else int(first)
    stop = frames if last is None else int(last) + 1
    if not 0 <= start < stop <= frames:
        raise Rejected(f"segmentation's record says frames {start} to {stop - 1}, but there are {frames}")
    return start, stop


def packing_command(
    program: str, description: str | None, work: Callable[[Path, str, Settings], None], argv: list[str] | None
) -> int:
    """Parse a command line ``--template DIR [--name NAME]`` with the settings of packing, and pack.

    Args:
        program, description: for the help.
        work: what packs: takes the folder, its name, and the settings.
        argv: the command line.

    Returns:
        0 when done, 3 when the input was rejected.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--template", type=Path, required=True, metavar="DIR", help="folder to pack")
    parser.add_argument("--name", help="what to call it (default: as the folder)")
    args, settings = stage_arguments(parser, Settings, argv)
    return run(
        lambda: work(args.template, args.name or args.template.resolve().name, settings),
        makes=args.template / CONFIG,
    )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage."""
    return packing_command("python -m video_decomp.pack", __doc__, pack, argv)


if __name__ == "__main__":
    raise SystemExit(main())
