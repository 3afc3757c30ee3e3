"""Networks from the users' files: folders of the transformers library, or Meta's own checkpoints.

Files are read as tensors only (safetensors, ``weights_only``); a wrong one is refused with its name and what
is wrong with it.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    DFineForObjectDetection,
    PreTrainedModel,
    RTDetrForObjectDetection,
    RTDetrV2ForObjectDetection,
    SamModel,
    VitMatteForImageMatting,
    VitPoseForPoseEstimation,
)
from transformers.utils import logging

from mimo.stage import Rejected
from video_decomp.sam2 import official
from video_decomp.sam2.network import VideoNetwork

DETECTORS: dict[str, type[PreTrainedModel]] = {
    "rt_detr": RTDetrForObjectDetection,
    "rt_detr_v2": RTDetrV2ForObjectDetection,
    "d_fine": DFineForObjectDetection,
}


def load_video_network(place: Path) -> VideoNetwork:
    """SAM 2 or 2.1 for video.

    Args:
        place: folder as `facebook/sam2.1-hiera-large`, or a file as ``sam2.1_hiera_large.pt``.

    Raises:
        Rejected: it is something else, incomplete or damaged.
    """
    if place.is_dir():
        # A configuration for images may stand beside weights for both; without the memory they are refused.
        kinds = {"sam2_video": VideoNetwork, "sam2": VideoNetwork}
        return _folder(place, kinds, "a SAM 2.1 video network")
    return _checkpoint(place, official.is_sam2, official.sam2_video_model, "sam2.1_hiera_large.pt")


def load_image_network(place: Path) -> SamModel:
    """The first Segment Anything.

    Args:
        place: a file as ``sam_vit_h_4b8939.pth``, or a folder as `facebook/sam-vit-huge`.

    Raises:
        Rejected: it is something else, incomplete or damaged.
    """
    if place.is_dir():
        return _folder(place, {"sam": SamModel}, "a Segment Anything network")
    return _checkpoint(place, official.is_sam, official.sam_model, "sam_vit_h_4b8939.pth")


def load_detector(place: Path) -> PreTrainedModel:
    """A detector that knows people: RT-DETR, RT-DETR v2 or D-FINE.

    Raises:
        Rejected: the folder holds something else, is incomplete or damaged, or knows no class ``person``.
    """
    model = _folder(place, DETECTORS, "a person detector")
    if "person" not in model.config.id2label.values():
        raise Rejected(f"{place}: a detector without the class 'person'; take one that was trained on COCO")
    return model


def load_key_points(place: Path) -> VitPoseForPoseEstimation:
    """Key points of people by ViTPose.

    Raises:
        Rejected: the folder holds something else, is incomplete or damaged.
    """
    return _folder(place, {"vitpose": VitPoseForPoseEstimation}, "a ViTPose network")


def load_matting(place: Path) -> VitMatteForImageMatting:
    """Soft edges by ViTMatte.

    Raises:
        Rejected: the folder holds something else, is incomplete or damaged.
    """
    return _folder(place, {"vitmatte": VitMatteForImageMatting}, "a ViTMatte network")


def _folder(place: Path, kinds: dict[str, type[Any]], what: str) -> Any:
    """A network from a folder with ``config.json`` and ``model.safetensors``.

    Args:
        place: the folder.
        kinds: class by the configuration's ``model_type``.
        what: the network in a message.
    """
    try:
        kind = json.loads((place / "config.json").read_text())["model_type"]
    except FileNotFoundError:
        raise Rejected(f"{place}: holds no config.json; give the folder of {what}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise Rejected(f"{place / 'config.json'}: no configuration of a network; download it again") from None
    if kind not in kinds:
        raise Rejected(f"{place}: a network of type '{kind}', not {what} ({', '.join(kinds)})")
    if not list(place.glob("*.safetensors")):
        raise Rejected(f"{place}: holds no model.safetensors; download the whole folder of {what}")
    logging.disable_progress_bar()
    try:
        model, report = kinds[kind].from_pretrained(
            place, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise Rejected(f"{place}: cannot be read as {what} ({reason}); download it again") from None
    for kind in ("missing_keys", "mismatched_keys", "error_msgs"):
        if keys := sorted(map(str, report.get(kind) or ())):
            raise Rejected(
                f"{place}: not the weights that its config.json describes: {len(keys)} "
                f"{kind.replace('_', ' ')}, such as {keys[0]}; download all of {what} again"
            )
    return model.eval()


def _checkpoint(
    place: Path, is_it: Callable[[official.Weights], bool], build: Callable[..., Any], example: str
) -> Any:
    """A network from one of Meta's files."""
    weights = read_tensors(place)
    if not is_it(weights):
        raise Rejected(f"{place}: not a checkpoint like {example}; its tensors are {_sample(weights)}")
    try:
        return build(weights)
    except (ValueError, KeyError) as error:
        raise Rejected(
            f"{place}: not quite a checkpoint like {example}: {error}; download it again"
        ) from None


def read_tensors(place: Path) -> dict[str, Tensor]:
    """Tensors by name of a ``.safetensors`` file, or of one that torch saved, of its part ``model`` if any.

    Raises:
        Rejected: the file is missing or is no such file.
    """
    try:
        content = load_file(place) if place.suffix == ".safetensors" else _unpickled(place)
    except FileNotFoundError:
        raise Rejected(f"{place}: there is no such file") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise Rejected(f"{place}: no file of weights ({reason}); download it again") from None
    content = content.get("model", content) if isinstance(content, dict) else {}
    content = content if isinstance(content, dict) else {}
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise Rejected(f"{place}: holds no tensors by name; download it again")
    return tensors


def _unpickled(place: Path) -> Any:
    """What torch saved, tensors only, mapped from the disk where its format allows it (since PyTorch 1.6)."""
    try:
        return torch.load(place, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:
        return torch.load(place, map_location="cpu", weights_only=True)


def _sample(weights: official.Weights) -> str:
    names = list(weights)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
