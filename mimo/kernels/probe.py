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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

from mimo.files import write_json

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).resolve().parent
TIME_LIMIT = 120
"""Seconds for one kernel's compilation and trial."""


def usable() -> dict[str, bool]:
    """Which of our own kernels work here, by name."""
    return {name: not reason for name, reason in failures().items()}


@cache
def failures() -> dict[str, str]:
    """Why our own kernels do not work here: nothing for those that do."""
    path, key = _cache_file(), _key()
    known = json.loads(path.read_text()) if path.is_file() else {}
    if key not in known:
        with ThreadPoolExecutor(len(_TRIALS)) as pool:
            known[key] = dict(zip(_TRIALS, pool.map(_failure, _TRIALS), strict=True))
        write_json(path, known)
        for name, reason in known[key].items():
            logger.info("own kernel '%s': %s", name, reason or "works")
    return known[key]


def _try_hopper_attention() -> None:
    """Uneven numbers of tokens, flat and sharp softmaxes, maxima that rise late."""
    from mimo.kernels import hopper_attention

    if not hopper_attention.fits(torch.empty(0, hopper_attention.DIM, device="cuda", dtype=torch.float16)):
        raise RuntimeError("made for Hopper GPUs (compute capability 9.0)")
    for rows, tokens, bank_tokens, scale in ((2, 1004, 1500, 1.0), (1, 63, 5, 1.0), (1, 700, 3000, 5.0)):
        query, key, value = _random(rows, tokens, 3, 8, hopper_attention.DIM).mul_(scale).unbind(2)
        bank = _random(2, 1, bank_tokens, 8, hopper_attention.DIM).mul_(scale)
        bank[0] += query[:1].mean(1, keepdim=True)
        keys, values = (
            torch.cat([own, kept.expand(rows, -1, -1, -1)], 1)
            for own, kept in zip((key, value), bank, strict=True)
        )
        own, both = _attention(query, key, value), _attention(query, keys, values)
        _compare(hopper_attention.attend(query, key, value), own)
        _compare(hopper_attention.attend(query, key, value, *bank), both)
        together = hopper_attention.attend(query, key, value, *bank, also_own=True)
        _compare(together, torch.cat([own, both]))


def _try_frames() -> None:
    from mimo.kernels import triton_frames

    query, key, value = _random(2, 24, 301, 3, 8, 40).unbind(3)
    moved = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    expected = _attention(*moved).unflatten(0, (2, -1)).transpose(1, 2)
    _compare(triton_frames.over_frames(query, key, value), expected)


def _try_geglu(name: str) -> None:
    from mimo.kernels import triton_geglu

    x, weight, bias = _random(3, 3331, 320), _random(2560, 320) / 20, _random(2560)
    hidden, gate = F.linear(x, weight, bias).chunk(2, -1)
    run = triton_geglu.gated_product if name == "product" else triton_geglu.product_then_gate
    _compare(run(x, weight, bias), hidden * F.gelu(gate))


_TRIALS: dict[str, Callable[[], None]] = {
    "hopper attention": _try_hopper_attention,
    "frames": _try_frames,
    "gate": lambda: _try_geglu("gate"),
    "product": lambda: _try_geglu("product"),
}


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, device="cuda", dtype=torch.float16)


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def _compare(result: torch.Tensor, expected: torch.Tensor) -> None:
    torch.cuda.synchronize()
    error = float((result.float() - expected.float()).norm() / expected.float().norm())
    if not error < 0.01:
        raise RuntimeError(f"other numbers than PyTorch's: {error:.1e}")


def _failure(name: str) -> str:
    """Run a trial in a process of its own; nothing if it passes."""
    paths = [str(PACKAGE.parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mimo.kernels.probe", name],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {TIME_LIMIT} s"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["died"])[-1]


def _cache_file() -> Path:
    folder = os.environ.get("MIMO_CACHE") or Path.home() / ".cache" / "mimo-pipeline"
    return Path(folder) / "kernels.json"


def _key() -> str:
    import triton

    files = sorted(path for path in PACKAGE.iterdir() if path.suffix in (".py", ".cu"))
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return f"{torch.cuda.get_device_name()} torch {torch.__version__} triton {triton.__version__} {code}"


if __name__ == "__main__":
    torch.manual_seed(0)
    _TRIALS[sys.argv[1]]()
