"""Segmentation by SAM 2.1: networks in the official formats, tracking, command line, workflow."""

import json
import os
import pickle
from pathlib import Path
from unittest import mock

import cv2
import networks_sam2 as networks
import numpy as np
import pytest
import torch
import yaml
from official_weights import clip
from safetensors.torch import load_file, save_file
from transformers import (
    RTDetrImageProcessorPil,
    Sam2VideoInferenceSession,
    Sam2VideoModel,
    SamImageProcessorPil,
    VitPoseImageProcessorPil,
)

from mimo import weights
from mimo.stage import Rejected
from mimo.video import VideoReader, VideoWriter
from video_decomp.sam2 import graphs, loading, official
from video_decomp.sam2.frames import IMAGENET_STD, stacked, to_pixels
from video_decomp.sam2.interface import Prompt
from video_decomp.sam2.matting import EdgeMatter
from video_decomp.sam2.people import PeopleFinder, Rules
from video_decomp.sam2.tracker import VideoTracker
from video_decomp.segmentation.__main__ import main

pytestmark = pytest.mark.usefixtures("one_thread")

PERSON = (0.55, 0.15, 0.85, 0.97)
"""Where the tests' detector sees somebody, in units of the image."""
TINY_TRUNK = official.Trunk(heads=1, windows=(8, 4, 4, 2), all_over=(3,), image_size=128)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with a tiny network of each kind."""
    folder = tmp_path_factory.mktemp("networks")
    networks.video_network().save_pretrained(folder / "sam2")
    networks.detector(folder / "detector", PERSON)
    networks.detector(folder / "blind", None)
    networks.key_points(folder / "key_points", 0.9)
    networks.key_points(folder / "doubtful", 0.2)
    networks.matting(folder / "matting")
    first = networks.official("sam")
    # Without this the random network sees nothing in real images.
    first["mask_decoder.output_hypernetworks_mlps.0.layers.2.bias"] = torch.tensor([3.0, -3.0, 3.0, -3.0])
    torch.save(first, folder / "sam.pth")
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A template's folder with 14 frames of the woman who walks, 320x180."""
    weights.fetch(["sports2d-demo"])
    folder = tmp_path_factory.mktemp("template")
    with VideoWriter(folder / "vid.mp4", 30) as writer:
        for image in VideoReader(weights.path("sports2d-demo")).frames(60, 74):
            writer.write(cv2.resize(image[450:, 800:1768], (320, 180), interpolation=cv2.INTER_AREA))
    return folder


@pytest.fixture(scope="module")
def tracker(files):
    return VideoTracker(loading.load_video_network(files / "sam2"), batch=3)


def segment(template, files, *options, **other):
    """Run the command line with the tiny networks, or others of the folder in their place."""
    chosen = {"weights": "sam2", "detector": "detector", "key_points": "key_points"} | other
    places = [f"--{name.replace('_', '-')}={files / place}" for name, place in chosen.items()]
    return main(["--template", str(template), "--backend", "sam2", "--device", "cpu", *places, *options])


def record(template):
    return json.loads((template / "records" / "segmentation.json").read_text())


def masks(template):
    return list(VideoReader(template / "mask.mp4", gray=True))


def golden():
    return np.load(networks.GOLDEN / "golden.npz")


def test_officially_saved_sam_gives_the_official_results(tmp_path):
    torch.save(networks.official("sam"), tmp_path / "sam_vit_h_4b8939.pth")
    network = loading.load_image_network(tmp_path / "sam_vit_h_4b8939.pth")
    frames, expected = clip(), golden()
    box = network(pixel_values=frames[:1], input_boxes=torch.tensor([[[20.0, 30.0, 90.0, 120.0]]]))
    points = network(
        pixel_values=frames[:1],
        input_points=torch.tensor([[[[50.0, 60.0], [10.0, 10.0]]]]),
        input_labels=torch.tensor([[[1, 0]]]),
        input_masks=frames[1:2, :1, ::4, ::4],
    )
    for output, name in ((box, "box"), (points, "points")):
        assert np.abs(output.pred_masks[0].detach().numpy() - expected[name]).max() < 2e-6
        assert np.abs(output.iou_scores[0].detach().numpy() - expected[f"{name}_quality"]).max() < 2e-6


class GoldenClip:
    """The golden clip in the place of a video; its frames carry their number, for `ReadyPixels`."""

    path = Path("clip")
    info = type("Info", (), {"width": 32, "height": 32})

    def __len__(self):
        return len(clip())

    def frames(self, start=0, stop=None):
        for number in range(len(self))[start:stop]:
            yield np.full((32, 32, 3), number, np.uint8)


def test_officially_saved_sam2_tracks_as_the_official_code_does(monkeypatch):
    """Both ways from a box in frame 8: logits of every second frame."""
    network = official.sam2_video_model(networks.official("sam2"), TINY_TRUNK)
    frames, found = clip(), {}
    monkeypatch.setattr(
        "video_decomp.sam2.tracker.to_pixels", lambda images, *_: frames[images[:, 0, 0, 0].long()]
    )
    run = network.forward

    def listened(session, frame_idx, **more):
        output = run(session, frame_idx=frame_idx, **more)
        found[frame_idx] = output.pred_masks[0, 0]
        return output

    monkeypatch.setattr(network, "forward", listened)
    tracked = list(VideoTracker(network, batch=4).track(GoldenClip(), [Prompt(8, box=(5, 8, 22, 30))]))
    assert [frame.frame for frame in tracked] == list(range(20))
    for number, expected in zip(range(0, 20, 2), golden()["video"], strict=True):
        assert np.abs(found[number].numpy() - expected).max() < 1e-5 * np.abs(expected).max() + 3e-4


def test_every_tensor_of_an_official_file_must_be_there_once():
    whole = networks.official("sam2")
    official.sam2_video_model(whole, TINY_TRUNK)
    for change in (
        {"obj_ptr_proj.layers.1.bias": None},
        {"memory_encoder.pix_feat_proj.more": torch.zeros(1)},
        {"no_obj_ptr": torch.zeros(1, 7)},
    ):
        changed = {name: value for name, value in (whole | change).items() if value is not None}
        with pytest.raises(ValueError, match=next(iter(change)).split(".")[0][:6] + "|object_pointer"):
            official.sam2_video_model(changed, TINY_TRUNK)
    with pytest.raises(ValueError, match="no published size"):
        official.sam2_video_model(whole)


@torch.inference_mode()
def library_masks(model, video, frame, box):
    """What the library's own session, which keeps everything, finds: back first, then forth."""
    pixels = torch.cat(
        [to_pixels(stacked([image], model.device), (128, 128), model.device, model.dtype) for image in video]
    )
    session = Sam2VideoInferenceSession(video=pixels, video_height=180, video_width=320, dtype=torch.float32)
    corners = torch.tensor(box).view(1, 1, 2, 2) * torch.tensor([128 / 320, 128 / 180])
    labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
    session.add_point_inputs(
        session.obj_id_to_idx(1), frame, {"point_coords": corners, "point_labels": labels}
    )
    session.obj_with_new_inputs = [1]
    model(session, frame_idx=frame)
    found = {}
    for reverse in (True, False):
        for output in model.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=reverse):
            found[output.frame_idx] = torch.nn.functional.interpolate(
                output.pred_masks, (180, 320), mode="bilinear"
            )
    return [found[index][0, 0].numpy() for index in range(len(video))]


def test_streamed_masks_are_those_of_the_librarys_session(files, template, tracker):
    video, box = VideoReader(template / "vid.mp4"), (176.0, 30.0, 270.0, 170.0)
    model = Sam2VideoModel.from_pretrained(files / "sam2").eval()
    expected = library_masks(model, video, 5, box)
    sizes = set()
    for frame, logits in zip(tracker.track(video, [Prompt(5, box=box)]), expected, strict=True):
        sure = np.abs(logits) > 1e-4
        assert (frame.masks[0] == (logits > 0))[sure].all()
        assert sure.mean() > 0.999
        sizes.add(int(frame.masks.sum()))
    assert len(sizes) > 10  # the tiny network does find something else in each frame


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_the_clip(tmp_path, tracker):
    """240 frames, both ways from the middle: the frames alone would take 166 MB, their features more."""
    y, x = np.mgrid[:360, :640].astype(np.uint8)
    with VideoWriter(tmp_path / "long.mp4", 30) as writer:
        for number in range(240):
            writer.write(np.dstack([x + np.uint8(number), y, x ^ y]))
    video = VideoReader(tmp_path / "long.mp4")
    seen, early, late = 0, 0, 0
    for frame in tracker.track(video, [Prompt(120, box=(100, 50, 300, 300))]):
        seen += 1
        if frame.frame < 40:
            early = max(early, resident())
        else:
            late = max(late, resident())
    assert seen == 240
    assert late - early < 30e6


def test_graphs_replay_what_the_network_computes(files, template, tracker, monkeypatch):
    """Without a GPU a captured call is made again instead of replayed; copies and keys are real."""

    def captured(function, leaves, form):
        own = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        args, more = graphs.pytree.tree_unflatten(own, form)
        inputs = [leaf for leaf in own if isinstance(leaf, torch.Tensor)]
        made = graphs._Graph(mock.Mock(), inputs, None)
        made.graph.replay.side_effect = lambda: vars(made).update(results=function(*args, **more))
        captures.append(made)
        return made

    captures = []
    monkeypatch.setattr(graphs, "_captured", captured)
    monkeypatch.setattr(graphs, "_USUAL", 2)
    monkeypatch.setattr(type(tracker.model), "device", property(lambda _: torch.device("cuda")))
    network = loading.load_video_network(files / "sam2")
    network.accelerate()
    monkeypatch.delattr(type(tracker.model), "device")
    video, prompts = VideoReader(template / "vid.mp4"), [Prompt(5, box=(176.0, 30.0, 270.0, 170.0))]
    plain = [frame.masks for frame in tracker.track(video, prompts)]
    replayed = [frame.masks for frame in VideoTracker(network, batch=3).track(video, prompts)]
    assert sum(made.graph.replay.call_count for made in captures) > 20
    assert np.mean(np.array(plain) != np.array(replayed)) < 1e-5


def test_a_masked_thing_is_where_it_was_marked(template, tracker):
    video = VideoReader(template / "vid.mp4")
    marks = [np.zeros((180, 320), np.uint8) for _ in range(2)]
    cv2.ellipse(marks[0], (250, 90), (40, 70), 0, 0, 360, 1, -1)
    cv2.rectangle(marks[1], (20, 100), (100, 160), 1, -1)
    prompts = [Prompt(9, mask=marks[0] > 0), Prompt(4, mask=marks[1] > 0)]
    frames = list(tracker.track(video, prompts))
    assert [frame.frame for frame in frames] == list(range(14))
    assert all((frame.image == image).all() for frame, image in zip(frames, video, strict=True))
    for thing, (number, mark) in enumerate(((9, marks[0]), (4, marks[1]))):
        mask = frames[number].masks[thing]
        assert (mask & (mark > 0)).sum() / (mask | (mark > 0)).sum() > 0.93
    together = [frame.masks[0] for frame in frames]
    alone = [frame.masks[0] for frame in tracker.track(video, prompts[:1])]
    assert all(np.mean(a != b) < 1e-3 for a, b in zip(together, alone, strict=True))


def test_networks_see_what_the_librarys_processors_make(files, template):
    """To the last of 256 levels; the crop of a person up to the picture's border."""
    image, cpu = VideoReader(template / "vid.mp4").frame(0), torch.device("cpu")
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    ours = to_pixels(stacked([image], cpu), (640, 640), cpu, torch.float32, **plain)
    theirs = RTDetrImageProcessorPil()(images=image, return_tensors="pt").pixel_values
    assert (ours - theirs).abs().max() < 1.01 / 255
    ours = to_pixels(stacked([image], cpu), (576, 1024), cpu, torch.float32)
    theirs = SamImageProcessorPil()(images=image, return_tensors="pt").pixel_values[:, :, :576]
    assert (ours - theirs).abs().max() < 1.01 / 255 / min(IMAGENET_STD)
    seen = []
    points = loading.load_key_points(files / "key_points")
    points.register_forward_pre_hook(
        lambda _, args, inputs: seen.append(inputs["pixel_values"]), with_kwargs=True
    )
    box = np.array([130.0, 40.0, 190.0, 130.0])
    PeopleFinder(loading.load_detector(files / "detector"), points, Rules()).joints([image], [box])
    processor = VitPoseImageProcessorPil(size={"height": 64, "width": 48})
    theirs = processor(images=image, boxes=[[[130.0, 40.0, 60.0, 90.0]]], return_tensors="pt").pixel_values
    assert (seen[0] - theirs).abs().max() < 2.01 / 255 / min(IMAGENET_STD)


def test_people_are_where_the_detector_sees_them(files, template):
    image = VideoReader(template / "vid.mp4").frame(0)
    detector, points = (
        loading.load_detector(files / "detector"),
        loading.load_key_points(files / "key_points"),
    )
    [[person]] = PeopleFinder(detector, points, Rules()).find([image], [7])
    assert person.frame == 7
    assert np.allclose(person.box, np.array(PERSON) * (320, 180, 320, 180), atol=0.1)
    assert person.in_full
    [joints] = PeopleFinder(detector, points, Rules()).joints([image], [person.box])
    # A flat heatmap has its peak in its first cell: the corner of the crop, which is 1.25 times the box.
    assert np.allclose(joints[:, 2], 0.9)
    assert np.allclose(joints[:, 1], 0.56 * 180 - 1.25 * 0.82 * 180 / 2, atol=0.5)
    assert not PeopleFinder(detector, points, Rules(joint=0.95)).find([image], [7])[0][0].in_full


def test_matting_changes_only_the_edge(files, template):
    image = VideoReader(template / "vid.mp4").frame(0)
    mask = np.zeros((180, 320), np.uint8)
    cv2.circle(mask, (180, 90), 50, 1, -1)
    alpha = EdgeMatter(loading.load_matting(files / "matting")).alpha(image, mask > 0)
    changed = np.argwhere(alpha != mask) - (90, 180)
    assert len(changed) > 500
    assert np.abs(np.hypot(*changed.T) - 50).max() < 6
    assert alpha.min() >= 0
    assert alpha.max() <= 1


def test_command_line_masks_the_clip(files, template):
    assert segment(template, files) == 0
    found, said = masks(template), record(template)
    assert len(found) == 14
    assert all(mask.shape == (180, 320) and np.isin(mask, (0, 255)).all() for mask in found)
    assert sum(mask.any() for mask in found) == said["metrics"]["frames_found"] > 10
    assert said["subject"]["people"] == 1
    assert said["weights"] == ["sam2.1-hiera-large", "rtdetr-v2-r50", "vitpose-base-simple"]
    assert set(said["weights"]) <= set(weights.registry().files)
    assert "not on the person" in " ".join(said["warnings"])  # random masks are not
    first = (template / "mask.mp4").read_bytes()
    assert segment(template, files) == 0
    assert (template / "mask.mp4").read_bytes() == first


def test_first_sam_and_matting_are_used_when_wanted(files, template):
    more = {"sam_weights": "sam.pth", "matting_weights": "matting"}
    assert segment(template, files, "--first-mask=sam", "--matting=true", "--batch=5", **more) == 0
    assert record(template)["weights"][-1] == "sam-vit-h"
    assert "vitmatte-small" in record(template)["weights"]
    assert all(np.isin(mask, (0, 255)).all() for mask in masks(template))


def test_subject_can_be_pointed_at_without_detection(files, template):
    none = {"detector": "nowhere", "key_points": "nowhere"}
    assert (
        segment(template, files, "--detect=false", "--subject=[200, 90]", "--subject-time=0.2", **none) == 0
    )
    assert record(template)["subject"]["frame"] == 6
    assert record(template)["weights"] == ["sam2.1-hiera-large"]


@pytest.mark.parametrize(
    ("options", "other", "reason"),
    [
        ([], {"detector": "blind"}, "no person found in any frame"),
        ([], {"key_points": "doubtful"}, "no full body"),
        (["--min-area=0.3"], {}, "person too small: at most 24.6"),
        (["--subject=[10, 10]"], {}, "no person found at subject (10.0, 10.0); people seen: frames 0-13"),
        (["--detect=false"], {}, "without detection the subject must be a point"),
        (["--detect=false", "--subject=[900, 20]"], {}, "outside the video: 320x180, 14 frames"),
        ([], {"detector": "key_points"}, "a network of type 'vitpose', not a person detector"),
        (
            [],
            {"weights": "sam.pth"},
            "not a checkpoint like sam2.1_hiera_large.pt; its tensors are image_encoder",
        ),
        ([], {"weights": "missing"}, "missing: not there (it is set in place of the registry's"),
    ],
)
def test_unusable_input_is_rejected_with_its_reason(files, template, capfd, options, other, reason):
    (template / "mask.mp4").unlink(missing_ok=True)
    assert segment(template, files, *options, **other) == 3
    assert reason in capfd.readouterr().err
    assert not (template / "mask.mp4").exists()


class Evil:
    def __reduce__(self):
        return os.system, ("echo hacked",)


def test_damaged_files_are_refused(files, tmp_path, capfd):
    page, hostile = tmp_path / "sam2.1_hiera_large.pt", tmp_path / "hostile.pt"
    page.write_text("<!doctype html><title>Sign in</title>")
    hostile.write_bytes(pickle.dumps({"model": Evil()}, protocol=2))
    for place in (page, hostile):
        with pytest.raises(Rejected, match=f"{place.name}: no file of weights"):
            loading.load_video_network(place)
    assert "hacked" not in capfd.readouterr().out
    tensors = load_file(files / "sam2" / "model.safetensors")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_bytes((files / "sam2" / "config.json").read_bytes())
    with pytest.raises(Rejected, match=r"folder: holds no model\.safetensors"):
        loading.load_video_network(tmp_path / "folder")
    del tensors["no_object_pointer"]
    save_file(tensors, tmp_path / "folder" / "model.safetensors")
    with pytest.raises(Rejected, match="1 missing keys, such as no_object_pointer"):
        loading.load_video_network(tmp_path / "folder")
    (tmp_path / "folder" / "model.safetensors").write_text("<html>")
    with pytest.raises(Rejected, match=r"folder: cannot be read as a SAM 2\.1 video network"):
        loading.load_video_network(tmp_path / "folder")


@pytest.mark.slow
def test_workflow_runs_it(checkout, files):
    (checkout.folder / "videos").mkdir()
    weights.fetch(["sports2d-demo"])
    (checkout.folder / "videos" / "walk.mp4").write_bytes(weights.path("sports2d-demo").read_bytes())
    own = {key: str(files / place) for key, place in
           {"weights": "sam2", "detector": "detector", "key_points": "key_points"}.items()}  # fmt: skip
    more = {
        "ingest": {"start": 3.0, "max_seconds": 0.3, "short_side": 180},
        "segmentation": {"backend": "sam2", "device": "cpu", **own},
    }
    (checkout.folder / "more.yaml").write_text(yaml.safe_dump(more))
    result = checkout.snakemake("--configfile", "more.yaml", "--", "templates/walk/mask.mp4")
    assert result.returncode == 0, result.stdout + result.stderr
    template = checkout.folder / "templates" / "walk"
    assert len(masks(template)) == len(VideoReader(template / "vid.mp4")) == 9
    assert record(template)["backend"] == "sam2"
