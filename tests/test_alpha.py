"""Transparent results: `--alpha` of the command lines, on a real person before real footage."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from test_character import character, man  # noqa: F401 (fixtures)
from test_diffusion_backend import inputs  # noqa: F401 (fixture)
from test_synthesis import FPS, FRAMES, SIDE, template  # noqa: F401 (fixtures)

from mimo import edit, weights
from mimo.alpha_video import SUFFIXES, AlphaFormat, PictureFolderWriter, alpha_digest, alpha_file
from mimo.character import Character
from mimo.composition.transparency import transparent
from mimo.stage import Rejected
from mimo.synthesis import puppet
from mimo.synthesis.__main__ import main
from mimo.synthesis.interface import Job
from mimo.template import Template
from mimo.video import VideoReader, VideoWriter

OCCLUDED = 250
"""Column from which on something stands in front."""


@pytest.fixture(scope="module")
def made(template, character, tmp_path_factory) -> SimpleNamespace:  # noqa: F811
    """A template with real footage behind its person, and the person's layers as they should be."""
    folder = tmp_path_factory.mktemp("alpha")
    scene = folder / "scene"
    shutil.copytree(template, scene)
    weights.fetch(["pose2sim-cam02"])
    footage = VideoReader(weights.path("pose2sim-cam02")).frames(0, FRAMES)
    behind = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in footage]
    mask = VideoReader(template / "mask.mp4", gray=True).frame(0) > 127
    mask[:, OCCLUDED:] = False
    person = VideoReader(template / "vid.mp4").frame(0)
    with (
        VideoWriter(scene / "vid.mp4", FPS, audio_from=template / "vid.mp4") as vid,
        VideoWriter(scene / "bk.mp4", FPS) as bk,
    ):
        for frame in behind:
            vid.write(np.where(mask[..., None], person, frame))
            bk.write(frame)
    job = Job(Template.load(scene), Character.load(character), range(FRAMES))
    people = list(puppet.layers(job, puppet.Settings()))
    occluders = job.template.frames("occ")
    pictures = [
        transparent([one], (SIDE, SIDE), occluder) for one, occluder in zip(people, occluders, strict=True)
    ]
    return SimpleNamespace(
        template=scene, character=character, folder=folder, people=people, pictures=pictures
    )


def synthesise(made, output: Path, *options: object) -> int:
    words = ["--template", made.template, "--character", made.character, "--output", output, *options]
    return main([str(word) for word in words])


def decoded(path: Path) -> np.ndarray:
    """All frames of a transparent file, uint8 (n, height, width, 4), as another program would read it."""
    if path.is_dir():
        files = sorted(path.iterdir())
        assert [file.name for file in files] == [f"{number:05d}.png" for number in range(1, len(files) + 1)]
        pictures = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]
        return np.stack([cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA) for picture in pictures])
    # ffmpeg's own VP9 decoder does not know alpha; libvpx, as in browsers, does.
    decoder = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
    exact = "scale=in_color_matrix=bt709:flags=bilinear+accurate_rnd+full_chroma_int"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *decoder, "-i", str(path), "-vf", exact]
    raw = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgba", "-"], stdout=subprocess.PIPE, check=True
    )
    height, width = VideoReader(path).frame(0).shape[:2]
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, height, width, 4)


def over(picture: np.ndarray, background: np.ndarray) -> np.ndarray:
    alpha = picture[..., 3:].astype(np.float32) / 255
    return picture[..., :3] * alpha + background * (1 - alpha)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float32) - other) ** 2)))


@pytest.fixture(scope="module")
def results(made) -> dict[AlphaFormat, Path]:
    """Videos made on the command line, one with each kind of transparent file beside it."""
    outputs = {format: made.folder / format / "rèsult 1.mp4" for format in SUFFIXES}
    for format, output in outputs.items():
        assert synthesise(made, output, "--alpha", format) == 0
    return outputs


@pytest.mark.parametrize("format", list(SUFFIXES))
def test_alpha_beside_the_video(made, results, format):
    output = results[format]
    path = alpha_file(output, format)
    assert {one.name for one in output.parent.iterdir()} == {output.name, path.name, "rèsult 1.json"}
    record = json.loads(output.with_suffix(".json").read_text())
    assert record["alpha"] == {"format": format, "file": path.name, "sha256": alpha_digest(path)}

    found, wanted = decoded(path), np.stack(made.pictures)
    assert found.shape == wanted.shape
    # The same character, to what coding costs.
    alpha_error = np.abs(found[..., 3].astype(int) - wanted[..., 3])
    assert alpha_error.max() <= {"prores": 1, "vp9": 24, "png": 0}[format]
    assert alpha_error.mean() <= {"prores": 0.2, "vp9": 0.5, "png": 0}[format]
    assert not found[:, :, OCCLUDED + 8 :, 3].any(), "what stands in front is cut out"

    # Over the scene it is the video again.
    scene = list(VideoReader(made.template / "bk.mp4"))
    for picture, background, frame in zip(found, scene, VideoReader(output), strict=True):
        assert psnr(over(picture, background), frame) > 40
    # Over white and over a loud colour its edges are those of the layer: no dark fringe.
    for colour in ((255, 255, 255), (255, 0, 255), (0, 255, 0)):
        edge = cv2.dilate(
            ((wanted[0, ..., 3] > 5) & (wanted[0, ..., 3] < 250)).astype(np.uint8), np.ones((3, 3))
        )
        difference = over(found[0], np.array(colour)) - over(wanted[0], np.array(colour))
        assert np.abs(difference[edge > 0]).mean() < 4
        assert np.abs(difference[edge > 0].mean()) < 1


def test_what_the_files_say_of_themselves(results):
    with av.open(str(alpha_file(results["prores"], "prores"))) as movie:
        picture, sound = movie.streams.video[0], movie.streams.audio[0]
        context = picture.codec_context
        assert (context.name, context.codec_tag, picture.average_rate) == ("prores", "ap4h", FPS)
        assert context.pix_fmt.startswith("yuva444p1")
        # BT.709 by name, for matrix, primaries and transfer; limited range.
        assert [context.colorspace, context.color_primaries, context.color_trc, context.color_range] == [
            1
        ] * 4
        assert sound.codec_context.name == "aac"
        assert float(movie.duration / av.time_base) == pytest.approx(FRAMES / FPS, abs=0.05)
    with av.open(str(alpha_file(results["vp9"], "vp9"))) as film:
        picture, sound = film.streams.video[0], film.streams.audio[0]
        assert (picture.codec_context.name, {**picture.metadata}.get("ALPHA_MODE")) == ("vp9", "1")
        assert sound.codec_context.name.endswith("opus")
        assert picture.codec_context.colorspace == 1
        assert float(film.duration / av.time_base) == pytest.approx(FRAMES / FPS, abs=0.05)


def test_the_shadow_is_black_where_only_it_is_seen(made):
    for one, picture in zip(made.people, made.pictures, strict=True):
        assert one.shadow is not None
        alone = np.zeros((SIDE, SIDE), bool)
        alone[one.shadow.area] = one.shadow.alpha > 0.05
        alone[one.person.area] &= one.person.alpha == 0
        alone[:, OCCLUDED:] = False
        assert alone.any()
        assert picture[alone][:, :3].max() <= 1
        assert picture[alone][:, 3].min() > 10


def test_the_diffusion_backend_cuts_its_person_out(inputs, tmp_path, capfd, one_thread):  # noqa: F811
    words = [inputs / "template", inputs / "character", "-o", tmp_path / "out.mp4", "--alpha", "png"]
    words += ["--backend", "mimo", "--device", "cpu", "--steps", "1", "--size", "256"]
    assert edit.main([str(word) for word in [*words, "--weights", inputs / "weights"]]) == 0, (
        capfd.readouterr()
    )
    record = json.loads((tmp_path / "out.json").read_text())
    assert any("composition: improved" in warning for warning in record["warnings"])
    pictures, frames = decoded(tmp_path / "out.frames"), np.stack(list(VideoReader(tmp_path / "out.mp4")))
    used = Template.load(inputs / "template")
    bodies, behind = (np.stack(list(used.frames(name))) for name in ("sdc", "bk"))
    assert not pictures[:, :, 65:79, 3].any(), "what stands in front is cut out"
    free = np.r_[0:60, 84 : pictures.shape[2]]
    assert pictures[:, :, free, 3][bodies[:, :, free].max(axis=3) > 100].mean() > 200
    # What networks without training draw is noise in colours that MP4 halves: brightness it keeps.
    assert psnr(over(pictures, behind)[:, :, free].mean(axis=3), frames[:, :, free].mean(axis=3)) > 33


def test_parts_have_no_alpha(made, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        synthesise(made, tmp_path / "part.mp4", "--part", "1/2", "--alpha", "png")
    assert ended.value.code == 2
    assert "--alpha: not with --part" in capsys.readouterr().err


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from mimo.alpha_video import alpha_writer
from mimo.stage import run

def work():
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 4), np.uint8)
    with alpha_writer(Path(sys.argv[1]), sys.argv[2], 30, None, 0.0) as writer:
        for _ in range(20):
            writer.write(noise)

sys.exit(run(work))
"""


@pytest.mark.parametrize("format", list(SUFFIXES))
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, format):
    """A limit on the size of files stands for the full disk."""
    command = [sys.executable, "-c", LIMITED, tmp_path / "out.mp4", format]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"FAULT: {alpha_file(tmp_path / 'out.mp4', format)}: no file"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_pictures_is_whole_or_as_it_was(tmp_path):
    folder, grey = tmp_path / "a.frames", np.full((8, 8, 4), 128, np.uint8)

    def write(count: int, fail: bool = False) -> None:
        with PictureFolderWriter(folder) as writer:
            for _ in range(count):
                writer.write(grey)
            # A killed writer's folder has a name like this one.
            assert len(list(tmp_path.glob(".a.frames.part-*"))) == 1
            if fail:
                raise ZeroDivisionError

    (tmp_path / ".a.frames.part-0123abcd").mkdir()
    write(3)
    first = alpha_digest(folder)
    with pytest.raises(ZeroDivisionError):
        write(1, fail=True)
    assert alpha_digest(folder) == first
    write(2)
    assert [one.name for one in tmp_path.iterdir()] == ["a.frames"]
    assert sorted(one.name for one in folder.iterdir()) == ["00001.png", "00002.png"]
    (folder / "notes.txt").touch()
    with pytest.raises(Rejected, match=r"a\.frames: holds something else than numbered pictures"):
        write(1)
    assert (folder / "notes.txt").is_file()
