"""Approximations of the diffusion synthesiser: solvers, partial guidance, reused features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from pydantic import ValidationError

from mimo.diffusion.checkpoints import SCHEDULER
from mimo.diffusion.feature_store import FeatureStore
from mimo.diffusion.presets import PRESETS, ApproximationSettings
from mimo.diffusion.quantisation import product, quantised, use_fp8
from mimo.diffusion.sampling import Sampling
from mimo.diffusion.solvers import set_steps, solver
from mimo.pipeline import MimoPipeline

GOLDEN = Path(__file__).parent / "golden"
IMAGES = np.load(GOLDEN / "pipeline_inputs.npz")
REFERENCE = Image.fromarray(IMAGES["ref_image"])

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pipeline(golden_weights):
    pipeline = MimoPipeline.from_pretrained(golden_weights)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def clip(count):
    return [
        [np.roll(IMAGES[kind][i % 6], 2 * i, 1) for i in range(count)]
        for kind in ("pose_images", "bk_images")
    ]


def denoise(pipeline, count=3, steps=4, **options):
    arguments = {
        name: options.pop(name) for name in ("resume_from", "callback_on_step_end") if name in options
    }
    noise = torch.randn((1, 4, count, 5, 9), generator=torch.Generator().manual_seed(1))
    sampling = Sampling(72, 40, steps, **options)
    return pipeline.denoise(REFERENCE, *clip(count), sampling, latents=noise, **arguments)


def sampled(name, steps, velocity, start):
    """Run a solver on a velocity field v(x, signal, noise)."""
    scheduler = solver(name, DDIMScheduler(**SCHEDULER))
    set_steps(scheduler, steps)
    x = start
    for timestep in scheduler.timesteps:
        signal = scheduler.alphas_cumprod[timestep].double().sqrt()
        noise = (1 - scheduler.alphas_cumprod[timestep].double()).sqrt()
        x = scheduler.step(velocity(x.double(), signal, noise).float(), timestep, x).prev_sample
    return x


@pytest.mark.parametrize("name", ["ddim", "dpm++", "unipc"])
@pytest.mark.parametrize("steps", [1, 2, 5, 12, 25])
def test_a_perfect_velocity_leads_to_the_picture_from_pure_noise(name, steps):
    generator = torch.Generator().manual_seed(1)
    picture, start = torch.randn((2, 1, 4, 3, 5, 9), generator=generator)

    def velocity(x, signal, noise):
        return signal * (x - signal * picture) / noise - noise * picture

    assert (sampled(name, steps, velocity, start) - picture).abs().max() < 2e-3


@pytest.mark.parametrize("name", ["dpm++", "unipc"])
def test_multistep_solvers_need_fewer_steps_than_ddim(name):
    # Pictures with independent normal values of deviation 0.3 have a linear best velocity, and the exact path
    # takes noise n to 0.3 n.
    start = torch.linspace(-3, 3, 100)[None, None]

    def velocity(x, signal, noise):
        variance = signal**2 * 0.09 + noise**2
        return x * signal * noise * (1 - 0.09) / variance

    def error(name, steps):
        return (sampled(name, steps, velocity, start) - 0.3 * start).abs().max()

    assert error("ddim", 200) < 0.05
    assert error(name, 10) < 0.55 * error("ddim", 10)
    assert error(name, 12) < error("ddim", 25)


@pytest.mark.parametrize(
    "options",
    [
        {"scheduler": "dpm++"},
        {"scheduler": "unipc"},
        {"cache_interval": 2},
        {"scheduler": "unipc", "guided_share": (0, 0.5), "kept_guidance": True},
    ],
)
@pytest.mark.parametrize("killed_at", [2, 4])
def test_a_killed_run_ends_as_one_that_was_not(pipeline, tmp_path, options, killed_at):
    state, steps = tmp_path / "state.safetensors", []

    def callback(_, step, timestep, values):
        steps.append(step)
        if len(steps) == killed_at + 1:
            raise KeyboardInterrupt

    expected = denoise(pipeline, steps=6, **options)
    with pytest.raises(KeyboardInterrupt):
        denoise(pipeline, steps=6, resume_from=state, callback_on_step_end=callback, **options)
    result = denoise(pipeline, steps=6, resume_from=state, callback_on_step_end=callback, **options)
    assert steps == [*range(killed_at + 1), *range(killed_at, 6)]
    assert torch.equal(result, expected)
    assert not state.exists()


def test_a_state_before_a_shallow_step_is_not_kept(pipeline, tmp_path):
    state, steps = tmp_path / "state.safetensors", []

    def callback(_, step, timestep, values):
        steps.append(step)
        if steps == [0, 1, 2, 3]:
            raise KeyboardInterrupt

    options = {"cache_interval": 2, "resume_from": state, "callback_on_step_end": callback}
    with pytest.raises(KeyboardInterrupt):
        denoise(pipeline, **options)
    denoise(pipeline, **options)
    assert steps == [0, 1, 2, 3, 2, 3]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_branch_on_features_of_the_same_step_gives_the_whole_networks_result(pipeline, rows):
    unet, generator = pipeline.denoising_unet, torch.Generator().manual_seed(2)
    sample = torch.randn((1, 8, 3, 5, 9), generator=generator)
    pose = torch.randn((3, 64, 5, 9), generator=generator)
    inputs = pipeline.encode(REFERENCE, *clip(3), Sampling(72, 40, guidance_scale=3.5 if rows == 2 else 1))
    time = torch.tensor([423])
    with torch.no_grad():
        expected = unet(sample, time, pose, inputs.condition)
        for branch in range(1, unet.largest_branch + 1):
            velocity, deep = unet(sample, time, pose, inputs.condition, branch=branch)
            again = unet(sample, time, pose, inputs.condition, branch=branch, deep=deep)
            other = unet(sample, time, pose, inputs.condition, branch=branch, deep=deep + 0.1)
            assert torch.equal(velocity, expected)
            assert torch.equal(again, expected)
            assert not torch.allclose(other, expected)
    assert unet.largest_branch == 11


@pytest.fixture
def work(pipeline, monkeypatch):
    """What each call of the denoiser computes: its rows, and F for all of it or S for the shallow branch."""
    calls = []
    forward = pipeline.denoising_unet.forward

    def spy(sample, time, pose, condition, *, branch=0, deep=None):
        calls.append(f"{len(condition[0].cross)}{'F' if deep is None else 'S'}")
        return forward(sample, time, pose, condition, branch=branch, deep=deep)

    monkeypatch.setattr(pipeline.denoising_unet, "forward", spy)
    return calls


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "2F 2F 2F 2F 2F 2F"),
        ({"guidance_scale": 1.0}, "1F 1F 1F 1F 1F 1F"),
        ({"guided_share": (0, 0.5)}, "2F 2F 2F 1F 1F 1F"),
        ({"guided_share": (0.3, 0.6), "cache_interval": 3}, "1F 1S 2F 2F 1S 1S"),
        ({"guidance_every": 2, "kept_guidance": True}, "2F 1F 2F 1F 2F 1F"),
        ({"cache_interval": 2}, "2F 2S 2F 2S 2F 2S"),
        ({"cache_interval": 2, "guidance_every": 2, "kept_guidance": True}, "2F 1S 2F 1S 2F 1S"),
        ({"cache_interval": 3, "sequential_guidance": True, "guided_share": (0, 0.7)},
         "1F 1F 1S 1S 1S 1S 1F 1F 1S 1S 1S"),
    ],
)  # fmt: skip
def test_only_what_is_wanted_is_computed(pipeline, work, options, expected):
    denoise(pipeline, count=2, steps=6, **options)
    assert " ".join(work) == expected


def test_no_guided_step_is_no_guidance(pipeline):
    assert torch.equal(denoise(pipeline, guided_share=(0, 0)), denoise(pipeline, guidance_scale=1.0))


def test_kept_guidance_changes_only_steps_without_their_own(pipeline):
    exact = denoise(pipeline)
    assert torch.equal(denoise(pipeline, kept_guidance=True), exact)
    kept = denoise(pipeline, guided_share=(0, 0.5), kept_guidance=True)
    without = denoise(pipeline, guided_share=(0, 0.5))
    assert not torch.equal(kept, without)
    assert (kept - exact).abs().mean() < (without - exact).abs().mean()


@pytest.mark.parametrize("options", [{}, {"guided_share": (0, 0.5)}, {"guided_share": (0.25, 1)}])
def test_features_give_the_same_wherever_they_wait(pipeline, monkeypatch, options):
    options |= {"cache_interval": 3, "cache_branch": 2, "steps": 5, "context_frames": 4, "context_overlap": 1}
    expected = denoise(pipeline, count=6, **options)
    window = 4 * 5 * 9 * 64 * 4
    for room in (0, window, 2 * window):
        monkeypatch.setattr(pipeline, "kept_feature_bytes", room)
        assert torch.equal(denoise(pipeline, count=6, **options), expected)
    one_by_one = denoise(pipeline, count=6, sequential_guidance=True, **options)
    assert (one_by_one - expected).abs().max() < 1e-3


def test_the_store_keeps_what_was_put_last_whatever_its_size():
    store = FeatureStore(device_bytes=300 * 4)
    parts = {key: torch.full((rows, 2, 5, 5), float(key)) for key, rows in enumerate((2, 4, 2, 6))}
    for key, part in parts.items():
        store.put(key, part)
    store.put(2, torch.full((4, 2, 5, 5), 7.0))
    store.put(1, torch.full((2, 2, 5, 5), 8.0))
    store.put(0, torch.full((6, 2, 5, 5), 9.0))
    store.prefetch(2, parts[0])
    for key, value, rows in ((0, 9, 6), (1, 8, 2), (2, 7, 4), (3, 3, 6), (2, 7, 4)):
        features = store.get(key, parts[0])
        assert features.shape == (rows, 2, 5, 5)
        assert (features == value).all()
    with pytest.raises(KeyError):
        store.get(9, parts[0])
    store.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "euler"}, "there is ddim, dpm"),
        ({"guided_share": (0.6, 0.4)}, "two shares"),
        ({"cache_interval": 0}, "cache_interval 0: must be at least 1"),
        ({"cache_interval": 2, "cache_branch": 12}, "the network has 11 layers"),
    ],
)
def test_impossible_approximations_say_why(pipeline, options, message):
    with pytest.raises(ValueError, match=message):
        denoise(pipeline, **options)


def test_the_settings_defaults_are_those_of_the_pipeline():
    assert Sampling(784, 784, **ApproximationSettings().approximations()) == Sampling(784, 784)


def test_settings_take_a_preset_but_for_what_is_said_otherwise():
    chosen = ApproximationSettings(preset="fast", steps=17, guided_share=[0, 0.5])
    assert chosen.model_dump() == ApproximationSettings().model_dump() | PRESETS["fast"] | {
        "preset": "fast",
        "steps": 17,
        "guided_share": (0.0, 0.5),
    }
    with pytest.raises(ValidationError, match="two shares of the steps"):
        ApproximationSettings(guided_share=[0.5, 0.2])


def test_a_preset_can_be_overridden_in_the_call(pipeline, work):
    arguments = {"width": 72, "height": 40, "output_type": "latent", "preset": "fast"}
    pipeline(REFERENCE, *clip(2), generator=torch.Generator().manual_seed(1), **arguments)
    assert len(work) == PRESETS["fast"]["steps"] < 25
    assert set(work) == {"2F"}
    work.clear()
    pipeline(REFERENCE, *clip(2), num_inference_steps=4, cache_interval=2, **arguments)
    assert work == ["2F", "2S", "2F", "2S"]


def test_rows_in_8_bits_keep_their_largest_value_and_16ths_of_the_others():
    rows = torch.randn((5, 64), generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [[1e-4], [1], [9], [0], [1e4]]
    )
    values, scale = quantised(rows)
    back = values.float() * scale
    assert values.dtype == torch.float8_e4m3fn
    assert torch.allclose(back.abs().amax(1), rows.abs().amax(1))
    assert ((back - rows).abs() <= rows.abs() / 16 + scale / 512).all()


def test_a_product_in_8_bits_is_that_of_the_rounded_values():
    generator = torch.Generator().manual_seed(1)
    x, weight = torch.randn((7, 48), generator=generator), torch.randn((32, 48), generator=generator)
    (x8, x_scale), (weight8, weight_scale) = quantised(x), quantised(weight)
    expected = (x8.float() * x_scale) @ (weight8.float() * weight_scale).T
    result = product(x, weight8, weight_scale).float()
    assert (result - expected).abs().max() <= expected.abs().max() / 200
    assert 0.005 < (result - x @ weight.T).norm() / (x @ weight.T).norm() < 0.06


def test_feed_forwards_run_in_8_bits_and_as_before(pipeline):
    unet, generator = pipeline.denoising_unet, torch.Generator().manual_seed(2)
    sample, time = torch.randn((1, 8, 3, 5, 9), generator=generator), torch.tensor([423])
    condition = pipeline.encode(REFERENCE, *clip(3), Sampling(72, 40)).condition
    with torch.no_grad():
        exact = unet(sample, time, None, condition)
        assert use_fp8(unet, True, least_channels=64) == 17
        one_level = unet(sample, time, None, condition)
        assert use_fp8(unet, True, least_channels=1) == 37
        eight_bits = unet(sample, time, None, condition)
        assert use_fp8(unet, False) == 0
        assert torch.equal(unet(sample, time, None, condition), exact)
    errors = [float((result - exact).norm() / exact.norm()) for result in (one_level, eight_bits)]
    assert 1e-4 < errors[0] < errors[1] < 0.2


def test_without_fitting_gpu_fp8_says_so_and_changes_nothing(pipeline, caplog):
    exact = denoise(pipeline, steps=2)
    assert torch.equal(denoise(pipeline, steps=2, fp8=True), exact)
    assert "fp8 needs a GPU (networks are on the cpu); the usual precision is used" in caplog.text
