"""Loading weights: every published variant, our own folder, and precise errors."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file, save_file

from benchmarks.random_weights import UNET
from mimo.diffusion.checkpoints import (
    WeightsError,
    diffusers_key,
    load_official,
    load_saved,
    load_vae,
    read_tensors,
)
from mimo.models.denoising import DenoisingUNet
from mimo.models.pose_guider import PoseGuider
from mimo.models.reference import ReferenceUNet
from mimo.pipeline import MimoPipeline

GOLDEN = Path(__file__).parent / "golden"
PARTS = ("vae", "image_encoder", "reference_unet", "denoising_unet", "pose_guider")


@pytest.fixture
def weights(tmp_path):
    zipfile.ZipFile(GOLDEN / "weights.zip").extractall(tmp_path / "weights")
    return tmp_path / "weights"


def same(one, other):
    for part in PARTS:
        ours, theirs = one[part].state_dict(), other[part].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), part


def test_full_size_keys_and_parameters(weights):
    with init_empty_weights(include_buffers=False):
        unet = DenoisingUNet.from_config(DenoisingUNet.config_from(UNET))
        reference = ReferenceUNet.from_config(UNET)
        guider = PoseGuider()
    assert round(sum(p.numel() for p in unet.parameters()) / 1e6, 3) == 1312.742
    assert round(sum(b.numel() for b in unet.buffers()) * 2 / 1e6, 3) == 1.208
    used = {
        k: v for k, v in reference.state_dict().items() if not k.startswith(("conv_norm_out", "conv_out"))
    }
    assert (len(used), round(sum(v.numel() for v in used.values()) / 1e6, 3)) == (682, 859.509)
    assert (len(guider.state_dict()), round(guider.num_parameters() / 1e6, 3)) == (16, 1.086)
    # The small weights have the published names, but for one shortcut that sits in another level.
    small = {**read_tensors(weights / "denoising_unet.pth"), **read_tensors(weights / "motion_module.pth")}
    assert len(small) == 1274
    names = {
        diffusers_key(key).replace(
            "down_blocks.3.resnets.0.conv_shortcut", "down_blocks.2.resnets.0.conv_shortcut"
        )
        for key in small
        if not key.endswith("attention_blocks.1.pos_encoder.pe")
    }
    assert names == set(unet.state_dict())


def test_safetensors_wrapped_and_merged_files_load_the_same(weights):
    expected = load_official(weights, torch.float32)
    spatial = torch.load(weights / "denoising_unet.pth", weights_only=True)
    motion = torch.load(weights / "motion_module.pth", weights_only=True)
    torch.save({"state_dict": spatial | motion}, weights / "denoising_unet.pth")
    for name in ("reference_unet", "pose_guider"):
        save_file(read_tensors(weights / f"{name}.pth"), weights / f"{name}.safetensors")
        (weights / f"{name}.pth").unlink()
    same(load_official(weights, torch.float32), expected)


def test_old_names_load_the_same(weights):
    expected = load_official(weights, torch.float32)
    path = weights / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors"
    old = {}
    for key, value in load_file(path).items():
        if ".attentions." in key:
            for new, name in (
                ("to_q", "query"),
                ("to_k", "key"),
                ("to_v", "value"),
                ("to_out.0", "proj_attn"),
            ):
                key = key.replace(f".{new}.", f".{name}.")
        old[key] = value
    assert any("proj_attn" in key for key in old)
    path.unlink()
    torch.save(old, path.with_suffix(".bin"))
    path = weights / "image_encoder" / "model.safetensors"
    encoder = load_file(path) | {"vision_model.embeddings.position_ids": torch.arange(257)[None]}
    path.unlink()
    torch.save(encoder, path.with_name("pytorch_model.bin"))
    same(load_official(weights, torch.float32), expected)


def test_the_saved_folder_is_the_same_pipeline(weights, tmp_path):
    pipeline = MimoPipeline.from_pretrained(weights, torch_dtype=torch.float16)
    pipeline.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").rglob("*.bin"))
    same(load_saved(tmp_path / "saved", torch.float16), pipeline.components)
    again = MimoPipeline.from_pretrained(tmp_path / "saved", torch_dtype=torch.float16)
    assert dict(again.scheduler.config)["rescale_betas_zero_snr"] is True


def damage(weights, problem):
    path = weights / "denoising_unet.pth"
    tensors = torch.load(path, weights_only=True)
    if problem == "missing file":
        path.unlink()
        return
    if problem == "code":
        path.write_bytes(pickle.dumps({"conv_in.weight": Path("/tmp")}))
        return
    if problem == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
        return
    if problem == "missing key":
        del tensors["conv_in.weight"]
    if problem == "unknown key":
        tensors["conv_in.scale"] = torch.ones(1)
    if problem == "shape":
        tensors["conv_in.weight"] = tensors["conv_in.weight"][:, :4].clone()
    torch.save(tensors, path)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("missing file", ["denoising_unet.pth", "denoising_unet.safetensors"]),
        ("code", ["denoising_unet.pth", "not a readable file of weights"]),
        ("truncated", ["denoising_unet.pth", "not a readable file of weights"]),
        ("missing key", ["denoising_unet.pth", "conv_in.weight is missing"]),
        ("unknown key", ["denoising_unet.pth", "conv_in.scale is unknown"]),
        ("shape", ["denoising_unet.pth", "conv_in.weight has shape (64, 4, 3, 3), not (64, 8, 3, 3)"]),
    ],
)
def test_what_is_wrong_is_named(weights, problem, words):
    damage(weights, problem)
    with pytest.raises(WeightsError) as error:
        load_official(weights, torch.float32)
    assert all(word in str(error.value) for word in words), error.value


def test_a_missing_configuration_is_named(weights):
    (weights / "sd-vae-ft-mse" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"sd-vae-ft-mse/config\.json: is missing"):
        load_vae(weights / "sd-vae-ft-mse", torch.float32)
