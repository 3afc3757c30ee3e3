"""Golden checks of the networks, the scheduler and the pipelines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from mimo.diffusion.encoding import decode_video, embed_picture, encode_pictures, encode_video
from mimo.diffusion.sampling import Sampling
from mimo.models.blocks import temporal
from mimo.models.denoising import DenoisingUNet
from mimo.pipeline import MimoPipeline
from mimo.verification.check import Check, difference

SINGLE, PIPELINE, ENCODED, SCHEDULER = 2e-5, 1e-4, 1e-5, 1e-6
CPU = torch.device("cpu")


@torch.no_grad()
def network_checks(pipeline: MimoPipeline, golden: Path) -> Iterator[Check]:
    """Compare each network by itself with the golden tensors (float32, CPU).

    Args:
        pipeline: in float32, with the weights that made the golden data.
        golden: folder of the golden data.
    """
    data = load_file(golden / "pose_guider.safetensors")
    yield _check("pose guider", pipeline.pose_guider(_frames(data["input"])), _frames(data["output"]))
    module = _meta(golden / "motion_module.safetensors")["module"]
    data = load_file(golden / "motion_module.safetensors")
    frames = data["input"].shape[2]
    moved = temporal(pipeline.denoising_unet.get_submodule(module), _frames(data["input"]), frames)
    yield _check(f"motion module {module}", moved, _frames(data["output"]))
    data = load_file(golden / "reference_unet.safetensors")
    last = pipeline.reference_unet.up_blocks[-1]
    with _kept_outputs({"last": last}) as kept:
        bank = pipeline.reference_unet.bank(data["ref_latents"], data["encoder_hidden_states"][1:])
    yield _check("reference net, last block", kept["last"], data["output"])
    for name, tensor in bank.items():
        yield _check(f"bank {name}", tensor, data[f"bank.{name}"])
    yield from _denoiser_checks(pipeline, golden, bank)


def _denoiser_checks(pipeline: MimoPipeline, golden: Path, bank: dict[str, Tensor]) -> Iterator[Check]:
    unet = pipeline.denoising_unet
    data = load_file(golden / "denoising_unet.safetensors")
    timestep = torch.tensor([_meta(golden / "denoising_unet.safetensors")["timestep"]])
    pose, tokens = _frames(data["pose_cond_fea"]), data["encoder_hidden_states"]
    for name, features, reference in (
        ("output_plain", None, None),
        ("output_pose", pose, None),
        ("output", pose, bank),
    ):
        with _kept_outputs(_level_ends(unet)) as activations:
            result = unet(data["sample"], timestep, features, unet.condition(tokens, reference))
        yield _check(f"denoiser, {name}", result, data[name])
    for key in sorted(data):
        if key.startswith("act."):
            yield _check(f"denoiser, {key}", activations[key.removeprefix("act.")], _frames(data[key]))
    rows = [
        unet(data["sample"], timestep, pose, unet.condition(tokens[row : row + 1], reference))
        for row, reference in ((0, None), (1, bank))
    ]
    yield _check("denoiser, rows one by one", torch.cat(rows), data["output"])


@torch.no_grad()
def pipeline_checks(pipeline: MimoPipeline, golden: Path) -> Iterator[Check]:
    """Compare whole runs: encoders, every step, decoded video, a clip of two windows."""
    images = np.load(golden / "pipeline_inputs.npz")
    reference = Image.fromarray(images["ref_image"])
    path = golden / "pipe_6f_3s.safetensors"
    data = load_file(path)
    pose, background = list(images["pose_images"]), list(images["bk_images"])
    embeds = embed_picture(pipeline.image_encoder, reference, CPU)
    yield _check("CLIP embedding", embeds, data["clip_image_embeds"], ENCODED)
    latents = encode_pictures(pipeline.vae, [images["ref_image"]], CPU)
    yield _check("reference latents", latents, data["ref_latents"], ENCODED)
    latents = encode_video(pipeline.vae, background, CPU, batch=4)
    yield _check("background latents", latents.transpose(0, 1)[None], data["bk_latents"], ENCODED)
    steps: list[Tensor] = []

    def keep(_: Any, step: int, timestep: Tensor, values: dict[str, Tensor]) -> None:
        steps.append(values["latents"])

    sampling = _sampling(path)
    latents = pipeline.denoise(
        reference, pose, background, sampling, generator=_generator(path), callback_on_step_end=keep
    )
    for i, step in enumerate(steps):
        yield _check(f"6 frames, step {i + 1}", step, data["step_latents"][i], PIPELINE)
    yield _check("6 frames, latents", latents, data["final_latents"], PIPELINE)
    yield _check("6 frames, video", _video(pipeline, latents), data["video"], PIPELINE)
    path = golden / "pipe_30f_2s.safetensors"
    data, meta = load_file(path), _meta(path)
    pose, background = (
        [np.roll(frames[i % len(frames)], 2 * i, axis=1) for i in range(meta["frames"])]
        for frames in (pose, background)
    )
    steps.clear()
    sampling = _sampling(path)
    latents = pipeline.denoise(
        reference, pose, background, sampling, generator=_generator(path), callback_on_step_end=keep
    )
    yield Check("30 frames, windows", float(sampling.windows(30) != meta["windows"]), 0)
    yield _check("30 frames, step 1", steps[0], data["step_latents_first"], PIPELINE)
    yield _check("30 frames, latents", latents, data["final_latents"], PIPELINE)
    video = _video(pipeline, latents[:, :, meta["video_frame_indices"]])
    yield _check("30 frames, video", video, data["video_frames"], PIPELINE)


def scheduler_checks(pipeline: MimoPipeline, golden: Path) -> Iterator[Check]:
    """Compare noise levels, timesteps and single steps of the sampler."""
    table = json.loads((golden / "scheduler.json").read_text())
    scheduler = pipeline.scheduler
    levels = [float(scheduler.alphas_cumprod[int(t)]) for t in table["alphas_cumprod"]]
    yield Check("noise levels", difference(levels, list(table["alphas_cumprod"].values())), SCHEDULER)
    for steps, run in table["runs"].items():
        scheduler.set_timesteps(int(steps))
        yield Check(f"timesteps, {steps}", difference(scheduler.timesteps, run["timesteps"]), 0)
        sample, velocity = (torch.tensor(run[key]) for key in ("step_sample", "step_model_output"))
        results = [scheduler.step(velocity, t, sample) for t in scheduler.timesteps]
        previous = torch.stack([result.prev_sample for result in results])
        original = torch.stack([result.pred_original_sample for result in results])
        yield Check(f"steps of {steps}", difference(previous, run["step_prev_sample"]), SCHEDULER)
        yield Check(f"originals of {steps}", difference(original, run["step_pred_original"]), SCHEDULER)


def _level_ends(unet: DenoisingUNet) -> dict[str, nn.Module]:
    """The last module that the denoiser's forward calls in each level, by the level's path.

    The last down level ends with a motion module, which is not called as a module; what it gives is what the
    middle level's first module takes, so it is kept there.
    """
    ends: dict[str, nn.Module] = {"mid_block": unet.mid_block.resnets[-1]}
    for i, level in enumerate(unet.down_blocks[:-1]):
        ends[f"down_blocks.{i}"] = level.downsamplers[0]
    for i, level in enumerate(unet.up_blocks[:-1]):
        ends[f"up_blocks.{i}"] = level.upsamplers[0].conv
    ends[f"down_blocks.{len(unet.down_blocks) - 1}:next"] = unet.mid_block.resnets[0]
    return ends


@contextmanager
def _kept_outputs(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Keep what modules return by name; for names that end in ``:next``, what the module takes."""
    kept: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            value = inputs[0] if name.endswith(":next") else output
            kept[name.removesuffix(":next")] = value

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _check(name: str, value: Tensor, expected: Tensor, tolerance: float = SINGLE) -> Check:
    return Check(name, difference(value, expected), tolerance)


def _frames(video: Tensor) -> Tensor:
    """(b, c, f, h, w) → (b * f, c, h, w)."""
    return video.transpose(1, 2).flatten(0, 1)


def _video(pipeline: MimoPipeline, latents: Tensor) -> Tensor:
    frames = np.stack(list(decode_video(pipeline.vae, latents[0].transpose(0, 1), pipeline.vae_batch)))
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None]


def _meta(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["meta"])


def _sampling(path: Path) -> Sampling:
    meta = _meta(path)
    sizes = (meta["width"], meta["height"], meta["steps"], meta["guidance_scale"])
    return Sampling(*sizes, meta["context_frames"], meta["context_overlap"])


def _generator(path: Path) -> torch.Generator:
    return torch.Generator().manual_seed(_meta(path)["seed"])
