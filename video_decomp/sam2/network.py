"""SAM 2.1 for video as this project runs it: the library's network, made not to wait for the GPU."""

from __future__ import annotations

from typing import TypeVar

import torch
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import get_1d_sine_pe

Network = TypeVar("Network", bound=torch.nn.Module)


class VideoNetwork(Sam2VideoModel):
    """The library's `Sam2VideoModel`; only the places of object pointers in time are made without waiting.

    The library copies them from ordinary memory in every frame, and such a copy waits until the GPU has
    done all its work: the host could not prepare the next frame meanwhile.
    """

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
