"""MIMO's diffusion pipeline: a character picture, rendered motion and a background in, video frames out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from mimo.diffusion.denoising_state import DenoisingState
from mimo.diffusion.encoding import decode_video, embed_picture, encode_pictures, encode_video
from mimo.diffusion.frames import Frame, FrameStore, as_pixels, resized
from mimo.diffusion.offload import Offload, Phase
from mimo.diffusion.prediction import ClipPredictor
from mimo.diffusion.presets import PRESETS, Preset
from mimo.diffusion.quantisation import obstacle, use_fp8
from mimo.diffusion.recording import RecordedDenoiser
from mimo.diffusion.sampling import ClipInputs, Sampling
from mimo.diffusion.solvers import history, restore_history, set_steps, solver
from mimo.models.denoising import DenoisingUNet
from mimo.models.pose_guider import PoseGuider
from mimo.models.reference import ReferenceUNet

logger = logging.getLogger(__name__)

OutputType = Literal["pil", "np", "pt", "latent"]
Callback = Callable[["MimoPipeline", int, Tensor, dict[str, Tensor]], "dict[str, Tensor] | None"]


@dataclass
class MimoPipelineOutput(BaseOutput):
    """Result of `MimoPipeline`.

    Attributes:
        frames: list of PIL images; or float32 in [0, 1], array (frames, height, width, 3) or tensor
            (frames, 3, height, width); or latents (1, 4, frames, h, w).
    """

    frames: Any


class MimoPipeline(DiffusionPipeline):
    """Character video synthesis after MIMO (CVPR 2025), on the published weights.

    Memory does not grow with the clip, but for the latents: pose features, encoding and decoding run a few
    frames at a time, and pose images wait on disk.

    Args:
        vae, image_encoder, reference_unet, denoising_unet, pose_guider, scheduler: the parts; usually from
            `from_pretrained`.

    Attributes:
        vae_batch: pictures encoded or decoded at a time.
        vae_fixed_batch: fill up smaller batches, for a compiled autoencoder.
        recorded_steps: see `mimo.diffusion.recording`; not with weights that move.
        kept_poses: frames whose pose features stay on the device (6 MB each at 784x784 in 16 bits); those of
            later frames are computed anew for every window and step, so that memory stays bounded.
        offload: brings each part to the device for its phase; None: all are there all the time.
        kept_feature_bytes: with a cache interval, deep features that stay on the device; those of later
            windows wait on disk, see `mimo.diffusion.feature_store`.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        image_encoder: CLIPVisionModelWithProjection,
        reference_unet: ReferenceUNet,
        denoising_unet: DenoisingUNet,
        pose_guider: PoseGuider,
        scheduler: DDIMScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            image_encoder=image_encoder,
            reference_unet=reference_unet,
            denoising_unet=denoising_unet,
            pose_guider=pose_guider,
            scheduler=scheduler,
        )
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.vae_batch = 4
        self.vae_fixed_batch = False
        self.kept_poses = 0
        self.recorded_steps = False
        self.offload: Offload | None = None
        self.kept_feature_bytes = 2_500_000_000

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path,
        *,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> MimoPipeline:
        """Load the published MIMO folder, or one written by `save_pretrained`.

        Args:
            weights: the folder; see `mimo.diffusion.checkpoints.load_official` for the published layout.
            torch_dtype: type of all parameters.
            device: where they go.

        Raises:
            WeightsError: what is wrong with which file, key or shape.
        """
        from mimo.diffusion.checkpoints import load_official, load_saved

        folder = Path(weights)
        load = load_saved if (folder / "model_index.json").is_file() else load_official
        return cls(**load(folder, torch_dtype)).to(device)

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write all parts as safetensors into one folder that `from_pretrained` reads."""
        folder = Path(save_directory)
        for name in ("vae", "image_encoder", "reference_unet", "denoising_unet", "pose_guider"):
            getattr(self, name).save_pretrained(folder / name, max_shard_size="50GB")
        self.scheduler.save_pretrained(folder / "scheduler")
        index = {"_class_name": type(self).__name__, "parts": sorted(self.components)}
        (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")

    @torch.no_grad()
    def __call__(
        self,
        reference_image: Frame,
        pose_images: Iterable[Frame],
        background_images: Iterable[Frame],
        *,
        width: int,
        height: int,
        num_inference_steps: int | None = None,
        guidance_scale: float = 3.5,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        context_frames: int = 24,
        context_overlap: int = 4,
        closed_loop: bool = True,
        sequential_guidance: bool = False,
        preset: Preset = "exact",
        output_type: OutputType = "pil",
        callback_on_step_end: Callback | None = None,
        **approximations: Any,
    ) -> MimoPipelineOutput:
        """Synthesise a clip and return all its frames.

        For a long clip use `denoise` and then `decode`, which gives one frame at a time.

        Args:
            reference_image, pose_images, background_images, generator, latents, callback_on_step_end:
                see `denoise`.
            width, height, guidance_scale, context_frames, context_overlap, closed_loop, sequential_guidance:
                see `Sampling`.
            num_inference_steps: denoising steps; 25, or what the preset says.
            preset: ``exact`` as the reference, or ``fast``; see `mimo.diffusion.presets`.
            approximations: `Sampling`'s settings from ``scheduler`` on; they win over the preset's.
            output_type: ``pil`` images; ``np`` or ``pt`` float32 in [0, 1]; ``latent``.
        """
        if num_inference_steps is not None:
            approximations["steps"] = num_inference_steps
        sampling = Sampling(
            width,
            height,
            guidance_scale=guidance_scale,
            context_frames=context_frames,
            context_overlap=context_overlap,
            closed_loop=closed_loop,
            sequential_guidance=sequential_guidance,
            **(PRESETS[preset] | approximations),
        )
        latents = self.denoise(
            reference_image,
            pose_images,
            background_images,
            sampling,
            generator=generator,
            latents=latents,
            callback_on_step_end=callback_on_step_end,
        )
        if output_type == "latent":
            return MimoPipelineOutput(frames=latents)
        frames = self.decode(latents)
        if output_type == "pil":
            pictures = [Image.fromarray(np.rint(frame * 255).astype(np.uint8)) for frame in frames]
            return MimoPipelineOutput(frames=pictures)
        video = np.stack(list(frames))
        if output_type == "np":
            return MimoPipelineOutput(frames=video)
        return MimoPipelineOutput(frames=torch.from_numpy(video).permute(0, 3, 1, 2))

    @torch.no_grad()
    def denoise(
        self,
        reference_image: Frame,
        pose_images: Iterable[Frame],
        background_images: Iterable[Frame],
        sampling: Sampling,
        *,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        windows: list[list[int]] | None = None,
        resume_from: Path | None = None,
        callback_on_step_end: Callback | None = None,
    ) -> Tensor:
        """Run the diffusion; the frames themselves come from `decode`.

        Args:
            reference_image: the character on white.
            pose_images, background_images: equally many frames, sequences or iterators; PIL images or uint8
                (h, w, 3) arrays of any size.
            sampling: sizes, steps, guidance, windows, approximations.
            generator: source of the initial noise (on the CPU: the same on every machine).
            latents: (1, 4, frames, height / 8, width / 8) initial noise instead.
            windows: frame indices of each window, where the frames are an excerpt of a longer clip
                (`mimo.diffusion.excerpts`); None: those of `sampling`.
            resume_from: file that keeps the state after every step before a full one (without a cache
                interval that is every step); an interrupted run with the same inputs goes on from it, to the
                same result. It is removed at the end.
            callback_on_step_end: called as ``callback(pipeline, step, timestep, {"latents": latents})``; may
                return latents to go on with.

        Returns:
            (1, 4, frames, height / 8, width / 8) float32 latents.

        Raises:
            ValueError: sizes, window or numbers of frames do not fit.
        """
        self._check(sampling)
        self._use_fp8(sampling.fp8)
        inputs = self.encode(reference_image, pose_images, background_images, sampling, windows)
        unet = RecordedDenoiser(self.denoising_unet) if self.recorded_steps else self.denoising_unet
        predictor = ClipPredictor(
            unet,
            inputs,
            sampling,
            self.pose_features,
            self.kept_poses,
            self.kept_feature_bytes,
        )
        try:
            latents = self._initial_latents(inputs.background.shape, latents, generator)
            scheduler = solver(sampling.scheduler, self.scheduler)
            set_steps(scheduler, sampling.steps)
            latents = latents * scheduler.init_noise_sigma
            state = DenoisingState(resume_from, inputs.identity, latents, sampling, scheduler)
            start, kept = state.restore(latents)
            if start:
                predictor.restore(kept)
                restore_history(scheduler, kept, start)
            latents = kept["latents"]
            times = scheduler.timesteps.to(latents.device)
            self._enter("denoising")
            with self.progress_bar(total=len(scheduler.timesteps)) as progress:
                progress.update(start)
                for step, timestep in enumerate(scheduler.timesteps[start:], start):
                    velocity = predictor.velocity(latents, times[step : step + 1], step)
                    latents = scheduler.step(velocity, timestep, latents).prev_sample
                    if callback_on_step_end is not None:
                        changed = callback_on_step_end(self, step, timestep, {"latents": latents})
                        latents = (changed or {}).get("latents", latents)
                    if predictor.can_go_on_from(step + 1):
                        state.save(step + 1, {"latents": latents} | predictor.state() | history(scheduler))
                    progress.update()
        finally:
            predictor.close()
            if isinstance(unet, RecordedDenoiser):
                unet.close()
            inputs.pose.close()
        state.discard()
        return latents

    def encode(
        self,
        reference_image: Frame,
        pose_images: Iterable[Frame],
        background_images: Iterable[Frame],
        sampling: Sampling,
        windows: list[list[int]] | None = None,
    ) -> ClipInputs:
        """Encode what stays the same in every step; arguments as in `denoise`."""
        device, width, height = self._execution_device, sampling.width, sampling.height
        if isinstance(reference_image, np.ndarray):
            reference_image = Image.fromarray(reference_image)
        self._enter("embedding")
        embeds = embed_picture(self.image_encoder, reference_image, device)[:, None]
        self._enter("autoencoder")
        batch = self.vae_batch if self.vae_fixed_batch else 0
        picture = encode_pictures(self.vae, [resized(reference_image, width, height)], device, batch=batch)
        pose = FrameStore(height, width)
        for frame in pose_images:
            pose.append(resized(frame, width, height))
        frames = (resized(frame, width, height) for frame in background_images)
        background = encode_video(self.vae, frames, device, self.vae_batch, fixed=self.vae_fixed_batch)
        if len(background) != len(pose) or not len(pose):
            raise ValueError(f"{len(pose)} pose images and {len(background)} background images")
        self._enter("reference")
        bank = self.reference_unet.bank(picture, embeds)
        self._enter("condition")
        tokens = torch.cat([torch.zeros_like(embeds), embeds]) if sampling.guided else embeds
        condition = self.denoising_unet.condition(tokens, bank)
        if windows is None:
            windows = sampling.windows(len(pose))
        indices = [torch.tensor(window, device=device) for window in windows]
        count = torch.bincount(torch.cat(indices), minlength=len(pose)).float().view(1, 1, -1, 1, 1)
        return ClipInputs(condition, background.transpose(0, 1)[None], pose, windows, indices, count)

    def pose_features(self, images: np.ndarray) -> Tensor:
        """Features (n, channels, h / 8, w / 8) of uint8 (n, h, w, 3) pose images, channels last in memory."""
        pixels = as_pixels(images, self._execution_device, self.pose_guider.dtype)
        return self.pose_guider(pixels).contiguous(memory_format=torch.channels_last)

    def decode(self, latents: Tensor) -> Iterator[np.ndarray]:
        """Frames of latents (1, 4, frames, h, w), one at a time: float32 (height, width, 3) in [0, 1]."""
        self._enter("autoencoder")
        frames = latents[0].transpose(0, 1)
        yield from decode_video(self.vae, frames, self.vae_batch, fixed=self.vae_fixed_batch)

    @property
    def _execution_device(self) -> torch.device:
        """Where the parts compute, even while they wait elsewhere."""
        return self.device if self.offload is None else self.offload.device

    def _enter(self, phase: Phase) -> None:
        if self.offload is not None:
            self.offload.enter(phase)

    def obstacle_to_fp8(self) -> str | None:
        """Why a sampling's ``fp8`` would not be followed; None when it would."""
        if self.offload is not None:
            return "fp8 needs all networks on the GPU all the time; the usual precision is used"
        return obstacle(self._execution_device)

    def _use_fp8(self, wanted: bool) -> None:
        """Follow a sampling's ``fp8`` if that is possible."""
        reason = self.obstacle_to_fp8() if wanted else None
        if reason is not None:
            logger.warning(reason)
        use_fp8(self.denoising_unet, wanted and reason is None)

    def _check(self, sampling: Sampling) -> None:
        scale, limit = self.vae_scale_factor, self.denoising_unet.config.motion_max_seq_length
        if sampling.width % scale or sampling.height % scale:
            raise ValueError(f"size {sampling.width}x{sampling.height} is not divisible by {scale}")
        if not 0 <= sampling.context_overlap < sampling.context_frames <= limit:
            raise ValueError(
                f"windows of {sampling.context_frames} frames with overlap {sampling.context_overlap}: "
                f"at most {limit} frames, and the overlap must be smaller"
            )
        if sampling.cache_interval > 1 and sampling.cache_branch > self.denoising_unet.largest_branch:
            raise ValueError(
                f"cache_branch {sampling.cache_branch}: the network has {self.denoising_unet.largest_branch} "
                "layers that can be computed alone"
            )

    def _initial_latents(
        self, shape: torch.Size, latents: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Given noise, or noise drawn on the generator's device; float32 on the pipeline's device."""
        if latents is None:
            source = generator.device if generator is not None else torch.device("cpu")
            latents = torch.randn(shape, generator=generator, device=source)
        elif latents.shape != shape:
            raise ValueError(f"latents {tuple(latents.shape)} for a clip that needs {tuple(shape)}")
        return latents.to(self._execution_device, torch.float32)
