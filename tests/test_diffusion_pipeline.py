"""The pipeline as a user calls it: windows, resuming, iterators, guidance, errors, and its speed-ups."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.eager import EagerMimo
from mimo.diffusion.acceleration import accelerate
from mimo.diffusion.sampling import Sampling
from mimo.diffusion.windows import open_windows
from mimo.pipeline import MimoPipeline

GOLDEN = Path(__file__).parent / "golden"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pipeline(golden_weights):
    pipeline = MimoPipeline.from_pretrained(golden_weights)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


IMAGES = np.load(GOLDEN / "pipeline_inputs.npz")
REFERENCE = Image.fromarray(IMAGES["ref_image"])


def pictures(kind, count):
    return [np.roll(IMAGES[kind][i % 6], 2 * i, axis=1) for i in range(count)]


def run(pipeline, count=6, steps=2, **options):
    arguments = {"generator": torch.Generator().manual_seed(1), "output_type": "latent"} | options
    return pipeline(
        REFERENCE,
        pictures("pose_images", count),
        pictures("bk_images", count),
        width=72,
        height=40,
        num_inference_steps=steps,
        **arguments,
    ).frames


def test_outputs_agree_whatever_their_type_and_the_inputs_may_be_iterators(pipeline):
    latents = run(pipeline)
    array = run(pipeline, output_type="np")
    tensor = run(pipeline, output_type="pt")
    images = pipeline(
        REFERENCE,
        (Image.fromarray(frame) for frame in pictures("pose_images", 6)),
        iter(pictures("bk_images", 6)),
        width=72,
        height=40,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(1),
    ).frames
    assert latents.shape == (1, 4, 6, 5, 9)
    assert array.shape == (6, 40, 72, 3)
    assert 0 <= array.min() < array.max() <= 1
    assert torch.equal(tensor, torch.from_numpy(array).permute(0, 3, 1, 2))
    assert np.abs(np.stack([np.asarray(image) for image in images]) / 255 - array).max() <= 0.5 / 255 + 1e-6


def test_guidance_rows_one_by_one_give_the_same(pipeline):
    difference = run(pipeline, sequential_guidance=True) - run(pipeline)
    assert difference.abs().max() < 1e-4


def test_without_guidance_overlapping_windows_are_averaged(pipeline):
    # Sums instead of averages, as in the reference, would leave frames of two windows twice as large.
    one = run(pipeline, count=28, steps=1, guidance_scale=1.0)
    wide = run(pipeline, count=28, steps=1, guidance_scale=1.0, context_frames=28)
    assert 0.7 < (one[:, :, 20:24].std() / wide[:, :, 20:24].std()) < 1.4


def test_open_windows_keep_the_end_from_the_start(pipeline):
    def first_frame(seed, closed):
        # Only the last frames' noise differs.
        noise = torch.randn((1, 4, 40, 5, 9), generator=torch.Generator().manual_seed(1))
        noise[:, :, 30:] = torch.randn((1, 4, 10, 5, 9), generator=torch.Generator().manual_seed(seed))
        return run(pipeline, count=40, steps=1, latents=noise, closed_loop=closed)[:, :, 0]

    assert torch.equal(first_frame(2, closed=False), first_frame(3, closed=False))
    assert not torch.equal(first_frame(2, closed=True), first_frame(3, closed=True))


@pytest.mark.parametrize("count", [1, 24, 25, 44, 45, 150, 601])
def test_open_windows_cover_every_frame(count):
    windows = open_windows(count)
    assert sorted({i for window in windows for i in window}) == list(range(count))
    assert all(window == list(range(window[0], window[-1] + 1)) for window in windows)
    assert all(len(window) == min(24, count) for window in windows)
    assert all(before[-1] - after[0] + 1 >= 4 for before, after in pairwise(windows))


def test_a_killed_run_goes_on_from_its_last_step(pipeline, tmp_path):
    state = tmp_path / "state.safetensors"
    noise = torch.randn((1, 4, 6, 5, 9), generator=torch.Generator().manual_seed(1))
    inputs = (REFERENCE, pictures("pose_images", 6), pictures("bk_images", 6))
    steps = []

    def killed(_, step, timestep, values):
        steps.append(step)
        if step == 2:
            raise KeyboardInterrupt

    def counted(_, step, timestep, values):
        steps.append(step)

    expected = pipeline.denoise(*inputs, Sampling(72, 40, 4), latents=noise)
    with pytest.raises(KeyboardInterrupt):
        pipeline.denoise(
            *inputs, Sampling(72, 40, 4), latents=noise, resume_from=state, callback_on_step_end=killed
        )
    steps.clear()
    result = pipeline.denoise(
        *inputs, Sampling(72, 40, 4), latents=noise, resume_from=state, callback_on_step_end=counted
    )
    assert steps == [2, 3]
    assert torch.equal(result, expected)
    assert not state.exists()


def test_a_state_of_other_inputs_is_not_used(pipeline, tmp_path):
    state = tmp_path / "state.safetensors"
    inputs = (REFERENCE, pictures("pose_images", 6))
    noise = torch.randn((1, 4, 6, 5, 9), generator=torch.Generator().manual_seed(1))

    def killed(_, step, timestep, values):
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.denoise(
            *inputs,
            pictures("bk_images", 6),
            Sampling(72, 40, 3),
            latents=noise,
            resume_from=state,
            callback_on_step_end=killed,
        )
    assert state.exists()
    other = pictures("bk_images", 6)[::-1]
    expected = pipeline.denoise(*inputs, other, Sampling(72, 40, 3), latents=noise)
    result = pipeline.denoise(*inputs, other, Sampling(72, 40, 3), latents=noise, resume_from=state)
    assert torch.equal(result, expected)


def test_repeated_backgrounds_are_encoded_once(pipeline, monkeypatch):
    encoded = []
    encode = pipeline.vae.encode
    monkeypatch.setattr(pipeline.vae, "encode", lambda x: encoded.append(len(x)) or encode(x))
    white = [np.full((40, 72, 3), 255, np.uint8)] * 9
    inputs = pipeline.encode(REFERENCE, pictures("pose_images", 9), white, Sampling(72, 40))
    assert encoded == [1, 1]
    assert inputs.background.shape == (1, 4, 9, 5, 9)
    assert torch.equal(inputs.background[:, :, 0], inputs.background[:, :, 8])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_frames": 33}, "at most 32 frames"),
        ({"context_frames": 4, "context_overlap": 4}, "overlap must be smaller"),
        ({"latents": torch.zeros(1, 4, 5, 5, 9)}, r"latents \(1, 4, 5, 5, 9\) for a clip that needs"),
    ],
)
def test_impossible_calls_say_why(pipeline, options, message):
    with pytest.raises(ValueError, match=message):
        run(pipeline, **options)


def test_unequal_clips_and_odd_sizes_say_why(pipeline):
    with pytest.raises(ValueError, match="5 pose images and 4 background images"):
        pipeline(REFERENCE, pictures("pose_images", 5), pictures("bk_images", 4), width=72, height=40)
    with pytest.raises(ValueError, match="not divisible by 8"):
        pipeline(REFERENCE, pictures("pose_images", 5), pictures("bk_images", 5), width=70, height=40)


def test_acceleration_and_plain_code_give_the_same(golden_weights):
    pipeline = MimoPipeline.from_pretrained(golden_weights)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn((1, 4, 6, 5, 9), generator=torch.Generator().manual_seed(1))
    inputs = pipeline.encode(
        REFERENCE, pictures("pose_images", 6), pictures("bk_images", 6), Sampling(72, 40)
    )
    eager = EagerMimo(pipeline)
    with eager.installed(), torch.no_grad():
        eager.read_reference(REFERENCE, IMAGES["ref_image"])
        pose = eager.pose_features(pictures("pose_images", 6))
        expected = eager.denoise(pose, inputs.background, noise, steps=2, guidance_scale=3.5)
    accelerate(pipeline, vae_batch=3)
    assert (run(pipeline, latents=noise) - expected).abs().max() < 1e-4


def test_kept_pose_features_change_nothing_but_the_work(pipeline, monkeypatch):
    calls = []
    features = pipeline.pose_features
    monkeypatch.setattr(
        pipeline, "pose_features", lambda images: calls.append(len(images)) or features(images)
    )
    anew = run(pipeline, count=30, steps=3)
    assert calls == [24, 24] * 3
    calls.clear()
    monkeypatch.setattr(pipeline, "kept_poses", 24)
    some = run(pipeline, count=30, steps=3)
    assert calls == [24, 24] + [24] * 2, "the first window is kept, the second never wholly"
    calls.clear()
    monkeypatch.setattr(pipeline, "kept_poses", 30)
    kept = run(pipeline, count=30, steps=3)
    assert calls == [24, 24]
    assert torch.equal(anew, some)
    assert torch.equal(anew, kept)
