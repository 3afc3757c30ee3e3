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
from dataclasses import dataclass
from typing import Literal

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

LARGEST_STAGE = 133_200_000
"""Parameters of the denoiser's largest stage (its middle), see `mimo.diffusion.offload`."""

RESERVE = GIB // 2
"""Memory that is no tensor's: the libraries' workspaces and what is lost between tensors of many sizes."""

MOST_KEPT_POSES = 160


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

    placement: Placement
    separate_rows: bool
    feed_forward_values: int
    largest_vae_batch: int


MODES: Mapping[str, Mode] = {
    "high": Mode("none", False, 80_000_000, 32),
    "medium": Mode("parts", False, 80_000_000, 4),
    "low": Mode("parts", True, 20_000_000, 1),
    "lowest": Mode("stages", True, 20_000_000, 1),
}
"""From fastest to smallest."""


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
    """

    size: int
    window: int
    frames: int
    value_bytes: int = 2
    guided: bool = True
    vae_batch: int = 4

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
