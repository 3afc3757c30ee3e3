"""Makes `official.json` and `golden.npz`: names, shapes and results of the official SAM and SAM 2.1 code.

    git clone https://github.com/facebookresearch/segment-anything   (dca509f)
    git clone https://github.com/facebookresearch/sam2               (2b90b9f)
    PYTHONPATH=segment-anything:sam2 python tests/data/sam2/make_golden.py

The networks are the official classes, only small, with the weights of `official_weights.fill`. The packages
the official code imports for other purposes (files, configurations, resizing) are stood in for by empty ones.
"""

import importlib.machinery
import json
import sys
import types
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from official_weights import clip, fill  # noqa: E402


def stand_in(*names):
    """Put modules in place of packages that are not needed."""
    for name in names:
        module = mock.MagicMock(__name__=name, __spec__=importlib.machinery.ModuleSpec(name, None))
        sys.modules[name] = module


def without_init(name):
    """A package of which only submodules are wanted."""
    place = next(Path(p) / name for p in sys.path if (Path(p) / name / "modeling").is_dir())
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(place)]


def sam():
    """The first Segment Anything, by the official `_build_sam` with smaller numbers."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer

    encoder = ImageEncoderViT(
        img_size=128, embed_dim=32, depth=2, num_heads=2, mlp_ratio=4, out_chans=32, qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=5,
        global_attn_indexes=(1,),
    )  # fmt: skip
    prompts = PromptEncoder(32, (8, 8), (128, 128), 16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=48, num_heads=8)
    decoder = MaskDecoder(
        transformer_dim=32, transformer=transformer, num_multimask_outputs=3, iou_head_depth=3,
        iou_head_hidden_dim=24,
    )  # fmt: skip
    return torch.nn.ModuleDict(
        {"image_encoder": encoder, "prompt_encoder": prompts, "mask_decoder": decoder}
    ).eval()


def run_sam(network):
    """Low-resolution logits and qualities for a box, and for two points with a mask."""
    images = network["image_encoder"](clip()[:1])
    grid = network["prompt_encoder"].get_dense_pe()
    results = []
    two_points = torch.tensor([[[50.0, 60.0], [10.0, 10.0]]]), torch.tensor([[1, 0]])
    box = torch.tensor([[20.0, 30.0, 90.0, 120.0]])
    for points, boxes, masks in ((None, box, None), (two_points, None, clip()[1:2, :1, ::4, ::4])):
        sparse, dense = network["prompt_encoder"](points=points, boxes=boxes, masks=masks)
        results += network["mask_decoder"](
            image_embeddings=images, image_pe=grid, sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense, multimask_output=True,
        )  # fmt: skip
    return results


def sam2():
    """SAM 2.1 for video, by the official configuration `sam2.1_hiera_t.yaml` with smaller numbers."""
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.transformer import RoPEAttention
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    wide = 128
    trunk = Hiera(
        embed_dim=8, num_heads=1, stages=(1, 1, 2, 1), global_att_blocks=(3,), window_spec=(8, 4, 4, 2),
        window_pos_embed_bkg_spatial_size=(7, 7),
    )  # fmt: skip
    sine = partial(PositionEmbeddingSine, normalize=True, scale=None, temperature=10000)
    neck = FpnNeck(sine(wide), wide, [64, 32, 16, 8], fpn_top_down_levels=[2, 3], fpn_interp_model="nearest")
    attention = partial(
        RoPEAttention, rope_theta=10000.0, feat_sizes=[8, 8], embedding_dim=wide, num_heads=1,
        downsample_rate=1, dropout=0.1,
    )  # fmt: skip
    layer = MemoryAttentionLayer(
        activation="relu", dim_feedforward=48, dropout=0.1, pos_enc_at_attn=False, self_attention=attention(),
        d_model=wide, pos_enc_at_cross_attn_keys=True, pos_enc_at_cross_attn_queries=False,
        cross_attention=attention(rope_k_repeat=True, kv_in_dim=64),
    )  # fmt: skip
    memory = MemoryEncoder(
        out_dim=64, mask_downsampler=MaskDownSampler(wide, 3, 2, 1), in_dim=wide, position_encoding=sine(64),
        fuser=Fuser(CXBlock(wide, 7, 3, layer_scale_init_value=1e-6, use_dwconv=True), 2),
    )  # fmt: skip
    stability = {"dynamic_multimask_via_stability": True, "dynamic_multimask_stability_delta": 0.05}
    return SAM2VideoPredictor(
        image_encoder=ImageEncoder(trunk, neck, scalp=1),
        memory_attention=MemoryAttention(wide, True, layer, 2), memory_encoder=memory,
        num_maskmem=7, image_size=128, sigmoid_scale_for_mem_enc=20.0, sigmoid_bias_for_mem_enc=-10.0,
        use_mask_input_as_output_without_sam=True, directly_add_no_mem_embed=True, no_obj_embed_spatial=True,
        use_high_res_features_in_sam=True, multimask_output_in_sam=True, iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True, add_tpos_enc_to_obj_ptrs=True, proj_tpos_enc_in_obj_ptrs=True,
        use_signed_tpos_enc_to_obj_ptrs=True, only_obj_ptrs_in_the_past_for_eval=True, pred_obj_scores=True,
        pred_obj_scores_mlp=True, fixed_no_obj_ptr=True, multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True, multimask_min_pt_num=0, multimask_max_pt_num=1,
        use_mlp_for_obj_ptr_proj=True, binarize_mask_from_pts_for_mem_enc=True,
        sam_mask_decoder_extra_args=stability | {"dynamic_multimask_stability_thresh": 0.98},
    ).eval()  # fmt: skip


def run_sam2(predictor):
    """Logits of every second frame, tracked back and forth from a box in frame 8; low resolution."""
    import sam2.sam2_video_predictor as module

    frames = clip()
    with mock.patch.object(module, "load_video_frames", return_value=(frames, 32, 32)):
        state = predictor.init_state("clip")
    predictor.add_new_points_or_box(state, 8, 1, box=np.array([5, 8, 22, 30], np.float32))
    found = {}
    for reverse in (True, False):
        for index, _, logits in predictor.propagate_in_video(state, 8, reverse=reverse):
            found[index] = logits[0, 0]
    return torch.stack([found[index] for index in range(0, len(frames), 2)])


def main():
    """Write both files beside this one."""
    stand_in("torchvision", "torchvision.ops", "torchvision.ops.boxes", "torchvision.transforms", "hydra")
    stand_in("torchvision.transforms.functional", "iopath", "iopath.common", "iopath.common.file_io")
    without_init("segment_anything")
    without_init("sam2")
    first, second = sam(), sam2()
    shapes = {"sam": first.state_dict(), "sam2": second.state_dict()}
    shapes = {name: {key: list(v.shape) for key, v in state.items()} for name, state in shapes.items()}
    first.load_state_dict(fill(shapes["sam"]))
    second.load_state_dict(fill(shapes["sam2"]))
    with torch.inference_mode():
        box, box_quality, points, points_quality = run_sam(first)
        video = run_sam2(second)
    # The official file also has these two, which the checkpoint's user subtracts and divides by.
    shapes["sam"] |= {"pixel_mean": [3, 1, 1], "pixel_std": [3, 1, 1]}
    (HERE / "official.json").write_text(json.dumps(shapes, indent=0) + "\n")
    arrays = {"box": box, "box_quality": box_quality, "points": points, "points_quality": points_quality}
    arrays["video"] = video
    for name, array in arrays.items():
        print(name, tuple(array.shape), f"{array.std():.3f}", f"{(array > 0).float().mean():.2f}")
    np.savez_compressed(HERE / "golden.npz", **{name: array.numpy() for name, array in arrays.items()})


if __name__ == "__main__":
    main()
