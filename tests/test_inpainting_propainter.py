"""The inpainting backend `propainter`: bounded windows against whole clips, and the command line."""

import gc
import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml
from background_scenes import figure, frames, picture, psnr, view, write_clip
from live_memory import LiveMemory
from propainter_material import NETWORKS, clip, flows, random_state, sampled, write_official
from test_propainter_networks import GOLDEN, network

from mimo import weights
from mimo.files import sha256
from mimo.video import VideoReader
from video_decomp.inpainting import propainter
from video_decomp.inpainting.__main__ import main
from video_decomp.inpainting.interface import mask_distance
from video_decomp.propainter import checkpoints
from video_decomp.propainter.flow_completion import FlowCompletion
from video_decomp.propainter.generator import Generator, quartered_flow, quartered_mask
from video_decomp.propainter.image_propagation import propagate
from video_decomp.propainter.memory import estimate
from video_decomp.propainter.pipeline import Inpainter, Networks
from video_decomp.propainter.raft import RAFT
from video_decomp.propainter.shots import cuts
from video_decomp.propainter.windows import Windows

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = ["--device", "cpu", "--iterations", "2", "--neighbours", "4", "--context", "0"]


class Clip:
    """`propainter_material.clip` as the pipeline reads it."""

    def __init__(self, count: int, height: int = 72, width: int = 120) -> None:
        frames, masks = clip(count, height, width)
        self._frames = ((frames + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        self._masks = masks[:, 0].numpy() > 0
        self.count, self.height, self.width = count, height, width

    def pictures(self, start, stop):
        return iter(self._frames[start:stop])

    def holes(self, start, stop, reach):
        return iter(self._masks[start:stop])


class KnownFlow:
    """In RAFT's place: the same flow from each frame to the next, since the clip drifts evenly."""

    def pairs(self, frames, iterations):
        for frame, _ in pairwise(frames):
            forward, backward = flows(2, *frame.shape[1:])
            yield forward[0], backward[0]

    def __call__(self, frames, iterations):
        return tuple(torch.stack(way) for way in zip(*self.pairs(frames, iterations), strict=True))


def in_holes(clip, pictures, first=0):
    """Pixels (t, 3, h, w), zero outside of the holes."""
    holes = clip.holes(first, clip.count, 0)
    return np.stack(
        [picture.transpose(2, 0, 1) * hole[None] for picture, hole in zip(pictures, holes, strict=True)]
    )


@pytest.fixture(scope="module")
def small_networks():
    """Networks of the same kind with few channels, and a known flow."""
    completion = FlowCompletion(channels=16)
    generator = Generator(channels=16, dim=32, heads=2, hidden=98, depth=2)
    for seed, made in enumerate((completion, generator)):
        made.load_state_dict(random_state(made, seed))
        made.eval().requires_grad_(False)
    return Networks(KnownFlow(), completion, generator, torch.device("cpu"), torch.float32, iterations=1)


def test_a_clip_of_one_sub_video_is_the_released_inference(tmp_path):
    networks = Networks(
        network(RAFT), network(FlowCompletion), network(Generator), torch.device("cpu"), torch.float32, 3
    )
    short = Clip(8, 128, 128)
    inpainter = Inpainter(short, networks, Windows(8, 80, 3, 4), 0, 0, tmp_path)
    pixels = in_holes(short, inpainter.pictures())
    assert np.abs(sampled(pixels) - GOLDEN["clip_pixels"]).max() < 1e-5 * 255


@torch.inference_mode()
def whole(long: Clip, networks: Networks, sub_video: int, neighbours: int, stride: int) -> np.ndarray:
    """The released inference on a clip of several sub-videos with everything in memory."""
    count, completed, updated, left = long.count, [], [], []
    frames, holes = clip(count, long.height, long.width)
    raw = networks.raft(frames, networks.iterations)
    for start in range(0, count - 1, sub_video):
        stop = min(start + sub_video, count - 1)
        first, last = max(0, start - 5), min(count - 1, stop + 5)
        both = (flow[first:last] for flow in raw)
        both = torch.cat(networks.completion.complete(*both, holes[first : last + 1]), 1)
        completed.append(both[start - first :][: stop - start])
    flow = torch.cat(completed)
    for start in range(0, count, sub_video):
        stop = min(start + sub_video, count)
        first, last = max(0, start - 10), min(count, stop + 10)
        part = slice(first, last)
        steps = list(
            propagate(
                frames[part].split(1),
                holes[part].split(1),
                lambda i, first=first: flow[first + i : first + i + 1].split(2, 1),
            )
        )[start - first :][: stop - start]
        updated += [frame for frame, _ in steps]
        left += [mask for _, mask in steps]
    updated, left = torch.cat(updated), torch.cat(left)
    features = networks.generator.encode(updated, holes, left)
    results: dict[int, torch.Tensor] = {}
    for middle in range(0, count, neighbours):
        near = list(range(max(0, middle - neighbours), min(count, middle + neighbours + 1)))
        reach = stride * (sub_video // stride // 2)
        far = range(max(0, middle - reach), min(count, middle + reach), stride)
        far = [index for index in far if index not in near]
        flows = [quartered_flow(part) for part in flow[near[:-1]].split(2, 1)]
        masks = [quartered_mask(mask[near]) for mask in (holes, left)]
        pictures = networks.generator(features[near], features[far], *flows, *masks)
        for index, made in zip(near, (pictures + 1) * 127.5, strict=True):
            results[index] = 0.5 * results[index] + 0.5 * made if index in results else made
    return (torch.stack([results[index] for index in range(count)]) * holes).numpy()


def test_a_long_clip_in_bounded_windows(small_networks, tmp_path):
    long = Clip(27)
    inpainter = partial(Inpainter, long, small_networks, Windows(27, 8, 2, 2), 0, 0, tmp_path)
    streamed = in_holes(long, inpainter().pictures())
    assert np.abs(streamed - whole(long, small_networks, 8, 2, 2)).max() < 1e-3, "of 255"
    assert streamed.std() > 10
    resumed = in_holes(long, inpainter(first=16).pictures(), first=16)
    np.testing.assert_allclose(resumed, streamed[16:], atol=1e-3)


def test_memory_does_not_grow_with_the_clip(small_networks, tmp_path):
    def most(count: int) -> int:
        long, held = Clip(count), []
        before = {id(item) for item in tensors()}
        pictures = Inpainter(long, small_networks, Windows(count, 8, 2, 2), 0, 0, tmp_path).pictures()
        for number, _ in enumerate(pictures):
            if number % 7 == 0:
                held.append(sum(tensor.nbytes for tensor in tensors() if id(tensor) not in before))
        return max(held)

    def tensors():
        return [item for item in gc.get_objects() if type(item) is torch.Tensor]

    assert most(60) <= 1.1 * most(24)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return write_official(tmp_path_factory.mktemp("propainter"))


@pytest.fixture
def small_files(monkeypatch, small_networks, tmp_path):
    """Stand-ins for the published files, and the small networks in their place."""
    for name in NETWORKS:
        (tmp_path / name).write_text(name)
    monkeypatch.setattr("video_decomp.propainter.fills.load_networks", lambda *_: small_networks)
    return tmp_path


def walk(folder, count=6, size=(320, 192)):
    scene = [view(picture(seed=2), 100, 80, size=size)] * count
    masks = [figure(min(90 + 2 * time, size[0] - 30), 40, size) for time in range(count)]
    write_clip(folder, scene, masks)
    return masks


def fill(folder, files, *options):
    command = ["--template", str(folder), "--backend", "propainter", "--weights", str(files), *FAST, *options]
    assert main(command) == 0
    return json.loads((folder / "records" / "inpainting.json").read_text())


def test_the_command_line_with_official_files(official, tmp_path):
    masks = np.stack(walk(tmp_path, 4))
    record = fill(tmp_path, official)
    assert record["weights"] == ["propainter-raft", "propainter-flow-completion", "propainter-generator"]
    assert record["metrics"]["psnr_outside_db"] > 40
    left, top, width, height = record["metrics"]["crops"][0]
    where = np.argwhere(masks.any(axis=0))
    assert [top, left] < where.min(axis=0).tolist()
    assert (where.max(axis=0) < [top + height, left + width]).all()
    assert width % 8 == height % 8 == 0
    assert width < 200
    before, after = frames(tmp_path / "vid.mp4"), frames(tmp_path / "bk.mp4")
    assert psnr(before[masks], after[masks]) < 20, "the figure is gone (random weights leave no scene)"
    assert not (tmp_path / ".bk-propainter").exists()


def test_an_interrupted_run_goes_on_and_ends_the_same(small_files, tmp_path, monkeypatch):
    walk(tmp_path, 23)
    options = ("--sub-video", "10", "--reference-stride", "5")
    assert fill(tmp_path, small_files, *options)["metrics"]["resumed_blocks"] == 0
    expected = sha256(tmp_path / "bk.mp4")
    (tmp_path / "bk.mp4").unlink()
    written = []

    def stop(*arguments):
        written.append(1)
        if len(written) > 15:
            raise RuntimeError("as if it were killed")
        return paint(*arguments)

    paint = propainter._Painter._painted
    with monkeypatch.context() as patch:
        patch.setattr(propainter._Painter, "_painted", stop)
        with pytest.raises(RuntimeError, match="killed"):
            fill(tmp_path, small_files, *options)
    assert not (tmp_path / "bk.mp4").exists()
    assert fill(tmp_path, small_files, *options)["metrics"]["resumed_blocks"] == 2
    assert sha256(tmp_path / "bk.mp4") == expected


def test_what_was_kept_of_another_job_is_not_taken(small_files, tmp_path, monkeypatch):
    walk(tmp_path, 12)
    options = ("--sub-video", "10")
    with monkeypatch.context() as patch:
        patch.setattr(propainter._Painter, "discard", lambda self: None)
        fill(tmp_path, small_files, *options)
    assert (tmp_path / ".bk-propainter").exists()
    assert fill(tmp_path, small_files, *options, "--margin", "8")["metrics"]["resumed_blocks"] == 0


@pytest.mark.parametrize(("count", "size"), [(1, (320, 192)), (3, (90, 150))])
def test_single_frames_and_pictures_smaller_than_the_networks_bear(small_files, tmp_path, count, size):
    walk(tmp_path, count, size)
    record = fill(tmp_path, small_files)
    assert frames(tmp_path / "bk.mp4").shape == (count, size[1], size[0], 3)
    assert record["metrics"]["psnr_outside_db"] > 40


def test_pixels_away_from_the_mask_keep_their_bytes(small_files, tmp_path):
    masks = walk(tmp_path)
    given, covered = VideoReader(tmp_path / "vid.mp4"), VideoReader(tmp_path / "mask.mp4", gray=True)
    settings = propainter.Settings(weights=small_files, device="cpu", margin=15, feather=30)
    written: list[np.ndarray] = []
    propainter.inpaint(given, covered, written.append, settings)
    reach = propainter.changed_within(settings, given)
    assert reach == pytest.approx(45 * 192 / 720)
    for before, after, mask in zip(given, written, masks, strict=True):
        away = mask_distance(mask * np.uint8(255))
        assert (before == after)[away >= reach].all()
        changed = (before != after).any(axis=-1)
        assert changed[away < reach / 3].mean() > 0.9
        assert changed[(away > reach / 3) & (away < 0.8 * reach)].mean() > 0.5


def test_shots_are_worked_on_apart(small_files, tmp_path):
    scenes = [view(picture(seed=seed), 100, 80) for seed in (2, 3)]
    masks = [figure(60 + 4 * time, 40) for time in range(5)] + [
        figure(260 - 4 * time, 40) for time in range(6)
    ]
    write_clip(tmp_path, [scenes[0]] * 5 + [255 - scenes[1]] * 6, masks)
    record = fill(tmp_path, small_files)
    assert record["metrics"]["shots"] == 2
    (left, *_), (other, *_) = record["metrics"]["crops"]
    assert left < 60 < 120 < other
    assert record["metrics"]["psnr_outside_db"] > 40


def test_flashes_and_pans_are_no_cuts():
    still = [1.0, 1.2, 0.9, 1.1, 1.0, 1.3, 0.8]
    cut = [0.0, *still, 60.0, *still]
    assert cuts(cut, [0.0, 0.0, *still[1:], 60.0, 60.0, *still[1:]]) == [8]
    flash = [0.0, *still, 60.0, 60.0, *still]
    assert cuts(flash, [0.0, 0.0, *still[1:], 60.0, 1.0, 60.0, *still[1:]]) == []
    pan = [0.0, *still, *[30.0] * 9, *still]
    assert cuts(pan, [0.0, 0.0, *still[1:], 30.0, *[45.0] * 8, 31.0, *still[1:]]) == []


def test_an_empty_mask_leaves_the_video(tmp_path):
    write_clip(tmp_path, [view(picture(), 100, 80)] * 3, [np.zeros((192, 320), bool)] * 3)
    record = fill(tmp_path, tmp_path)
    assert record["metrics"]["crops"] == []
    assert psnr(frames(tmp_path / "bk.mp4"), frames(tmp_path / "vid.mp4")) > 40


def rejection(folder, files, capsys):
    command = ["--template", str(folder), "--backend", "propainter", "--weights", str(files), *FAST]
    assert main(command) == 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("REJECTED: ")
    assert not (folder / "bk.mp4").exists()
    return line


def test_wrong_files_are_named(official, tmp_path, capsys):
    walk(tmp_path, 2)
    files = tmp_path / "files"
    files.mkdir()
    assert "raft-things.pth" in rejection(tmp_path, files, capsys)
    for name in NETWORKS:
        (files / name).symlink_to(official / name)
    (files / checkpoints.RAFT_FILE).unlink()
    (files / checkpoints.RAFT_FILE).symlink_to(official / checkpoints.COMPLETION_FILE)
    assert "raft-things.pth: not the published weights" in rejection(tmp_path, files, capsys)
    (files / checkpoints.RAFT_FILE).unlink()
    state = torch.load(official / checkpoints.RAFT_FILE, weights_only=True)
    state["module.fnet.conv1.weight"] = state["module.fnet.conv1.weight"][:, :1]
    torch.save(state, files / checkpoints.RAFT_FILE)
    line = rejection(tmp_path, files, capsys)
    assert "fnet.conv1.weight has shape (64, 1, 7, 7), not (64, 3, 7, 7)" in line
    (files / checkpoints.RAFT_FILE).write_bytes(b"<html>404</html>")
    assert "raft-things.pth: not a readable file of weights" in rejection(tmp_path, files, capsys)


def test_a_gpu_with_too_little_memory_is_told_at_once(small_files, tmp_path, capsys, monkeypatch):
    walk(tmp_path, 2)
    monkeypatch.setattr("video_decomp.propainter.fills._device", lambda _: torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (2**29, 2**33))
    line = rejection(tmp_path, small_files, capsys)
    assert "0.5 of 8.0 are free" in line
    assert "lower sub_video" in line


def test_frames_of_720_lines_fit_into_8_gib(monkeypatch):
    """Whole frames on a device that only counts bytes; the generator with hole in every window."""
    height, width, half = 720, 1280, torch.float16
    monkeypatch.setattr(
        "torch.nn.functional.scaled_dot_product_attention", lambda q, k, v: torch.empty_like(q)
    )
    monkeypatch.setattr(
        "video_decomp.propainter.transformer._holed_windows",
        lambda holes: torch.ones(holes.shape[1] // 5 * (holes.shape[2] // 9), dtype=torch.bool, device="cpu"),
    )
    zeros = partial(torch.empty, device="meta", dtype=half)
    with torch.device("meta"), torch.inference_mode():
        with LiveMemory() as flow:
            frames = (zeros(3, height, width) for _ in range(3))
            assert len(list(RAFT().to(half).eval().pairs(frames, 1))) == 2
        with LiveMemory() as completion:
            both, holes = zeros(30, 4, height, width), zeros(31, 1, height, width)
            FlowCompletion().to(half).complete(both[:, :2], both[:, 2:], holes)
        generator = Generator().to(half)
        with LiveMemory() as generating:
            near = 11
            kept = torch.cat([generator.encode(*(zeros(1, n, height, width) for n in (3, 1, 1)))] * 19)
            small = [zeros(near - 1, 2, 180, 320)] * 2 + [zeros(near, 1, 180, 320)] * 2
            generator(kept[:near], kept[near:], *small)
    told = {frames: estimate(height, width, Windows(3000, frames), half) for frames in (10, 80)}
    assert 2 * 2**30 < max(flow.peak, generating.peak) < told[80] < 8 * 2**30
    assert completion.peak < told[10], "30 frames are looked at for ten"
    # What 80 frames need is reckoned: 90 flows were seen to need 4.6 GiB here, 6.4 are told.
    assert told[80] > 5 * 2**30


@pytest.mark.slow
def test_the_workflow_on_real_footage(official, checkout):
    weights.fetch([*weights.select(["segmentation/mediapipe"]), "sports2d-demo"])
    folder = checkout.folder
    (folder / "videos").mkdir()
    (folder / "videos" / "walk.mp4").write_bytes(weights.path("sports2d-demo").read_bytes())
    ours = {"backend": "propainter", "weights": str(official), "device": "cpu"}
    ours |= {"iterations": 1, "neighbours": 10, "context": 0}
    ingest = {
        "start": 3.0,
        "max_seconds": 0.17,
        "min_frames": 4,
        "short_side": 160,
        "crop": [700, 450, 540, 540],
    }
    (folder / "more.yaml").write_text(yaml.safe_dump({"inpainting": ours, "ingest": ingest}))
    result = checkout.snakemake("--configfile", "more.yaml", "--until", "inpainting")
    assert result.returncode == 0, result.stdout + result.stderr
    record = json.loads((folder / "templates" / "walk" / "records" / "inpainting.json").read_text())
    assert record["backend"] == "propainter"
    assert record["metrics"]["psnr_outside_db"] > 40
    assert frames(folder / "templates" / "walk" / "bk.mp4").shape[1:3] == (160, 160)
