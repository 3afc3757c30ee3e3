"""Small cards: networks that take turns on the device give the same numbers; what they need is foreseen."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from benchmarks.memory import counted
from benchmarks.random_weights import UNET, VAE
from mimo.diffusion.acceleration import accelerate
from mimo.diffusion.memory import GIB, MODES, PREPARED, PUBLISHED, Work, activations, needed, plan
from mimo.diffusion.offload import Group
from mimo.models.autoencoder import prepare_autoencoder
from mimo.models.denoising import DenoisingUNet
from mimo.pipeline import MimoPipeline
from mimo.stage import Rejected
from mimo.synthesis.mimo import Settings

GOLDEN = Path(__file__).parent / "golden"
IMAGES = np.load(GOLDEN / "pipeline_inputs.npz")

pytestmark = pytest.mark.usefixtures("one_thread")


def loaded(weights, **options):
    pipeline = MimoPipeline.from_pretrained(weights)
    pipeline.set_progress_bar_config(disable=True)
    accelerate(pipeline, **options)
    return pipeline


def run(pipeline, steps=2, **options):
    return pipeline(
        Image.fromarray(IMAGES["ref_image"]),
        IMAGES["pose_images"],
        IMAGES["bk_images"],
        width=72,
        height=40,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
        **options,
    ).frames


@pytest.fixture(scope="module")
def expected(golden_weights):
    return run(loaded(golden_weights))


def spoil(group):
    """In place of `Group.park`: whoever computes with a tensor that is not there gets NaN."""
    group.place(torch.full((group.size,), 255, dtype=torch.uint8))


@pytest.mark.parametrize("offload", ["parts", "stages"])
def test_networks_that_take_turns_give_the_same(golden_weights, expected, offload, monkeypatch):
    monkeypatch.setattr(Group, "park", spoil)
    pipeline = loaded(golden_weights, offload=offload)
    assert np.array_equal(run(pipeline), expected)
    assert np.array_equal(run(pipeline), expected), "a second clip, after all have left"
    with torch.no_grad():
        assert pipeline.denoising_unet.conv_in.weight.isnan().all(), "nothing is there that does not compute"


def test_a_failed_clip_leaves_nothing_on_the_device(golden_weights, expected, monkeypatch):
    monkeypatch.setattr(Group, "park", spoil)
    pipeline = loaded(golden_weights, offload="stages")

    def fail(*_):
        raise MemoryError

    with pytest.raises(MemoryError):
        run(pipeline, callback_on_step_end=fail)
    assert np.array_equal(run(pipeline), expected)


@pytest.mark.parametrize(
    ("size", "window", "mode"), [(784, 24, "high"), (784, 24, "low"), (512, 16, "high"), (1024, 32, "lowest")]
)
def test_the_formula_says_what_the_networks_take(size, window, mode):
    rows = 1 if MODES[mode].separate_rows else 2
    expected = counted(size, window, rows, MODES[mode])
    assert 0.97 < activations(Work(size, window, 600), MODES[mode]) / expected < 1.15


def test_the_formula_knows_the_weights():
    with torch.device("meta"):
        unet = DenoisingUNet.from_config(DenoisingUNet.config_from(UNET))
        torch.nn.Module.to(unet, torch.float16).fuse_projections()
        vae = torch.nn.Module.to(AutoencoderKL.from_config(VAE), torch.float16)
        prepare_autoencoder(vae)
    for name, network in (("denoising_unet", unet), ("vae", vae)):
        blocks = {t.untyped_storage()._cdata: t.nbytes for t in network.parameters()}
        blocks |= {t.untyped_storage()._cdata: t.nbytes for t in network.buffers()}
        foreseen = 2 * (PUBLISHED[name] + PREPARED[name])
        assert sum(blocks.values()) == pytest.approx(foreseen, rel=0.002)


def test_eight_gigabytes_are_enough_for_the_published_size():
    work = Work(784, 24, frames=150)
    chosen = plan(work, free=int(7.4 * GIB))
    assert chosen.mode.name == "low"
    assert chosen.needed <= 7.4 * GIB
    assert plan(work, free=40 * GIB).mode.name == "high"
    sizes = [needed(work, mode) for mode in MODES.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_pictures_go_one_by_one_before_networks_leave():
    work = Work(1536, 8, frames=8, vae_batch=8)
    chosen = plan(work, free=24 * GIB)
    assert chosen.mode.name == "high"
    assert 1 <= chosen.vae_batch < 8
    assert chosen.needed <= 24 * GIB


@pytest.mark.parametrize(("free", "choice"), [(7.0, "high"), (3.8, "auto"), (3.8, "low"), (3.8, "high")])
def test_what_the_message_proposes_fits(free, choice):
    work, free = Work(784, 24, frames=100), int(free * GIB)
    with pytest.raises(Rejected, match=r"need .* GiB .* are free; set ") as error:
        plan(work, free, choice)
    for way in str(error.value).split("; set ")[1].split(" or "):
        changes = dict(re.findall(r"(memory|window|size): (\w+)", way))
        mode = changes.pop("memory", "lowest" if choice == "auto" else choice)
        smaller = replace(work, **{key: int(value) for key, value in changes.items()})
        assert plan(smaller, free, mode).needed <= free


def test_a_gpu_too_small_for_anything_is_told_what_is_needed():
    with pytest.raises(Rejected, match=r"this needs a GPU with \d\.\d GiB free"):
        plan(Work(784, 24, frames=100), GIB)


def test_the_workflow_is_told_what_a_job_needs():
    high, low = Settings().resources(), Settings(memory="low").resources()
    assert high["gpu_mem_mb"] > 10_000 > 8_000 > low["gpu_mem_mb"]
    assert Settings(device="cpu").resources()["gpu_mem_mb"] == 0
    assert 6_000 < low["mem_mb"] < 16_000
