"""Networks that wait in CPU memory and come to the device when it is their turn.

diffusers' own offloading hangs on the forward methods of the modules it moves. The denoiser's forward never
calls those of its transformers and motion modules, but takes their parameters (`mimo.models.blocks`), and a
network compiled as a whole bears no such hooks. Here groups of parameters move instead, packed so that one
copy carries a group; what leaves the device is dropped, not copied back, since nothing ever changes it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mimo.models.denoising import DenoisingUNet

logger = logging.getLogger(__name__)

Phase = Literal["embedding", "autoencoder", "reference", "condition", "denoising"]

PARTS: dict[Phase, tuple[str, ...]] = {
    "embedding": ("image_encoder",),
    "autoencoder": ("vae",),
    "reference": ("reference_unet",),
    "condition": ("denoising_unet",),
    "denoising": ("denoising_unet", "pose_guider"),
}
"""Parts of the pipeline that compute in each of its phases."""

_ALIGNMENT = 512


class Group:
    """Parameters and buffers packed into one block of CPU memory.

    Tensors that share memory go on sharing it. Values must not change any more.

    Args:
        tensors: what to pack; they point into the block afterwards.
        pinned: lock the block in memory, so that copies to a GPU run beside its work.
    """

    def __init__(self, tensors: Iterable[Tensor], *, pinned: bool) -> None:
        self._places: list[tuple[Tensor, int]] = []
        owners: list[tuple[Tensor, int]] = []
        spans: list[tuple[int, int, int]] = []
        self.size = 0
        for tensor in sorted(_distinct(tensors), key=_extent, reverse=True):
            start, end = tensor.data_ptr(), tensor.data_ptr() + _extent(tensor)
            inside = next((span for span in spans if span[0] <= start and end <= span[1]), None)
            if inside is None:
                spans.append((start, end, self.size))
                owners.append((tensor, self.size))
                self._places.append((tensor, self.size))
                self.size += -(-(end - start) // _ALIGNMENT) * _ALIGNMENT
            else:
                self._places.append((tensor, inside[2] + start - inside[0]))
        self.host = torch.empty(self.size, dtype=torch.uint8)
        for tensor, offset in owners:
            _view(self.host, tensor, offset).copy_(tensor.detach())
        if pinned:
            _pin(self.host)
        self.park()

    def place(self, memory: Tensor) -> None:
        """Let the tensors point into other memory that holds the block's bytes, uint8 of at least `size`."""
        for tensor, offset in self._places:
            tensor.data = _view(memory, tensor, offset)

    def park(self) -> None:
        """Let the tensors point into CPU memory again."""
        self.place(self.host)


class Conveyor:
    """Brings the weights of a network stage by stage: while one computes, the next is on its way.

    Takes twice the memory of the largest stage.

    Args:
        stages: for each the module whose call begins it, and its weights; in the usual order of
            calls (another order is only slower).
        device: where they compute.
    """

    def __init__(self, stages: list[tuple[nn.Module, Group]], device: torch.device) -> None:
        self._leaders = [leader for leader, _ in stages]
        self._groups = [group for _, group in stages]
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._slots: list[Tensor] = []
        self._held: list[int | None] = [None, None]
        self._arrived: list[torch.cuda.Event | None] = [None, None]

    def start(self) -> None:
        """Take the memory and bring the first stage."""
        size = max(group.size for group in self._groups)
        self._slots = [torch.empty(size, dtype=torch.uint8, device=self._device) for _ in range(2)]
        for number, leader in enumerate(self._leaders):
            self._handles.append(
                leader.register_forward_pre_hook(lambda *_, number=number: self._enter(number))  # type: ignore[misc]
            )
        self._fetch(0, 0)

    def stop(self) -> None:
        """Give the memory back."""
        for handle in self._handles:
            handle.remove()
        if self._copies is not None:
            # The memory may be used anew as soon as it is free: no copy may still be on its way into it.
            torch.cuda.current_stream(self._device).wait_stream(self._copies)
        for held in self._held:
            if held is not None:
                self._groups[held].park()
        self._handles, self._slots, self._held = [], [], [None, None]

    def _enter(self, number: int) -> None:
        """Called when a stage begins: its weights are there from here on, and the next ones start."""
        if number not in self._held:
            self._fetch(number, 0)
        slot = self._held.index(number)
        arrived = self._arrived[slot]
        if arrived is not None:
            torch.cuda.current_stream(self._device).wait_event(arrived)
        self._groups[number].place(self._slots[slot])
        following = (number + 1) % len(self._groups)
        if following not in self._held:
            self._fetch(following, 1 - slot)

    def _fetch(self, number: int, slot: int) -> None:
        """Start the copy of a stage into a slot, once what was computed from the slot is done."""
        before = self._held[slot]
        if before is not None:
            self._groups[before].park()
        group = self._groups[number]
        target = self._slots[slot][: group.size]
        if self._copies is None:
            target.copy_(group.host)
        else:
            self._copies.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._copies):
                target.copy_(group.host, non_blocking=True)
                self._arrived[slot] = self._copies.record_event()
        self._held[slot] = number


class Offload:
    """Where the parts of a pipeline are: on the device while they compute, in CPU memory otherwise.

    Args:
        parts: networks by name, see `PARTS`; they are taken to CPU memory.
        device: where they compute.
        by_stages: bring the denoiser's weights stage by stage in every pass instead of all at once.
    """

    def __init__(self, parts: dict[str, nn.Module], device: torch.device, *, by_stages: bool) -> None:
        self.device = device
        self._phase: Phase | None = None
        self._conveyor: Conveyor | None = None
        self._groups: dict[str, list[Group]] = {}
        self._resident: dict[str, list[Group]] = {}
        pinned = device.type == "cuda"
        for name, part in parts.items():
            stages = list(_stages(part)) if by_stages and isinstance(part, DenoisingUNet) else []
            packed = [
                (leader, Group(chain.from_iterable(map(_tensors, modules)), pinned=pinned))
                for leader, modules in stages
            ]
            moving = {
                id(tensor) for _, modules in stages for module in modules for tensor in _tensors(module)
            }
            rest = Group((t for t in _tensors(part) if id(t) not in moving), pinned=pinned)
            self._resident[name] = [rest]
            self._groups[name] = [rest, *(group for _, group in packed)]
            if packed:
                self._conveyor = Conveyor(packed, device)

    @property
    def by_stages(self) -> bool:
        """Whether the denoiser's weights come stage by stage."""
        return self._conveyor is not None

    def enter(self, phase: Phase) -> None:
        """Bring to the device what computes in a phase, and nothing else."""
        if phase == self._phase:
            return
        self.leave()
        moving = phase == "denoising" and self._conveyor is not None
        for name in PARTS[phase]:
            for group in (self._resident if moving else self._groups)[name]:
                group.place(group.host.to(self.device, non_blocking=True, copy=True))
        if moving and self._conveyor is not None:
            self._conveyor.start()
        self._phase = phase

    def leave(self) -> None:
        """Take everything off the device; after a failed phase, too."""
        if self._conveyor is not None:
            self._conveyor.stop()
        for group in chain.from_iterable(self._groups.values()):
            group.park()
        self._phase = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _stages(unet: DenoisingUNet) -> Iterator[tuple[nn.Module, list[nn.Module]]]:
    """The denoiser in the order it computes: the module whose call begins a stage, and all of the stage."""
    for level in unet.down_blocks:
        yield from _pairs(level)
        for sampler in level.downsamplers or ():
            yield sampler, [sampler]
    yield unet.mid_block.resnets[0], [unet.mid_block]
    for level in unet.up_blocks:
        yield from _pairs(level)
        for sampler in level.upsamplers or ():
            yield sampler.conv, [sampler]


def _pairs(level: Any) -> Iterator[tuple[nn.Module, list[nn.Module]]]:
    attentions = getattr(level, "attentions", [None] * len(level.resnets))
    for resnet, attention, motion in zip(level.resnets, attentions, level.motion_modules, strict=True):
        yield resnet, [module for module in (resnet, attention, motion) if module is not None]


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors if tensor.numel()}.values())


def _extent(tensor: Tensor) -> int:
    """Bytes from a tensor's first to behind its last value in memory."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return (1 + sum((size - 1) * stride for size, stride in steps)) * tensor.itemsize


def _view(memory: Tensor, like: Tensor, offset: int) -> Tensor:
    """A tensor's twin in a block of bytes."""
    view = torch.empty(0, dtype=like.dtype, device=memory.device)
    return view.set_(memory.untyped_storage(), offset // like.itemsize, like.shape, like.stride())


def _pin(memory: Tensor) -> None:
    """Lock memory for fast copies; PyTorch's own pinned memory would round sizes up to powers of two."""
    runtime = torch.cuda.cudart()
    address = memory.data_ptr()
    if memory.numel() and int(runtime.cudaHostRegister(address, memory.numel(), 0)):
        logger.info("%d MiB cannot be locked in memory: copies to the GPU wait for it", memory.numel() >> 20)
    elif memory.numel():
        weakref.finalize(memory.untyped_storage(), runtime.cudaHostUnregister, address).atexit = False
