"""ViT of ViTPose, HMR2 and HaMeR: their weights in transformers' implementation.

HMR2's and HaMeR's backbone is ViTPose-H (Xu et al. 2022) under ViTPose's own names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import VitPoseBackbone, VitPoseBackboneConfig

from mimo.stage import Rejected

HEADS = 16
PATCH = 16
SIZE = (256, 192)
NORM_EPSILON = 1e-6

_RENAMED = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^last_norm\.", "layernorm."),
    (r"^blocks\.", "encoder.layer."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
)


def config_of(state: Mapping[str, Tensor], path: Path, what: str) -> VitPoseBackboneConfig:
    """Size of the backbone whose tensors these are, under ViTPose's names.

    Raises:
        Rejected: they are no such backbone's.
    """
    blocks = {int(name.split(".")[1]) for name in state if re.match(r"blocks\.\d+\.", name)}
    try:
        hidden = state["patch_embed.proj.weight"].shape[0]
        ratio = state["blocks.0.mlp.fc1.weight"].shape[0] // hidden
    except KeyError as error:
        raise Rejected(f"{path}: not {what}: lacks the backbone's {error.args[0]}") from error
    return VitPoseBackboneConfig(
        image_size=list(SIZE),
        patch_size=[PATCH, PATCH],
        hidden_size=hidden,
        num_hidden_layers=len(blocks),
        num_attention_heads=HEADS,
        mlp_ratio=ratio,
        layer_norm_eps=NORM_EPSILON,
        out_features=[f"stage{len(blocks)}"],
    )


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under ViTPose's names as transformers names and splits them."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        new = name
        for pattern, replacement in _RENAMED:
            new = re.sub(pattern, replacement, new)
        if ".attn.qkv." in new:
            for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                result[new.replace(".attn.qkv.", f".attention.attention.{part}.")] = rows
        else:
            result[new] = value
    return result


def empty_backbone(config: VitPoseBackboneConfig) -> VitPoseBackbone:
    """The network without its values."""
    with torch.device("meta"):
        return VitPoseBackbone(config)


def tokens(backbone: VitPoseBackbone, crops: Tensor) -> Tensor:
    """Features (B, N, C) of crops (B, 3, 256, 192)."""
    features = backbone(crops).feature_maps[-1]
    return features.flatten(2).transpose(1, 2) if features.dim() == 4 else features
