"""Segments of long videos: how they are planned, cut, and joined again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mimo import remembered
from mimo import segments as planning
from mimo.body.motion import Motion
from mimo.run.project import Project
from mimo.segments import Division, SegmentSettings
from mimo.stage import Rejected
from mimo.video import VideoReader, VideoWriter
from video_decomp.pose.unseen import nobody
from video_decomp.segments.blending import joined_motion
from video_decomp.segments.cut import cut
from video_decomp.segments.occluders import joined_occluders
from video_decomp.segments.part import Place
from video_decomp.segments.records import joined_jumps, joined_metrics
from video_decomp.segments.splice import Segments, splice

FPS = 30
SIZE = (48, 64)


def moving_noise(frames, kind="colour", seed=0):
    """Pictures that the encoder predicts from one another in both directions."""
    random = np.random.default_rng(seed)
    wide = random.integers(0, 256, (SIZE[0], SIZE[1] + frames, 3), np.uint8)
    for index in range(frames):
        picture = wide[:, index : index + SIZE[1]].copy()
        picture[10:30, 5:40] = random.integers(0, 256, 3)
        yield picture if kind == "colour" else np.where(picture[..., 0] > 100, 255, 0).astype(np.uint8)


def write(path, frames, kind="colour"):
    with VideoWriter(path, FPS, kind=kind) as writer:
        for frame in frames:
            writer.write(frame)


def divide(template, parts, overlap):
    for index in range(parts):
        cut(template, index, parts, overlap / FPS)
    return Segments.of(template, parts)


@pytest.mark.parametrize(("frames", "parts", "overlap"), [(75, 3, 12), (1000, 7, 30), (61, 2, 5)])
def test_segments_cover_the_video_and_share_what_a_seam_needs(frames, parts, overlap):
    division = Division(frames, parts, overlap)
    owned = [frame for index in range(parts) for frame in division.own(index)]
    assert owned == list(range(frames))
    for index in range(parts - 1):
        seam = division.seam(index)
        assert len(seam) >= overlap
        assert set(seam) <= set(division.shown(index)) & set(division.shown(index + 1))


def test_number_of_segments_follows_the_length():
    settings = SegmentSettings(length=10)
    assert [settings.parts(seconds) for seconds in (0, 9, 14.9, 15, 20, 20.1, 605)] == [1, 1, 1, 2, 2, 3, 61]
    assert SegmentSettings().parts(100_000) == 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project's folder with a long and a short video, and a template dropped in by hand."""
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    for name, frames in (("long é+(1)", 300), ("short", 30)):
        write(tmp_path / "videos" / f"{name}.mp4", moving_noise(frames))
    return tmp_path


def load(folder, **more):
    values = {name: str(folder / name) for name in ("videos", "templates", "characters")}
    values |= {"segments": {"length": 3}, "segmentation": {"backend": "mediapipe"}}
    values |= {"pose": {"backend": "anny"}, "occlusion": {"backend": "geometry"}}
    values |= {"inpainting": {"backend": "plate"}, "character": {"backend": "mediapipe"}}
    return Project.load(values | {"synthesis": {"backend": "puppet"}} | more)


def matches(pattern, name):
    """Whether a rule with this constraint makes the mask of a video or segment."""
    return re.fullmatch(rf"(?:{pattern})/mask\.mp4", f"{name}/mask.mp4") is not None


def test_planning_needs_only_headers(folder, monkeypatch):
    project = load(folder)
    long = "long é+(1)"
    assert planning.parts_of(project, long) == 4
    assert planning.parts_of(project, "short") == 1
    overrides = {long: {"ingest": {"start": 1, "max_seconds": 6}}}
    assert planning.parts_of(load(folder, overrides=overrides), long) == 2
    assert planning.parts_of(load(folder, segments={}), long) == 1
    # The second time nothing is opened.
    (note,) = [p for p in (folder / "cache" / "durations").iterdir() if "long" in p.read_text()]
    note.write_text(note.read_text().replace('"value": 10.0', '"value": 30.0'))
    monkeypatch.setattr(remembered, "_known", {})
    assert planning.parts_of(load(folder), long) == 10


def test_stages_work_on_segments_where_their_backend_can(folder):
    project, long = load(folder), "long é+(1)"
    part = planning.part_name(long, 3)
    for stage in ("segmentation", "pose", "inpainting"):
        assert matches(planning.worked_on(project, stage), part)
        assert not matches(planning.worked_on(project, stage), long)
        assert matches(planning.worked_on(project, stage), "short")
        assert matches(planning.divided(project, stage), long)
    # The outlines of what stands in front need the whole clip.
    assert matches(planning.worked_on(project, "occlusion"), long)
    assert not matches(planning.divided(project, "occlusion"), long)
    assert not matches(planning.divided(load(folder, segments={})), long)
    layers = load(folder, occlusion={"backend": "depth-layers"})
    assert matches(planning.divided(layers, "occlusion"), long)


def test_segments_have_the_settings_of_their_video(folder):
    long = "long é+(1)"
    project = load(folder, overrides={long: {"pose": {"smoothness": 3}}})
    part = planning.part_name(long, 0)
    assert project.settings("pose", part).smoothness == 3
    assert project.options("pose", part) == project.options("pose", long)
    assert planning.told_options(project, "pose", long) == []
    (survey,) = planning.told_options(project, "pose", part)
    assert survey.endswith(f"{long}/segments/pose.npz")


@pytest.mark.parametrize(("parts", "overlap"), [(2, 5), (3, 14), (5, 9)])
def test_cutting_changes_no_pixel(tmp_path, parts, overlap):
    template = tmp_path / "walk"
    write(template / "vid.mp4", moving_noise(143))
    whole = list(VideoReader(template / "vid.mp4"))
    segments = divide(template, parts, overlap)
    for index, (place, folder) in enumerate(zip(segments.places, segments.folders, strict=True)):
        shown = segments.division.shown(index)
        assert (place.first, place.frames) == (shown.start, 143)
        assert shown.stop <= place.stop <= shown.stop + 8
        video = VideoReader(folder / "vid.mp4")
        assert video.info.fps == FPS
        assert len(video) == place.stop - place.first
        for ours, theirs in zip(video, whole[place.first : place.stop], strict=True):
            assert np.array_equal(ours, theirs)
        assert np.array_equal(video.frame(7), whole[place.first + 7])


def test_too_many_segments_are_refused(tmp_path):
    write(tmp_path / "walk" / "vid.mp4", moving_noise(30))
    with pytest.raises(Rejected, match="segments: length"):
        cut(tmp_path / "walk", 0, 4, 0.5)


def test_joined_videos_are_copied_but_for_the_seams(tmp_path):
    template = tmp_path / "walk"
    write(template / "vid.mp4", moving_noise(600))
    segments = divide(template, 3, 10)
    masks = list(moving_noise(600, "mask"))
    for place, folder in zip(segments.places, segments.folders, strict=True):
        write(folder / "mask.mp4", masks[place.first : place.stop], "mask")
        # A layer that tells the segments apart.
        write(
            folder / "bk.mp4",
            (np.full((*SIZE, 3), 60 * place.index + 60, np.uint8) for _ in range(place.first, place.stop)),
        )

    copied = splice(segments, "mask.mp4", "mask", lambda a, b: iter(masks[a:b]), np.zeros(600, bool))
    assert copied > 0.4
    joined = VideoReader(template / "mask.mp4", gray=True)
    assert (len(joined), joined.info.fps) == (600, FPS)
    assert all(np.array_equal(ours, mask) for ours, mask in zip(joined, masks, strict=True))
    assert np.array_equal(joined.frame(411), masks[411])

    readers = [VideoReader(folder / "bk.mp4") for folder in segments.folders]

    def faded(start, stop):
        return (np.round(frame).astype(np.uint8) for frame in segments.blended(readers, start, stop))

    splice(segments, "bk.mp4", "colour", faded, segments.in_seams())
    levels = np.array([frame.mean() for frame in VideoReader(template / "bk.mp4")])
    assert len(levels) == 600
    assert np.abs(np.diff(levels)).max() < 9
    for index in range(3):
        alone = segments.alone(index)
        assert np.abs(levels[alone.start : alone.stop] - (60 * index + 60)).max() < 2


def test_segments_of_another_division_are_refused(tmp_path):
    template = tmp_path / "walk"
    write(template / "vid.mp4", moving_noise(90))
    divide(template, 3, 6)
    cut(template, 1, 2, 0.2)
    with pytest.raises(Rejected, match="another division"):
        Segments.of(template, 3)


def motion(frames, angle, place, visible=None):
    """A body of one bone, turned about x, without vertices."""
    turns = np.zeros((frames, 1, 3))
    turns[:, 0, 0] = angle
    return Motion(
        model="one-bone",
        shape=np.zeros(2, np.float32),
        rest_vertices=np.zeros((1, 3), np.float32),
        rest_bones=np.tile(np.eye(4, dtype=np.float32), (1, 1, 1)),
        rotations=turns,
        root_rotation=turns[:, 0],
        translation=np.tile(np.array([place, 0, 3.0]), (frames, 1)),
        camera=np.array([64, 32, 24, 64, 48], np.float32),
        confidence=np.ones(frames),
        visible=np.ones(frames, bool) if visible is None else visible,
        ground=np.zeros(4),
    )


@pytest.fixture
def three(tmp_path):
    template = tmp_path / "walk"
    write(template / "vid.mp4", moving_noise(90))
    return divide(template, 3, 8)


def lengths(segments):
    return [place.stop - place.first for place in segments.places]


def test_poses_turn_into_each_other_over_a_seam(three):
    # The short way from 170 to -170 degrees leads over 180.
    for folder, frames, degrees in zip(three.folders, lengths(three), (170, -170, -170), strict=True):
        motion(frames, np.radians(degrees), degrees / 170).save(folder / "motion.npz")
    joined = joined_motion(three)
    seam = three.division.seam(0)
    assert np.array_equal(np.flatnonzero(joined.changed), [*seam, *three.division.seam(1)])
    turned = Rotation.from_rotvec(joined.motion.rotations[:, 0]).as_euler("xyz", degrees=True)[:, 0] % 360
    assert turned[: seam.start] == pytest.approx(170, abs=1e-3)
    assert turned[seam.stop :] == pytest.approx(190, abs=1e-3)
    assert (np.diff(turned[seam.start - 1 : seam.stop + 1]) > 0).all()
    assert np.diff(joined.motion.translation[:, 0]).min() > -2 / len(seam) - 1e-6
    assert joined.motion.translation[:, 2] == pytest.approx(3)


def test_a_segment_without_the_person_is_passed_evenly(three):
    first, middle, last = three.folders
    counts = lengths(three)
    motion(counts[0], 0.0, 0.0).save(first / "motion.npz")
    nobody(VideoReader(middle / "vid.mp4").info).motion.save(middle / "motion.npz")
    motion(counts[2], 1.0, 1.0).save(last / "motion.npz")
    joined = joined_motion(three)
    unseen = ~joined.motion.visible
    assert unseen[three.alone(1).start : three.alone(1).stop].all()
    assert joined.changed[unseen].all()
    assert np.diff(joined.motion.translation[:, 0]).max() < 0.05
    assert joined.motion.rotations[45, 0, 0] == pytest.approx(0.5, abs=0.05)


def test_nobody_in_any_segment_is_refused(three):
    for folder in three.folders:
        nobody(VideoReader(folder / "vid.mp4").info).motion.save(folder / "motion.npz")
    with pytest.raises(Rejected, match="no segment shows the person"):
        joined_motion(three)


def test_what_hides_the_person_on_both_sides_of_a_seam_is_one_thing(three):
    def thing(first, last, kind="still"):
        return {
            "kind": kind,
            "first_frame": first,
            "last_frame": last,
            "hidden_share": 0.1,
            "confidence": 0.5,
            "box": [0, 0, 5, 5],
        }

    starts = [place.first for place in three.places]
    found = [
        [thing(10, 31)],
        [thing(29 - starts[1], 40 - starts[1]), thing(50 - starts[1], 52 - starts[1], "moving")],
        [],
    ]
    joined = joined_occluders(three, found)
    assert [(one["kind"], one["first_frame"], one["last_frame"]) for one in joined] == [
        ("still", 10, 40),
        ("moving", 50, 52),
    ]


def test_numbers_of_segments_become_those_of_the_video(three):
    parts = [
        {
            "landmark_error_px": 1.0,
            "filled_frames": 2,
            "camera": "static",
            "flicker": {"filled": 1.0},
            "psnr": None,
        },
        {
            "landmark_error_px": 3.0,
            "filled_frames": 1,
            "camera": "moving",
            "flicker": {"filled": 2.0},
            "psnr": 4.0,
        },
    ]
    assert joined_metrics(parts, [30, 10]) == {
        "landmark_error_px": 1.5,
        "filled_frames": 3,
        "camera": ["static", "moving"],
        "flicker": {"filled": 1.25},
        "psnr": 4.0,
    }
    # A jump that two segments see is counted where it belongs.
    starts = [place.first for place in three.places]
    jumps = [{"n": 2, "at": [3, 33]}, {"n": 1, "at": [33 - starts[1]]}, {"n": 0, "at": []}]
    assert joined_jumps(three, jumps, "n", "at") == {"n": 2, "at": [3, 33]}


def test_status_names_the_segment(folder, monkeypatch):
    from mimo.report.outcomes import outcomes

    monkeypatch.chdir(folder)
    project, long = load(folder, logs=str(folder / "logs")), "long é+(1)"
    log = folder / "logs" / "pose" / f"{planning.part_name(long, 2)}.log"
    log.parent.mkdir(parents=True)
    log.write_text("REJECTED: no such body; install it\n")
    (video,) = [item for item in outcomes(project) if item.name == long]
    assert video.failure
    assert (video.failure.stage, video.failure.log) == ("pose", log)
    assert video.failure.reason == "segment 002: REJECTED: no such body; install it"
    # Once the segment is done, an old log says nothing.
    record = folder / "templates" / planning.part_name(long, 2) / "records" / "pose.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({}))
    (video,) = [item for item in outcomes(project) if item.name == long]
    assert video.failure is None


def test_a_place_must_be_whole(tmp_path):
    with pytest.raises(Rejected, match="cut the video again"):
        Place.read(Path(tmp_path))
