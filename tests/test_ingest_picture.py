"""The ingest command's pictures: upright, of the right size and colours, whatever the source is coded as."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from ingest_sources import H264, ffmpeg, ingested

from mimo.video import VideoReader

CORNERS = np.array([[[230, 40, 40], [40, 200, 40]], [[40, 60, 230], [200, 200, 60]]], np.uint8)


def corners(path: Path, size: tuple[int, int], *coding: str | Path) -> Path:
    """A video of 10 frames with another colour in each quarter of the picture."""
    picture = CORNERS.repeat(size[1] // 2, axis=0).repeat(size[0] // 2, axis=1)
    picture = np.pad(picture, [(0, size[1] % 2), (0, size[0] % 2), (0, 0)], mode="edge")
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-framerate", "30", "-i", "-"]
    ffmpeg(*raw, *(coding or [*H264, "-crf", "5"]), path, data=picture.tobytes() * 10)
    return path


def quarters(frame: np.ndarray) -> np.ndarray:
    """The colours in the middle of the four quarters, (2, 2, 3)."""
    height, width = frame.shape[:2]
    return frame[np.ix_([height // 4, height * 3 // 4], [width // 4, width * 3 // 4])].astype(int)


@pytest.mark.parametrize("flip", [(), ("-display_hflip",), ("-display_vflip",)], ids=["", "hflip", "vflip"])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_phone_videos_stand_upright(angle: int, flip: tuple[str, ...], tmp_path: Path) -> None:
    lying = corners(tmp_path / "lying.mp4", (128, 64))
    ffmpeg("-display_rotation", str(angle), *flip, "-i", lying, "-c", "copy", tmp_path / "turned.mp4")
    ffmpeg("-i", tmp_path / "turned.mp4", "-frames:v", "1", tmp_path / "player.png")
    with av.open(str(tmp_path / "player.png")) as player:
        expected = next(player.decode(video=0)).to_ndarray(format="rgb24")
    ingested(tmp_path / "turned.mp4", tmp_path / "out")
    frame = VideoReader(tmp_path / "out" / "vid.mp4").frame(0)
    assert frame.shape == expected.shape
    assert np.abs(quarters(frame) - quarters(expected)).max() < 6


@pytest.mark.parametrize(
    ("stored", "filters", "options", "expected"),
    [
        ((161, 97), "null", (), (160, 96)),
        ((321, 193), "null", ("--short-side", "96"), (160, 96)),
        ((128, 96), "setsar=3/2", (), (192, 96)),
        ((128, 96), "setsar=2/3", (), (128, 144)),
        ((256, 144), "setsar=1/1", ("--short-side", "72"), (128, 72)),
        ((256, 144), "setsar=3/2", ("--crop", "[192, 0, 192, 144]"), (192, 144)),
    ],
)
def test_sizes(
    stored: tuple[int, int], filters: str, options: tuple[str, ...], expected: tuple[int, int], tmp_path: Path
) -> None:
    coding = ["-vf", filters, "-c:v", "libx264", "-pix_fmt", "yuv444p", "-crf", "5"]
    record = ingested(corners(tmp_path / "a.mp4", stored, *coding), tmp_path / "out", *options)
    assert (record["output"]["width"], record["output"]["height"]) == expected
    found = quarters(VideoReader(tmp_path / "out" / "vid.mp4").frame(0))
    wanted = CORNERS if "--crop" not in options else CORNERS[:, [1, 1]]
    assert np.abs(found - wanted).max() < 6


def tagged(matrix: str, tag: str, full: bool) -> list[str]:
    level = "pc" if full else "tv"
    scale = f"scale=out_color_matrix={matrix}:out_range={level}:flags=accurate_rnd,format=yuv420p"
    tags = f"setparams=colorspace={tag}:range={level}"
    return ["-vf", f"{scale},{tags}", "-c:v", "libx264", "-crf", "5"]


@pytest.mark.parametrize(
    ("size", "coding"),
    [
        ((256, 144), tagged("bt709", "bt709", False)),
        ((256, 144), tagged("bt709", "bt709", True)),
        ((256, 144), tagged("smpte170m", "smpte170m", False)),
        ((256, 144), tagged("bt470bg", "bt470bg", True)),
        ((256, 144), tagged("smpte170m", "unknown", False)),
        ((1280, 720), tagged("bt709", "unknown", False)),
        ((256, 144), ["-c:v", "libx264rgb", "-crf", "5"]),
        ((256, 144), ["-c:v", "libx264", "-pix_fmt", "yuv444p10le", "-crf", "5"]),
    ],
    ids=["709", "709 full", "601", "601 full", "SD untagged", "HD untagged", "RGB", "444 10 bit"],
)
def test_colours_are_those_of_the_source(size: tuple[int, int], coding: list[str], tmp_path: Path) -> None:
    ingested(corners(tmp_path / "a.mp4", size, *coding), tmp_path / "out")
    assert np.abs(quarters(VideoReader(tmp_path / "out" / "vid.mp4").frame(5)) - CORNERS).max() <= 6


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_becomes_normal_brightness(transfer: str, tmp_path: Path) -> None:
    bright = f"zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=2020:t={transfer}:m=2020_ncl:r=tv:npl=203"
    tags = f"log-level=error:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    coding = ["-vf", f"setparams=color_primaries=bt709:color_trc=bt709,{bright},format=yuv420p10le"]
    coding += ["-c:v", "libx265", "-preset", "ultrafast", "-crf", "5", "-x265-params", tags]
    record = ingested(corners(tmp_path / "a.mp4", (256, 144), *coding), tmp_path / "out")
    assert any("HDR" in warning for warning in record["warnings"])
    assert np.abs(quarters(VideoReader(tmp_path / "out" / "vid.mp4").frame(5)) - CORNERS).max() < 45


def test_interlaced_is_made_progressive(tmp_path: Path) -> None:
    """Fields of a moving bar: without deinterlacing, neighbouring lines of its edge differ."""
    moving = (
        "nullsrc=s=256x144:r=50:d=2,geq=lum='if(between(X-mod(N*6\\,200)\\,0\\,40)\\,220\\,60)':cb=128:cr=128"
    )
    coding = ["-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ilme+ildct", *H264]
    ffmpeg("-f", "lavfi", "-i", moving, *coding, tmp_path / "camcorder.mp4")
    record = ingested(tmp_path / "camcorder.mp4", tmp_path / "out")
    assert any("interlaced" in warning for warning in record["warnings"])
    frames = [frame.astype(int) for frame in VideoReader(tmp_path / "out" / "vid.mp4", gray=True)]
    with av.open(str(tmp_path / "camcorder.mp4")) as container:
        combed = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
    assert len(frames) == len(combed) == 50
    comb = [np.abs(np.diff(frame, axis=0)).mean() for frame in (frames[20], combed[20])]
    assert comb[0] < 0.25 * comb[1]


def test_frames_that_change_size_keep_the_picture(tmp_path: Path) -> None:
    """A stream may switch its resolution; the output keeps that of the first frame."""
    small, large = (corners(tmp_path / f"{w}.ts", (w, w // 2)) for w in (128, 256))
    (tmp_path / "list.txt").write_text(f"file {small}\nfile {large}\n")
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "list.txt", "-c", "copy", tmp_path / "both.ts")
    ingested(tmp_path / "both.ts", tmp_path / "out")
    frames = list(VideoReader(tmp_path / "out" / "vid.mp4"))
    assert len(frames) in (20, 21)
    for frame in frames:
        assert frame.shape == (64, 128, 3)
        assert np.abs(quarters(frame) - CORNERS).max() < 6
