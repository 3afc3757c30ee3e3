"""The three published files of ProPainter, read as plain tensors and fitted strictly."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from mimo.stage import Rejected
from video_decomp.propainter.flow_completion import FlowCompletion
from video_decomp.propainter.generator import Generator
from video_decomp.propainter.pipeline import Networks
from video_decomp.propainter.raft import ITERATIONS, RAFT

RAFT_FILE = "raft-things.pth"
COMPLETION_FILE = "recurrent_flow_completion.pth"
GENERATOR_FILE = "ProPainter.pth"
FILES = (RAFT_FILE, COMPLETION_FILE, GENERATOR_FILE)

Network = TypeVar("Network", bound=nn.Module)


def load_networks(
    files: dict[str, Path], device: torch.device, dtype: torch.dtype, iterations: int = ITERATIONS
) -> Networks:
    """The networks from the published files.

    Args:
        files: paths by the names in `FILES`.
        device, dtype: where to put all parameters, and as what.
        iterations: updates of RAFT.

    Raises:
        Rejected: a file is missing, cannot be read or is of something else; the message names key and shape.
    """

    def load(kind: type[Network], name: str) -> Network:
        return load_network(kind, files[name]).to(device=device, dtype=dtype)

    raft, completion, generator = (
        load(RAFT, RAFT_FILE),
        load(FlowCompletion, COMPLETION_FILE),
        load(Generator, GENERATOR_FILE),
    )
    return Networks(raft, completion, generator, device, dtype, iterations)


def load_network(kind: type[Network], path: Path) -> Network:
    """One network from its file, on the CPU, in evaluation mode.

    Raises:
        Rejected: see `load_networks`.
    """
    tensors = read_tensors(path)
    with torch.device("meta"):
        network = kind()
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    problems = [f"{key} is missing" for key in expected if key not in tensors]
    problems += [f"{key} is unknown" for key in tensors if key not in expected]
    problems += [
        f"{key} has shape {tuple(tensors[key].shape)}, not {shape}"
        for key, shape in expected.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise Rejected(
            f"{path}: not the published weights of this part of ProPainter: {'; '.join(problems[:4])}{more}; "
            "take the three files of its release v0.1.0"
        )
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by key, without the ``module.`` that training on several GPUs left.

    Raises:
        Rejected: the file is missing, damaged or holds more than tensors (nothing in it is executed).
    """
    if not path.is_file():
        raise Rejected(f"{path}: not there; it belongs to ProPainter's release v0.1.0 ({', '.join(FILES)})")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or ["empty"])[0]
        raise Rejected(f"{path}: not a readable file of weights ({reason}); get it again") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise Rejected(f"{path}: does not hold named tensors; get the published file again")
    return {key.removeprefix("module."): value for key, value in content.items()}
