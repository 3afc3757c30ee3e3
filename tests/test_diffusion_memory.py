"""Small cards: networks that take turns on the device give the same numbers, and what they need is foreseen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mimo.diffusion.acceleration import accelerate
from mimo.diffusion.offload import Group
from mimo.pipeline import MimoPipeline

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
