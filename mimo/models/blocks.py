"""The two transformer blocks of the denoiser, without the work whose result the reference throws away.

The functions take diffusers' modules as holders of parameters and compute what those would, on tokens kept
frame by frame, so that neither heads nor frames are ever moved in memory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor

from mimo.kernels.attention import (
    reference_attention,
    self_attention,
    shared_attention,
    temporal_attention,
)
from mimo.kernels.gating import gated_linear

# Values that go into a feed-forward at a time: its inner tensor is eight times as large.
_FEED_FORWARD_VALUES = 80_000_000


def limit_feed_forward(values: int) -> None:
    """Let so many values go into a feed-forward at a time, in this process: fewer take less memory."""
    global _FEED_FORWARD_VALUES
    _FEED_FORWARD_VALUES = values


class BlockCondition(NamedTuple):
    """What the character means to one spatial block, the same in every frame, step and window.

    Attributes:
        cross: (rows, 1, channels), result of the cross-attention: with a single token to look at, its softmax
            is 1, so the result is that token's value whatever the query says.
        bank_key, bank_value: (1, tokens, heads, dim), keys and values of the reference bank; None: no bank.
    """

    cross: Tensor
    bank_key: Tensor | None
    bank_value: Tensor | None


def block_condition(block: BasicTransformerBlock, tokens: Tensor, bank: Tensor | None) -> BlockCondition:
    """Precompute a spatial block's condition.

    Args:
        block: the denoiser's block.
        tokens: (rows, 1, cross_attention_dim), image embedding of each guidance row.
        bank: (1, bank tokens, channels), see `mimo.models.reference.ReferenceUNet.bank`.
    """
    cross = block.attn2.to_out[0](block.attn2.to_v(tokens))
    if bank is None:
        return BlockCondition(cross, None, None)
    attention = block.attn1
    keys, values = attention.to_k(bank), attention.to_v(bank)
    return BlockCondition(cross, _heads(keys, attention), _heads(values, attention))


def fuse_projections(attention: Attention) -> None:
    """Join the query, key and value weights, so that one matrix product does all three.

    The single weights are parts of the joined one from then on, not copies.
    """
    parts = (attention.to_q, attention.to_k, attention.to_v)
    weight = torch.cat([part.weight for part in parts]).detach()
    attention.register_buffer("qkv_weight", weight, persistent=False)
    for part, rows in zip(parts, weight.split([len(part.weight) for part in parts]), strict=True):
        part.weight.data = rows


def spatial(module: Transformer2DModel, x: Tensor, condition: BlockCondition, frames: int) -> Tensor:
    """Attention over a frame and the reference, and feed-forward.

    Args:
        module: the block's parameters.
        x: (rows * frames, channels, h, w), or (frames, channels, h, w) while the guidance rows are
            still equal.
        condition: of this block; its number of rows is that of the guidance.
        frames: frames in the window.

    Returns:
        (rows * frames, channels, h, w). Of two rows, the first is unconditional and sees only itself; a
        single row sees the bank if there is one.
    """
    height, width = x.shape[2:]
    block = module.transformer_blocks[0]
    tokens = _linear_1x1(module.proj_in, _tokens(module.norm(x)))
    normed = block.norm1(tokens)
    query, key, value = _project(block.attn1, normed)
    rows = len(condition.cross)
    attended = _attend(query, key, value, condition, frames)
    if len(x) < rows * frames:
        tokens, x = tokens.repeat(rows, 1, 1), x.repeat(rows, 1, 1, 1)
    out = torch.cat([block.attn1.to_out[0](part.flatten(2)) for part in attended])
    # The constant and the residual go in one pass.
    tokens = tokens + out + condition.cross.repeat_interleave(frames, 0)
    tokens = tokens + _feed_forward(block.ff, block.norm3(tokens))
    return x + _picture(_linear_1x1(module.proj_out, tokens), height, width)


def temporal(module: AnimateDiffTransformer3D, x: Tensor, frames: int) -> Tensor:
    """Motion module: each pixel attends over the window's frames, twice, then a feed-forward.

    MIMO normalises every frame by itself, diffusers' forward all frames together.

    Args:
        module: its parameters.
        x: (rows * frames, channels, h, w).
        frames: frames in the window.

    Returns:
        (rows * frames, channels, h, w), with the residual.
    """
    height, width = x.shape[2:]
    tokens = module.proj_in(_tokens(module.norm(x)))
    block = module.transformer_blocks[0]
    position = block.pos_embed.pe[0, :frames, None].to(x.dtype)
    for norm, attention in ((block.norm1, block.attn1), (block.norm2, block.attn2)):
        normed = norm(tokens).unflatten(0, (-1, frames)) + position
        attended = temporal_attention(*_project(attention, normed))
        tokens = tokens + attention.to_out[0](attended.flatten(3)).flatten(0, 1)
    tokens = tokens + _feed_forward(block.ff, block.norm3(tokens))
    return x + _picture(module.proj_out(tokens), height, width)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, condition: BlockCondition, frames: int
) -> list[Tensor]:
    """Attention of each guidance row, (frames, tokens, heads, dim) each; see `spatial`."""
    bank_key, bank_value = condition.bank_key, condition.bank_value
    rows = len(condition.cross)
    if bank_key is None or bank_value is None:
        alone = self_attention(query, key, value)
        return [alone] * rows if len(query) == frames else list(alone.split(frames))
    if rows == 1:
        return [reference_attention(query, key, value, bank_key, bank_value)]
    if len(query) == frames:
        return list(shared_attention(query, key, value, bank_key, bank_value).split(frames))
    first, second = slice(0, frames), slice(frames, None)
    return [
        self_attention(query[first], key[first], value[first]),
        reference_attention(query[second], key[second], value[second], bank_key, bank_value),
    ]


def _feed_forward(module: FeedForward, tokens: Tensor) -> Tensor:
    """Gated feed-forward, in parts of the batch when its inner tensor would be large."""
    parts = min(len(tokens), max(1, -(-tokens.numel() // _FEED_FORWARD_VALUES)))
    gate, out = module.net[0].proj, module.net[2]
    done = [out(gated_linear(part, gate.weight, gate.bias)) for part in tokens.chunk(parts)]
    return done[0] if parts == 1 else torch.cat(done)


def _project(attention: Attention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, (..., heads, dim) each."""
    fused = getattr(attention, "qkv_weight", None)
    if fused is None:
        parts = [attention.to_q(x), attention.to_k(x), attention.to_v(x)]
    else:
        parts = list(F.linear(x, fused).chunk(3, dim=-1))
    query, key, value = (_heads(part, attention) for part in parts)
    return query, key, value


def _heads(x: Tensor, attention: Attention) -> Tensor:
    return x.unflatten(-1, (attention.heads, -1))


def _tokens(x: Tensor) -> Tensor:
    """(n, c, h, w) → (n, h * w, c); no copy when channels are last in memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _picture(tokens: Tensor, height: int, width: int) -> Tensor:
    """(n, h * w, c) → (n, c, h, w), channels last in memory."""
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def _linear_1x1(module: torch.nn.Conv2d | torch.nn.Linear, tokens: Tensor) -> Tensor:
    """A 1x1 convolution as the matrix product it is."""
    return F.linear(tokens, module.weight.flatten(1), module.bias)
