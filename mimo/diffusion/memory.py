"""What a clip needs of the device's memory, foreseen before anything is loaded, and the mode that fits.

Everything is counted in bytes. The unit of activations is one tensor of the widest level,
``frames of a window * (size / 8)² * 320 channels * bytes a value``: whatever the size, the number of frames
and the precision, the same number of such tensors is alive at the same time. How many was read off the
networks themselves (`benchmarks.memory` counts on tensors without content) and measured on a GPU
(`benchmarks/results/memory.md`); a test keeps both together.

No heavy library is imported: the workflow asks this module for its jobs' resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mimo.stage import Rejected

Placement = Literal["none", "parts", "stages"]
Choice = Literal["auto", "high", "medium", "low", "lowest"]

GIB = 1 << 30

PUBLISHED: Mapping[str, int] = {
    "denoising_unet": 1_312_741_764,
    "reference_unet": 859_520_964,
    "image_encoder": 303_966_208,
    "vae": 83_653_863,
    "pose_guider": 1_086_480,
}
"""Parameters of the published networks."""

PREPARED: Mapping[str, int] = {"denoising_unet": 60_400_000, "vae": 9_440_000}
"""Values that `mimo.diffusion.acceleration` adds: joined weights of upsampling convolutions, positions."""

LARGEST_STAGE = 133_200_000
"""Parameters of the denoiser's largest stage (its middle), see `mimo.diffusion.offload`."""

OUTSIDE_STAGES = 2_200_000
"""Parameters of the denoiser that belong to no stage: embeddings of the time, first and last layers."""

RESERVE = GIB // 2
"""Memory that is no tensor's: the libraries' workspaces and what is lost between tensors of many sizes."""

MOST_KEPT_POSES = 160

# Tensors of the unit's size alive at the same time in the denoiser: for each guidance row, and besides.
_UNITS_A_ROW, _UNITS_BESIDE = 16, 1
# Values inside a feed-forward for each that goes in: of the joined product, its gate and their product.
_FEED_FORWARD_VALUES = 12
# Values a pixel of a picture alive in the autoencoder (960, and cuDNN's workspaces while it chooses), and a
# latent pixel in the reference net.
_AUTOENCODER_VALUES, _REFERENCE_VALUES = 1500, 11_200
# Channels of all spatial blocks, each by its tokens for each latent pixel: of keys, or of values.
_BANK_CHANNELS = 5 * 320 + 5 * 640 / 4 + 5 * 1280 / 16 + 1280 / 64


@dataclass(frozen=True)
class Mode:
    """How much of the device's memory is spent on speed.

    Attributes:
        placement: ``none`` of the networks ever leaves the device; ``parts``: each is there only while it
            computes; ``stages``: of the denoiser only the stage that computes, and the next.
        separate_rows: the guidance rows go through the denoiser one after the other.
        feed_forward_values: values that go into a feed-forward at a time.
        largest_vae_batch: pictures through the autoencoder at a time, at most.
    """

    name: str
    placement: Placement
    separate_rows: bool
    feed_forward_values: int
    largest_vae_batch: int


MODES: Mapping[str, Mode] = {
    mode.name: mode
    for mode in (
        Mode("high", "none", False, 80_000_000, 32),
        Mode("medium", "parts", False, 80_000_000, 4),
        Mode("low", "parts", True, 20_000_000, 1),
        Mode("lowest", "stages", True, 20_000_000, 1),
    )
}
"""From the fastest to the smallest."""


@dataclass(frozen=True)
class Work:
    """What is to be computed, as far as memory depends on it.

    Attributes:
        size: side of the computed square, pixels.
        window: frames computed together.
        frames: of the whole clip.
        value_bytes: bytes of a value: 2 in half precision, 4 in float32.
        guided: whether there are two guidance rows.
        vae_batch: pictures through the autoencoder at a time, where memory allows.
        cached: deep features are kept between steps (DeepCache).
    """

    size: int
    window: int
    frames: int
    value_bytes: int = 2
    guided: bool = True
    vae_batch: int = 4
    cached: bool = False

    @property
    def unit(self) -> int:
        """Bytes of one tensor of a window at the widest level."""
        return min(self.window, self.frames) * self.frame_unit

    @property
    def frame_unit(self) -> int:
        """Bytes of a frame at the widest level: 5.9 MiB at 784x784 in half precision."""
        return self.latent**2 * 320 * self.value_bytes

    @property
    def latent(self) -> int:
        """Side of the latents."""
        return -(-self.size // 8)

    @property
    def poses(self) -> int:
        """Frames whose pose features are worth keeping."""
        return min(self.frames, MOST_KEPT_POSES)


@dataclass(frozen=True)
class Plan:
    """How a clip is going to be computed.

    Attributes:
        mode: how much memory is spent on speed.
        vae_batch: pictures through the autoencoder at a time.
        kept_poses: frames whose pose features stay on the device.
        needed: bytes, with the reserve.
        spare: bytes that are left.
    """

    mode: Mode
    vae_batch: int
    kept_poses: int
    needed: int
    spare: int


def phases(work: Work, mode: Mode, kept_poses: int = 0) -> dict[str, int]:
    """Bytes that each phase of a clip needs at most, with the networks that are there.

    Args:
        work: what is computed.
        mode: how.
        kept_poses: frames whose pose features stay on the device.
    """
    area, value = work.latent**2, work.value_bytes
    batch = min(work.vae_batch, mode.largest_vae_batch)
    rows = 2 if work.guided else 1
    latents = work.frames * area * 4 * (value + 4 + 4 * rows)
    bank = int(area * _BANK_CHANNELS * value)
    denoising = activations(work, mode) + 2 * work.unit + kept_poses * work.frame_unit + latents + 2 * bank
    own = {
        "autoencoder": batch * work.size**2 * _AUTOENCODER_VALUES * value + latents,
        "reference": area * _REFERENCE_VALUES * value + latents,
        "condition": 3 * bank + latents,
        "denoising": denoising,
    }
    return {phase: size + _weights(phase, mode) * value for phase, size in own.items()}


def activations(work: Work, mode: Mode) -> int:
    """Bytes alive inside the denoiser at most."""
    rows = 2 if work.guided and not mode.separate_rows else 1
    inside = min(rows * work.unit, mode.feed_forward_values * work.value_bytes)
    units = (_UNITS_A_ROW + 3 * work.cached) * rows + _UNITS_BESIDE
    return int(units * work.unit) + _FEED_FORWARD_VALUES * inside


def needed(work: Work, mode: Mode, kept_poses: int = 0) -> int:
    """Bytes of the device's memory that a clip needs, with the reserve."""
    return max(phases(work, mode, kept_poses).values()) + RESERVE


def plan(work: Work, free: int, choice: Choice = "auto") -> Plan:
    """How a clip fits into the device's memory.

    Args:
        work: what is to be computed.
        free: bytes that are free on the device.
        choice: a mode, or ``auto``: the fastest that fits.

    Raises:
        Rejected: it does not fit; the message has the numbers and proposes settings that do.
    """
    for mode in MODES.values() if choice == "auto" else [MODES[choice]]:
        # Modes that are fast only with all pose features at hand are not worth having without, if others fit.
        least = work.poses if choice == "auto" and not mode.separate_rows else 0
        for batch in range(min(work.vae_batch, mode.largest_vae_batch), 0, -1):
            fewer = replace(work, vae_batch=batch)
            if needed(fewer, mode, least) <= free:
                kept = min(work.poses, (free - needed(fewer, mode)) // work.frame_unit)
                whole = needed(fewer, mode, kept)
                return Plan(mode, batch, kept, whole, free - whole)
    raise Rejected(_does_not_fit(replace(work, vae_batch=1), free, choice))


def main_memory_mb(work: Work, mode: Mode) -> int:
    """Main memory of a job, MB: libraries, and the networks on their way to the device or waiting there."""
    networks = sum(PUBLISHED.values())
    waiting = 0 if mode.placement == "none" else PUBLISHED["denoising_unet"]
    return 4000 + (networks + waiting) * work.value_bytes // 10**6


def _weights(phase: str, mode: Mode) -> int:
    """Parameters on the device in a phase."""
    if mode.placement == "none":
        return sum(PUBLISHED.values()) + sum(PREPARED.values())
    if phase == "denoising" and mode.placement == "stages":
        return 2 * LARGEST_STAGE + OUTSIDE_STAGES + PUBLISHED["pose_guider"]
    name = {"autoencoder": "vae", "reference": "reference_unet"}.get(phase, "denoising_unet")
    more = PUBLISHED["pose_guider"] if phase == "denoising" else 0
    return PUBLISHED[name] + PREPARED.get(name, 0) + more


def _does_not_fit(work: Work, free: int, choice: Choice) -> str:
    mode = MODES["lowest" if choice == "auto" else choice]
    smaller_modes = list(MODES.values())[list(MODES).index(mode.name) + 1 :]
    ways = [_way(work, other) for other in smaller_modes if needed(work, other) <= free][:1]
    ways += _smaller_work(work, mode, free)
    if not ways and smaller_modes:
        ways = [f"memory: lowest, and {way}" for way in _smaller_work(work, MODES["lowest"], free)]
    least = needed(work, MODES["lowest"])
    return (
        f"{work.size} pixels and windows of {work.window} frames need {needed(work, mode) / GIB:.1f} GiB of "
        f"the GPU's memory with memory: {mode.name}, and {free / GIB:.1f} GiB are free; "
        + (f"set {' or '.join(ways)}" if ways else f"this needs a GPU with {least / GIB:.1f} GiB free")
    )


def _smaller_work(work: Work, mode: Mode, free: int) -> list[str]:
    """The longest window and the largest picture that fit, each alone."""
    windows = (replace(work, window=window) for window in range(work.window - 1, 7, -1))
    sizes = (replace(work, size=size) for size in range(work.size - 16, 255, -16))
    found = [
        (key, next((one for one in smaller if needed(one, mode) <= free), None))
        for key, smaller in (("window", windows), ("size", sizes))
    ]
    return [
        f"{key}: {getattr(one, key)} ({needed(one, mode) / GIB:.1f} GiB)"
        for key, one in found
        if one is not None
    ]


def _way(work: Work, mode: Mode) -> str:
    return f"memory: {mode.name} ({needed(work, mode) / GIB:.1f} GiB)"
