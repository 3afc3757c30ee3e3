"""Make a loaded pipeline fast on its device, without changing what it computes beyond rounding."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import torch

from mimo.diffusion.memory import Placement
from mimo.diffusion.offload import PARTS, Offload
from mimo.models.autoencoder import prepare_autoencoder
from mimo.pipeline import MimoPipeline

Compilation = Literal["off", "default", "max-autotune"]


def accelerate(
    pipeline: MimoPipeline,
    *,
    compilation: Compilation = "default",
    compile_vae: bool = True,
    vae_batch: int = 4,
    kept_poses: int = 160,
    tf32: bool = False,
    cache: Path | None = None,
    offload: Placement = "none",
    device: torch.device | str | None = None,
) -> None:
    """Prepare the pipeline's networks; call once, after loading and moving to the device.

    On a GPU: weights of convolutions with channels last, query, key and value projections joined, convolution
    algorithms chosen by measurement, networks compiled. The attention kernels choose themselves on first use.

    Args:
        pipeline: on its device.
        compilation: ``default`` compiles the denoiser (one to three minutes at the first clip of a size, less
            when the cache is warm); ``max-autotune`` also measures matrix kernels (several minutes more);
            ``off`` runs the same networks uncompiled.
        compile_vae: compile encoder and decoder too (batches of one size only).
        vae_batch: pictures encoded or decoded at a time; about 1 GiB each at 784x784.
        kept_poses: see `MimoPipeline`.
        tf32: allow TensorFloat-32 in float32 products and convolutions (errors near 1e-3).
        cache: folder of compiled kernels, kept between runs; the user's cache folder by default.
        offload: ``parts`` takes only the networks that are computing to the device, ``stages`` of the
            denoiser only the stage that is, which then runs uncompiled. The pipeline may be on the CPU then.
        device: where to compute; the pipeline's own by default.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    pipeline.vae_batch = vae_batch
    pipeline.kept_poses = kept_poses
    device = torch.device(device) if device is not None else pipeline.device
    pipeline.denoising_unet.fuse_projections()
    prepare_autoencoder(pipeline.vae)
    if device.type == "cuda":
        _accelerate_on_gpu(pipeline, compilation, compile_vae, offload, cache)
    if offload != "none":
        names = sorted({name for names in PARTS.values() for name in names})
        parts = {name: getattr(pipeline, name) for name in names}
        pipeline.offload = Offload(parts, device, by_stages=offload == "stages")


def _accelerate_on_gpu(
    pipeline: MimoPipeline,
    compilation: Compilation,
    compile_vae: bool,
    offload: Placement,
    cache: Path | None,
) -> None:
    """Memory formats, algorithms and compilation."""
    torch.backends.cudnn.benchmark = True
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str((cache or _cache_folder()).resolve()))
    for name in ("denoising_unet", "vae", "pose_guider"):
        getattr(pipeline, name).to(memory_format=torch.channels_last)
    if compilation == "off":
        return
    # Every kind of step (whole, shallow, one guidance row, fp8) at every size is a compilation of its own.
    torch._dynamo.config.recompile_limit = 64
    mode = "max-autotune-no-cudagraphs" if compilation == "max-autotune" else None
    # The kernels of one window-step take hundreds of milliseconds and are launched far ahead of the GPU, so
    # recording them as a CUDA graph would gain nothing.
    if offload != "stages":
        pipeline.denoising_unet.compile(dynamic=False, fullgraph=True, mode=mode)
    pipeline.pose_guider.compile(dynamic=False, fullgraph=True, mode=mode)
    if compile_vae:
        pipeline.vae.encoder.compile(dynamic=False, mode=mode)
        pipeline.vae.decoder.compile(dynamic=False, mode=mode)
        pipeline.vae_fixed_batch = True


def _cache_folder() -> Path:
    """The user's folder for compiled kernels."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("mimo-pipeline")) / "compiled"
