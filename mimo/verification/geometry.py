"""Golden checks of windows, crops, clips and composition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mimo.compose import BORDER_CASES, Compositor, border_case, masks_from
from mimo.composition.regions import (
    Box,
    Clip,
    body_box,
    body_mask,
    clean_mask,
    crop,
    crop_picture,
    even_box,
    frame_box,
    pad_square,
    plan_clips,
    square_box,
    square_padding,
    whole_clip_box,
)
from mimo.composition.scenes import Scene
from mimo.diffusion.windows import closed_windows
from mimo.verification.check import Check, difference


def geometry_checks(golden: Path) -> Iterator[Check]:
    """Compare all that happens to pictures before and after the networks; every number must be equal.

    Args:
        golden: folder of the golden data.
    """
    yield _window_check(golden / "context_scheduler.json")
    folder = golden / "geometry"
    yield from _picture_checks(np.load(folder / "crop_pad_mask.npz"))
    yield from _table_checks(json.loads((folder / "tables.json").read_text()))
    sequences = json.loads((folder / "sequences.json").read_text())
    for sequence in sequences["sequences"]:
        yield _sequence_check(sequence, sequences["overlay"])
    for path in sorted(folder.glob("composite_*.npz")):
        yield _composite_check(path.stem, np.load(path))


def _window_check(path: Path) -> Check:
    cases = json.loads(path.read_text())["cases"]
    wrong = 0
    for case in cases:
        windows = closed_windows(
            case["num_frames"],
            case["context_size"],
            case["context_overlap"],
            stride=case["context_stride"],
            step=case["step"],
        )
        wrong += windows != case["windows"]
    return Check(f"windows, {len(cases)} cases", wrong, 0)


def _picture_checks(data: Any) -> Iterator[Check]:
    for i in range(int(data["n_crop"])):
        item = {key.removeprefix(f"crop_{i}_"): data[key] for key in data if key.startswith(f"crop_{i}_")}
        box = body_box(item["mask"])
        padded, padding = pad_square(item["img"], tuple(item["pad_color"].tolist()))
        worst = max(
            difference(crop_picture(item["img"], item["mask"]), item["crop_img"]),
            difference((box.y0, box.y1, box.x0, box.x1), item["crop_img_sdc_y0_y1_x0_x1"]),
            difference(padded, item["pad_img"]),
            difference(padding, item["padding_t_b_l_r"]),
        )
        yield Check(f"crop and pad {i}", worst, 0)
    for i in range(sum(key.endswith("_clean_mask") for key in data)):
        mask = body_mask(data[f"mask_{i}_img"])
        worst = difference(mask, data[f"mask_{i}_extract_mask_sdc"])
        yield Check(f"mask {i}", max(worst, difference(clean_mask(mask), data[f"mask_{i}_clean_mask"])), 0)


def _table_checks(tables: dict[str, Any]) -> Iterator[Check]:
    rows = tables["pad_img"]["rows"]
    yield Check("padding table", sum(list(square_padding(*row[:2])) != row[2:] for row in rows), 0)
    rows = tables["bbox_div2"]["rows"]
    yield Check("even boxes", sum(list(even_box(Box(*row[:4]))) != row[4:] for row in rows), 0)
    rows, size = tables["bbox_pad"]["rows"], tables["bbox_pad"]["frame_h_w"]
    yield Check("square boxes", sum(list(square_box(Box(*row[:4]), *size)) != row[4:] for row in rows), 0)
    rows, size = tables["get_mask"]["rows"], tables["get_mask"]["image_w_h"]
    yield Check("border cases", sum(border_case(Box(*row[:4]), *size) != row[5] for row in rows), 0)
    yield Check("order of masks", float(list(BORDER_CASES) != tables["get_mask"]["mask_order"]), 0)


def _sequence_check(sequence: dict[str, Any], overlap: int) -> Check:
    frames = _draw(sequence)
    clips = plan_clips([frame_box(frame) for frame in frames], overlap)
    parts = [crop(frames[clip.first], clip.box) for clip in clips]
    paddings = [square_padding(*part.shape[:2]) for part in parts]
    own = [clip for clip in clips for i in clip.frames if i > _last_before(clips, clip)]
    found = {
        "contexts_first_last": [[clip.first, clip.last] for clip in clips],
        "clip_boxes": [list(clip.box) for clip in clips],
        "frame_boxes": [list(clip.box) for clip in own],
        "crop_sizes_w_h": [[part.shape[1], part.shape[0]] for part in parts],
        "padding_t_b_l_r": [list(padding) for padding in paddings],
        "padded_h_w": [
            [part.shape[0] + padding.top + padding.bottom, part.shape[1] + padding.left + padding.right]
            for part, padding in zip(parts, paddings, strict=True)
        ],
    }
    box = whole_clip_box(frames)
    whole = frames[0][box.y0 : box.y1, box.x0 : box.x1]
    found["crop_human_size_w_h"] = [whole.shape[1], whole.shape[0]]
    return Check(f"clips, {sequence['name']}", sum(found[key] != sequence[key] for key in found), 0)


def _last_before(clips: list[Clip], clip: Clip) -> int:
    number = clips.index(clip)
    return clips[number - 1].last if number else -1


def _draw(sequence: dict[str, Any]) -> list[np.ndarray]:
    """Frames of a sequence: a coloured rectangle on black, then single white pixels."""
    frames = []
    for box in sequence["boxes_x0_x1_y0_y1"]:
        frame = np.zeros((*sequence["frame_h_w"], 3), np.uint8)
        if box is not None:
            x0, x1, y0, y1 = box
            frame[y0:y1, x0:x1] = (180, 90, 60)
        frames.append(frame)
    for i, y, x in sequence["white_pixels_frame_y_x"]:
        frames[i][y, x] = 255
    return frames


def _composite_check(name: str, data: Any) -> Check:
    clips = [
        Clip(int(first), int(last), Box(*(int(v) for v in box)))
        for (first, last), box in zip(data["contexts_first_last"], data["clip_boxes"], strict=True)
    ]
    scenes = [
        Scene(background, video, data["occ"][i, :, :, 0] if "occ" in data else None)
        for i, (background, video) in enumerate(zip(data["bk"], data["vid"], strict=True))
    ]
    video = ((frame.astype(np.float32) + 0.5) / 256 for frame in data["video_q"])
    masks = masks_from([mask.astype(np.float32) / 255 for mask in data["masks_u8"]])
    result = np.stack(list(Compositor(clips, masks=masks).frames(video, scenes)))
    return Check(name.replace("_", " "), difference(result, data["result"]), 0)
