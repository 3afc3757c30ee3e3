"""Tiny networks with random weights, in the libraries' own formats, for the tests of the SAM 2.1 backends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import torch
from transformers import (
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    Sam2VideoConfig,
    Sam2VisionConfig,
    VitDetConfig,
    VitMatteConfig,
    VitMatteForImageMatting,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig
from transformers.models.sam2_video.configuration_sam2_video import (
    Sam2VideoMaskDecoderConfig,
    Sam2VideoPromptEncoderConfig,
)

from mimo import weights
from mimo.video import VideoReader, VideoWriter
from video_decomp.sam2.network import VideoNetwork

GOLDEN = Path(__file__).parent / "data" / "sam2"
sys.path.insert(0, str(GOLDEN))

from official_weights import fill  # noqa: E402

SIDE = 128
"""Pixels of the square that the tiny video network sees."""


def video_network(seed: int = 0) -> VideoNetwork:
    """A SAM 2.1 video network of 5 MB that sees 128 pixels a side and finds something in every frame."""
    cells = SIDE // 16
    vision = Sam2VisionConfig(
        backbone_config=Sam2HieraDetConfig(
            hidden_size=8,
            image_size=[SIDE, SIDE],
            blocks_per_stage=[1, 1, 2, 1],
            embed_dim_per_stage=[8, 16, 32, 64],
            num_attention_heads_per_stage=[1, 1, 2, 4],
            window_size_per_stage=[8, 4, 4, 2],
            global_attention_blocks=[3],
        ),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[4 * cells] * 2, [2 * cells] * 2, [cells] * 2],
        fpn_hidden_size=128,
    )
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(hidden_size=128, image_size=SIDE),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=128, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32
        ),
        image_size=SIDE,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[cells, cells],
        memory_encoder_hidden_size=128,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=64,
        memory_fuser_num_layers=1,
    )
    torch.manual_seed(seed)
    model = VideoNetwork(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            # Library defaults are so small that nothing in the image or the memory would matter.
            spread = 1 / max(parameter[0].numel(), 1) ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(4.0)
    return model


def detector(folder: Path, box: tuple[float, float, float, float] | None) -> Path:
    """An RT-DETR v2 that sees one person in every image, in this box; or nobody.

    Args:
        folder: to write.
        box: left, top, right, bottom, in units of the image.
    """
    config = RTDetrV2Config(
        backbone_config=RTDetrResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        encoder_in_channels=[8, 16, 16], encoder_hidden_dim=16, encoder_ffn_dim=16, encoder_attention_heads=2,
        d_model=16, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=2, num_queries=3,
        decoder_attention_heads=2, hidden_expansion=0.25,
        id2label={0: "cat", 1: "person"}, label2id={"cat": 0, "person": 1},
    )  # fmt: skip
    torch.manual_seed(0)
    model = RTDetrV2ForObjectDetection(config).eval()
    with torch.no_grad():
        for head in (*model.model.decoder.class_embed, model.model.enc_score_head):
            head.weight.zero_()
            head.bias.copy_(torch.tensor([-9.0, -9.0 if box is None else 3.0]))
        for head in (*model.model.decoder.bbox_embed, model.model.enc_bbox_head):
            head.layers[-1].weight.zero_()
            head.layers[-1].bias.zero_()
        if box is not None:
            # All queries begin at one anchor. Two layers add the same to its place on a scale without ends.
            centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
            wanted = torch.tensor([*centre, box[2] - box[0], box[3] - box[1]]).logit()
            heads = model.model.decoder.bbox_embed
            biases = {id(head.layers[-1].bias): head.layers[-1].bias for head in heads}.values()
            for bias in biases:
                bias.fill_(-5.0)
            for _ in range(3):
                found = model(pixel_values=torch.zeros(1, 3, 640, 640)).pred_boxes[0, 0].logit()
                for bias in biases:
                    bias.add_((wanted - found) / len(heads))
    model.save_pretrained(folder)
    return folder


def key_points(folder: Path, score: float) -> Path:
    """A ViTPose that gives each joint of each person this score.

    Args:
        folder: to write.
        score: 0..1.
    """
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        mlp_ratio=1, out_indices=[1], out_features=None,
    )  # fmt: skip
    labels = {i: f"joint {i}" for i in range(17)}
    torch.manual_seed(0)
    model = VitPoseForPoseEstimation(
        VitPoseConfig(backbone_config=backbone, id2label=labels, num_labels=17)
    ).eval()
    with torch.no_grad():
        model.head.conv.weight.zero_()
        model.head.conv.bias.fill_(score)
    model.save_pretrained(folder)
    return folder


def matting(folder: Path) -> Path:
    """A ViTMatte with random weights."""
    backbone = VitDetConfig(
        num_channels=4, image_size=64, pretrain_image_size=64, patch_size=16, hidden_size=16,
        num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1, window_block_indices=[],
        residual_block_indices=[], out_features=["stage1"], use_relative_position_embeddings=False,
    )  # fmt: skip
    config = VitMatteConfig(
        backbone_config=backbone,
        hidden_size=16,
        convstream_hidden_sizes=[4, 8, 8],
        fusion_hidden_sizes=[8, 8, 8, 8],
    )
    torch.manual_seed(0)
    VitMatteForImageMatting(config).eval().save_pretrained(folder)
    return folder


def official(name: str) -> dict[str, torch.Tensor]:
    """Weights in the layout of Meta's own files, ``sam`` or ``sam2``: all its names, small."""
    return fill(json.loads((GOLDEN / "official.json").read_text())[name])


PERSON = (0.55, 0.15, 0.85, 0.97)
"""Where the detector of `write_all` sees somebody, in units of the image."""


def write_all(folder: Path) -> Path:
    """Write a tiny network of each kind, in the official formats."""
    video_network().save_pretrained(folder / "sam2")
    detector(folder / "detector", PERSON)
    detector(folder / "blind", None)
    key_points(folder / "key_points", 0.9)
    key_points(folder / "doubtful", 0.2)
    matting(folder / "matting")
    first = official("sam")
    # Without this the random network sees nothing in real images.
    first["mask_decoder.output_hypernetworks_mlps.0.layers.2.bias"] = torch.tensor([3.0, -3.0, 3.0, -3.0])
    torch.save(first, folder / "sam.pth")
    return folder


def write_clip(folder: Path) -> Path:
    """Write a template's ``vid.mp4``: 14 frames of the woman who walks, 320x180."""
    weights.fetch(["sports2d-demo"])
    with VideoWriter(folder / "vid.mp4", 30) as writer:
        for image in VideoReader(weights.path("sports2d-demo")).frames(60, 74):
            writer.write(cv2.resize(image[450:, 800:1768], (320, 180), interpolation=cv2.INTER_AREA))
    return folder
