"""Groups: people of one video together, by the command lines; two drawn people pass each other."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mimo.casting import Cast
from mimo.group import Group, numbers
from mimo.stage import Rejected
from mimo.template import Template
from mimo.video import VideoReader, VideoWriter
from video_decomp.group.__main__ import main as group
from video_decomp.group.in_front import without
from video_decomp.group.pack import main as pack

FRAMES, WIDTH, HEIGHT = 12, 160, 96
FLOOR, RED, BLUE, POST = (110, 120, 100), (210, 40, 40), (40, 60, 210), (90, 70, 20)


def places(number):
    """Rows and columns of red, who comes from the left, and of blue, who passes in front from the right."""
    red, blue = 10 + 9 * number, 122 - 9 * number
    return np.s_[30:80, red : red + 24], np.s_[36:90, blue : blue + 24]


def write(path, kind, frame):
    with VideoWriter(path, 20, kind=kind) as writer:
        for number in range(FRAMES):
            writer.write(frame(number))


def filmed(number):
    image = np.full((HEIGHT, WIDTH, 3), FLOOR, np.uint8)
    red, blue = places(number)
    image[red], image[blue] = RED, BLUE
    image[20:96, 136:142] = POST
    return image


def area(where):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[where] = 255
    return mask


def write_member(folder, who):
    """A template before it is packed. Red's mask takes some of blue, and blue's feet are in no mask."""
    folder.mkdir(parents=True)
    write(folder / "vid.mp4", "colour", filmed)

    def mask(number):
        red, blue = (area(place) for place in places(number))
        visible = red & ~blue
        if who == "red":
            near = np.zeros_like(red)
            near[30:80, max(0, 10 + 9 * number - 4) : 10 + 9 * number + 28] = 255
            return visible | (near & blue)
        return blue

    def sdc(number):
        return np.dstack([area(places(number)[who == "blue"]) // 2] * 3)

    def occ(number):
        red, blue = (area(place) for place in places(number))
        return (blue if (red & blue).any() else blue * 0) | area(np.s_[20:96, 136:142])

    write(folder / "mask.mp4", "mask", mask)
    write(folder / "sdc.mp4", "colour", sdc)
    if who == "red":
        write(folder / "occ.mp4", "mask", occ)
    (folder / "records").mkdir()
    records = {
        "segmentation": {"first_frame": 1 if who == "red" else 2, "last_frame": 10, "weights": []},
        "occlusion": {"occ_sha256": "it is there" if who == "red" else None},
    }
    for stage, record in records.items():
        (folder / "records" / f"{stage}.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Two templates and the group of them, with a background; to be read only."""
    folder = tmp_path_factory.mktemp("templates")
    for who in ("red", "blue"):
        write_member(folder / f"pair-{who}", who)
    made = subprocess.run(
        [sys.executable, "-m", "video_decomp.group", f"--template={folder / 'pair'}"]
        + [f"--member={who}={folder / f'pair-{who}'}" for who in ("red", "blue")],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    write(folder / "pair" / "bk.mp4", "colour", lambda number: np.full((HEIGHT, WIDTH, 3), FLOOR, np.uint8))
    (folder / "pair" / "records" / "inpainting.json").write_text('{"metrics": {}, "weights": []}')
    assert pack([f"--template={folder / 'pair'}", "--preview-times=4"]) == 0
    return folder


def rejected(capsys, command, *arguments):
    """Why a command rejected its input."""
    assert command(list(map(str, arguments))) == 3
    return capsys.readouterr().err.split("REJECTED: ")[1]


def test_each_pixel_is_one_persons(templates):
    people = VideoReader(templates / "pair" / "people.mp4", gray=True)
    for number, image in enumerate(people):
        red, blue = places(number)
        truth = np.zeros((HEIGHT, WIDTH), np.uint8)
        truth[red], truth[blue] = 1, 2
        wrong = numbers(image, 2) != truth
        assert wrong.sum() < 0.03 * (truth > 0).sum(), number
    record = json.loads((templates / "pair" / "records" / "group.json").read_text())
    assert record["metrics"]["frames_contested"] > 0


def test_the_mask_is_everybodys_and_the_video_is_the_members(templates):
    folder = templates / "pair"
    assert (folder / "vid.mp4").read_bytes() == (templates / "pair-red" / "vid.mp4").read_bytes()
    masks, whose = (VideoReader(folder / f"{name}.mp4", gray=True) for name in ("mask", "people"))
    assert all(((mask > 127) == (people > 0)).all() for mask, people in zip(masks, whose, strict=True))


def test_a_member_is_no_occluder_but_the_post_is(templates):
    things = list(VideoReader(templates / "pair" / "occ.mp4", gray=True))
    whose = list(VideoReader(templates / "pair" / "people.mp4", gray=True))
    for number, (thing, people) in enumerate(zip(things, whose, strict=True)):
        assert not thing[numbers(people, 2) == 2].any(), number
        assert not thing[:, :130].any(), number
    assert (things[6][20:96, 136:142] == 255).all()


def test_edges_of_people_are_no_occluders_and_thin_things_are():
    person, thing = area(np.s_[20:80, 40:60]) > 0, area(np.s_[18:82, 38:62])
    thing |= area(np.s_[0:96, 100:102])
    rest = without(thing, person, clearance=4)
    assert (rest > 0).sum() == 96 * 2
    joined = without(area(np.s_[20:80, 40:100]), person, clearance=4)
    assert joined[50, 80] == 255
    assert not joined[:, :62].any()


def test_a_group_is_opened_and_says_what_it_is(templates):
    pair = Group.load(templates / "pair")
    assert pair.names == ["red", "blue"]
    assert pair.scene.frame_numbers.tolist() == list(range(1, 11))
    with pytest.raises(Rejected, match=r"a group of several people.*mimo\.synthesis\.cast"):
        Template.load(templates / "pair")


def test_packing_needs_the_background(templates, tmp_path, capsys):
    folder = shutil.copytree(templates / "pair", tmp_path / "pair")
    (folder / "bk.mp4").unlink()
    assert "bk.mp4: missing; run inpainting" in rejected(capsys, pack, f"--template={folder}")
    assert not (folder / "config.json").exists()


def test_members_must_be_of_one_video(templates, tmp_path, capsys):
    other = shutil.copytree(templates / "pair-blue", tmp_path / "other")
    with VideoWriter(other / "vid.mp4", 20) as writer:
        for number in range(FRAMES):
            writer.write(255 - filmed(number))

    def why(*members):
        options = [f"--member={member}" for member in members]
        return rejected(capsys, group, f"--template={tmp_path / 'new'}", *options)

    red, blue = templates / "pair-red", templates / "pair-blue"
    assert "not of the same video" in why(f"red={red}", f"blue={other}")
    for name in ("vid", "mask", "sdc"):
        with VideoWriter(other / f"{name}.mp4", 20, kind="mask" if name == "mask" else "colour") as writer:
            for _ in range(8):
                writer.write(np.zeros((64, 64) if name == "mask" else (64, 64, 3), np.uint8))
    assert "size: 160x96 and 64x64" in why(f"red={red}", f"blue={other}")
    assert "two members at least" in why(f"red={red}")
    assert "template of two members" in why(f"red={red}", f"blue={red}")
    assert "there is a member 'red' already" in why(f"red={red}", f"red={blue}")
    assert "give NAME=TEMPLATE" in why("red")
    assert "cannot stand in a cast" in why(f"a;b={red}", f"blue={blue}")
    assert "run the stages before this one" in why(f"red={red}", f"blue={tmp_path / 'nobody'}")
    assert not (tmp_path / "new" / "records" / "group.json").exists()


def test_casts_are_the_same_however_they_are_written():
    cast = Cast.parse(" ben = keep; anna=woman")
    assert cast.name == "anna=woman,ben=keep"
    assert cast == Cast.parse(cast.name)
    assert cast.characters == ["woman"]
    assert [cast.role(name) for name in ("anna", "ben", "carl")] == ["woman", "keep", "keep"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "an empty cast"),
        ("anna", "'anna' is not MEMBER=CHARACTER"),
        ("anna=", "give MEMBER=CHARACTER"),
        ("anna=x;anna=y", "'anna' is named twice"),
        ("anna=x=y", "cannot stand in a cast"),
        ("carl=woman", r"no member 'carl' \(there is anna, ben\)"),
        ("anna=child", r"no character 'child' \(there is woman; or keep, remove\)"),
        ("anna=keep;ben=keep", "everybody is kept"),
    ],
)
def test_casts_that_cannot_be(text, why):
    with pytest.raises(Rejected, match=why):
        Cast.parse(text).check(["anna", "ben"], {"woman": None})
