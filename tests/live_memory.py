"""Counts the bytes that living tensors hold: what an allocator would have to give, without the device."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Highest sum of bytes of all storages made within the block; tensors may be on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0
        self._known: dict[int, weakref.ref] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._now += size
        self.peak = max(self.peak, self._now)

        def gone(_):
            self._now -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, gone)
