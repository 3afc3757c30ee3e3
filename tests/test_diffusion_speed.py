"""What makes the synthesiser fast changes nothing: biases added early, one memory layout, late downloads."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from benchmarks.kernel_profile import kind_of
from mimo.diffusion.encoding import decode_video, encode_video
from mimo.diffusion.sampling import Sampling
from mimo.models import blocks
from mimo.models.autoencoder import prepare_autoencoder
from mimo.models.upsampling import doubled_convolution, subpixel_weights
from mimo.pipeline import MimoPipeline

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs():
    """Sample, timestep, pose features, embeddings and bank latents of five frames."""
    generator = torch.Generator().manual_seed(2)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    tokens = torch.cat([torch.zeros(1, 1, 16), random(1, 1, 16)])
    return random(1, 8, 5, 8, 12), torch.tensor([423]), random(5, 64, 8, 12) / 10, tokens, random(1, 4, 8, 12)


@torch.no_grad()
def forward(pipeline, inputs, dtype=torch.float32, rows=2):
    sample, time, pose, tokens, picture = inputs
    unet, reference = pipeline.denoising_unet.to(dtype), pipeline.reference_unet.to(dtype)
    bank = reference.bank(picture.to(dtype), tokens[1:].to(dtype))
    condition = unet.condition(tokens[-rows:].to(dtype), bank)
    return unet(sample.to(dtype), time, pose.to(dtype), condition).float()


def relative(value, expected):
    return float((value - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("rows", [1, 2])
def test_biases_added_early_and_joined_upsampling_give_the_same(golden_weights, inputs, monkeypatch, rows):
    pipeline = MimoPipeline.from_pretrained(golden_weights)
    expected = forward(pipeline, inputs, torch.float64, rows)
    # As in 16 bits, but with the digits to see that nothing is missing or counted twice.
    monkeypatch.setattr(blocks, "_is_half", lambda x: True)
    assert relative(forward(pipeline, inputs, torch.float64, rows), expected) < 1e-6
    monkeypatch.setattr(blocks, "_FEED_FORWARD_VALUES", 2 * 96 * 64)
    pipeline.denoising_unet.fuse_projections()
    assert relative(forward(pipeline, inputs, torch.float64, rows), expected) < 1e-6
    assert pipeline.denoising_unet.up_blocks[0].upsamplers[0].conv.joined_weight is not None


@pytest.mark.parametrize(
    ("source", "size"), [((5, 7), (10, 14)), ((5, 7), (9, 13)), ((5, 7), (9, 14)), ((1, 2), (1, 3))]
)
def test_convolution_of_a_doubled_picture(source, size):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, 6, *source, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 6, 3, 3, generator=generator, dtype=torch.float64)
    bias = torch.arange(4.0, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, size=size, mode="nearest"), weight, bias, padding=1)
    result = doubled_convolution(x, weight, bias, subpixel_weights(weight), size)
    assert result.shape == expected.shape
    assert result.is_contiguous(memory_format=torch.channels_last)
    # The weights' sums are made in float32.
    assert relative(result, expected) < 1e-6


def test_sixteen_bits_stay_near(golden_weights, inputs):
    pipeline = MimoPipeline.from_pretrained(golden_weights)
    expected = forward(pipeline, inputs)
    half = forward(pipeline, inputs, torch.bfloat16)
    assert float((half - expected).std() / expected.std()) < 0.03


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(4)
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
    ).eval()


@torch.no_grad()
def test_the_autoencoders_parts_give_what_the_librarys_do(vae):
    # In float64, for float32 keeps the reference's order.
    vae = copy.deepcopy(vae).double()
    latents, pixels = torch.randn(2, 4, 5, 9).double(), torch.rand(2, 3, 40, 72).double()
    decoded, encoded = vae.decode(latents).sample, vae.encode(pixels).latent_dist.mean
    prepare_autoencoder(vae)
    assert relative(vae.decode(latents).sample, decoded) < 1e-6
    assert relative(vae.encode(pixels).latent_dist.mean, encoded) < 1e-6


@torch.no_grad()
def test_all_batches_have_one_size_and_layout_and_frames_their_order(vae, monkeypatch):
    seen = []

    def watched(name):
        method = getattr(vae, name)

        def call(x):
            seen.append((name, x.shape, x.stride()))
            return method(x)

        monkeypatch.setattr(vae, name, call)

    frames = list(np.random.default_rng(0).integers(0, 256, (5, 40, 72, 3), np.uint8))
    alone = torch.cat([encode_video(vae, [frame], torch.device("cpu"), 1) for frame in frames])
    expected = np.stack([next(decode_video(vae, latent[None], 1)) for latent in alone])
    watched("encode")
    watched("decode")
    latents = encode_video(vae, iter(frames), torch.device("cpu"), 3, fixed=True)
    # As the pipeline has them: frames are not the outermost axis in memory.
    latents = latents.transpose(0, 1).contiguous().transpose(0, 1)
    video = decode_video(vae, latents, 3, fixed=True)
    assert isinstance(video, Iterator)
    decoded = np.stack(list(video))
    assert relative(latents, alone) < 1e-5
    assert np.abs(decoded - expected).max() < 1e-5
    assert decoded.dtype == np.float32
    assert [name for name, *_ in seen] == ["encode"] * 2 + ["decode"] * 2
    assert len(set(seen)) == 2, "one size and memory layout each"


def test_where_nothing_can_be_recorded_the_steps_are_computed(golden_weights):
    pipeline = MimoPipeline.from_pretrained(golden_weights)
    pipeline.set_progress_bar_config(disable=True)
    frame = np.zeros((40, 72, 3), np.uint8)
    noise = torch.randn((1, 4, 2, 5, 9), generator=torch.Generator().manual_seed(1))
    arguments = (frame, [frame] * 2, [frame] * 2, Sampling(72, 40, 3, cache_interval=2))
    expected = pipeline.denoise(*arguments, latents=noise)
    pipeline.recorded_steps = True
    assert torch.equal(pipeline.denoise(*arguments, latents=noise), expected)


def test_own_kernels_have_their_place_in_the_profile():
    assert kind_of("attend") == "attention"
    assert kind_of("_gated_product") == "matrix product, gated"
    assert kind_of("sm90_xmma_fprop_implicit_gemm_f16f16") == "convolution"
    assert kind_of("triton_per_fused_native_layer_norm_3") == "norms and other elementwise work"


@torch.no_grad()
def test_a_clip_is_not_compiled_anew_after_single_steps(golden_weights, inputs):
    pipeline = MimoPipeline.from_pretrained(golden_weights)
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    pipeline.denoising_unet.compile(dynamic=False, fullgraph=True, backend=count)
    pictures = [np.full((64, 96, 3), 20 * i, np.uint8) for i in range(5)]
    clip = pipeline.encode(pictures[0], pictures, pictures, Sampling(96, 64))
    clip.pose.close()
    sample, time, _, _, _ = inputs
    pose = pipeline.pose_features(np.stack(pictures))
    pipeline.denoising_unet(sample, time, pose, clip.condition)
    for _ in range(2):
        pipeline.denoise(pictures[0], pictures, pictures, Sampling(96, 64, steps=2))
    assert len(graphs) == 1
