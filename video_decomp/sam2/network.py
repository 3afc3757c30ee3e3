"""SAM 2.1 for video as this project runs it: the library's network, whose host keeps up with its GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import get_1d_sine_pe
from transformers.utils import ModelOutput

from mimo.worker.keeping import kept
from video_decomp.sam2.graphs import Graphed

Network = TypeVar("Network", bound=torch.nn.Module)


class VideoNetwork(Sam2VideoModel):
    """The library's `Sam2VideoModel`, which gives the same results in float32, sooner.

    - Places of object pointers in time are made without waiting: the library copies them from ordinary
      memory in every frame, and such a copy waits until the GPU has done all its work.
    - Places in the image are made once, and in float32 as in the official code: the library makes them
      anew for each image, and in 16 bits, which are too few for them.
    - After `accelerate`, the parts of a step are replayed as CUDA graphs.
    """

    def __init__(self, config: Sam2VideoConfig) -> None:
        super().__init__(config)
        for owner in (self.vision_encoder.neck, self.memory_encoder):
            owner.position_encoding.forward = _made_once(owner.position_encoding.forward)

    def _process_object_pointers(
        self,
        temporal_offsets: list[int],
        pointer_tokens: list[torch.Tensor],
        max_object_pointers_to_use: int,
        batch_size: int,
        num_channels: int,
        device: torch.device,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Pointers and their embedded places in time, (pointers * parts, batch, memory channels)."""
        if not pointer_tokens:
            return None, None
        pointers = torch.stack(pointer_tokens)
        parts = num_channels // self.mem_dim
        places = pointers.new_zeros(len(temporal_offsets), self.mem_dim)
        if self.config.enable_temporal_pos_encoding_for_object_pointers:
            offsets = torch.tensor(temporal_offsets, dtype=torch.float32, pin_memory=device.type == "cuda")
            offsets = offsets.to(device, non_blocking=True) / float(max_object_pointers_to_use - 1)
            sines = get_1d_sine_pe(offsets, dim=num_channels).to(pointers.dtype)
            places = self.temporal_positional_encoding_projection_layer(sines)
        pointers = pointers.view(-1, batch_size, parts, self.mem_dim).permute(0, 2, 1, 3).flatten(0, 1)
        places = places[:, None, None].expand(-1, parts, batch_size, -1).flatten(0, 1)
        return pointers, places

    def accelerate(self) -> None:
        """Replay the parts of a step as CUDA graphs; once, when the network is on its GPU."""
        if self.device.type != "cuda" or "_encode_new_memory" in vars(self):
            return
        self.memory_attention.forward = Graphed(_with_flash_attention(self.memory_attention.forward))
        for name, change in (("_single_frame_forward", _without_its_input), ("_encode_new_memory", None)):
            function = getattr(self, name)
            setattr(self, name, Graphed(change(function) if change else function))


def _made_once(encode: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A function that encodes places of images of a shape, made to compute each shape once.

    The results are kept, which CUDA graphs rely on.
    """
    made: dict[tuple[Any, ...], torch.Tensor] = {}

    def called(shape: torch.Size, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        key = (tuple(shape[1:]), torch.device(device), dtype)
        if key not in made:
            made[key] = encode(torch.Size((1, *shape[1:])), device, torch.float32).to(dtype)
        return made[key].expand(shape[0], -1, -1, -1)

    return called


def _without_its_input(decode: Callable[..., ModelOutput]) -> Callable[..., ModelOutput]:
    """A mask decoder that does not give back the features it was given: they would be copied for nothing."""

    def called(**inputs: Any) -> ModelOutput:
        output = decode(**inputs)
        output.image_embeddings = None
        return output

    return called


def _with_flash_attention(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same with FlashAttention where it can: with one head of 256 numbers and 28 thousand keys it takes
    0.41 ms on an H100, cuDNN's kernel, which PyTorch would take, 0.68 ms."""
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]

    def called(*args: Any, **more: Any) -> Any:
        with sdpa_kernel([*kernels, SDPBackend.MATH], set_priority=True):
            return function(*args, **more)

    return called


@kept
def loaded(load: Callable[[Path], Network], place: Path, device: torch.device, dtype: torch.dtype) -> Network:
    """A network from its file or folder, `prepared`; a worker keeps it for the next video.

    Args:
        load: such as `video_decomp.sam2.loading.load_video_network`.
        place: what it reads.
        device, dtype: as for `prepared`.

    Raises:
        mimo.stage.Rejected: the file or folder is missing or wrong.
    """
    return prepared(load(place), device, dtype)


def prepared(model: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """A network on its device, in the precision to work in, ready for use.

    Frequencies of rotary embeddings stay in float32: rounded to 16 bits they would move places in the image.
    """
    kept = {
        name: buffer.clone()
        for name, buffer in model.named_buffers()
        if name.rpartition(".")[2] == "inv_freq"
    }
    model.to(device=device, dtype=dtype)
    for name, buffer in kept.items():
        owner, _, last = name.rpartition(".")
        setattr(model.get_submodule(owner), last, buffer.to(device))
    model.eval().requires_grad_(False)
    return model
