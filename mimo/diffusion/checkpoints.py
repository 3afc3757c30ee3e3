"""Reading weights: the official MIMO folder as published, and our own single folder.

Files are read as plain tensors only (``weights_only=True``, safetensors); what is wrong is named by file, key
and shape.
"""

from __future__ import annotations

import gc
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, PreTrainedModel

from mimo.models.denoising import DenoisingUNet
from mimo.models.pose_guider import PoseGuider
from mimo.models.reference import ReferenceUNet

SUFFIXES = (".safetensors", ".pth", ".bin")

# Settings of the published weights (the original inference configuration).
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}

_OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class WeightsError(ValueError):
    """Weights cannot be used; the message names the file and what is wrong with it."""


@contextmanager
def _without_collection() -> Iterator[None]:
    """Do not look for garbage meanwhile: thousands of new objects make Python look again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_collection()
def load_official(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Components of the pipeline from the published layout.

    Args:
        folder: holds ``denoising_unet``, ``motion_module``, ``reference_unet`` and ``pose_guider``
            (``.pth``, ``.bin`` or ``.safetensors``), ``stable-diffusion-v1-5/unet/config.json``,
            ``image_encoder/`` and ``sd-vae-ft-mse/``; optionally one ``inference*.yaml`` in the original's
            format with other motion heads or scheduler settings.
        dtype: type of all parameters.

    Returns:
        ``vae``, ``image_encoder``, ``reference_unet``, ``denoising_unet``, ``pose_guider``, ``scheduler``;
        on the CPU, in evaluation mode.

    Raises:
        WeightsError: a file is missing, cannot be read, or lacks, exceeds or misshapes keys.
    """
    inference = _inference_settings(folder)
    unet_config = _json(folder / "stable-diffusion-v1-5" / "unet" / "config.json")
    return {
        "vae": load_vae(folder / "sd-vae-ft-mse", dtype),
        "image_encoder": load_image_encoder(folder / "image_encoder", dtype),
        "reference_unet": load_reference_unet(folder, unet_config, dtype),
        "denoising_unet": load_denoising_unet(folder, unet_config, inference["motion_heads"], dtype),
        "pose_guider": load_pose_guider(folder, dtype),
        "scheduler": DDIMScheduler(**inference["scheduler"]),
    }


@_without_collection()
def load_saved(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Components from the folder that `MimoPipeline.save_pretrained` writes."""

    def load(name: str, make: Callable[[dict[str, Any]], nn.Module], stem: str) -> nn.Module:
        config = _json(folder / name / "config.json")
        path = find(folder / name, stem)
        return fit(_build(lambda: make(config)), read_tensors(path), f"{name}/{path.name}", dtype)

    stem = "diffusion_pytorch_model"
    return {
        "vae": load("vae", AutoencoderKL.from_config, stem),
        "image_encoder": load(
            "image_encoder", lambda c: CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(c)), "model"
        ),
        "reference_unet": load("reference_unet", ReferenceUNet.from_config, stem),
        "denoising_unet": load("denoising_unet", DenoisingUNet.from_config, stem),
        "pose_guider": load("pose_guider", PoseGuider.from_config, stem),
        "scheduler": DDIMScheduler.from_pretrained(folder / "scheduler"),
    }


def load_denoising_unet(
    folder: Path, unet_config: dict[str, Any], motion_heads: int, dtype: torch.dtype
) -> DenoisingUNet:
    """The denoiser from its two files; motion keys in the spatial one win, as in the reference."""
    spatial_path, motion_path = find(folder, "denoising_unet"), find(folder, "motion_module")
    tensors = read_tensors(motion_path) | read_tensors(spatial_path)
    tensors = {diffusers_key(key): value for key, value in tensors.items() if not _second_copy(key)}
    model = _build(lambda: DenoisingUNet.from_config(DenoisingUNet.config_from(unet_config, motion_heads)))
    return fit(model, tensors, f"{spatial_path.name} + {motion_path.name}", dtype)


def load_reference_unet(folder: Path, unet_config: dict[str, Any], dtype: torch.dtype) -> ReferenceUNet:
    """The reference net; the last layers that its file lacks are never used and become zero."""
    path = find(folder, "reference_unet")
    tensors = read_tensors(path)
    model = _build(lambda: ReferenceUNet.from_config(unet_config))
    for key, parameter in model.state_dict().items():
        if key.startswith(("conv_norm_out.", "conv_out.")):
            tensors.setdefault(key, torch.zeros(parameter.shape))
    return fit(model, tensors, path.name, dtype)


def load_pose_guider(folder: Path, dtype: torch.dtype) -> PoseGuider:
    """The pose guider; its sizes are read from the tensors."""
    path = find(folder, "pose_guider")
    tensors = read_tensors(path)
    try:
        widths = [len(tensors["conv_in.weight"])]
        widths += [
            len(tensors[f"blocks.{i}.weight"])
            for i in range(1, len(tensors), 2)
            if f"blocks.{i}.weight" in tensors
        ]
        out_channels = len(tensors["conv_out.weight"])
    except KeyError as error:
        raise WeightsError(f"{path}: key {error} is missing") from None
    model = _build(lambda: PoseGuider(out_channels, tuple(widths)))
    return fit(model, tensors, path.name, dtype)


def load_vae(folder: Path, dtype: torch.dtype) -> AutoencoderKL:
    """The picture autoencoder, with old or new names of its attention keys."""
    path = find(folder, "diffusion_pytorch_model")
    tensors = {_new_vae_key(key): value for key, value in read_tensors(path).items()}
    model = _build(lambda: AutoencoderKL.from_config(_json(folder / "config.json")))
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    for key, value in tensors.items():
        # Old files hold the attention's matrices as 1x1 convolutions.
        if value.ndim == 4 and key in shapes and len(shapes[key]) == 2:
            tensors[key] = value.flatten(1)
    return fit(model, tensors, f"{folder.name}/{path.name}", dtype)


def load_image_encoder(folder: Path, dtype: torch.dtype) -> CLIPVisionModelWithProjection:
    """The CLIP vision encoder; ``position_ids`` of old files are a constant and skipped."""
    path = find(folder, "model", "pytorch_model")
    tensors = {k: v for k, v in read_tensors(path).items() if not k.endswith("position_ids")}
    config = CLIPVisionConfig.from_dict(_json(folder / "config.json"))
    model = _build(lambda: CLIPVisionModelWithProjection(config))
    return fit(model, tensors, f"{folder.name}/{path.name}", dtype)


def find(folder: Path, *stems: str) -> Path:
    """The first of the files ``stem`` + suffix that exists.

    Raises:
        WeightsError: none does; the message lists what was looked for.
    """
    names = [stem + suffix for stem in stems for suffix in SUFFIXES]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder}: none of {', '.join(names)} is there")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint file by key, on the CPU, mapped from the file where its format allows.

    Raises:
        WeightsError: the file is damaged or holds more than tensors (it is never executed).
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:
            # Files of PyTorch before 1.6 cannot be mapped.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(f"{path}: not a readable file of weights ({str(error).splitlines()[0]})") from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path}: does not hold named tensors")
    return {key.removeprefix("module."): value for key, value in content.items()}


def fit(model: Any, tensors: dict[str, Tensor], source: str, dtype: torch.dtype) -> Any:
    """Put tensors into a model built without memory.

    Args:
        model: on the meta device.
        tensors: must have exactly the model's keys and shapes.
        source: how to call the tensors' origin in a message.
        dtype: type of the parameters.

    Returns:
        The model, in evaluation mode.

    Raises:
        WeightsError: keys are missing or left over, or a shape differs.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    problems = [f"{key} is missing" for key in expected if key not in tensors]
    problems += [f"{key} is unknown" for key in tensors if key not in expected]
    for key, shape in expected.items():
        if key in tensors and tuple(tensors[key].shape) != shape:
            problems.append(f"{key} has shape {tuple(tensors[key].shape)}, not {shape}")
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(f"{source}: " + "; ".join(problems[:5]) + more)
    model.load_state_dict({key: value.to(dtype) for key, value in tensors.items()}, assign=True)
    return model.eval().requires_grad_(False)


def diffusers_key(key: str) -> str:
    """Name in diffusers' motion UNet of a key of the original files (spatial names are the same)."""
    for old, new in (
        (".temporal_transformer.", "."),
        ("attention_blocks.0.pos_encoder.pe", "pos_embed.pe"),
        ("attention_blocks.0.", "attn1."),
        ("attention_blocks.1.", "attn2."),
        (".norms.0.", ".norm1."),
        (".norms.1.", ".norm2."),
        (".ff_norm.", ".norm3."),
    ):
        key = key.replace(old, new)
    return key


def _second_copy(key: str) -> bool:
    """Both attentions of a motion module carry the same positions; diffusers keeps one."""
    return key.endswith("attention_blocks.1.pos_encoder.pe")


def _new_vae_key(key: str) -> str:
    parts = key.split(".")
    if "attentions" in parts and parts[-2] in _OLD_VAE_ATTENTION:
        parts[-2] = _OLD_VAE_ATTENTION[parts[-2]]
    return ".".join(parts)


def _build(make: Callable[[], Any]) -> nn.Module:
    """Build a model whose parameters take no memory (buffers that files do not hold are real)."""
    with init_empty_weights(include_buffers=False), _without_initial_values():
        return make()


@contextmanager
def _without_initial_values() -> Iterator[None]:
    """Leave new parameters as they are: drawing values that a file replaces takes most of the time."""
    names = [name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")]
    functions = {name: getattr(nn.init, name) for name in names}
    initialise = PreTrainedModel.init_weights
    try:
        for name in names:
            setattr(nn.init, name, lambda tensor, *_, **__: tensor)
        PreTrainedModel.init_weights = lambda self: None
        yield
    finally:
        for name, function in functions.items():
            setattr(nn.init, name, function)
        PreTrainedModel.init_weights = initialise


def _inference_settings(folder: Path) -> dict[str, Any]:
    """Motion heads and scheduler settings of the folder's ``inference*.yaml``, or the published ones."""
    paths = sorted(folder.glob("inference*.yaml"))
    if len(paths) > 1:
        raise WeightsError(
            f"{folder}: more than one inference configuration: {', '.join(p.name for p in paths)}"
        )
    if not paths:
        return {"motion_heads": 8, "scheduler": SCHEDULER}
    content = yaml.safe_load(paths[0].read_text())
    try:
        heads = content["unet_additional_kwargs"]["motion_module_kwargs"]["num_attention_heads"]
        return {"motion_heads": heads, "scheduler": dict(content["noise_scheduler_kwargs"])}
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{paths[0]}: not an inference configuration ({error} is missing)") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise WeightsError(f"{path}: is missing") from None
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path}: not JSON ({error})") from None
