"""What the app takes from its users, how it changes their projects, and what goes when."""

import os
import shutil
import time

import av
import numpy as np
import pytest
import yaml
from app_server import ROOT
from PIL import Image

from mimo import weights
from mimo.app.config_text import with_key
from mimo.app.content import suffix_of
from mimo.app.core import Core
from mimo.app.housekeeping import tidy
from mimo.app.limits import Limits
from mimo.app.queue import JobQueue
from mimo.app.uploads import take
from mimo.app.usage import require_room
from mimo.app.workspace import Workspace
from mimo.run.jobs_file import read_jobs
from mimo.stage import Rejected
from mimo.untrusted_video import opened
from mimo.video import VideoReader, VideoWriter

LIMITS = Limits(video_seconds=2, video_side=400, picture_megapixels=0.5, motion_megabytes=1)
DAY = 24 * 3600


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Ten frames of a woman who walks."""
    weights.fetch(["sports2d-demo"])
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, 15) as writer:
        for frame in VideoReader(weights.path("sports2d-demo")).frames(90, 100):
            writer.write(frame[450:990:4, 700:1240:4][:134, :134])
    return path


@pytest.fixture
def anna(tmp_path):
    """A user of a workspace with many."""
    workspace = Workspace.open(tmp_path / "workspace", many=True)
    project = workspace.project(workspace.new_user())
    project.prepare()
    return project


@pytest.fixture
def core(tmp_path, anna):
    """The server's insides, which do not work on jobs."""
    workspace = Workspace.open(tmp_path / "workspace", many=True)
    return Core(workspace, JobQueue(workspace, 1))


def brought(project, kind, source, name):
    """Bring a file as the route does."""
    part = project.place(kind) / ".part.upload"
    shutil.copyfile(source, part)
    return take(project, kind, part, name, LIMITS)


def test_a_video_is_what_it_holds(anna, clip, tmp_path):
    assert brought(anna, "videos", clip, "walk.txt") == "walk"
    assert brought(anna, "scenes", clip, "Walk.jpg") == "Walk 2"
    names = {path.name for kind in ("videos", "scenes") for path in anna.place(kind).iterdir()}
    assert names == {"walk.mp4", "Walk 2.mp4"}
    Image.new("RGB", (64, 48)).save(tmp_path / "park.webp")
    assert brought(anna, "scenes", tmp_path / "park.webp", "park.mp4") == "park"
    assert (anna.place("scenes") / "park.webp").is_file()


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_what_refers_to_other_files_is_no_video(clip, tmp_path):
    """FFmpeg opens most of these, and what they name, if it is let."""
    shutil.copy(clip, tmp_path / "other.mp4")
    Image.new("RGB", (64, 64)).save(tmp_path / "000.png")
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    files = {
        "concat.mp4": "ffconcat version 1.0\nfile other.mp4\n",
        "playlist.m3u8": hls.format("other.mp4"),
        "playlist.mp4": hls.format(f"file://{tmp_path}/other.mp4"),
        "web.mp4": hls.format("http://127.0.0.1:1/x.ts"),
        "dash.mpd": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
        "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        "%03d.png": (tmp_path / "000.png").read_bytes(),
        "text.mp4": "a text " * 1000,
        "drawing.svg": "<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
        "none.mp4": bytes(4096),
    }
    for name, content in files.items():
        path = written(tmp_path / name, content)
        with pytest.raises(Rejected), opened(path):
            pass
        with pytest.raises(Rejected):
            suffix_of(path, "videos", LIMITS)
        assert str(tmp_path) not in str(refused(path, "videos"))


def refused(path, kind, limits=LIMITS):
    with pytest.raises(Rejected) as error:
        suffix_of(path, kind, limits)
    return str(error.value)


def test_videos_over_a_limit_are_refused(clip, tmp_path):
    assert "longer than 0.5 s" in refused(clip, "videos", LIMITS.model_copy(update={"video_seconds": 0.5}))
    assert "134 × 134 pixels" in refused(clip, "videos", LIMITS.model_copy(update={"video_side": 100}))
    # What its header promises counts for nothing.
    data = clip.read_bytes()
    place = data.index(b"mvhd")
    lying = written(tmp_path / "lying.mp4", data[: place + 20] + bytes([0, 0, 0, 1]) + data[place + 24 :])
    assert "longer than 0.5 s" in refused(lying, "videos", LIMITS.model_copy(update={"video_seconds": 0.5}))
    assert "damaged" in refused(written(tmp_path / "half.mp4", data[:4000]), "videos")


def test_frames_larger_than_the_header_says_are_not_decoded(clip, monkeypatch):
    monkeypatch.setattr("mimo.untrusted_video.MOST_PIXELS", 134 * 134 - 1)
    with pytest.raises(Rejected, match="134 × 134 pixels are too many"), opened(clip):
        pass
    monkeypatch.setattr("mimo.untrusted_video.MOST_PIXELS", 134 * 134)
    # The decoder has the limit, too, in which blocks of 16 count.
    with opened(clip) as (container, stream), pytest.raises(av.FFmpegError):
        next(container.decode(stream))


def test_room_is_limited(anna, clip):
    brought(anna, "videos", clip, "walk")
    require_room(anna.folder, LIMITS)
    with pytest.raises(Rejected, match="more than 1e-06 GB"):
        require_room(anna.folder, Limits(project_gigabytes=1e-6))
    with pytest.raises(Rejected, match="disk of this server"):
        require_room(anna.folder, Limits(free_gigabytes=1e9))


def test_motions_are_known_by_content(anna, tmp_path):
    motion = {"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3)), "gender": np.array("neutral")}
    np.savez(tmp_path / "a.npz", **motion)
    assert brought(anna, "motions", tmp_path / "a.npz", "dance.exe") == "dance"
    assert (anna.place("motions") / "dance.npz").is_file()
    assert suffix_of(written(tmp_path / "b", "HIERARCHY\nROOT Hips\n"), "motions", LIMITS) == ".bvh"
    assert suffix_of(written(tmp_path / "c", '{"Loop": "wrap", "Frames": []}'), "motions", LIMITS) == ".txt"
    assert "JSON" in refused(written(tmp_path / "d", '{"a": ' + "[" * 100_000), "motions")
    assert "no motion" in refused(written(tmp_path / "e", b"\x80\x04."), "motions")
    np.savez(tmp_path / "f.npz", poses=np.zeros(200_000))
    assert "unpacks to more than 1 MB" in refused(tmp_path / "f.npz", "motions")


def test_settings_are_written_where_the_command_line_reads_them(anna, clip):
    brought(anna, "videos", clip, "walk")
    anna.change_side_settings("videos", "walk", {"segmentation": {"subject": [54.0, 42.0]}})
    assert yaml.safe_load((anna.folder / "videos" / "walk.yaml").read_text()) == {
        "segmentation": {"subject": [54.0, 42.0]}
    }
    assert anna.load().settings("segmentation", "walk").subject == (54.0, 42.0)
    with pytest.raises(Rejected, match="unknown key 'colour'"):
        anna.change_side_settings("videos", "walk", {"segmentation": {"colour": "red"}})
    assert anna.side_settings("videos", "walk") == {"segmentation": {"subject": [54.0, 42.0]}}
    anna.change_side_settings("videos", "walk", {"segmentation": {"subject": None}})
    assert not (anna.folder / "videos" / "walk.yaml").exists()


def test_configuration_keeps_its_text():
    text = "# mine\nvideos: clips   # here\noverrides:\n  a: {ingest: {fps: 12}}\n\n  b: {}\n"
    text += "# last\nsynthesis:\n  backend: puppet\n"
    changed = with_key(text, "overrides", {"c": {"ingest": {"fps": 24}}})
    assert "# mine\nvideos: clips   # here\n" in changed
    assert "# last\nsynthesis:\n  backend: puppet\n" in changed
    assert yaml.safe_load(changed)["overrides"] == {"c": {"ingest": {"fps": 24}}}
    assert yaml.safe_load(with_key("a: 1", "alpha", {"of": "all"})) == {"a": 1, "alpha": {"of": "all"}}
    assert yaml.safe_load(with_key("exclude:\n- a\n- b\nx: 1\n", "exclude", [])) == {"exclude": [], "x": 1}


def test_results_are_asked_for_and_taken_back(anna, clip, core, tmp_path):
    brought(anna, "videos", clip, "walk")
    brought(anna, "scenes", clip, "park")
    Image.new("RGB", (64, 90)).save(tmp_path / "anna.png")
    brought(anna, "characters", tmp_path / "anna.png", "anna")
    assert anna.load().pairs == []
    anna.add_row("anna", "walk", "park")
    anna.add_row("anna", "walk")
    anna.change_overrides("walk@park", {"synthesis": {"shadow": 0.3}})
    assert anna.load().pairs == [("walk@park", "anna"), ("walk", "anna")]
    with pytest.raises(Rejected, match="nobody") as error:
        anna.add_row("nobody", "walk")
    assert str(error.value).startswith("jobs.tsv: line 4, column character: ")
    assert len(read_jobs(anna.table)) == 2
    for name in ("templates/walk@park/vid.mp4", "results/walk@park/anna.mp4", "results/walk/anna.mp4"):
        (anna.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (anna.folder / name).write_text("{}")
    result = next(one for one in anna.results() if one.template == "walk")
    core.delete_result(anna, result)
    assert anna.load().pairs == [("walk@park", "anna")]
    core.delete(anna, anna.entry("scenes", "park"))
    assert anna.load().pairs == []
    assert anna.overrides("walk@park") == {}
    assert not (anna.folder / "templates" / "walk@park").exists()
    assert anna.results() == []
    assert [entry.name for entry in anna.entries("videos")] == ["walk"]


def test_gallery_is_used_by_links_and_not_deleted(anna, core, clip):
    shared = core.workspace.folder / "characters" / "ben.png"
    Image.new("RGB", (64, 90)).save(shared)
    brought(anna, "videos", clip, "walk")
    entry = anna.entry("characters", "ben")
    assert entry.shared
    assert anna.url(entry.path).startswith("/gallery/characters/ben.png?v=")
    with pytest.raises(Rejected, match="gallery"):
        core.delete(anna, entry)
    anna.use(entry)
    anna.add_row("ben", "walk")
    assert anna.load().pairs == [("walk", "ben")]
    assert (anna.folder / "characters" / "ben.png").is_symlink()
    core.delete(anna, anna.entry("characters", "ben"))
    assert shared.is_file()


def test_old_uploads_go_and_what_is_in_use_stays(anna, core, clip, tmp_path):
    for name in ("old", "new", "needed", "watched"):
        brought(anna, "videos", clip, name)
    long_ago = time.time() - 15 * DAY
    for name in ("old", "needed", "watched"):
        os.utime(anna.folder / "videos" / f"{name}.mp4", (long_ago, long_ago))
    (anna.folder / "results" / "watched").mkdir()
    (anna.folder / "results" / "watched" / "anna.mp4").write_text("made today")
    (anna.folder / "templates" / "old" / "records").mkdir(parents=True)
    os.utime(anna.folder / "templates" / "old", (long_ago, long_ago))
    core.queue.add(anna, "needed", "look", ["templates/needed/vid.mp4"], ["needed"])
    gone = tidy(core, time.time())
    assert [line.split(" of ")[0] for line in gone] == ["videos/old"]
    assert [entry.name for entry in anna.entries("videos")] == ["needed", "new", "watched"]
    assert not (anna.folder / "templates" / "old").exists()
    # Somebody who only looked leaves nothing.
    for place in ("visitor", "guest"):
        visitor = core.workspace.project(core.workspace.new_user())
        (visitor.private / "draft.json").write_text(place)
        if place == "visitor":
            for path in (visitor.private / "draft.json", visitor.private, visitor.folder):
                os.utime(path, (long_ago, long_ago))
            assert tidy(core, time.time()) == [f"the project of {visitor.user}"]
    assert core.workspace.users() == sorted([anna.user, visitor.user])
    # With one user nothing goes by itself.
    alone = Workspace.open(tmp_path / "alone", many=False)
    shutil.copy(clip, alone.folder / "videos" / "old.mp4")
    os.utime(alone.folder / "videos" / "old.mp4", (long_ago, long_ago))
    assert tidy(Core(alone, JobQueue(alone, 1)), time.time()) == []


def test_what_users_get_of_the_workspaces_configuration(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "videos": "clips",
                "weights": ["models"],
                "exclude": ["secret name"],
                "app": {"keep_days": 3},
                "synthesis": {"backend": "puppet", "shadow": 0.3},
            }
        )
    )
    workspace = Workspace.open(folder, many=True)
    assert workspace.limits.keep_days == 3
    project = workspace.project(workspace.new_user())
    project.prepare()
    assert yaml.safe_load((project.folder / "config.yaml").read_text()) == {
        "synthesis": {"backend": "puppet", "shadow": 0.3},
        "weights": [str(folder / "models")],
    }
    (folder / "config.yaml").write_text("app: {keep_dayz: 3}\n")
    with pytest.raises(Rejected, match="keep_dayz"):
        Workspace.open(folder, many=True)


def test_limits_are_documented():
    page = (ROOT / "docs" / "app.md").read_text()
    for name, field in Limits.model_fields.items():
        default = "null" if field.default is None else field.default
        assert f"| `{name}` | {default} | {field.description} |" in page
