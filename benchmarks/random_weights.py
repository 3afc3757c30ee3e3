"""A full-size MIMO pipeline with random weights, made on the device: for speed, memory and equality."""

from __future__ import annotations

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, DDIMScheduler
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from mimo.diffusion.checkpoints import SCHEDULER
from mimo.models.denoising import DenoisingUNet
from mimo.models.pose_guider import PoseGuider
from mimo.models.reference import ReferenceUNet
from mimo.pipeline import MimoPipeline

# The published configurations of Stable Diffusion 1.5's UNet, sd-vae-ft-mse and the image encoder.
UNET = {
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "downsample_padding": 1,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 256,
}
CLIP = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
# Parameters that end a residual branch; smaller, as training leaves them, to stay in fp16's range.
_BRANCH_ENDS = ("to_out.0.weight", "conv2.weight", "proj_out.weight", "net.2.weight")


def random_pipeline(
    device: torch.device, dtype: torch.dtype, seed: int = 0, unet: dict[str, object] | None = None
) -> MimoPipeline:
    """Build all networks with seeded random weights.

    Args:
        device, dtype: of the parameters; the values are drawn in float32 and then rounded.
        seed: of the weights.
        unet: other settings than the published ones of the UNets.
    """
    config = UNET | (unet or {})
    with init_empty_weights(include_buffers=False):
        parts = {
            "vae": AutoencoderKL.from_config(VAE),
            "image_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)),
            "reference_unet": ReferenceUNet.from_config(config),
            "denoising_unet": DenoisingUNet.from_config(DenoisingUNet.config_from(config)),
            "pose_guider": PoseGuider(config["block_out_channels"][0]),
        }
    generator = torch.Generator(device).manual_seed(seed)
    for part in parts.values():
        _fill(part, device, dtype, generator)
    pipeline = MimoPipeline(**parts, scheduler=DDIMScheduler(**SCHEDULER))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _fill(model: nn.Module, device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> None:
    for path, module in model.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            shape = parameter.shape
            if len(shape) < 2:
                constant = 1.0 if name == "weight" else 0.0
                value = torch.full(shape, constant, device=device)
            else:
                gain = 0.3 if f"{path}.{name}".endswith(_BRANCH_ENDS) else 1.0
                value = torch.randn(shape, device=device, generator=generator)
                value *= gain / shape[1:].numel() ** 0.5
            setattr(module, name, nn.Parameter(value.to(dtype), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device, dtype if buffer.is_floating_point() else buffer.dtype))
    model.eval()
