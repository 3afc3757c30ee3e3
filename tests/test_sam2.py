"""SAM 2.1 and its company: networks in the official formats, tracking, people, edges."""

import itertools
import os
import threading
from pathlib import Path
from unittest import mock

import cv2
import networks_sam2 as networks
import numpy as np
import pytest
import torch
from official_weights import clip
from safetensors.torch import save_file
from transformers import (
    RTDetrImageProcessorPil,
    Sam2VideoInferenceSession,
    Sam2VideoModel,
    SamImageProcessorPil,
    VitPoseImageProcessorPil,
)

from mimo.video import VideoReader, VideoWriter
from video_decomp.sam2 import graphs, loading, official, streams
from video_decomp.sam2.frames import IMAGENET_STD, stacked, to_pixels
from video_decomp.sam2.interface import Prompt
from video_decomp.sam2.matting import EdgeMatter
from video_decomp.sam2.people import PeopleFinder, Rules
from video_decomp.sam2.tracker import VideoTracker

pytestmark = pytest.mark.usefixtures("one_thread")

TINY_TRUNK = official.Trunk(heads=1, windows=(8, 4, 4, 2), all_over=(3,), image_size=128)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with a tiny network of each kind."""
    return networks.write_all(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A template's folder with 14 frames, 320x180."""
    return networks.write_clip(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="module")
def tracker(files):
    return VideoTracker(loading.load_video_network(files / "sam2"), batch=3)


def golden():
    return np.load(networks.GOLDEN / "golden.npz")


def test_officially_saved_sam_gives_the_official_results(tmp_path):
    weights_there = networks.official("sam")
    torch.save(weights_there, tmp_path / "sam_vit_h_4b8939.pth")
    network = loading.load_image_network(tmp_path / "sam_vit_h_4b8939.pth")
    save_file(weights_there, tmp_path / "sam.safetensors")
    again = loading.load_image_network(tmp_path / "sam.safetensors").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
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


def test_reading_ahead_hands_on_errors_and_ends_with_its_reader():
    threads = threading.active_count()

    def numbers():
        yield from range(3)
        raise OSError("disk gone")

    read = streams.ahead(numbers(), 2)
    assert [next(read) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="disk gone"):
        next(read)
    endless = streams.ahead(itertools.count(), 2)
    assert next(endless) == 0
    endless.close()
    assert threading.active_count() == threads


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
    monkeypatch.setattr(graphs, "_MOST", 1)
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
    assert np.allclose(person.box, np.array(networks.PERSON) * (320, 180, 320, 180), atol=0.1)
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
