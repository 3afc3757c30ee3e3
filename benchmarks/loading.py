"""How long the diffusion pipeline takes to load: the published layout, and what `save_pretrained` writes.

Random weights are written in the published layout (float32 ``.pth`` and ``.bin``) and by
`save_pretrained`. Both are loaded on the CPU, in turns, after one round that does not count (the files
are in the page cache). "ready" is until `from_pretrained` returns; "copied" also copies every parameter
once, so that mapped files are read: to memory, or with ``--device cuda`` to the GPU. The third row loads
as the reference implementation does: networks built and initialised, files read in full, values copied
into the networks, then converted. Times on a CPU are processor seconds, which other work on the machine
disturbs least.

    python -m benchmarks.loading [--scale 0.1] [--runs 3] [--device cuda]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks.machine import describe
from benchmarks.random_weights import CLIP, UNET, VAE, random_pipeline
from mimo.diffusion.checkpoints import diffusers_key, find, read_tensors
from mimo.models.denoising import DenoisingUNet
from mimo.models.pose_guider import PoseGuider
from mimo.models.reference import ReferenceUNet
from mimo.pipeline import MimoPipeline


def main(argv: list[str] | None = None) -> None:
    """Write both folders, load them in turns, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="width of the UNets; 1: full size, 10 GB")
    parser.add_argument("--device", default="cpu", help="where parameters are copied to")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), args.scale, args.runs, torch.device(args.device))
    kind = "processor seconds" if args.device == "cpu" else f"seconds, to {torch.cuda.get_device_name()}"
    print(f"{describe()}; torch {torch.__version__}; {kind}, median of {args.runs}\n")
    print("| folder | type | MB | ready, s | copied, s | ready, times as fast | copied, times as fast |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def measure(folder: Path, scale: float, runs: int, device: torch.device) -> list[list[str]]:
    """Rows of the table; ratios are to our own loading of the published layout in the same type."""
    widths = [round(width * scale / 32) * 32 for width in UNET["block_out_channels"]]
    pipeline = random_pipeline(torch.device("cpu"), torch.float32, unet={"block_out_channels": widths})
    write_official(pipeline, folder / "official", widths)
    del pipeline
    rows = []
    for dtype in (torch.float16, torch.float32):
        name = str(dtype).removeprefix("torch.")
        MimoPipeline.from_pretrained(folder / "official", torch_dtype=dtype).save_pretrained(folder / name)
        loaders: dict[str, Callable[[], Any]] = {
            "published": lambda d=dtype: MimoPipeline.from_pretrained(folder / "official", torch_dtype=d),
            "saved": lambda d=dtype, n=name: MimoPipeline.from_pretrained(folder / n, torch_dtype=d),
            "published, as the reference loads": lambda d=dtype: as_reference(folder / "official", widths, d),
        }
        times = timed(loaders, runs, device)
        base = times["published"]
        for what, (ready, copied) in times.items():
            size = folder_mb(folder / (name if what == "saved" else "official"))
            faster = [f"{base[0] / ready:.1f}", f"{base[1] / copied:.1f}"]
            rows.append([what, name, f"{size:.0f}", f"{ready:.3f}", f"{copied:.3f}", *faster])
    return rows


def timed(
    loaders: dict[str, Callable[[], Any]], runs: int, device: torch.device
) -> dict[str, tuple[float, float]]:
    """Median seconds until ready, and until copied, of each; loaded in turns, in both orders."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
    for round_number in range(runs + 1):
        order = list(loaders) if round_number % 2 else list(reversed(loaders))
        for name in order:
            gc.collect()
            start = clock()
            parts = networks(loaders[name]())
            ready = clock()
            for part in parts:
                for tensor in part.state_dict().values():
                    tensor.to(device, copy=True)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append((ready - start, clock() - start))
            del parts
    return {
        name: (statistics.median(r for r, _ in of[1:]), statistics.median(c for _, c in of[1:]))
        for name, of in seconds.items()
    }


def networks(loaded: Any) -> list[nn.Module]:
    """The networks of a pipeline or of a list."""
    parts = loaded.components.values() if isinstance(loaded, MimoPipeline) else loaded
    return [part for part in parts if isinstance(part, nn.Module)]


def as_reference(folder: Path, widths: list[int], dtype: torch.dtype) -> list[nn.Module]:
    """Load as the reference implementation: initialise, read, copy, convert (each file only once)."""
    config = UNET | {"block_out_channels": widths}
    unet = DenoisingUNet.from_config(DenoisingUNet.config_from(config))
    spatial = torch.load(folder / "denoising_unet.pth", weights_only=True)
    motion = torch.load(folder / "motion_module.pth", weights_only=True)
    unet.load_state_dict(
        {diffusers_key(key): value for key, value in (spatial | motion).items()}, strict=False
    )
    reference = ReferenceUNet.from_config(config)
    reference.load_state_dict(torch.load(folder / "reference_unet.pth", weights_only=True), strict=False)
    guider = PoseGuider(widths[0])
    guider.load_state_dict(torch.load(folder / "pose_guider.pth", weights_only=True))
    vae = AutoencoderKL.from_config(VAE)
    vae.load_state_dict(read_tensors(find(folder / "sd-vae-ft-mse", "diffusion_pytorch_model")))
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP))
    encoder.load_state_dict(
        torch.load(folder / "image_encoder" / "pytorch_model.bin", weights_only=True), strict=False
    )
    return [part.to(dtype).eval() for part in (unet, reference, guider, vae, encoder)]


def write_official(pipeline: MimoPipeline, folder: Path, widths: list[int]) -> None:
    """Write a pipeline in the published layout, under the published names."""
    for name in ("stable-diffusion-v1-5/unet", "image_encoder", "sd-vae-ft-mse"):
        (folder / name).mkdir(parents=True)
    config = UNET | {"block_out_channels": widths}
    (folder / "stable-diffusion-v1-5" / "unet" / "config.json").write_text(json.dumps(config))
    denoiser = pipeline.denoising_unet.state_dict()
    motion = {key: value for key, value in denoiser.items() if ".motion_modules." in key}
    torch.save({k: v for k, v in denoiser.items() if k not in motion}, folder / "denoising_unet.pth")
    torch.save(published(motion), folder / "motion_module.pth")
    reference = pipeline.reference_unet.state_dict()
    used = {k: v for k, v in reference.items() if not k.startswith(("conv_norm_out", "conv_out"))}
    torch.save(used, folder / "reference_unet.pth")
    torch.save(pipeline.pose_guider.state_dict(), folder / "pose_guider.pth")
    pipeline.vae.save_pretrained(folder / "sd-vae-ft-mse")
    pipeline.image_encoder.config.save_pretrained(folder / "image_encoder")
    torch.save(pipeline.image_encoder.state_dict(), folder / "image_encoder" / "pytorch_model.bin")


def published(motion: dict[str, Tensor]) -> dict[str, Tensor]:
    """Motion modules under their published names: the inverse of `diffusers_key`."""
    tensors = {}
    for key, value in motion.items():
        module, _, rest = key.partition(".motion_modules.")
        number, _, rest = rest.partition(".")
        for old, new in (
            ("pos_embed.pe", "attention_blocks.0.pos_encoder.pe"),
            ("attn1.", "attention_blocks.0."),
            ("attn2.", "attention_blocks.1."),
            (".norm1.", ".norms.0."),
            (".norm2.", ".norms.1."),
            (".norm3.", ".ff_norm."),
        ):
            rest = rest.replace(old, new)
        name = f"{module}.motion_modules.{number}.temporal_transformer.{rest}"
        tensors[name] = value
        if name.endswith("pos_encoder.pe"):
            tensors[name.replace("attention_blocks.0", "attention_blocks.1")] = value
    return tensors


def folder_mb(folder: Path) -> float:
    """Size of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
