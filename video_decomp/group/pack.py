"""Command line: a group's folder that has its background becomes a group (``config.json`` comes last)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mimo.files import remove, whole_file
from mimo.group import PEOPLE, Member
from mimo.stage import Rejected
from mimo.template import CONFIG, GROUP, check_alike
from mimo.video import VideoError, VideoReader
from video_decomp.pack import Settings, packing_command, write_template_config
from video_decomp.preview import OCCLUDER_TINT, grid, pick, tinted
from video_decomp.records import read_record

STAGES = ("group", "inpainting")
BRIGHTNESS, SATURATION = 235, 190


def pack(folder: Path, name: str, settings: Settings) -> None:
    """Make a folder with a group's videos a group.

    Args:
        folder: ``templates/NAME/`` with the videos and ``records/``.
        name: what to call the group.
        settings: those of packing templates.

    Raises:
        Rejected: a file is missing, stale, or does not fit the others.
    """
    config = folder / CONFIG
    remove(config)
    records = {stage: read_record(folder, stage) for stage in STAGES}
    members = [Member.model_validate(one) for one in records["group"]["members"]]
    videos = _videos(folder, bool(records["group"]["occ_sha256"]))
    info = videos["vid"].info
    start, stop = records["group"]["valid"]
    write_preview(folder / "preview.png", videos, members, settings.preview_times, range(start, stop))
    write_template_config(
        folder,
        name,
        info.fps,
        info.frames,
        (info.width, info.height),
        (start, stop),
        records,
        kind=GROUP,
        members=[member.model_dump(mode="json") for member in members],
    )


def _videos(folder: Path, occluded: bool) -> dict[str, VideoReader]:
    videos = {}
    for name in ("vid", "mask", PEOPLE, "bk", "occ"):
        path = folder / f"{name}.mp4"
        if not path.is_file() and (name != "occ" or occluded):
            maker = "inpainting" if name == "bk" else "python -m video_decomp.group"
            raise Rejected(f"{path}: missing; run {maker} of this folder")
        if path.is_file():
            try:
                videos[name] = VideoReader(path, gray=name not in ("vid", "bk"))
            except VideoError as error:
                raise Rejected(str(error)) from None
    check_alike(folder, videos)
    return videos


def write_preview(
    path: Path, videos: dict[str, VideoReader], members: list[Member], times: int, valid: range
) -> None:
    """Write the contact sheet: source, who is where, the empty scene, what stands in front, at some times.

    Args:
        path: PNG to write.
        videos: of the group.
        members: for the title.
        times: number of times at most.
        valid: frames to show times of.
    """
    info = videos["vid"].info
    fps = float(info.fps)
    moments = np.unique(np.linspace(valid.start, valid.stop - 1, times).round().astype(int)).tolist()
    shown = {name: pick(reader, moments) for name, reader in videos.items()}
    rows = {
        "source": shown["vid"],
        PEOPLE: [coloured(*pair) for pair in zip(shown["vid"], shown[PEOPLE], strict=True)],
        "bk": shown["bk"],
    }
    if "occ" in shown:
        pairs = zip(shown["vid"], shown["occ"], strict=True)
        rows["occ"] = [tinted(image, thing, OCCLUDER_TINT) for image, thing in pairs]
    names = ", ".join(member.name for member in members)
    title = f"{names}: {info.width}x{info.height}, {fps:g} fps, {info.frames} frames"
    labels = [f"{number} ({number / fps:.2f} s)" for number in moments]
    sheet = grid(list(rows.values()), list(rows), labels, title)
    with whole_file(path) as part:
        sheet.save(part, format="PNG")


def coloured(image: np.ndarray, people: np.ndarray) -> np.ndarray:
    """A frame with each person in a colour of their own.

    Args:
        image: (h, w, 3) uint8.
        people: (h, w) uint8, as in ``people.mp4``.
    """
    hue = (people.astype(np.uint16) * 150 // 255).astype(np.uint8)
    hsv = np.dstack([hue, np.full_like(hue, SATURATION), np.full_like(hue, BRIGHTNESS)])
    tint = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    mixed = image * 0.45 + tint * 0.55
    return np.where((people > 0)[..., None], mixed, image * 0.5).astype(np.uint8)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see the module's help."""
    return packing_command("python -m video_decomp.group.pack", __doc__, pack, argv)


if __name__ == "__main__":
    raise SystemExit(main())
