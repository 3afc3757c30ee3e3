"""Backend `mimo`: the diffusion synthesiser of MIMO (CVPR 2025) on its published weights.

Works on templates of the reference implementation too: it needs the motion code (`sdc.mp4`), no `motion.npz`.
Heavy libraries are imported when a video is made, so that settings can be checked without them.
"""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field

from mimo.character import Character
from mimo.compose import Compositor
from mimo.composition.excerpts import clips_within, in_places, places, settled
from mimo.composition.layers import PersonLayer
from mimo.composition.regions import Clip, crop, crop_picture, frame_box, pad_square, plan_clips
from mimo.composition.scenes import Scene, scenes
from mimo.diffusion.memory import GIB, MODES, Choice, Plan, Work, main_memory_mb, needed, plan
from mimo.diffusion.presets import ApproximationSettings
from mimo.retargeting.code_video import with_own_code
from mimo.retargeting.settings import BodySettings, Whose
from mimo.stage import Rejected, progress
from mimo.synthesis.interface import Job
from mimo.template import Template
from mimo.weights import cache_dir, path, registry
from mimo.worker.keeping import KeptSettings

if TYPE_CHECKING:
    from torch import Tensor

    from mimo.diffusion.excerpts import Excerpt
    from mimo.diffusion.sampling import Sampling
    from mimo.pipeline import MimoPipeline


Made = TypeVar("Made")

WEIGHTS = "mimo"
"""The published files' folder in the weights registry."""
BODY = "anny-body"
_WARM_UP = 24
"""Frames before a part that are composed, too, where colours are smoothed over time."""


class Settings(ApproximationSettings, KeptSettings, BodySettings):
    """Settings of the mimo backend; the defaults are those of the reference implementation."""

    body: Whose = Field(
        "driver",
        description="proportions: the driver's, as in the template's motion code, or the character's own, in "
        "which the motion code is drawn anew (needs motion.npz)",
    )
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
    # YAML reads the word off as false.
    compilation: Annotated[
        Literal["off", "default", "max-autotune"],
        BeforeValidator(lambda word: "off" if word is False else word),
    ] = Field("default", description="compile the networks on a GPU: minutes at the first clip of a size")
    memory: Choice = Field(
        "auto",
        description="how much of the GPU's memory is spent on speed: high keeps all networks there, medium "
        "those that compute, low also runs the guidance rows one by one, lowest also brings the denoiser "
        "part by part, uncompiled; auto: the fastest that fits",
    )
    vae_batch: int = Field(
        4, ge=1, le=32, description="pictures through the autoencoder at a time, at most; 1 GiB each"
    )
    resume: bool = Field(True, description="an interrupted video goes on from its last finished step")
    part_context: int = Field(
        2,
        ge=0,
        le=16,
        description="windows computed beyond each end of a part of a long video, so that parts agree",
    )

    seam_frames: ClassVar[int] = 4

    def weight_files(self) -> dict[str, Path | None]:
        """The published files, and the body where the motion code is drawn anew."""
        return {WEIGHTS: self.weights} | ({} if self.all_drivers else {BODY: None})

    def resources(self) -> dict[str, int]:
        """What a job needs, see `StageSettings.resources`; for ``memory: auto`` in the fastest mode."""
        mode = MODES["high" if self.memory == "auto" else self.memory]
        half = self.precision != "float32" and (self.device, self.precision) != ("cpu", "auto")
        # The longest clips keep no more pose features than these.
        work = _work(self, "float16" if half else "float32", 600)
        needs = -(-needed(work, mode, work.poses) // 10**6)
        if self.device == "cpu":
            return {"mem_mb": main_memory_mb(work, mode) + needs, "gpu_mem_mb": 0}
        return {"mem_mb": main_memory_mb(work, mode), "gpu_mem_mb": needs}

    def effort(self) -> float:
        """Steps, pixels (attention grows faster than they do), guidance, and frames computed twice."""
        overlap = min(self.overlap, self.window - 1)
        rows = 2 if self.guidance > 1 else 1
        twice = self.window / (self.window - overlap) / (24 / 20)
        return self.steps / 25 * (self.size / 784) ** 2.5 * rows / 2 * twice


def synthesise(job: Job, settings: Settings) -> Iterator[np.ndarray]:
    """Finished frames of the template with the character in it; see `mimo.synthesis.interface`.

    Raises:
        Rejected: the libraries or weights are missing or damaged, there is no body in the motion code, or the
            GPU's memory does not suffice.
    """
    return _made(job, settings, Compositor.frames)


def layers(job: Job, settings: Settings) -> Iterator[PersonLayer]:
    """The character alone, frame by frame; see `mimo.synthesis.interface`.

    It is cut out as `mimo.composition.extraction` does it, of clips of the improved composition, also where
    the settings ask for the reference's, which knows only boxes.

    Raises:
        Rejected: as `synthesise`.
    """
    if settings.composition != "improved":
        job.warnings.append(
            "the character was cut out of clips of composition: improved; a box has no outline"
        )
    settings = settings.model_copy(update={"composition": "improved"})
    return _made(job, settings, Compositor.layers)


def _made(
    job: Job,
    settings: Settings,
    compose: Callable[[Compositor, Iterator[np.ndarray], Iterator[Scene]], Iterator[Made]],
) -> Iterator[Made]:
    """The job's frames, put together by a method of the compositor."""
    job = replace(job, template=with_own_code(job.template, job.character.body, settings))
    template = job.template
    improved = settings.composition == "improved"
    pictures = progress(template.frames("sdc"), "boxes", len(template.frame_numbers))
    boxes = [frame_box(picture) for picture in pictures]
    if all(box.empty for box in boxes):
        raise Rejected(f"{template.folder}/sdc.mp4: no body in any frame; run the pose stage again")
    clips = plan_clips(boxes, improved=improved)
    job.metrics["clips"] = len(clips)
    warm_up = _WARM_UP if improved else 0
    frames = settled(clips, range(max(0, job.frames.start - warm_up), job.frames.stop))
    sampling, chosen = _excerpt(settings, clips, frames)
    sizing = _sizing(settings, len(chosen.places))
    pipeline = _loaded(job, settings, sizing)
    sampling = replace(sampling, sequential_guidance=sizing.plan.mode.separate_rows)
    job.weights += registry().folders[WEIGHTS] + ([] if settings.all_drivers else [BODY])
    latents = _denoised(job, settings, sizing, pipeline, clips, sampling, chosen)
    composed = compose(
        Compositor(clips_within(clips, frames), mode=settings.composition),
        _decoded(settings, sizing, pipeline, latents[:, :, chosen.own]),
        scenes(template, frames, with_sdc=improved),
    )
    made = (one for number, one in zip(frames, composed, strict=True) if number in job.frames)
    return _ending_with_peaks(job, made)


def _excerpt(settings: Settings, clips: list[Clip], frames: range) -> tuple[Sampling, Excerpt]:
    """How the whole sequence is computed, and what of it is needed for some frames."""
    from mimo.diffusion.excerpts import excerpt
    from mimo.diffusion.sampling import Sampling

    sampling = Sampling(
        settings.size,
        settings.size,
        guidance_scale=settings.guidance,
        context_frames=settings.window,
        context_overlap=min(settings.overlap, settings.window - 1),
        closed_loop=settings.closed_loop,
        **settings.approximations(),
    )
    windows = sampling.windows(sum(len(clip.frames) for clip in clips))
    own = places(clips, frames)
    return sampling, excerpt(windows, own, settings.part_context, closed=settings.closed_loop)


def reference_picture(character: Character) -> np.ndarray:
    """The character on white, cropped and padded to a square as the reference does it; uint8 (s, s, 3)."""
    opacity = character.mask[:, :, None] / 255
    on_white = (character.image * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return pad_square(crop_picture(on_white, character.mask), (255, 255, 255))[0]


@dataclass(frozen=True)
class _Sizing:
    """Where and how a clip is computed."""

    device: str
    precision: str
    plan: Plan


def _sizing(settings: Settings, frames: int) -> _Sizing:
    """Fit a clip to the device.

    Raises:
        Rejected: libraries are missing, or the clip does not fit; the message says which settings would.
    """
    try:
        from mimo.diffusion.loading import free_memory, on_device
    except ModuleNotFoundError as error:
        raise Rejected(f"{error}; install the backend's libraries: pip install '.[diffusion]'") from None
    device, precision = on_device(settings.device), settings.precision
    if precision == "auto":
        precision = "float32" if device == "cpu" else "float16"
    work, choice = _work(settings, precision, frames), settings.memory
    if device == "cpu":
        mode = MODES["high" if choice == "auto" else choice]
        return _Sizing(device, precision, Plan(mode, settings.vae_batch, work.poses, needed(work, mode), 0))
    return _Sizing(device, precision, plan(work, free_memory(device), choice))


def _work(settings: Settings, precision: str, frames: int) -> Work:
    return Work(
        size=settings.size,
        window=settings.window,
        frames=frames,
        value_bytes=4 if precision == "float32" else 2,
        guided=settings.guidance > 1,
        vae_batch=settings.vae_batch,
        cached=settings.cache_interval > 1,
    )


def _loaded(job: Job, settings: Settings, sizing: _Sizing) -> MimoPipeline:
    """The pipeline, from an earlier clip of this process if there was one."""
    from mimo.diffusion import loading

    clip = f"{job.template.name} with {job.character.name}"
    key = loading.key(
        path(WEIGHTS, settings.weights),
        sizing.device,
        sizing.precision,
        settings.compilation,
        sizing.plan.mode.placement,
    )
    started = time.perf_counter()
    with _memory_suffices(settings, sizing):
        loaded = loading.loaded(key, clip)
    loading.fit(loaded.pipeline, sizing.plan)
    job.metrics["load_seconds"] = round(time.perf_counter() - started, 1)
    job.metrics["loaded_by"] = loaded.loaded_by
    job.metrics["memory"] = sizing.plan.mode.name
    return loaded.pipeline


def _denoised(
    job: Job,
    settings: Settings,
    sizing: _Sizing,
    pipeline: MimoPipeline,
    clips: list[Clip],
    sampling: Sampling,
    chosen: Excerpt,
) -> Tensor:
    """Latents of the chosen places of all clips' frames, one after the other, as the reference runs them."""
    import torch

    from mimo.diffusion.excerpts import noise

    template = job.template
    total = sum(len(clip.frames) for clip in clips)
    side = settings.size // pipeline.vae_scale_factor
    job.metrics["windows"] = len(chosen.windows)
    obstacle = pipeline.obstacle_to_fp8() if sampling.fp8 else None
    if obstacle is not None:
        job.warnings.append(obstacle)
    started = time.perf_counter()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        job.metrics["foreseen_gpu_gib"] = round(sizing.plan.needed / GIB, 2)
    with _memory_suffices(settings, sizing):
        latents = pipeline.denoise(
            reference_picture(job.character),
            _squares(template, "sdc", clips, chosen, (0, 0, 0)),
            _squares(template, "bk", clips, chosen, (255, 255, 255)),
            sampling,
            latents=noise(settings.seed, chosen.places, total, side, side),
            windows=chosen.windows,
            resume_from=_state_file(job, settings, sampling) if settings.resume else None,
        )
    job.metrics["denoising_seconds"] = round(time.perf_counter() - started, 1)
    return latents


def _decoded(
    settings: Settings, sizing: _Sizing, pipeline: MimoPipeline, latents: Tensor
) -> Iterator[np.ndarray]:
    """The latents' frames, float32 in [0, 1]."""
    with _memory_suffices(settings, sizing):
        yield from pipeline.decode(latents)


def _ending_with_peaks(job: Job, made: Iterator[Made]) -> Iterator[Made]:
    """What was made; after the last of it the GPU is left to others, and how much memory it took is noted.

    Not where frames are decoded: the composition takes no more of them than it needs, so that has no end.
    """
    import torch

    from mimo.diffusion.loading import rest

    yield from made
    rest()
    job.metrics["peak_ram_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    if torch.cuda.is_available():
        job.metrics["peak_gpu_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)


@contextmanager
def _memory_suffices(settings: Settings, sizing: _Sizing) -> Iterator[None]:
    """Say what to change where the GPU's memory turns out too small all the same.

    Raises:
        Rejected: it did.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        mode = sizing.plan.mode.name
        smaller = list(MODES)[list(MODES).index(mode) + 1 :]
        raise Rejected(
            f"the GPU's memory does not suffice at {settings.size} pixels with memory: {mode} "
            f"({str(error).splitlines()[0]}); {sizing.plan.needed / GIB:.1f} GiB were foreseen. "
            f"Set {f'memory: {smaller[0]}, or ' if smaller else ''}a smaller size or window"
        ) from None


def _squares(
    template: Template, name: str, clips: list[Clip], chosen: Excerpt, colour: tuple[int, int, int]
) -> Iterator[np.ndarray]:
    """A video's frames at the chosen places, cropped to their clip's box and padded to a square."""
    for clip, frame in in_places(template, name, clips, chosen.places):
        yield pad_square(crop(frame, clip.box), colour)[0]


def _state_file(job: Job, settings: Settings, sampling: Sampling) -> Path:
    """Where an interrupted video's state waits: one file for each template, part, character and settings."""
    folders = f"{job.template.folder.resolve()} {job.character.folder} {settings.seed} {sampling}"
    folders += f" {job.frames} {settings.body} {settings.height}"
    name = hashlib.sha256(folders.encode()).hexdigest()[:16]
    return cache_dir() / "interrupted" / f"{name}.safetensors"
