"""Speed, memory and equality of the diffusion synthesiser on one GPU, against plain eager code.

Run from the repository's root: ``python -m benchmarks.synthesis``. Needs no weights: full-size networks with
random values are made on the device. One run measures the plain eager implementation (`benchmarks.eager`) and
the fast one side by side; every section can be left out, see ``--help``.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.eager import EagerMimo
from benchmarks.kernel_profile import kernel_table
from benchmarks.measuring import Report, psnr, relative, timed
from benchmarks.random_weights import random_pipeline
from benchmarks.synthetic_clip import Inputs
from mimo.diffusion.acceleration import accelerate
from mimo.diffusion.encoding import decode_video, encode_video
from mimo.diffusion.presets import PRESETS
from mimo.diffusion.sampling import Sampling
from mimo.diffusion.windows import closed_windows
from mimo.kernels.choice import chosen_kernels, force_kernel
from mimo.pipeline import MimoPipeline

WINDOW = 24
# Floating-point operations (2 a multiply-add) of one guided window-step of 24 frames at 784x784.
TERA_EAGER, TERA_NEEDED = 199.45, 153.56
SECTIONS = (
    "eager-step",
    "eager-clip",
    "eager-full",
    "fast-step",
    "fast-full",
    "fast-clip",
    "preset-full",
    "single",
    "long",
)


class Benchmark:
    """All sections on one pipeline; eager ones first, since acceleration changes the weights' layout."""

    def __init__(self, args: argparse.Namespace, report: Report) -> None:
        self.args, self.report = args, report
        self.device, self.dtype = torch.device(args.device), getattr(torch, args.dtype)
        self.pipeline = random_pipeline(self.device, self.dtype)
        self.eager = EagerMimo(self.pipeline)
        self.window_inputs = Inputs(WINDOW, args.size)
        self.eager_videos: dict[int, np.ndarray] = {}
        self.fast_videos: dict[int, np.ndarray] = {}
        self.eager_velocity: Tensor | None = None
        weights = sum(p.numel() * p.element_size() for m in self._nets() for p in m.parameters())
        report.add("weights", weights / 2**30, "GiB")

    def run(self) -> None:
        """Run the chosen sections, in the order of `SECTIONS`; one that fails is reported and left."""
        chosen, whole = set(self.args.sections), Inputs(self.args.frames, self.args.size)
        with self.eager.installed():
            if chosen & {"eager-step", "fast-step"}:
                self.eager_step()
            if "eager-clip" in chosen:
                self.eager_clip(self.window_inputs, "eager 24 frames")
            if "eager-full" in chosen:
                self.eager_clip(whole, f"eager {self.args.frames} frames")
        if any(name.startswith(("fast", "preset", "long")) for name in chosen):
            self._accelerate()
            self._try(self.fast_step)
        count = self.args.frames
        runs: dict[str, Callable[[], Any]] = {
            "fast-full": lambda: self.fast_clip(whole, f"fast {count} frames"),
            "fast-clip": lambda: self.fast_clip(self.window_inputs, "fast 24 frames"),
            "preset-full": lambda: self.preset_clip(whole, f"preset fast, {count} frames"),
            "single": self.single_precision,
            "long": lambda: self.fast_clip(
                Inputs(600, self.args.size, kept=False), "fast 600 frames, 1 step", self._sampling(steps=1)
            ),
        }
        for name, run in runs.items():
            if name in chosen:
                self._try(run, name)

    def _try(self, run: Callable[[], Any], name: str = "fast-step") -> None:
        try:
            run()
        except Exception as error:  # the sections after it may still tell something
            logging.exception("section %s", name)
            self.report.add(f"section {name} failed", str(error).split("\n")[0])

    def _accelerate(self) -> None:
        force_kernel(self.args.kernel)
        accelerate(
            self.pipeline,
            compilation=self.args.compile,
            compile_vae=self.args.compile_vae,
            vae_batch=self.args.vae_batch,
            kept_poses=self.args.kept_poses,
            cache=self.args.cache,
        )
        self.pipeline.recorded_steps = self.args.graphs

    def _sampling(self, **changes: Any) -> Sampling:
        size = self.args.size
        settings = {"steps": self.args.steps, "guidance_scale": self.args.guidance} | changes
        return Sampling(size, size, **settings)

    def eager_step(self) -> None:
        """Time of a window-step in plain eager code, and its estimate for the whole clip."""
        self._eager_reference()
        sample, time_, pose = self._window_tensors()
        self.eager_velocity = self.eager.window(sample, time_, pose)
        if "eager-step" not in self.args.sections:
            return
        with self.report.section("eager steps"):
            milliseconds = timed(lambda: self.eager.window(sample, time_, pose), self.args.repeats)
        self._step_report("eager", milliseconds, TERA_EAGER)

    def fast_step(self) -> None:
        """Time of a window-step of the accelerated pipeline, its compile time, profile and equality."""
        sample, time_, pose = self._window_tensors()
        inputs = self._fast_inputs()
        net = self.pipeline.denoising_unet

        def step() -> Tensor:
            return net(sample, time_, pose, inputs)

        started = time.perf_counter()
        velocity = step()
        torch.cuda.synchronize()
        self.report.add("fast first window-step (compile, kernel choice)", time.perf_counter() - started, "s")
        for what, kernel in chosen_kernels().items():
            self.report.add(f"kernel {what}", kernel)
        if self.eager_velocity is not None:
            self.report.add("fast to eager, one forward, relative", relative(velocity, self.eager_velocity))
        with self.report.section("fast steps"):
            milliseconds = timed(step, self.args.repeats)
        self._step_report("fast", milliseconds, TERA_NEEDED)
        images = np.stack(list(self.window_inputs.pose()))
        self.report.add(
            "pose features of a window", timed(lambda: self.pipeline.pose_features(images), 5), "ms"
        )
        if self.args.profile:
            self.profile()

    def profile(self) -> None:
        """Where the time of a window-step goes, by kind of kernel."""
        tensors, condition = self._window_tensors(), self._fast_inputs()
        table = kernel_table(lambda: self.pipeline.denoising_unet(*tensors, condition))
        self.report.add("profile of a window-step", "\n" + table)

    def eager_clip(self, inputs: Inputs, name: str) -> None:
        """A whole clip in plain eager code."""
        self._eager_reference()
        pipeline = self.pipeline
        with self.report.section(name):
            started = time.perf_counter()
            background = encode_video(pipeline.vae, inputs.background(), self.device, batch=1)
            pose = self.eager.pose_features(list(inputs.pose()))
            encoded = self._elapsed(started)
            latents = self.eager.denoise(
                pose,
                background.transpose(0, 1)[None],
                inputs.noise.to(self.device),
                self.args.steps,
                self.args.guidance,
            )
            denoised = self._elapsed(started)
            frames = decode_video(pipeline.vae, latents[0].transpose(0, 1), batch=1)
            video = self._collect(frames, inputs.count)
            decoded = self._elapsed(started)
        self.eager_videos[inputs.count] = video
        self._parts(name, encoded, denoised, decoded)

    def preset_clip(self, inputs: Inputs, name: str) -> None:
        """A whole clip with the preset ``fast``, compared with the exact one if there is one."""
        exact = self.fast_videos.get(inputs.count)
        video = self.fast_clip(inputs, name, self._sampling(**PRESETS["fast"]))
        if exact is not None:
            decibels = psnr(video, exact)
            self.report.add(f"{name}, PSNR to exact (first {len(video)} frames)", decibels, "dB")

    def fast_clip(self, inputs: Inputs, name: str, sampling: Sampling | None = None) -> np.ndarray:
        """A whole clip through the pipeline's own interface, compared with the eager one if there is one.

        Args:
            inputs, name: of the clip.
            sampling: other than the exact one that eager clips are made with.

        Returns:
            Its first frames.
        """
        pipeline, exact = self.pipeline, sampling is None
        sampling = sampling or self._sampling()
        self._warm_autoencoder(name)
        with self.report.section(name), self._encoding_timed() as encoded:
            started = time.perf_counter()
            latents = pipeline.denoise(
                inputs.reference, inputs.pose(), inputs.background(), sampling, latents=inputs.noise
            )
            denoised = self._elapsed(started)
            video = self._collect(pipeline.decode(latents), inputs.count)
            decoded = self._elapsed(started)
        self._parts(name, encoded[0] - started, denoised, decoded)
        if exact:
            self.fast_videos[inputs.count] = video
        if inputs.count in self.eager_videos and exact:
            decibels = psnr(video, self.eager_videos[inputs.count])
            self.report.add(f"{name}, PSNR to eager (first {len(video)} frames)", decibels, "dB")
        return video

    @contextmanager
    def _encoding_timed(self) -> Iterator[list[float]]:
        """Gives, once a clip has been encoded within the block, the time when it was."""
        encode, ends = self.pipeline.encode, []

        def timed_encode(*args: Any, **kwargs: Any) -> Any:
            inputs = encode(*args, **kwargs)
            torch.cuda.synchronize()
            ends.append(time.perf_counter())
            return inputs

        self.pipeline.encode = timed_encode  # type: ignore[method-assign]
        try:
            yield ends
        finally:
            del self.pipeline.encode

    def single_precision(self) -> None:
        """One forward of few frames in float32 (no TensorFloat-32): fast against eager, and half types."""
        full = random_pipeline(self.device, torch.float32)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        eager, frames = EagerMimo(full), 4
        sample, time_, pose = self._window_tensors(frames, torch.float32)
        with eager.installed():
            self._eager_reference(eager)
            expected = eager.window(sample, time_, pose)
        condition = self._fast_inputs(full)
        fast = full.denoising_unet(sample, time_, pose, condition)
        self.report.add("float32, fast to eager, one forward, relative", relative(fast, expected))
        for dtype in (torch.float16, torch.bfloat16):
            full.to(dtype)
            full.denoising_unet.fuse_projections()
            half = full.denoising_unet(sample.to(dtype), time_, pose.to(dtype), self._fast_inputs(full))
            self.report.add(f"{dtype} to float32, one forward, relative", relative(half, expected))
        del full, eager
        torch.cuda.empty_cache()

    def _nets(self) -> list[Any]:
        p = self.pipeline
        return [p.vae, p.image_encoder, p.reference_unet, p.denoising_unet, p.pose_guider]

    def _eager_reference(self, eager: EagerMimo | None = None) -> None:
        picture = self.window_inputs.reference
        (eager or self.eager).read_reference(picture, np.asarray(picture))

    def _fast_inputs(self, pipeline: MimoPipeline | None = None) -> Any:
        pipeline, size = pipeline or self.pipeline, self.args.size
        one = [next(self.window_inputs.pose())]
        inputs = pipeline.encode(self.window_inputs.reference, one, one, Sampling(size, size))
        inputs.pose.close()
        return inputs.condition

    def _window_tensors(self, frames: int = WINDOW, dtype: torch.dtype | None = None) -> tuple[Tensor, ...]:
        """Noisy sample, timestep and pose features of one window; the same for eager and fast code."""
        dtype, latent = dtype or self.dtype, self.args.size // 8
        generator = torch.Generator(self.device).manual_seed(3)
        sample = torch.randn((1, 8, frames, latent, latent), device=self.device, generator=generator)
        channels = self.pipeline.denoising_unet.config.block_out_channels[0]
        pose = torch.randn((frames, channels, latent, latent), device=self.device, generator=generator)
        time_ = torch.tensor([519], device=self.device)
        pose = pose.to(dtype).contiguous(memory_format=torch.channels_last)
        return sample.to(dtype), time_, pose

    def _warm_autoencoder(self, name: str) -> None:
        """Compile the autoencoder's networks before a clip is timed."""
        size, latent = self.args.size, self.args.size // 8
        started = time.perf_counter()
        picture = np.zeros((size, size, 3), np.uint8)
        pipeline, batch, fixed = self.pipeline, self.pipeline.vae_batch, self.pipeline.vae_fixed_batch
        encode_video(pipeline.vae, [picture], self.device, batch, fixed=fixed)
        list(
            decode_video(
                pipeline.vae, torch.zeros((1, 4, latent, latent), device=self.device), batch, fixed=fixed
            )
        )
        torch.cuda.synchronize()
        self.report.add(f"{name}, autoencoder warm-up before", time.perf_counter() - started, "s")

    def _collect(self, frames: Iterator[np.ndarray], count: int) -> np.ndarray:
        """Take all frames, keep those of one window."""
        kept = [frame for i, frame in enumerate(frames) if i < WINDOW]
        assert len(kept) == min(count, WINDOW)
        return np.stack(kept)

    def _elapsed(self, started: float) -> float:
        torch.cuda.synchronize()
        return time.perf_counter() - started

    def _parts(self, name: str, encoded: float, denoised: float, decoded: float) -> None:
        self.report.add(f"{name}, encoding", encoded, "s")
        self.report.add(f"{name}, denoising", denoised - encoded, "s")
        self.report.add(f"{name}, decoding", decoded - denoised, "s")
        self.report.add(f"{name}, total", decoded, "s")

    def _step_report(self, name: str, milliseconds: float, tera: float) -> None:
        windows = len(closed_windows(self.args.frames))
        self.report.add(f"{name} window-step", milliseconds, "ms")
        if self.args.size == 784:
            self.report.add(f"{name} rate (operations of its own work)", tera / milliseconds * 1e3, "TFLOP/s")
        total = milliseconds * windows * self.args.steps / 1e3
        self.report.add(f"{name} denoising of {self.args.frames} frames, from the window-step", total, "s")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, default=[s for s in SECTIONS if s != "eager-full"]
    )
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--size", type=int, default=784)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=3.5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=["float16", "bfloat16"], default="float16")
    parser.add_argument("--compile", choices=["off", "default", "max-autotune"], default="default")
    parser.add_argument("--compile-vae", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--vae-batch", type=int, default=4)
    parser.add_argument("--kept-poses", type=int, default=160, help="frames whose pose features are kept")
    parser.add_argument(
        "--kernel", help="force one kernel by its name in the log: cudnn, flash, efficient..."
    )
    parser.add_argument("--graphs", action="store_true", help="record the steps of clips as CUDA graphs")
    parser.add_argument("--repeats", type=int, default=5, help="timed window-steps")
    parser.add_argument("--profile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mimo-compiled")
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    # PyTorch's attention says of each kernel that it cannot use why, whenever the choice tries it.
    warnings.filterwarnings(
        "ignore", message=".*(not used because|runtime disabled|Expected query|attention).*"
    )
    logging.getLogger("mimo").setLevel(logging.INFO)
    report = Report(args.output)
    report.add("device", f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    with torch.no_grad():
        Benchmark(args, report).run()


if __name__ == "__main__":
    main()
