"""Long videos in parts: the workflow makes three, loses one, and joins what the whole would be."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import yaml
from conftest import Checkout, copy_checkout
from PIL import Image
from test_character import character, man  # noqa: F401 (fixtures)

from mimo import weights
from mimo.body.camera import scale_camera
from mimo.body.raster import fragments
from mimo.character import Character
from mimo.closed_groups import GROUP
from mimo.files import sha256
from mimo.synthesis.__main__ import main
from mimo.synthesis.join import main as join
from mimo.synthesis.parts import Part, Span
from mimo.video import VideoReader, VideoWriter

FPS, FRAMES, PARTS = 25, 2 * GROUP + 2, 3
WIDTH, HEIGHT = 224, 160
NAME, PERSON = "läng 1", "man"
SETTINGS = {"backend": "puppet", "samples": 1}
LONGEST_WAIT = 300


def make_template(folder: Path, made: Character) -> None:
    """Real footage with sound, in which the character's own fitted body slides and sways."""
    weights.fetch(["sports2d-demo"])
    footage = VideoReader(weights.path("sports2d-demo")).frames(0, FRAMES)
    folder.mkdir(parents=True)
    body = made.body
    waves = np.sin(np.arange(FRAMES) / 6)[:, None]
    rotations = np.repeat(body.rotations, FRAMES, axis=0)
    rotations += (0.2 * waves)[:, None]
    camera = scale_camera(body.camera, HEIGHT / body.camera[4])
    camera[1] += (WIDTH - HEIGHT) / 2
    camera[3] = WIDTH
    motion = replace(
        body,
        rotations=rotations,
        translation=np.repeat(body.translation, FRAMES, axis=0) + waves * [0.5, 0, 0.3],
        root_rotation=np.repeat(body.root_rotation, FRAMES, axis=0),
        confidence=np.ones(FRAMES),
        # Nobody is there at first, so that the first part cannot know how soft the scene is.
        visible=np.arange(FRAMES) > GROUP + 3,
        camera=camera.astype(np.float32),
    )
    motion.save(folder / "motion.npz")
    sound = folder.parent / "sound.wav"
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-f", "lavfi", "-i", "sine=440"]
    subprocess.run([*make, "-t", str(FRAMES / FPS), str(sound)], check=True)
    with (
        VideoWriter(folder / "vid.mp4", FPS, audio_from=sound) as vid,
        VideoWriter(folder / "bk.mp4", FPS) as bk,
        VideoWriter(folder / "sdc.mp4", FPS) as sdc,
        VideoWriter(folder / "mask.mp4", FPS, kind="mask") as masks,
    ):
        for number, picture in enumerate(footage):
            frame = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            vid.write(frame)
            bk.write(frame)
            sdc.write(np.zeros_like(frame))
            drawn = fragments(motion.vertices(number), motion.body.topology.faces, motion.camera)
            masks.write(np.where(drawn.faces >= 0, 255, 0).astype(np.uint8))
    sound.unlink()
    crop = {"start_idx": 0, "end_idx": 10_000}
    config = {"fps": FPS, "time_crop": crop, "frame_crop": {}, "pipeline": {"occ_sha256": None}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def checkout(character, man, tmp_path_factory) -> Checkout:  # noqa: F811
    """A checkout with one long template, dropped in, and a character that is prepared already."""
    checkout = copy_checkout(tmp_path_factory.mktemp("parts") / "checkout")
    make_template(checkout.folder / "templates" / NAME, Character.load(character))
    for name in ("videos", "characters"):
        (checkout.folder / name).mkdir()
    Image.fromarray(man).save(checkout.folder / "characters" / f"{PERSON}.png", compress_level=1)
    shutil.copytree(character, checkout.folder / "prepared" / PERSON, copy_function=shutil.copyfile)
    config = {"segments": {"length": FRAMES / FPS / (PARTS - 0.5)}, "synthesis": SETTINGS}
    (checkout.folder / "long.yaml").write_text(yaml.safe_dump(config))
    return checkout


def command(checkout: Checkout, *more: str | Path) -> list[str]:
    folders = ["--template", checkout.folder / "templates" / NAME]
    folders += ["--character", checkout.folder / "prepared" / PERSON, "--samples", "1"]
    return [str(word) for word in (*folders, *more)]


@pytest.fixture(scope="module")
def whole(checkout, tmp_path_factory) -> Path:
    """The result made in one go."""
    output = tmp_path_factory.mktemp("whole") / f"{PERSON}.mp4"
    assert main(command(checkout, "--output", output)) == 0
    return output


def process_of(word: str, folder: Path) -> int | None:
    """A process with a word on its command line that works in a folder."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if word.encode() in words and Path(os.readlink(entry / "cwd")) == folder:
                return int(entry.name)
    return None


@pytest.fixture(scope="module")
def interrupted(checkout):
    """The first run, in which the second part is killed as soon as it begins: how it ended, what was said."""
    options = ["--cores", "2", "--configfile", "long.yaml"]
    with subprocess.Popen(
        [sys.executable, "-m", "snakemake", *options],
        cwd=checkout.folder,
        env=checkout.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        limit = time.monotonic() + LONGEST_WAIT
        while (victim := process_of("--part=2-of-3", checkout.folder)) is None:
            with suppress(subprocess.TimeoutExpired):
                run.wait(0.05)
            assert run.poll() is None
            assert time.monotonic() < limit
        os.kill(victim, signal.SIGKILL)
        code = run.wait(LONGEST_WAIT)
    status = checkout.run("video_decomp.status", "--configfile", "long.yaml")
    parts = checkout.folder / "results" / NAME / f"{PERSON}.parts"
    return code, status, {path.name for path in parts.iterdir() if not path.name.startswith(".")}


def test_a_killed_part_fails_its_result_and_spares_the_others(interrupted):
    code, status, files = interrupted
    assert code == 1
    assert status.returncode != 0
    row = next(line for line in status.stdout.splitlines() if f"{NAME} with {PERSON}" in line)
    assert "part 2-of-3" in row
    assert {name for name in files if name.endswith(".json")} == {"1-of-3.json", "3-of-3.json"}


def test_parts_joined_are_the_whole_byte_for_byte(checkout, interrupted, whole):
    results, logs = checkout.folder / "results" / NAME, checkout.folder / "logs/synthesis" / NAME
    before = (logs / f"{PERSON}.parts" / "1-of-3.log").stat().st_mtime_ns
    assert checkout.planned("--configfile=long.yaml") == {"synthesis_part": 1, "synthesis_join": 1}
    run = checkout.snakemake("--configfile=long.yaml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert (logs / f"{PERSON}.parts" / "1-of-3.log").stat().st_mtime_ns == before, "a part was made again"
    assert sha256(results / f"{PERSON}.mp4") == sha256(whole)
    assert not [path for path in results.rglob("*") if ".parts" in str(path) and path.is_file()]
    assert len(list(VideoReader(whole))) == FRAMES
    with av.open(str(whole)) as container:
        heard = container.streams.audio[0]
        assert float(heard.duration * heard.time_base) == pytest.approx(FRAMES / FPS, abs=0.05)
    one, joined = (
        json.loads(path.read_bytes()) for path in (whole.with_suffix(".json"), results / f"{PERSON}.json")
    )
    assert joined["metrics"]["scene"] == one["metrics"]["scene"]
    assert [part["frames"] for part in joined["metrics"]["parts"]] == [GROUP, GROUP, 2]
    for key in ("video_sha256", "weights", "licences", "settings", "warnings", "character", "template"):
        assert joined[key] == one[key]


def test_a_joined_result_is_not_made_again(checkout, whole):
    assert checkout.planned("--configfile=long.yaml") == {}
    status = checkout.run("video_decomp.status", "--configfile", "long.yaml")
    assert status.returncode == 0, status.stdout


@pytest.mark.parametrize("part", ["0/3", "4/3", "half"])
def test_a_part_that_there_is_not_is_refused(checkout, tmp_path, capsys, part):
    with pytest.raises(SystemExit) as refused:
        main(command(checkout, "--output", tmp_path / "out.mp4", "--part", part))
    assert refused.value.code == 2
    assert "--part" in (said := capsys.readouterr().err)
    assert "numbered from 1 to 3" in said or "write 2/5" in said
    assert not list(tmp_path.iterdir())


def test_only_all_parts_of_one_video_are_joined(checkout, tmp_path, capsys):
    # The last part is short, so that two such parts are made quickly.
    last = tmp_path / "last.mp4"
    assert main(command(checkout, "--output", last, "--part", "3/3")) == 0
    for more, words in (
        (["--relight", "0.1"], "made with another settings"),
        ([], "part 1-of-3 is missing"),
    ):
        assert join(command(checkout, "--output", tmp_path / "out.mp4", *more, last)) == 3
        assert words in capsys.readouterr().err
    last.write_bytes(last.read_bytes()[:-1])
    assert join(command(checkout, "--output", tmp_path / "out.mp4", last)) == 3
    assert f"{last}: not the file" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("total", [1, 59, 60, 61, 119, 121, 187, 600, 5000])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_cover_every_frame_once(total, count):
    seam = 4
    spans = [Span.of(Part(number, count), total, seam) for number in range(1, count + 1)]
    assert [i for span in spans for i in span.own] == list(range(total))
    assert all(span.own.start % GROUP == 0 for span in spans if span.own)
    shown = [span for span in spans if span.own]
    for earlier, later in pairwise(shown):
        shared = [i for i in earlier.rendered if i in later.own]
        assert shared == list(later.own)[: later.head], "what one blends, the other has"
        assert later.head == min(seam, len(later.own))
    assert shown[0].head == 0
