"""`python -m mimo.weights check`: there, missing, corrupt, of the wrong kind; also before a run starts."""

import json
import pickle
import shutil
import struct

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, copy_checkout
from safetensors.torch import load_file, save_file

from mimo import weights
from mimo.weight_sources.inspection import lacking_keys, problem

PART = {"denoising": "denoising_unet.pth", "vae": "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"}


@pytest.fixture
def own(golden_weights, tmp_path, monkeypatch):
    """The golden weights in the published layout, as a folder the user has; beside it a configuration."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(golden_weights, tmp_path / "own")
    encoder = tmp_path / "own" / "image_encoder"
    torch.save(load_file(encoder / "model.safetensors"), encoder / "pytorch_model.bin")
    shutil.copy(ROOT / "config.yaml", tmp_path)
    return tmp_path / "own"


def check(own, capsys):
    """Exit code and lines of the check with the folder set for the backend mimo."""
    config = own.with_name("more.yaml")
    config.write_text(yaml.safe_dump({"synthesis": {"backend": "mimo", "weights": str(own)}}))
    code = weights.main(["check", "--configfile", str(config)])
    said = capsys.readouterr()
    return code, [line for line in (said.out + said.err).splitlines() if "synthesis/mimo" in line]


def test_whole_folder(own, capsys):
    code, lines = check(own, capsys)
    assert code == 0
    assert len(lines) == 1
    assert lines[0].split() == ["synthesis/mimo", "mimo", "there", str(own)]


@pytest.mark.parametrize(
    ("part", "content", "words"),
    [
        ("denoising", b"<html><body>Sign in</body></html>", "wrong kind: a web page"),
        ("denoising", b"version https://git-lfs.github.com/spec/v1\noid", "wrong kind: a git-LFS pointer"),
        ("denoising", b"GIF89a, not tensors", "wrong kind: not a PyTorch file"),
        ("denoising", -5000, "corrupt: cut off before its end"),
        ("vae", -5000, "corrupt"),
        ("vae", pickle.dumps({"a": 1}), "wrong kind: a pickled PyTorch file, not safetensors"),
        ("vae", struct.pack("<Q", 9) + b"{not json", "corrupt: unreadable safetensors header"),
        ("vae", b"", "empty"),
    ],
)
def test_damaged_part(own, capsys, part, content, words):
    path = own / PART[part]
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    code, lines = check(own, capsys)
    assert code == 3
    assert f"{PART[part]}: {words}" in lines[0]


def test_the_registrys_files_one_by_one(own, capsys, monkeypatch):
    """Found in the folder of the configuration by name; sizes and tensors are compared with the registry."""
    monkeypatch.setenv("MIMO_WEIGHTS", "")
    own.with_name("more.yaml").write_text(f"synthesis: {{backend: mimo}}\nweights: ['{own}']")
    shutil.copy(own / "pose_guider.pth", own / "reference_unet.pth")
    (own / "motion_module.pth").unlink()
    assert weights.main(["check", "--configfile", "more.yaml"]) == 3
    said = capsys.readouterr()
    states = {line.split()[1]: line for line in said.out.splitlines() if "synthesis/mimo" in line}
    assert len(states) == len(weights.registry().folders["mimo"])
    assert " there " in states["mimo-denoising-unet"]
    assert " there " in states["mimo-unet-config"]
    assert "missing" in states["mimo-motion-module"]
    assert "wrong kind: holds no tensor 'down_blocks.0.attentions.0" in states["mimo-reference-unet"]
    assert "bytes instead of 334643276" in states["mimo-vae"]
    assert f"{weights.FETCH} mimo-image-encoder mimo-motion-module" in said.err


def test_parts_in_several_folders_are_loaded_as_one(own, tmp_path, monkeypatch):
    (tmp_path / "other" / "mimo").mkdir(parents=True)
    shutil.move(own / "sd-vae-ft-mse", tmp_path / "other" / "mimo" / "sd-vae-ft-mse")
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MIMO_WEIGHTS", f"{own}:{tmp_path / 'other'}")
    folder = weights.path("mimo")
    assert (folder / "sd-vae-ft-mse" / "config.json").samefile(
        tmp_path / "other" / "mimo" / "sd-vae-ft-mse" / "config.json"
    )
    assert (folder / "denoising_unet.pth").samefile(own / "denoising_unet.pth")
    assert weights.path("mimo") == folder


def test_tensor_names_without_running_the_file(tmp_path):
    tensors = {"module.head.weight": torch.zeros(3), "body.0.bias": torch.zeros(2)}
    torch.save({"state_dict": tensors}, tmp_path / "new.ckpt")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "net.safetensors")
    np.savez(tmp_path / "body.npz", a=np.zeros(3))
    for path in tmp_path.iterdir():
        assert problem(path) is None, path
    for name in ("new.ckpt", "old.pth", "net.safetensors"):
        assert lacking_keys([tmp_path / name], ["module.head.weight", "body.*.bias", "tail.weight"]) == [
            "tail.weight"
        ]


def test_a_run_does_not_start_without_its_model_files(tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    template = checkout.folder / "templates" / "walk"
    template.mkdir(parents=True)
    (template / "config.json").write_text(
        json.dumps({"fps": 30, "time_crop": {"start_idx": 0, "end_idx": 9}, "layer_recover": True})
    )
    for name in ("vid", "sdc", "bk"):
        (template / f"{name}.mp4").write_text(name)
    (checkout.folder / "characters").mkdir()
    (checkout.folder / "characters" / "anna.png").write_text("picture")
    settings = 'synthesis={"backend": "mimo", "weights": "nowhere"}'
    assert checkout.planned("--config", settings) == {"character": 1, "synthesis": 1}
    result = checkout.snakemake("--config", settings)
    assert result.returncode == 1
    assert "synthesis/mimo" in result.stderr
    assert "missing" in result.stderr
    assert "set another path, or put the right files there: nowhere" in result.stderr
    assert not (checkout.folder / "logs" / "character").exists()
