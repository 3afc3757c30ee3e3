"""Memory and time of the diffusion synthesiser's memory modes: on a GPU, or counted without one.

    python -m benchmarks.memory              # on a GPU: peaks and times beside the estimates
    python -m benchmarks.memory --counted    # no GPU: activations of the networks on tensors without content

Needs no weights: full-size networks with random values. PyTorch's own kernels are used, uncompiled: they take
the most memory.
"""

from __future__ import annotations

import argparse
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch._library.custom_ops import OPDEFS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.random_weights import random_pipeline
from mimo.diffusion.acceleration import accelerate
from mimo.diffusion.memory import GIB, MODES, Mode, Work, needed
from mimo.diffusion.offload import PARTS, Offload
from mimo.diffusion.sampling import Sampling
from mimo.kernels import probe
from mimo.models import blocks
from mimo.pipeline import MimoPipeline

STEPS = 3


class Measurement:
    """One clip in one mode, on the GPU.

    Args:
        pipeline: on the device, accelerated.
        size, frames, window: of the clip.
        limit: GiB that the process may take for a clip; 0: all there is.
    """

    def __init__(self, pipeline: MimoPipeline, size: int, frames: int, window: int, limit: float = 0) -> None:
        self.pipeline, self.size, self.frames, self.window = pipeline, size, frames, window
        self.limit = limit
        self.device = torch.device("cuda")

    def run(self, mode: Mode, *, vae_batch: int = 4, kept_poses: int = 160) -> dict[str, float]:
        """Peaks in GiB (allocated; reserved over all) and seconds of each phase."""
        self._prepare(mode, vae_batch, kept_poses)
        self._reserved = 0.0
        sampling = Sampling(
            self.size, self.size, STEPS, context_frames=self.window, sequential_guidance=mode.separate_rows
        )
        random = np.random.default_rng(0)
        pictures = [random.integers(0, 255, (self.size, self.size, 3), np.uint8) for _ in range(self.frames)]
        reference = Image.fromarray(pictures[0])
        found: dict[str, float] = {}
        self._begin()
        inputs = self.pipeline.encode(reference, pictures, pictures, sampling)
        inputs.pose.close()
        self._end(found, "encode")
        del inputs
        marks: list[float] = []

        def mark(*_: Any) -> None:
            self._end(found, "first step" if not marks else "step")
            marks.append(time.perf_counter())

        self._begin()
        latents = self.pipeline.denoise(
            reference,
            pictures,
            pictures,
            sampling,
            generator=torch.Generator().manual_seed(0),
            callback_on_step_end=mark,
        )
        self._begin()
        for _ in self.pipeline.decode(latents):
            pass
        self._end(found, "decode")
        found["reserved, GiB"] = self._reserved
        return found

    def _prepare(self, mode: Mode, vae_batch: int, kept_poses: int) -> None:
        pipeline = self.pipeline
        pipeline.vae_batch, pipeline.kept_poses = min(vae_batch, mode.largest_vae_batch), kept_poses
        blocks.limit_feed_forward(mode.feed_forward_values)
        if mode.placement != "none":
            names = sorted({name for names in PARTS.values() for name in names})
            parts = {name: getattr(pipeline, name) for name in names}
            pipeline.offload = Offload(parts, self.device, by_stages=mode.placement == "stages")
            torch.cuda.empty_cache()
        if self.limit:
            total = torch.cuda.get_device_properties(self.device).total_memory
            torch.cuda.set_per_process_memory_fraction(self.limit * GIB / total)

    def _begin(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._started = time.perf_counter()

    def _end(self, found: dict[str, float], phase: str) -> None:
        """Keep the peak and the time since the last phase (of all denoising steps: the last)."""
        torch.cuda.synchronize()
        found[f"{phase}, s"] = time.perf_counter() - self._started
        peak = torch.cuda.max_memory_allocated() / GIB
        found[f"{phase}, GiB"] = peak
        self._reserved = max(self._reserved, torch.cuda.max_memory_reserved() / GIB)
        torch.cuda.reset_peak_memory_stats()
        self._started = time.perf_counter()


class Count(TorchDispatchMode):
    """Counts the bytes of tensors that operations make, on the meta device: nothing is computed.

    Attention counts as a kernel that makes nothing but its result.

    Attributes:
        peak: most bytes alive at the same time; what was there before does not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._sizes: dict[int, int] = {}
        self._before: list[Tensor] = []
        self._replaced: list[Callable[..., Tensor]] = []

    def __enter__(self) -> Count:
        # Entered again within our own operators: what was there before comes back in turn.
        self._replaced.append(F.scaled_dot_product_attention)
        F.scaled_dot_product_attention = _attend
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        F.scaled_dot_product_attention = self._replaced.pop()
        super().__exit__(*error)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._sizes:
                self._sizes[tensor.untyped_storage()._cdata] = 0
                self._before.append(tensor)
        if function.namespace == "mimo":
            # Our operators are opaque: what they allocate inside counts, by PyTorch's own kernels.
            with self:
                return OPDEFS[f"mimo::{function._opname}"]._init_fn(*args, **kwargs)
        result = function(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._remove, key)

    def _remove(self, key: int) -> None:
        self._now -= self._sizes.pop(key)


def _attend(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    return torch.empty_like(query)


def counted(size: int, window: int, rows: int, mode: Mode, dtype: torch.dtype = torch.float16) -> int:
    """Bytes of activations of one pass through the full-size denoiser, as PyTorch's own kernels need them.

    Args:
        size, window: as in `mimo.diffusion.memory.Work`.
        rows: guidance rows in the pass.
        mode: its feed-forward limit counts.
        dtype: of the network.
    """
    from benchmarks.random_weights import UNET
    from mimo.models.denoising import DenoisingUNet
    from mimo.models.reference import spatial_block_names

    with torch.device("meta"), torch.no_grad():
        unet = DenoisingUNet.from_config(DenoisingUNet.config_from(UNET)).eval().requires_grad_(False)
        unet = nn.Module.to(unet, dtype)
        unet.fuse_projections()
        latent = -(-size // 8)
        sides = {320: latent, 640: -(-latent // 2), 1280: -(-latent // 4)}
        bank = {}
        for name in spatial_block_names(unet):
            channels = len(unet.get_submodule(name).norm1.weight)
            side = -(-latent // 8) if name.startswith("mid") else sides[channels]
            bank[name] = torch.empty(1, side**2, channels, dtype=dtype)
        condition = unet.condition(torch.empty(rows, 1, 768, dtype=dtype), bank)
        sample = torch.empty(1, 8, window, latent, latent, dtype=dtype)
        pose = torch.empty(window, 320, latent, latent, dtype=dtype)
        blocks.limit_feed_forward(mode.feed_forward_values)
        with Count() as count:
            unet(sample, torch.empty(1), pose, condition)
    return count.peak


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counted", action="store_true", help="count on tensors without content; no GPU")
    parser.add_argument("--sizes", type=int, nargs="+", default=[784])
    parser.add_argument("--window", type=int, default=24)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--limit", type=float, default=0, help="GiB that may be taken for a clip")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    args = parser.parse_args()
    for size in args.sizes:
        if args.counted:
            report_counted(size, args.window, args.frames, args.modes)
        else:
            report_measured(size, args.window, args.frames, args.modes, args.limit)


def report_counted(size: int, window: int, frames: int, modes: list[str]) -> None:
    """Print activations of one pass in each mode."""
    unit = Work(size, window, frames).unit
    for name in modes:
        rows = 1 if MODES[name].separate_rows else 2
        peak = counted(size, window, rows, MODES[name])
        print(
            f"{size} px, {window} frames, {name}: {peak / GIB:.3f} GiB, {peak / unit:.2f} units", flush=True
        )


def report_measured(size: int, window: int, frames: int, modes: list[str], limit: float) -> None:
    """Print peaks and times of each mode on the GPU."""
    # Trials of our own kernels would take longer than all of this, and they need less memory.
    probe.usable = lambda: defaultdict(bool)  # type: ignore[assignment]
    pipeline = random_pipeline(torch.device("cuda"), torch.float16)
    accelerate(pipeline, compilation="off")
    measurement = Measurement(pipeline, size, frames, window, limit)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; {size} px, {frames} frames")
    for name in modes:
        found = measurement.run(MODES[name])
        work = Work(size, window, frames)
        found["foreseen, GiB"] = needed(work, MODES[name], work.poses) / GIB
        print(f"{name:7}", "; ".join(f"{key} {value:.2f}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
