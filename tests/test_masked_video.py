"""Every stage that needs a video and its mask says so when one is not there, damaged, or of another clip."""

import importlib

import numpy as np
import pytest

from mimo.video import VideoWriter


def write(path, kind, frames, shape=(64, 96)):
    with VideoWriter(path, 30, kind=kind) as writer:
        for _ in range(frames):
            writer.write(np.zeros(shape if kind == "mask" else (*shape, 3), np.uint8))


@pytest.mark.parametrize("stage", ["pose", "inpainting", "occlusion"])
@pytest.mark.parametrize("mask", ["missing", "damaged", "longer", "larger"])
def test_rejected(tmp_path, capsys, stage, mask):
    write(tmp_path / "vid.mp4", "colour", 8)
    if mask == "damaged":
        (tmp_path / "mask.mp4").write_bytes(b"not a video")
    elif mask != "missing":
        write(tmp_path / "mask.mp4", "mask", *((9,) if mask == "longer" else (8, (64, 128))))
    main = importlib.import_module(f"video_decomp.{stage}.__main__").main
    assert main([f"--template={tmp_path}"]) == 3
    message = capsys.readouterr().err
    assert "REJECTED: " in message
    assert "mask.mp4" in message
    assert "run segmentation again" in message or "run the stages before" in message
    assert "Traceback" not in message
