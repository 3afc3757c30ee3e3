"""HMR2 (Goel et al. 2023) and HaMeR (Pavlakos et al. 2024): a crop to parameters of SMPL or MANO.

Both are a ViT and a decoder in which one token attends to the ViT's and is read out as joint rotations, shape
and a weak-perspective camera. Names of the tensors are those of the official checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import VitPoseBackbone

from mimo.stage import Rejected
from video_decomp.hmr2.backbone import config_of, empty_backbone, renamed, tokens
from video_decomp.hmr2.checkpoint import fill, part, read_state

MARGIN = 32  # columns at each side of the square crop that the backbone does not see
HEAD_WIDTH = 64
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Parameters:
    """What the network says about B crops.

    Attributes:
        rotations: (B, J, 3, 3) float32, of each joint in its parent's axes; the first from the model's axes
            (SMPL's) to the camera's.
        shape: (B, 10) float32.
        camera: (B, 3) float32, weak perspective in the crop: scale, and the body's place across and down.
    """

    rotations: Tensor
    shape: Tensor
    camera: Tensor


class Attention(nn.Module):
    """Multi-head attention whose keys and values come from other tokens, or from the token itself."""

    def __init__(self, width: int, heads: int, context: int | None) -> None:
        super().__init__()
        inner = heads * HEAD_WIDTH
        self.heads = heads
        if context is None:
            self.to_qkv = nn.Linear(width, 3 * inner, bias=False)
        else:
            self.to_kv = nn.Linear(context, 2 * inner, bias=False)
            self.to_q = nn.Linear(width, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, width))

    def forward(self, token: Tensor, context: Tensor | None) -> Tensor:
        """(B, 1, width) of a token (B, 1, width) and a context (B, N, C)."""
        if context is None:
            query, key, value = self.to_qkv(token).chunk(3, -1)
        else:
            query, (key, value) = self.to_q(token), self.to_kv(context).chunk(2, -1)
        split = [x.unflatten(-1, (self.heads, HEAD_WIDTH)).transpose(1, 2) for x in (query, key, value)]
        mixed = functional.scaled_dot_product_attention(*split)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers; numbered as in the checkpoints, where dropout stands between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width), nn.Identity()
        )

    def forward(self, token: Tensor, context: Tensor | None) -> Tensor:
        """(B, 1, width)."""
        return self.net(token)


class Normed(nn.Module):
    """A layer after its norm."""

    def __init__(self, width: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = layer

    def forward(self, token: Tensor, context: Tensor | None) -> Tensor:
        """(B, 1, width)."""
        return self.fn(self.norm(token), context)


class Decoder(nn.Module):
    """The token's way through the layers: itself, the picture's tokens, feed-forward."""

    def __init__(self, entry: int, width: int, depth: int, heads: int, hidden: int, context: int) -> None:
        super().__init__()
        self.to_token_embedding = nn.Linear(entry, width)
        self.pos_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    Normed(width, Attention(width, heads, None)),
                    Normed(width, Attention(width, heads, context)),
                    Normed(width, FeedForward(width, hidden)),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, entry: Tensor, context: Tensor) -> Tensor:
        """(B, width) of an entry (B, E) and the picture's tokens (B, N, C)."""
        token = self.to_token_embedding(entry[:, None]) + self.pos_embedding
        for own, across, forward in self.transformer.layers:  # type: ignore[union-attr]
            token = own(token, None) + token
            token = across(token, context) + token
            token = forward(token, None) + token
        return token[:, 0]


class Head(nn.Module):
    """Parameters as changes of the mean ones, read from the decoder's token."""

    def __init__(self, decoder: Decoder, width: int, joints: int, mean_pose: str) -> None:
        super().__init__()
        self.transformer = decoder
        self.decpose = nn.Linear(width, 6 * joints)
        self.decshape = nn.Linear(width, 10)
        self.deccam = nn.Linear(width, 3)
        self.mean_pose = mean_pose
        self.register_buffer(mean_pose, torch.zeros(1, 6 * joints))
        self.register_buffer("init_betas", torch.zeros(1, 10))
        self.register_buffer("init_cam", torch.zeros(1, 3))

    def forward(self, context: Tensor) -> Parameters:
        """Parameters of B crops from their tokens (B, N, C)."""
        mean = [self.get_buffer(name) for name in (self.mean_pose, "init_betas", "init_cam")]
        mean = [value.expand(len(context), -1) for value in mean]
        entry = torch.cat(mean, 1)
        if self.transformer.to_token_embedding.in_features == 1:
            entry = entry.new_zeros(len(context), 1)
        token = self.transformer(entry, context)
        pose, shape, camera = (
            layer(token) + value
            for layer, value in zip((self.decpose, self.decshape, self.deccam), mean, strict=True)
        )
        return Parameters(rotation_of_six(pose.unflatten(1, (-1, 6))), shape, camera)


def rotation_of_six(six: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from six numbers (..., 6) each.

    The first two columns, one after the other, made orthonormal (Zhou et al. 2019).
    """
    first, second = six.unflatten(-1, (2, 3)).unbind(-2)
    first = functional.normalize(first, dim=-1)
    second = functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


class MeshNetwork:
    """HMR2 or HaMeR, loaded.

    Args:
        path: official checkpoint.
        prefix: ``smpl_head.`` or ``mano_head.``.
        what: for messages.
        device, dtype: where the networks run, and the backbone's precision; the decoder keeps float32.

    Raises:
        Rejected: the file is not that checkpoint.
    """

    def __init__(self, path: Path, prefix: str, what: str, device: str, dtype: torch.dtype) -> None:
        state = read_state(path, what)
        backbone = part(state, "backbone.")
        self.backbone: VitPoseBackbone = empty_backbone(config_of(backbone, path, what))
        fill(self.backbone, renamed(backbone), path, what)
        head = part(state, prefix)
        self.head = empty_head(head, path, what)
        fill(self.head, head, path, what)
        self.device, self.dtype = torch.device(device), dtype
        self.backbone.to(self.device, dtype).eval()
        self.head.to(self.device, torch.float32).eval()

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> Parameters:
        """Parameters of crops (B, 3, 256, 256), see `normalised`."""
        seen = crops[..., MARGIN:-MARGIN].to(self.device, self.dtype)
        return self.head(tokens(self.backbone, seen).float())


def normalised(crops: list[np.ndarray], device: torch.device) -> Tensor:
    """Crops (h, w, 3) of 0..255 as a network's input (B, 3, h, w) float32 on the device."""
    if all(crop.dtype == np.uint8 for crop in crops):
        pixels = torch.from_numpy(np.stack(crops)).to(device).float()
    else:
        pixels = torch.from_numpy(np.stack([crop.astype(np.float32) for crop in crops])).to(device)
    mean = torch.tensor(MEAN, device=device)
    deviation = torch.tensor(DEVIATION, device=device)
    return ((pixels / 255 - mean) / deviation).permute(0, 3, 1, 2).contiguous()


def empty_head(state: Mapping[str, Tensor], path: Path, what: str) -> Head:
    """The head whose tensors these are, without its values.

    Raises:
        Rejected: they are no such head's.
    """
    layers = {
        int(found[1])
        for name in state
        if (found := re.match(r"transformer\.transformer\.layers\.(\d+)", name))
    }
    try:
        mean_pose = next(name for name in state if re.fullmatch(r"init_(body|hand)_pose", name))
        width, entry = state["transformer.to_token_embedding.weight"].shape
        first = "transformer.transformer.layers.0"
        inner, context = state[f"{first}.1.fn.to_kv.weight"].shape
        hidden = state[f"{first}.2.fn.net.0.weight"].shape[0]
    except (KeyError, StopIteration, ValueError) as error:
        raise Rejected(f"{path}: not {what}: its head is missing or of another kind ({error})") from error
    with torch.device("meta"):
        decoder = Decoder(entry, width, len(layers), inner // (2 * HEAD_WIDTH), hidden, context)
        return Head(decoder, width, state[mean_pose].shape[1] // 6, mean_pose)
