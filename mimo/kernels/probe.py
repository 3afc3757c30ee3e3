"""Tries our own kernels before they are used, each in a process of its own.

A kernel that a compiler or a GPU does not bear takes all of a process's GPU work with it; that process is
never the one that makes a video. What was found is kept beside the other caches, for this GPU, these
libraries and these kernels.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from mimo.files import write_json

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).resolve().parent
TIME_LIMIT = 120
"""Seconds for one kernel's compilation and trial."""


@cache
def usable() -> dict[str, bool]:
    """Which kernels work here.

    Returns:
        By name: the numbers of the configurations of `triton_attention.attend`, ``frames`` (`over_frames`),
        ``gate`` and ``product`` (`triton_geglu`).
    """
    from mimo.kernels.triton_attention import CONFIGS

    names = [*map(str, range(len(CONFIGS))), "frames", "gate", "product"]
    path, key = _cache_file(), _key()
    known = json.loads(path.read_text()) if path.is_file() else {}
    if key not in known:
        with ThreadPoolExecutor(4) as pool:
            known[key] = dict(zip(names, pool.map(_works, names), strict=True))
        write_json(path, known)
        logger.info("own kernels: %s", known[key])
    return known[key]


def try_kernel(name: str) -> None:
    """Run one kernel on small problems with uneven sizes and compare it with PyTorch.

    Raises:
        AssertionError: other numbers came out.
    """
    from mimo.kernels import triton_attention as ours

    generator = torch.Generator("cuda").manual_seed(0)
    rows, tokens, heads, dim = 3, 1004, 8, 40
    kwargs: dict[str, Any] = {"device": "cuda", "dtype": torch.float16, "generator": generator}
    joined = torch.randn((rows, tokens, 3, heads, dim), **kwargs)
    query, key, value = joined.unbind(2)
    if name in ("gate", "product"):
        _try_geglu(name, kwargs)
        return
    if name == "frames":
        frames = torch.randn((2, 24, 301, 3, heads, dim), **kwargs)
        query, key, value = frames.unbind(3)
        moved = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
        expected = _attention(*moved).unflatten(0, (2, -1)).transpose(1, 2)
        _compare(ours.over_frames(query, key, value), expected)
        return
    ours.use_configs([int(name)])
    bank = torch.randn((2, 1, 1500, heads, dim), **kwargs)
    _compare(ours.attend(query, key, value), _attention(query, key, value))
    keys, values = (
        torch.cat([own, kept.expand(rows, -1, -1, -1)], 1)
        for own, kept in zip((key, value), bank, strict=True)
    )
    _compare(ours.attend(query, key, value, *bank), _attention(query, keys, values))


def _try_geglu(name: str, kwargs: dict[str, Any]) -> None:
    from mimo.kernels import triton_geglu as ours

    x, weight = torch.randn((3, 331, 320), **kwargs), torch.randn((2560, 320), **kwargs) / 20
    bias = torch.randn(2560, **kwargs)
    hidden, gate = F.linear(x, weight, bias).chunk(2, -1)
    run = ours.gated_product if name == "product" else ours.product_then_gate
    _compare(run(x, weight, bias), hidden * F.gelu(gate))


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def _compare(result: torch.Tensor, expected: torch.Tensor) -> None:
    torch.cuda.synchronize()
    assert (result - expected).abs().max() < 0.02, "other numbers than PyTorch's"


def _works(name: str) -> bool:
    paths = [str(PACKAGE.parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mimo.kernels.probe", name],
            env=environment,
            capture_output=True,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _cache_file() -> Path:
    folder = os.environ.get("MIMO_CACHE") or Path.home() / ".cache" / "mimo-pipeline"
    return Path(folder) / "kernels.json"


def _key() -> str:
    import triton

    files = [PACKAGE / "triton_attention.py", PACKAGE / "triton_geglu.py"]
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return f"{torch.cuda.get_device_name()} torch {torch.__version__} triton {triton.__version__} {code}"


if __name__ == "__main__":
    try_kernel(sys.argv[1])
