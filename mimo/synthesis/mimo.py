"""Backend `mimo`: the diffusion synthesiser of MIMO (CVPR 2025) on its published weights.

Works on templates of the reference implementation too: it needs the motion code (`sdc.mp4`), no `motion.npz`.
Heavy libraries are imported when a video is made, so that settings can be checked without them.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from mimo.character import Character
from mimo.compose import Compositor, Scene
from mimo.composition.regions import Clip, crop, crop_picture, frame_box, in_clips, pad_square, plan_clips
from mimo.diffusion.presets import ApproximationSettings
from mimo.stage import Rejected, progress
from mimo.synthesis.interface import Job
from mimo.template import Template
from mimo.weights import cache_dir, path, registry

if TYPE_CHECKING:
    from mimo.diffusion.sampling import Sampling
    from mimo.pipeline import MimoPipeline


WEIGHTS = "mimo"
"""The published files' folder in the weights registry."""


class Settings(ApproximationSettings):
    """Settings of the mimo backend; the defaults are those of the reference implementation."""

    weights: Path | None = Field(
        None,
        description="folder of the published weights, or one written by MimoPipeline.save_pretrained; "
        "null: the registry's",
    )
    size: int = Field(784, ge=256, le=1536, multiple_of=8, description="side of the computed square, pixels")
    guidance: float = Field(
        3.5, ge=0, le=20, description="strength of guidance; 1 or less: none, half the work"
    )
    seed: int = Field(42, description="of the noise; drawn on the CPU, the same on every machine")
    window: int = Field(24, ge=2, le=32, description="frames computed together")
    overlap: int = Field(4, ge=0, le=16, description="frames that neighbouring windows share")
    closed_loop: bool = Field(
        True, description="windows join the end to the start, as the reference does; false: open end"
    )
    composition: Literal["reference", "improved"] = Field(
        "reference",
        description="how the person is put into the scene: feathered boxes as the reference, or a soft matte "
        "with colours matched to the scene",
    )
    device: str = Field("auto", description="auto, cuda, cuda:1 or cpu")
    precision: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="of the networks; auto: float16 on a GPU, float32 on a CPU"
    )
    compilation: Literal["off", "default", "max-autotune"] = Field(
        "default", description="compile the networks on a GPU: minutes at the first clip of a size"
    )
    sequential_guidance: bool = Field(
        False, description="guidance rows one after the other: less GPU memory, a little slower"
    )
    vae_batch: int = Field(
        4, ge=1, le=32, description="pictures through the autoencoder at a time; 1 GiB each"
    )
    resume: bool = Field(True, description="an interrupted video goes on from its last finished step")

    def weight_files(self) -> dict[str, Path | None]:
        """The published files."""
        return {WEIGHTS: self.weights}


def synthesise(job: Job, settings: Settings) -> Iterator[np.ndarray]:
    """Finished frames of the template with the character in it; see `mimo.synthesis.interface`.

    Raises:
        Rejected: the libraries or weights are missing or damaged, there is no body in the motion code, or the
            GPU's memory does not suffice.
    """
    template = job.template
    improved = settings.composition == "improved"
    frames = progress(template.frames("sdc"), "boxes", len(template.frame_numbers))
    boxes = [frame_box(frame) for frame in frames]
    if all(box.empty for box in boxes):
        raise Rejected(f"{template.folder}/sdc.mp4: no body in any frame; run the pose stage again")
    clips = plan_clips(boxes, improved=improved)
    started = time.perf_counter()
    pipeline = _loaded(settings)
    job.weights += registry().folders[WEIGHTS]
    job.metrics["load_seconds"] = round(time.perf_counter() - started, 1)
    job.metrics["clips"] = len(clips)
    latents = _denoised(job, settings, pipeline, clips)
    compositor = Compositor(clips, mode=settings.composition)
    return compositor.frames(pipeline.decode(latents), _scenes(template, with_sdc=improved))


def reference_picture(character: Character) -> np.ndarray:
    """The character on white, cropped and padded to a square as the reference does it; uint8 (s, s, 3)."""
    opacity = character.mask[:, :, None] / 255
    on_white = (character.image * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return pad_square(crop_picture(on_white, character.mask), (255, 255, 255))[0]


def _loaded(settings: Settings) -> MimoPipeline:
    device, precision = _device(settings.device), settings.precision
    if precision == "auto":
        precision = "float32" if device == "cpu" else "float16"
    kept_poses = 0 if settings.sequential_guidance else 160
    return _pipeline(
        path(WEIGHTS, settings.weights),
        device,
        precision,
        settings.compilation,
        settings.vae_batch,
        kept_poses,
    )


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise Rejected(
            f"device {name}: PyTorch sees no GPU here; choose --device cpu, or install its CUDA build"
        )
    return name


@lru_cache(maxsize=1)
def _pipeline(
    weights: Path, device: str, precision: str, compilation: Any, vae_batch: int, kept_poses: int
) -> MimoPipeline:
    """Load and accelerate; videos made by one process share it.

    Raises:
        Rejected: libraries or weights are missing or wrong.
    """
    try:
        import torch

        from mimo.diffusion.acceleration import accelerate
        from mimo.diffusion.checkpoints import WeightsError
        from mimo.pipeline import MimoPipeline
    except ModuleNotFoundError as error:
        raise Rejected(f"{error}; install the backend's libraries: pip install '.[diffusion]'") from None
    logging.getLogger("mimo.kernels").setLevel(logging.INFO)
    try:
        dtype = getattr(torch, precision)
        pipeline = MimoPipeline.from_pretrained(weights, torch_dtype=dtype, device=device)
    except WeightsError as error:
        raise Rejected(f"{error} (setting weights: {weights})") from None
    accelerate(
        pipeline,
        compilation=compilation,
        vae_batch=vae_batch,
        kept_poses=kept_poses,
        cache=cache_dir() / "compiled",
    )
    return pipeline


def _denoised(job: Job, settings: Settings, pipeline: MimoPipeline, clips: list[Clip]) -> Any:
    """Latents of all clips' frames, one after the other, as the reference runs them."""
    import torch

    from mimo.diffusion.sampling import Sampling

    template = job.template
    sampling = Sampling(
        settings.size,
        settings.size,
        guidance_scale=settings.guidance,
        context_frames=settings.window,
        context_overlap=min(settings.overlap, settings.window - 1),
        closed_loop=settings.closed_loop,
        sequential_guidance=settings.sequential_guidance,
        **settings.approximations(),
    )
    count = sum(len(clip.frames) for clip in clips)
    job.metrics["windows"] = len(sampling.windows(count))
    started = time.perf_counter()
    try:
        latents = pipeline.denoise(
            reference_picture(job.character),
            _squares(template, "sdc", clips, (0, 0, 0)),
            _squares(template, "bk", clips, (255, 255, 255)),
            sampling,
            generator=torch.Generator().manual_seed(settings.seed),
            resume_from=_state_file(job, settings, sampling) if settings.resume else None,
        )
    except torch.OutOfMemoryError as error:
        raise Rejected(
            f"the GPU's memory does not suffice at {settings.size} pixels ({str(error).splitlines()[0]}); "
            "set sequential_guidance: true and vae_batch: 1, or a smaller size or window"
        ) from None
    job.metrics["denoising_seconds"] = round(time.perf_counter() - started, 1)
    if torch.cuda.is_available():
        job.metrics["peak_gpu_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return latents


def _squares(
    template: Template, name: str, clips: list[Clip], colour: tuple[int, int, int]
) -> Iterator[np.ndarray]:
    """A video's frames clip after clip, cropped to the clip's box and padded to a square."""
    for clip, frame in in_clips(template.frames(name), clips):
        yield pad_square(crop(frame, clip.box), colour)[0]


def _scenes(template: Template, *, with_sdc: bool) -> Iterator[Scene]:
    """The template's frames for the composition, in order."""
    occluders = template.frames("occ") if template.has_occluder else None
    codes = template.frames("sdc") if with_sdc else None
    for background, video in zip(template.frames("bk"), template.frames("vid"), strict=True):
        yield Scene(
            background,
            video,
            next(occluders) if occluders is not None else None,
            next(codes) if codes is not None else None,
        )


def _state_file(job: Job, settings: Settings, sampling: Sampling) -> Path:
    """Where an interrupted video's state waits: one file for each template, character and settings."""
    folders = f"{job.template.folder.resolve()} {job.character.folder} {settings.seed} {sampling}"
    name = hashlib.sha256(folders.encode()).hexdigest()[:16]
    return cache_dir() / "interrupted" / f"{name}.safetensors"
