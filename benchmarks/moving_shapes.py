"""A small diffusion problem with a known answer, for MIMO's networks: dressed figures moving over scenes.

Everything lives in latent space, without an autoencoder: a clip has a scene, a figure of two parts in the
character's colours and pattern, and a path. The networks are MIMO's own (denoiser with motion modules,
reference net, pose guider), only small, and are trained for minutes: unlike random ones they denoise, so that
an approximation's error in a clip means something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.eager import EagerMimo
from mimo.diffusion.checkpoints import SCHEDULER
from mimo.diffusion.frames import FrameStore, as_pixels
from mimo.diffusion.quantisation import use_fp8
from mimo.diffusion.sampling import ClipInputs, Sampling
from mimo.models.denoising import DenoisingUNet
from mimo.models.pose_guider import PoseGuider
from mimo.models.reference import ReferenceUNet
from mimo.pipeline import MimoPipeline

SIDE = 16  # of a latent picture
FRAMES = 8  # in a window
EMBEDDING = 16
UNET = {
    "act_fn": "silu",
    "attention_head_dim": 2,
    "block_out_channels": [32, 32, 48, 48],
    "cross_attention_dim": EMBEDDING,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "downsample_padding": 1,
    "in_channels": 4,
    "layers_per_block": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "norm_num_groups": 16,
    "out_channels": 4,
    "sample_size": SIDE,
}


@dataclass
class Clip:
    """One example.

    Attributes:
        latents, background: (1, 4, frames, side, side), about within [-2, 2].
        pose: uint8 (frames, 8 * side, 8 * side, 3).
        reference: (1, 4, side, side), the character alone.
        embedding: (1, 1, 16).
    """

    latents: Tensor
    background: Tensor
    pose: np.ndarray
    reference: Tensor
    embedding: Tensor


def make_clip(rng: np.random.Generator, frames: int = FRAMES) -> Clip:
    """Draw a clip."""
    colours = rng.uniform(-2, 2, (2, 4))
    stripe = rng.uniform(0.8, 2.0)
    background = _scene(rng)
    place, path = rng.uniform(5, 11, 2), rng.uniform(-0.8, 0.8, 2)
    swing, phase = rng.uniform(0.3, 0.9), rng.uniform(0, 2 * math.pi)
    video, pose = [], []
    for frame in range(frames):
        centre = 2 + np.abs((place + frame * path - 2) % 24 - 12)
        angle = 0.8 * math.sin(swing * frame + phase)
        body, arm = _parts(centre, angle, SIDE)
        video.append(_dress(background, (body, arm), colours, stripe))
        large = _parts(centre, angle, 8 * SIDE)
        picture = np.zeros((8 * SIDE, 8 * SIDE, 3))
        for mask, colour in zip(large, ((255, 60, 90), (40, 200, 255)), strict=True):
            picture = picture * (1 - mask[..., None]) + mask[..., None] * np.array(colour)
        pose.append(picture.astype(np.uint8))
    standing = _parts(np.array([8.0, 8.0]), 0.0, SIDE)
    reference = _dress(np.full((4, SIDE, SIDE), 1.0), standing, colours, stripe)
    mixing = np.random.default_rng(0).standard_normal((8, EMBEDDING)) / 2
    embedding = colours.reshape(1, 1, 8) @ mixing
    return Clip(
        _tensor(np.stack(video, 1)[None]),
        _tensor(np.repeat(background[None, :, None], frames, 2)),
        np.stack(pose),
        _tensor(reference[None]),
        _tensor(embedding),
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _scene(rng: np.random.Generator) -> np.ndarray:
    """(4, side, side): smooth colours with a few boxes."""
    coarse = _tensor(rng.uniform(-1.5, 1.5, (1, 4, 3, 3)))
    scene = F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)[0].numpy().copy()
    for _ in range(3):
        left, top, width, height = rng.integers(0, 12), rng.integers(0, 12), *rng.integers(2, 6, 2)
        scene[:, top : top + height, left : left + width] = rng.uniform(-1.8, 1.8, (4, 1, 1))
    return scene


def _parts(centre: np.ndarray, angle: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Soft masks (side, side) of a round body and an arm that swings."""
    scale = side / SIDE
    y, x = (np.indices((side, side)) + 0.5) / scale
    dx, dy = x - centre[0], y - centre[1]
    sharp = 2.0 * scale**0.5
    body = 1 / (1 + np.exp(sharp * (np.hypot(dx / 0.8, dy) - 2.6)))
    along = dx * math.sin(angle) + dy * math.cos(angle)
    across = dx * math.cos(angle) - dy * math.sin(angle)
    inside = np.maximum(np.abs(across) - 0.8, np.abs(along - 2.5) - 2.5)
    return body, 1 / (1 + np.exp(sharp * inside))


def _dress(
    scene: np.ndarray, parts: tuple[np.ndarray, np.ndarray], colours: np.ndarray, stripe: float
) -> np.ndarray:
    rows = np.arange(SIDE)[:, None] + np.zeros((1, SIDE))
    pattern = (1 + 0.4 * np.sin(stripe * rows), np.ones((SIDE, SIDE)))
    for mask, colour, shade in zip(parts, colours, pattern, strict=True):
        scene = scene * (1 - mask) + mask * shade * colour[:, None, None]
    return scene


class ShapesPipeline(MimoPipeline):
    """MIMO's pipeline on clips that need no encoders."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.set_progress_bar_config(disable=True)

    def encode(self, clip: Clip, pose: Any, background: Any, sampling: Sampling) -> ClipInputs:
        """What `MimoPipeline.encode` gives; all comes from the clip."""
        store = FrameStore(8 * SIDE, 8 * SIDE)
        for frame in clip.pose:
            store.append(frame)
        windows = sampling.windows(len(store))
        indices = [torch.tensor(window) for window in windows]
        count = torch.bincount(torch.cat(indices)).float().view(1, 1, -1, 1, 1)
        condition = self.clip_condition(clip, 2 if sampling.guided else 1)
        return ClipInputs(condition, clip.background, store, windows, indices, count)

    def _use_fp8(self, wanted: bool) -> None:
        """In all widths here, emulated on the CPU."""
        use_fp8(self.denoising_unet, wanted, least_channels=1)

    def clip_condition(self, clip: Clip, rows: int) -> Any:
        """The character's condition for so many guidance rows."""
        embedding = clip.embedding
        bank = self.reference_unet.bank(clip.reference, embedding)
        tokens = torch.cat([torch.zeros_like(embedding), embedding]) if rows == 2 else embedding
        return self.denoising_unet.condition(tokens, bank)

    def synthesise(self, clip: Clip, noise: Tensor, **sampling: Any) -> Tensor:
        """Latents of a clip; guidance 3.5, windows of 8 frames that share 2."""
        options = {"guidance_scale": 3.5, "context_frames": FRAMES, "context_overlap": 2} | sampling
        return self.denoise(clip, clip.pose, None, Sampling(8 * SIDE, 8 * SIDE, **options), latents=noise)


def new_pipeline(seed: int = 0) -> ShapesPipeline:
    """Untrained networks."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(block_out_channels=(2,) * 4, norm_num_groups=1, layers_per_block=1,
                        down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4)  # fmt: skip
    encoder = CLIPVisionConfig(hidden_size=2, intermediate_size=2, num_hidden_layers=1, num_attention_heads=1)
    return ShapesPipeline(
        vae=vae,
        image_encoder=CLIPVisionModelWithProjection(encoder),
        reference_unet=ReferenceUNet.from_config(UNET),
        denoising_unet=DenoisingUNet.from_config(DenoisingUNet.config_from(UNET, motion_heads=2)),
        pose_guider=PoseGuider(UNET["block_out_channels"][0], (4, 8, 12, 16)),
        scheduler=DDIMScheduler(**SCHEDULER),
    )


def train(pipeline: ShapesPipeline, iterations: int, seed: int = 1) -> list[float]:
    """Train all three networks on the velocity of random clips, through the plain implementation.

    Args:
        pipeline: changed in place.
        iterations: one clip and noise level each; 1500 take some minutes on one core.
        seed: of clips, noise levels and noise.

    Returns:
        Losses.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    nets = (pipeline.denoising_unet, pipeline.reference_unet, pipeline.pose_guider)
    parameters = [p for net in nets for p in net.requires_grad_(True).train().parameters()]
    optimiser = torch.optim.Adam(parameters, lr=2e-3, betas=(0.9, 0.98))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, iterations, pct_start=0.1)
    levels = pipeline.scheduler.alphas_cumprod
    losses = []
    eager = EagerMimo(pipeline)
    with eager.installed():
        for _ in range(iterations):
            clip = make_clip(rng)
            time = torch.randint(0, len(levels), (1,), generator=generator)
            signal, deviation = levels[time].sqrt(), (1 - levels[time]).sqrt()
            noise = torch.randn(clip.latents.shape, generator=generator)
            noisy = signal * clip.latents + deviation * noise
            pose = pipeline.pose_guider(as_pixels(clip.pose, torch.device("cpu"), torch.float32))
            eager.tokens = torch.cat([torch.zeros_like(clip.embedding), clip.embedding])
            reference = clip.reference.repeat(2, 1, 1, 1)
            pipeline.reference_unet(reference, torch.zeros(()), encoder_hidden_states=eager.tokens)
            velocity = eager.window(torch.cat([noisy, clip.background], 1), time, pose)
            # The unconditional row matters less.
            square = (velocity - (signal * noise - deviation * clip.latents)) ** 2
            loss = square[1].mean() + 0.3 * square[0].mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            rate.step()
            losses.append(float(square[1].detach().mean()))
    for net in nets:
        net.requires_grad_(False).eval()
    return losses


def trained(path: Path | None, iterations: int) -> ShapesPipeline:
    """Trained networks, from a file if it exists; else they are trained and kept in it."""
    pipeline = new_pipeline()
    nets = {name: getattr(pipeline, name) for name in ("denoising_unet", "reference_unet", "pose_guider")}
    if path is not None and path.is_file():
        tensors = load_file(path)
        for name, net in nets.items():
            start = f"{name}."
            net.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
            net.requires_grad_(False).eval()
        return pipeline
    train(pipeline, iterations)
    if path is not None:
        tensors = {f"{name}.{k}": v for name, net in nets.items() for k, v in net.state_dict().items()}
        save_file(tensors, path)
    return pipeline


def held_out_clips(count: int, frames: int, seed: int = 99) -> list[tuple[Clip, Tensor]]:
    """Clips that were not trained on, with initial noise."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    clips = [make_clip(rng, frames) for _ in range(count)]
    return [(clip, torch.randn(clip.latents.shape, generator=generator)) for clip in clips]
