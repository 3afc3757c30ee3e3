"""Two people of real footage replaced at once, by the command lines: her arm passes before his leg."""

import json
import shutil
import subprocess
from itertools import pairwise

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from test_character import character, man  # noqa: F401 (fixtures)

from mimo import weights
from mimo.composition.depth_order import DepthOrder
from mimo.group import Group, numbers
from mimo.synthesis.cast import main as cast
from mimo.video import VideoReader, has_audio
from video_decomp.group.__main__ import main as group
from video_decomp.group.pack import main as pack_group
from video_decomp.ingest.__main__ import main as ingest
from video_decomp.inpainting.__main__ import main as inpaint
from video_decomp.occlusion.__main__ import main as find_occluders
from video_decomp.pack import main as pack
from video_decomp.pose.__main__ import main as fit
from video_decomp.segmentation.__main__ import main as segment

PEOPLE = {"far": "[131, 160]", "near": "[45, 237]"}
FRAMES = 8


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Templates of both people, and the group of them; to be read only."""
    folder = tmp_path_factory.mktemp("templates")
    weights.fetch(["pose2sim-multi-cam02", *weights.select([])])
    source = folder / "with sound.mp4"
    make = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error"]
    make += ["-i", str(weights.path("pose2sim-multi-cam02")), "-f", "lavfi", "-i", "sine=440", "-shortest"]
    subprocess.run([*make, "-c:v", "copy", str(source)], check=True)
    members = []
    for name, place in PEOPLE.items():
        member = folder / f"duet-{name}"
        here = f"--template={member}"
        members.append(f"--member={name}={member}")
        cut = ["--start=0.6", "--end=1.0", "--fps=20", "--short-side=256"]
        assert ingest([here, *cut, str(source)]) == 0
        assert segment([here, f"--subject={place}", "--subject-time=0"]) == 0
        assert fit([here, "--network=full"]) == 0
        assert find_occluders([here]) == 0
        # What is behind one of them alone is not asked for in a cast.
        shutil.copy(member / "vid.mp4", member / "bk.mp4")
        (member / "records" / "inpainting.json").write_text("{}")
        assert pack([here]) == 0
    duet = f"--template={folder / 'duet'}"
    assert group([duet, *members]) == 0
    assert inpaint([duet]) == 0
    assert pack_group([duet]) == 0
    return folder


@pytest.fixture(scope="module")
def play(templates, character, tmp_path_factory):  # noqa: F811
    """Make a result of the group and give its file; `person` stands for the one character there is."""
    folder = tmp_path_factory.mktemp("results")

    def make(*roles, options=()):
        output = folder / f"{','.join(roles)}.mp4"
        if not output.exists():
            words = [f"--cast={role.replace('person', str(character))}" for role in roles]
            assert cast([f"--group={templates / 'duet'}", f"--output={output}", *words, *options]) == 0
        return output

    return make


@pytest.fixture(scope="module")
def both(play):
    """Both people replaced, with transparency."""
    return play("far=person", "near=person", options=["--alpha=png"])


def frames(path):
    return np.stack(list(VideoReader(path))).astype(int)


def shown(templates, name):
    """A video of the group, and whose its pixels are."""
    whose = VideoReader(templates / "duet" / "people.mp4", gray=True)
    return frames(templates / "duet" / f"{name}.mp4"), np.stack([numbers(image, 2) for image in whose])


def test_the_result_is_whole(both, templates, character):  # noqa: F811
    record = json.loads(both.with_suffix(".json").read_text())
    assert len(VideoReader(both)) == FRAMES
    assert has_audio(both)
    name = character.name
    assert record["cast"] == {"far": name, "near": name}
    assert (record["template"], record["character"]) == ("duet", f"far={name},near={name}")
    assert set(record["metrics"]["members"]) == {"far", "near"}
    assert not [path for path in both.parent.iterdir() if path.name.startswith(".")]


def test_the_order_is_that_of_the_video(both):
    order = json.loads(both.with_suffix(".json").read_text())["metrics"]["depth_order"]
    assert order["agrees_with_video"] > 0.8
    assert order["changes"] == 0


def test_who_is_near_is_drawn_over_who_is_far(both, play, templates):
    alone = frames(play("far=remove", "near=person"))
    together, empty = frames(both), shown(templates, "bk")[0]
    drawn = np.abs(alone - empty).max(axis=-1) > 60
    solid = np.stack([cv2.erode(image.astype(np.uint8), np.ones((3, 3))) > 0 for image in drawn])
    far = frames(templates / "duet-far" / "sdc.mp4").max(axis=-1) > 30
    meeting = solid & far
    assert meeting.sum() > 100
    assert np.abs(together - alone)[meeting].mean() < 6
    apart = far & ~np.stack([cv2.dilate(image.astype(np.uint8), np.ones((9, 9))) > 0 for image in drawn])
    assert np.abs(together - alone)[apart].mean() > 20


def test_who_stays_is_as_filmed_and_in_front(play, templates):
    result = frames(play("far=person", options=["--alpha=png"]))
    filmed, whose = shown(templates, "vid")
    near = np.stack([cv2.erode((image == 2).astype(np.uint8), np.ones((5, 5))) > 0 for image in whose])
    far = np.stack([cv2.erode((image == 1).astype(np.uint8), np.ones((5, 5))) > 0 for image in whose])
    assert np.abs(result - filmed)[near].mean() < 3
    assert np.abs(result - filmed)[far].mean() > 15


def test_transparent_characters_are_cut_out_where_somebody_stays(play, both, templates):
    stays = play("far=person", options=["--alpha=png"]).with_suffix(".frames")
    plays = both.with_suffix(".frames")
    whose = shown(templates, "vid")[1]
    assert len(list(stays.iterdir())) == len(list(plays.iterdir())) == FRAMES
    for number, image in enumerate(whose, 1):
        near = cv2.erode((image == 2).astype(np.uint8), np.ones((5, 5))) > 0
        alone, together = (
            cv2.imread(str(folder / f"{number:05d}.png"), cv2.IMREAD_UNCHANGED)[..., 3]
            for folder in (stays, plays)
        )
        assert alone.max() == 255
        assert (alone[near] > 8).mean() < 0.01
        assert (together[near] > 250).mean() > 0.6


def test_who_is_removed_is_gone(play, templates):
    result, empty = frames(play("far=remove", "near=remove")), shown(templates, "bk")[0]
    assert np.abs(result - empty).mean() < 1
    assert np.percentile(np.abs(result - empty), 99) < 10


def test_a_hidden_person_who_stays_is_warned_of(play):
    record = json.loads(play("near=remove").with_suffix(".json").read_text())
    assert any("far stays" in text and "cannot be shown" in text for text in record["warnings"])


def test_what_cannot_be_played_is_rejected_in_words(templates, character, tmp_path, capsys):  # noqa: F811
    output = tmp_path / "result.mp4"

    def why(*roles, group=templates / "duet", **more):
        words = [f"--cast={role}" for role in roles] + [f"--{key}={value}" for key, value in more.items()]
        assert cast([f"--group={group}", f"--output={output}", *words]) == 3
        return capsys.readouterr().err.split("REJECTED: ")[1]

    assert "no member 'middle' (there is far, near)" in why(f"middle={character}")
    assert "everybody is kept" in why("far=keep")
    assert "give MEMBER=CHARACTER" in why("far")
    assert "is named twice" in why("far=remove", "far=keep")
    assert "character.json" in why(f"far={tmp_path / 'nobody'}")
    assert "a template of one person" in why("far=remove", group=templates / "duet-far")
    assert "config.json" in why("near=remove", **{"members-in": tmp_path})
    changed = shutil.copytree(templates, tmp_path / "changed")
    shutil.copy(changed / "duet-near" / "mask.mp4", changed / "duet-far" / "mask.mp4")
    assert "was changed after the group duet was made" in why("near=remove", group=changed / "duet")
    assert not output.exists()


def test_an_order_holds_until_the_video_shows_another():
    depth = DepthOrder(people=2, fps=10)
    left, right = np.zeros((2, 60, 60), bool)
    left[5:50, 10:40], right[5:50, 20:50] = True, True
    rng = np.random.default_rng(0)
    for number in range(60):
        # The left one is in front at first, then the right one; two frames are wrong, many say nothing.
        first_in_front = (number < 30) != (number in (12, 45))
        seen = [left, right & ~left] if first_in_front else [left & ~right, right]
        if rng.random() < 0.4:
            seen = [left & ~right, right & ~left]
        depth.add(np.stack([left, right]), np.stack(seen), np.full(2, np.nan))
    orders = depth.orders()
    assert [pair for pair in pairwise(orders.tolist()) if pair[0] != pair[1]] == [([1, 0], [0, 1])]
    assert abs(int(np.flatnonzero(np.diff(orders[:, 0]))[0]) - 29) <= 2
    assert depth.agreement() > 0.9


def test_feet_and_distance_tell_where_nothing_is_seen():
    def order(*, feet=(50, 50), distances=(np.nan, np.nan)):
        depth = DepthOrder(people=2, fps=10)
        bodies = np.zeros((2, 60, 60), bool)
        bodies[0, 10 : feet[0], 5:15], bodies[1, 10 : feet[1], 40:50] = True, True
        for _ in range(3):
            depth.add(bodies, bodies, np.array(distances))
        assert depth.agreement() is None
        return depth.orders()[0].tolist()

    assert order(feet=(50, 40)) == [1, 0]
    assert order(feet=(40, 50)) == [0, 1]
    assert order(distances=(3.0, 5.0)) == [1, 0]
    assert order(feet=(40, 50), distances=(3.0, 5.0)) == [0, 1]


def test_a_group_knows_its_members(templates):
    duet = Group.load(templates / "duet")
    assert [member.template for member in duet.members] == ["duet-far", "duet-near"]
    assert len(duet.scene.frame_numbers) == FRAMES
