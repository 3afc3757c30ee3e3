"""Corrections of a mask by hand: the folder, strokes and clicks, and how far they are carried."""

import json
import shutil

import cv2
import networks_sam2 as networks
import numpy as np
import pytest

from mimo import corrections, weights
from mimo.corrections import NOT_PERSON, PERSON, UNTOUCHED, Click
from mimo.stage import Rejected
from mimo.video import VideoReader, VideoWriter
from video_decomp.segmentation.__main__ import main
from video_decomp.segmentation.clicks import clicked
from video_decomp.segmentation.correcting import corrected, corrections_of
from video_decomp.segmentation.interface import FrameMask, Segmentation, SubjectSettings
from video_decomp.segments.part import Place

SIZE = (360, 640)
FRAMES = 16
MIDDLE = 8


@pytest.fixture(scope="module")
def man(tmp_path_factory):
    """A man who swings an arm: a template's folder, and its masks as they are found."""
    weights.fetch(weights.select(["segmentation/mediapipe", "pose2sim-cam02"]))
    template = tmp_path_factory.mktemp("man")
    with VideoWriter(template / "vid.mp4", 30) as writer:
        for image in VideoReader(weights.path("pose2sim-cam02")).frames(17, 17 + FRAMES):
            writer.write(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA))
    assert main(["--template", str(template), "--corrections", str(template / "missing")]) == 0
    assert record(template)["corrections"] == []
    return template, masks(template)


def masks(template):
    return list(VideoReader(template / "mask.mp4", gray=True))


def record(template):
    return json.loads((template / "records" / "segmentation.json").read_text())


def untouched():
    return np.full(SIZE[::-1], UNTOUCHED, np.uint8)


def arm(mask):
    """The raised arm on the picture's left: the largest thin part of the mask there."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (37, 37))
    body = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc), np.ones((5, 5)))
    thin = ((mask > 0) & (body == 0)).astype(np.uint8)
    thin[240:] = 0
    thin[:, 210:] = 0
    _, parts, stats, _ = cv2.connectedComponentsWithStats(thin)
    return parts == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])


def without_arms(found):
    return [np.where(arm(mask), 0, mask).astype(np.uint8) for mask in found]


def corrected_masks(template, wrong, folder, **settings):
    """Masks that begin wrong, with the corrections of a folder."""
    video = VideoReader(template / "vid.mp4")
    frames = (FrameMask(image, mask, 1.0) for image, mask in zip(video, wrong, strict=True))
    result = corrected(
        Segmentation(frames, {}, []),
        video,
        corrections_of(folder, template, video),
        SubjectSettings(**settings),
    )
    return [frame.mask for frame in result.masks], result.corrections


def likeness(masks_, truth, but=()):
    """Mean IoU over the frames."""
    pairs = [(a > 127, b > 127) for i, (a, b) in enumerate(zip(masks_, truth, strict=True)) if i not in but]
    return np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])


def test_folder_holds_what_was_put_there(tmp_path):
    folder = tmp_path / "dance"
    assert corrections.load(None).frames == corrections.load(folder).frames == []
    corrections.add_click(folder, Click(frame=3, x=1.5, y=2, person=True))
    corrections.add_click(folder, Click(frame=9, x=4, y=2, person=False))
    corrections.add_click(folder, Click(frame=3, x=7, y=2, person=False))
    labels = untouched()
    labels[:10], labels[20:30] = PERSON, NOT_PERSON
    corrections.paint(folder, 12, labels)
    loaded = corrections.load(folder)
    assert loaded.frames == [3, 9, 12]
    assert (corrections.read_painted(loaded.painted[12], *SIZE) == labels).all()
    assert json.loads((folder / "clicks.json").read_text())[1] == {
        "frame": 9,
        "x": 4,
        "y": 2,
        "person": False,
    }
    corrections.undo_click(folder, 3)
    assert [click.x for click in corrections.load(folder).clicks] == [1.5, 4]
    corrections.clear(folder, 3)
    corrections.paint(folder, 12, untouched())
    assert corrections.load(folder).frames == [9]
    corrections.clear(folder)
    assert corrections.correction_files(folder) == []


def click(**changed):
    return json.dumps([{"frame": 1, "x": 1, "y": 1, "person": True} | changed])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("clicks.json", click(frame=16), "frames 0 to 15"),
        ("clicks.json", click(x=360), "outside the picture"),
        ("clicks.json", click(x=float("nan")), "finite number"),
        ("clicks.json", click(frame=-1), "greater than or equal"),
        ("clicks.json", click(peron=True), "0.peron: Extra inputs"),
        ("clicks.json", '[{"frame": 1', "not JSON"),
        ("clicks.json", "[" * 100_000, "not JSON"),
        ("000002.png", "no picture", "not a PNG picture"),
        ("000016.png", "no picture", "frames 0 to 15"),
        ("2.png", "no picture", "not a correction"),
    ],
)
def test_correction_that_cannot_be_used_is_refused_in_words(man, tmp_path, capsys, name, content, reason):
    (tmp_path / name).write_text(content)
    assert main(["--template", str(man[0]), "--corrections", str(tmp_path)]) == 3
    assert reason in capsys.readouterr().err


def test_picture_of_another_size_is_refused(man, tmp_path, capsys):
    corrections.paint(tmp_path, 0, np.full((638, 360), PERSON, np.uint8))
    assert main(["--template", str(man[0]), "--corrections", str(tmp_path)]) == 3
    assert "360 × 638 pixels, the video has 360 × 640" in capsys.readouterr().err


def test_command_line_obeys_strokes_and_carries_them(man, tmp_path):
    template, found = man
    shutil.copytree(template, tmp_path / "template")
    labels = untouched()
    labels[20:80, 250:330] = PERSON  # a lamp at the ceiling, which stands still
    labels[arm(found[MIDDLE])] = NOT_PERSON
    corrections.paint(tmp_path / "hand", MIDDLE, labels)
    assert main(["--template", str(tmp_path / "template"), "--corrections", str(tmp_path / "hand")]) == 0
    made, said = masks(tmp_path / "template"), record(tmp_path / "template")
    touched = labels != UNTOUCHED
    assert (made[MIDDLE][touched] == labels[touched]).all()
    assert (made[MIDDLE][~touched] == found[MIDDLE][~touched]).all()
    assert all(mask[30:70, 260:320].mean() > 0.95 * 255 for mask in made)
    assert not any((made[i] > 0)[arm(found[i])].mean() > 0.1 for i in (MIDDLE - 2, MIDDLE + 2))
    assert [entry["frame"] for entry in said["corrections"]] == [MIDDLE]
    assert (said["corrections"][0]["first_frame"], said["corrections"][0]["last_frame"]) == (0, FRAMES - 1)


def test_arm_painted_on_one_frame_is_there_on_the_others(man, tmp_path):
    template, found = man
    wrong = without_arms(found)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
    stroke = cv2.dilate(arm(found[MIDDLE]).astype(np.uint8), brush) > 0
    labels = untouched()
    labels[stroke] = PERSON
    corrections.paint(tmp_path, MIDDLE, labels)
    made, _ = corrected_masks(template, wrong, tmp_path)
    assert (made[MIDDLE][stroke] == 255).all()
    assert likeness(wrong, found, [MIDDLE]) < 0.94
    assert likeness(made, found, [MIDDLE]) > 0.98
    alone, said = corrected_masks(template, wrong, tmp_path, carry=0)
    assert all((alone[i] == wrong[i]).all() for i in range(FRAMES) if i != MIDDLE)
    assert (said[0]["first_frame"], said[0]["last_frame"]) == (MIDDLE, MIDDLE)


def test_click_takes_the_whole_arm(man, tmp_path):
    template, found = man
    wrong = without_arms(found)
    rows, columns = np.nonzero(cv2.erode(arm(found[MIDDLE]).astype(np.uint8), np.ones((5, 5))))
    middle = len(rows) // 2
    on_arm = Click(frame=MIDDLE, x=columns[middle] + 0.5, y=rows[middle] + 0.5, person=True)
    corrections.add_click(tmp_path, on_arm)
    made, said = corrected_masks(template, wrong, tmp_path)
    assert likeness(made, found) > likeness(wrong, found) + 0.03
    assert (said[0]["clicks"], said[0]["painted"]) == (1, False)
    opposite = on_arm.model_copy(update={"person": False})
    labels = clicked(VideoReader(template / "vid.mp4").frame(MIDDLE), found[MIDDLE], [opposite])
    assert (labels[arm(found[MIDDLE])] == NOT_PERSON).mean() > 0.5
    assert (labels[found[MIDDLE] == 0] != NOT_PERSON).mean() > 0.99


def test_later_correction_takes_over(man, tmp_path):
    template, found = man
    for frame, value in ((2, PERSON), (10, NOT_PERSON)):
        labels = untouched()
        labels[20:80, 250:330] = value
        corrections.paint(tmp_path, frame, labels)
    made, _ = corrected_masks(template, found, tmp_path)
    middles = [mask[50, 290] for mask in made]
    assert middles == [255] * 6 + [middles[6]] + [0] * 9


def test_segment_of_a_long_video_takes_its_own_corrections(man, tmp_path):
    template, _ = man
    shutil.copytree(template, tmp_path / "segment")
    Place(1, 3, 100, 100 + FRAMES, 300, 8).write(tmp_path / "segment")
    for frame in (40, 104):
        corrections.add_click(tmp_path / "hand", Click(frame=frame, x=10, y=10, person=True))
    video = VideoReader(template / "vid.mp4")
    assert corrections_of(tmp_path / "hand", tmp_path / "segment", video).frames == [4]
    with pytest.raises(Rejected, match="frames 0 to 15"):
        corrections_of(tmp_path / "hand", template, video)


@pytest.mark.usefixtures("one_thread")
def test_sam2_tracks_again_from_clicks(tmp_path):
    files, template = networks.write_all(tmp_path / "networks"), networks.write_clip(tmp_path / "template")
    options = ["--template", str(template), "--backend=sam2", f"--weights={files / 'sam2'}", "--device=cpu"]
    options += ["--detect=false", "--subject=[200, 90]"]
    assert main(options) == 0
    before = masks(template)
    corrections.add_click(tmp_path / "hand", Click(frame=9, x=60, y=100, person=True))
    corrections.add_click(tmp_path / "hand", Click(frame=9, x=200, y=90, person=False))
    assert main([*options, "--corrections", str(tmp_path / "hand")]) == 0
    after = masks(template)
    assert after[9][100, 60] == 255
    assert after[9][90, 200] == 0
    assert any((after[i] != before[i]).any() for i in range(len(after)) if i != 9)
    assert record(template)["corrections"][0]["clicks"] == 2
