"""Kernels written in CUDA C++, compiled when they are first used.

The compiler (NVRTC) and its Python bindings come with PyTorch's CUDA builds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Argument = Tensor | int | float | None


class CudaModule:
    """The kernels of one source file on the current GPU.

    Args:
        source: file of CUDA C++ without includes.
        architecture: such as ``sm_90a``.
        defines: constants of the source.

    Raises:
        RuntimeError: it does not compile or load; ImportError: cuda.bindings is missing.
    """

    def __init__(self, source: Path, architecture: str, defines: Mapping[str, int]) -> None:
        from cuda.bindings import driver

        options = [f"--gpu-architecture={architecture}", "--std=c++17"]
        options += [f"-D{key}={value}" for key, value in defines.items()]
        torch.cuda.synchronize()  # makes PyTorch's context the current one
        self._module = _checked(driver.cuModuleLoadData(_compile(source, options)))
        self._functions: dict[str, Any] = {}

    def launch(
        self,
        name: str,
        grid: tuple[int, int],
        threads: int,
        arguments: Sequence[Argument],
        *,
        shared_bytes: int = 0,
    ) -> None:
        """Launch a kernel on PyTorch's current stream.

        Args:
            name: of the ``extern "C"`` kernel.
            grid, threads: blocks, and threads of a block.
            arguments: tensors as pointers (None: null), int as int, float as float.
            shared_bytes: dynamic shared memory of a block.
        """
        from cuda.bindings import driver

        if name not in self._functions:
            function = _checked(driver.cuModuleGetFunction(self._module, name.encode()))
            limit = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _checked(driver.cuFuncSetAttribute(function, limit, shared_bytes))
            self._functions[name] = function
        values = [x.data_ptr() if isinstance(x, Tensor) else 0 if x is None else x for x in arguments]
        types = [_ARGUMENT_TYPES.get(type(x), ctypes.c_void_p) for x in arguments]
        packed = (tuple(values), tuple(types))
        stream = torch.cuda.current_stream().cuda_stream
        _checked(
            driver.cuLaunchKernel(
                self._functions[name], *grid, 1, threads, 1, 1, shared_bytes, stream, packed, 0
            )
        )


_ARGUMENT_TYPES: dict[type, Any] = {int: ctypes.c_int, float: ctypes.c_float}


def _compile(source: Path, options: list[str]) -> bytes:
    from cuda.bindings import nvrtc

    program = _checked(nvrtc.nvrtcCreateProgram(source.read_bytes(), source.name.encode(), 0, [], []))
    encoded = [option.encode() for option in options]
    (error,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
    if error:
        log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        _checked(nvrtc.nvrtcGetProgramLog(program, log))
        raise RuntimeError(f"{source.name}: {log.decode()}")
    binary = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    _checked(nvrtc.nvrtcGetCUBIN(program, binary))
    return binary


def _checked(result: tuple[Any, ...]) -> Any:
    """The value of a CUDA call.

    Raises:
        RuntimeError: the call failed.
    """
    error, *values = result
    if error:
        raise RuntimeError(f"CUDA: {error!r}")
    return values[0] if values else None
