"""Meta's own checkpoints of Segment Anything as networks of the transformers library.

`sam_vit_*.pth` of segment-anything becomes a `SamModel`, `sam2_hiera_*.pt` and `sam2.1_hiera_*.pt` of sam2
become a `VideoNetwork`. Only names differ: every tensor of the file is used once and as it is. Sizes are
read off the tensors, so that each published size loads; what no tensor shows is in `TRUNKS`. Golden
results of the official code (tests/data/sam2) hold for both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from transformers import Sam2VideoConfig, Sam2VisionConfig, SamConfig, SamModel
from transformers.models.sam.configuration_sam import (
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig
from transformers.models.sam2_video.configuration_sam2_video import (
    Sam2VideoMaskDecoderConfig,
    Sam2VideoPromptEncoderConfig,
)

from video_decomp.sam2.network import VideoNetwork

Weights = Mapping[str, torch.Tensor]
Network = TypeVar("Network", bound=torch.nn.Module)

# Old and new names, applied in this order to each tensor's name; for both generations.
_BOTH = (
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d)\.layers\.0\.", r"\1.proj_in."),
    (
        r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d)\.layers\.2\.",
        r"\1.proj_out.",
    ),
    (
        r"(iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d)\.layers\.1\.",
        r"\1.layers.0.",
    ),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
)
_FIRST = (
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^image_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^image_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^image_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^image_encoder\.", "vision_encoder."),
)
_SECOND = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"^memory_attention\.norm\.", "memory_attention.layer_norm."),
    (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"_(attn|image|token)\.out_proj\.", r"_\1.o_proj."),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"\.dwconv\.", ".depthwise_conv."),
    (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
    (r"^(memory_encoder\.memory_fuser\.layers\.\d)\.gamma$", r"\1.scale"),
    (r"^(memory_encoder\.memory_fuser\.layers\.\d)\.norm\.", r"\1.layer_norm."),
    (r"^obj_ptr_proj\.layers\.0\.", "object_pointer_proj.proj_in."),
    (r"^obj_ptr_proj\.layers\.2\.", "object_pointer_proj.proj_out."),
    (r"^obj_ptr_proj\.layers\.1\.", "object_pointer_proj.layers.0."),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"^no_obj_ptr$", "no_object_pointer"),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
)
_DECODER_HEADS = 8


@dataclass(frozen=True)
class Trunk:
    """What the tensors of SAM 2's image encoder do not show.

    Attributes:
        heads: attention heads of the first stage; they double with each.
        windows: side of the attention windows of each stage, in cells.
        all_over: blocks whose attention has no windows.
        image_size: pixels a side of the square that the network sees.
    """

    heads: int
    windows: tuple[int, int, int, int]
    all_over: tuple[int, ...]
    image_size: int = 1024


TRUNKS = {
    (96, 12): Trunk(1, (8, 4, 14, 7), (5, 7, 9)),
    (96, 16): Trunk(1, (8, 4, 14, 7), (7, 10, 13)),
    (112, 24): Trunk(2, (8, 4, 14, 7), (12, 16, 20)),
    (144, 48): Trunk(2, (8, 4, 16, 8), (23, 33, 43)),
}
"""The published sizes tiny, small, base+ and large, by channels of the first stage and number of blocks."""


def is_sam(weights: Weights) -> bool:
    """Whether these are the tensors of a segment-anything checkpoint."""
    return "image_encoder.neck.0.weight" in weights and "mask_decoder.iou_token.weight" in weights


def is_sam2(weights: Weights) -> bool:
    """Whether these are the tensors of a sam2 checkpoint."""
    return "image_encoder.trunk.patch_embed.proj.weight" in weights and "maskmem_tpos_enc" in weights


def sam_model(weights: Weights) -> SamModel:
    """Segment Anything with the weights of an official file.

    Args:
        weights: content of ``sam_vit_h_4b8939.pth``, ``sam_vit_l_0b3195.pth`` or ``sam_vit_b_01ec64.pth``.

    Raises:
        ValueError: a tensor is missing, too many, or of another shape; the message names some.
    """
    renamed = _renamed(weights, (*_BOTH, *_FIRST))
    renamed.pop("pixel_mean", None)
    renamed.pop("pixel_std", None)
    wide, _, patch, _ = weights["image_encoder.patch_embed.proj.weight"].shape
    blocks = _count(weights, r"image_encoder\.blocks\.(\d+)\.")
    cells = weights["image_encoder.pos_embed"].shape[1]
    reach = [weights[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape for i in range(blocks)]
    everywhere = [i for i in range(blocks) if reach[i][0] == 2 * cells - 1]
    windows = {(reach[i][0] + 1) // 2 for i in range(blocks) if i not in everywhere}
    hidden = weights["mask_decoder.iou_token.weight"].shape[1]
    vision = SamVisionConfig(
        hidden_size=wide,
        output_channels=hidden,
        num_hidden_layers=blocks,
        num_attention_heads=wide // reach[0][1],
        image_size=cells * patch,
        patch_size=patch,
        window_size=windows.pop() if windows else 0,
        global_attn_indexes=everywhere,
        num_pos_feats=hidden // 2,
        mlp_dim=weights["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
    )
    prompts = SamPromptEncoderConfig(
        hidden_size=hidden,
        image_size=cells * patch,
        patch_size=patch,
        mask_input_channels=weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )
    sizes = _decoder_sizes(weights, "mask_decoder.", "mlp.lin1")
    # The library's own default, 1e-6, is not the official one.
    decoder = SamMaskDecoderConfig(**sizes, layer_norm_eps=1e-5)
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    with torch.device("meta"):
        model = SamModel(config)
    return _filled(model, renamed, assign=True)


def sam2_video_model(weights: Weights, trunk: Trunk | None = None) -> VideoNetwork:
    """SAM 2 or 2.1 for video with the weights of an official file.

    Args:
        weights: what ``sam2.1_hiera_large.pt`` and its like hold under ``model``.
        trunk: for another image encoder than the published ones.

    Raises:
        ValueError: no published size, or a tensor is missing, too many, or of another shape.
    """
    renamed = _renamed(weights, (*_BOTH, *_SECOND))
    _join_points(renamed)
    _name_downsampler(renamed)
    wide = weights["image_encoder.trunk.patch_embed.proj.weight"].shape[0]
    blocks = _count(weights, r"image_encoder\.trunk\.blocks\.(\d+)\.")
    trunk = trunk or TRUNKS.get((wide, blocks))
    if trunk is None:
        raise ValueError(f"an image encoder of {blocks} blocks from {wide} channels on is no published size")
    hidden = weights["no_mem_embed"].shape[-1]
    cells = trunk.image_size // 16
    decoder = Sam2VideoMaskDecoderConfig(**_decoder_sizes(weights, "sam_mask_decoder.", "mlp.layers.0"))
    prompts = Sam2VideoPromptEncoderConfig(hidden_size=hidden, image_size=trunk.image_size)
    fuser = weights["memory_encoder.fuser.layers.0.dwconv.weight"]
    config = Sam2VideoConfig(
        vision_config=_vision(weights, trunk, wide, blocks),
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
        image_size=trunk.image_size,
        num_maskmem=weights["maskmem_tpos_enc"].shape[0],
        enable_occlusion_spatial_embedding="no_obj_embed_spatial" in weights,
        enable_temporal_pos_encoding_for_object_pointers="obj_ptr_tpos_proj.weight" in weights,
        memory_attention_hidden_size=hidden,
        memory_attention_num_layers=_count(weights, r"memory_attention\.layers\.(\d+)\."),
        memory_attention_feed_forward_hidden_size=weights["memory_attention.layers.0.linear1.weight"].shape[
            0
        ],
        memory_attention_rope_feat_sizes=[cells, cells],
        memory_encoder_hidden_size=hidden,
        memory_encoder_output_channels=weights["memory_encoder.out_proj.weight"].shape[0],
        mask_downsampler_embed_dim=hidden,
        memory_fuser_embed_dim=fuser.shape[0],
        memory_fuser_intermediate_dim=weights["memory_encoder.fuser.layers.0.pwconv1.weight"].shape[0],
        memory_fuser_num_layers=_count(weights, r"memory_encoder\.fuser\.layers\.(\d+)\."),
    )
    return _filled(VideoNetwork(config), renamed)


def _vision(weights: Weights, trunk: Trunk, wide: int, blocks: int) -> Sam2VisionConfig:
    """Configuration of SAM 2's image encoder; a stage ends where the channels grow."""
    channels = [weights[f"image_encoder.trunk.blocks.{i}.attn.proj.weight"].shape[0] for i in range(blocks)]
    stages = sorted(set(channels))
    cells = trunk.image_size // 16
    backbone = Sam2HieraDetConfig(
        hidden_size=wide,
        image_size=[trunk.image_size, trunk.image_size],
        blocks_per_stage=[channels.count(stage) for stage in stages],
        embed_dim_per_stage=stages,
        num_attention_heads=trunk.heads,
        num_attention_heads_per_stage=[trunk.heads * 2**i for i in range(len(stages))],
        window_size_per_stage=list(trunk.windows),
        window_positional_embedding_background_size=list(weights["image_encoder.trunk.pos_embed"].shape[2:]),
        global_attention_blocks=list(trunk.all_over),
    )
    return Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=stages[::-1],
        backbone_feature_sizes=[[4 * cells] * 2, [2 * cells] * 2, [cells] * 2],
        fpn_hidden_size=weights["image_encoder.neck.convs.0.conv.weight"].shape[0],
    )


def _decoder_sizes(weights: Weights, prefix: str, feed_forward: str) -> dict[str, int]:
    """Sizes of a mask decoder, by their names in its configuration."""
    return {
        "hidden_size": weights[f"{prefix}iou_token.weight"].shape[1],
        "mlp_dim": weights[f"{prefix}transformer.layers.0.{feed_forward}.weight"].shape[0],
        "num_hidden_layers": _count(weights, rf"{re.escape(prefix)}transformer\.layers\.(\d+)\."),
        "num_attention_heads": _DECODER_HEADS,
        "num_multimask_outputs": weights[f"{prefix}mask_tokens.weight"].shape[0] - 1,
        "iou_head_hidden_dim": weights[f"{prefix}iou_prediction_head.layers.0.weight"].shape[0],
    }


def _renamed(weights: Weights, rules: tuple[tuple[str, str], ...]) -> dict[str, torch.Tensor]:
    """The same tensors by the library's names.

    Raises:
        ValueError: two tensors would share a name.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        for old, new in rules:
            name = re.sub(old, new, name)
        if name in renamed:
            raise ValueError(f"two tensors would be '{name}'")
        renamed[name] = tensor
    # The library holds this matrix twice: for prompts and for the image's own places.
    shared = renamed.get("prompt_encoder.shared_embedding.positional_embedding")
    if shared is not None:
        renamed["shared_image_embedding.positional_embedding"] = shared
    return renamed


def _join_points(renamed: dict[str, torch.Tensor]) -> None:
    """Make one table of SAM 2's four embeddings of point kinds."""
    kinds = sorted(name for name in renamed if re.fullmatch(r"prompt_encoder\.point_embed\.\d\.weight", name))
    renamed["prompt_encoder.point_embed.weight"] = torch.cat([renamed.pop(name) for name in kinds])


def _name_downsampler(renamed: dict[str, torch.Tensor]) -> None:
    """Name the layers of the memory's mask encoder: convolution, norm and activation in turn, a last one."""
    pattern = re.compile(r"memory_encoder\.mask_downsampler\.encoder\.(\d+)\.(weight|bias)")
    last = max(int(match[1]) for name in renamed if (match := pattern.fullmatch(name)))
    for name in list(renamed):
        if match := pattern.fullmatch(name):
            layer, part = divmod(int(match[1]), 3)
            place = f"layers.{layer}.{'layer_norm' if part else 'conv'}"
            place = "final_conv" if int(match[1]) == last else place
            renamed[f"memory_encoder.mask_downsampler.{place}.{match[2]}"] = renamed.pop(name)


def _count(weights: Weights, pattern: str) -> int:
    """How many numbered layers there are of a kind."""
    return len({match[1] for name in weights if (match := re.match(pattern, name))})


def _filled(model: Network, renamed: dict[str, torch.Tensor], *, assign: bool = False) -> Network:
    """The model with these weights, all of them and no others.

    Args:
        model: where they go.
        renamed: the weights by the model's names.
        assign: they become the model's own instead of being copied; it may have none before.

    Raises:
        ValueError: names or shapes differ.
    """
    try:
        model.load_state_dict(renamed, strict=True, assign=assign)
    except RuntimeError as error:
        raise ValueError(" ".join(str(error).split())[:400]) from None
    model.eval()
    return model
