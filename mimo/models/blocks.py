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
from mimo.kernels.products import add_product, gated_linear

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


class _Sum:
    """A residual stream: a tensor to which products and their biases are added one after the other.

    In 16 bits all biases are in the tensor from the start: then only the products are left to add, which the
    library does in place, and whoever reads the tensor in between takes off the biases still to come. In
    float32 everything happens in the reference's order, for its rounding.

    Args:
        start: what the rest is added to, without the biases; in 16 bits with them if `biased`.
        biases: of the products, in order.
        biased: see `start`.
    """

    def __init__(self, start: Tensor, biases: list[Tensor], *, biased: bool = False) -> None:
        self._early, self._coming = _is_half(start), biases
        self._shift: Tensor | None = None
        self.tensor = start
        if self._early and not biased:
            self.tensor = (start + sum(biases)).contiguous()

    @property
    def value(self) -> Tensor:
        """The sum so far."""
        if not self._early:
            return self.tensor
        value = self.tensor - sum(self._coming) if self._coming else self.tensor
        return value if self._shift is None else value + self._shift

    def add(self, parts: list[Tensor], weight: Tensor) -> None:
        """Add the next product, of parts that lie one after the other."""
        bias, *self._coming = self._coming
        if self._early:
            add_product(self.tensor, parts, weight)
        else:
            product = [F.linear(part, weight, bias) for part in parts]
            self.tensor = self.tensor + (product[0] if len(parts) == 1 else torch.cat(product))

    def add_made(self, product: Tensor) -> None:
        """Add the next product, made elsewhere without its bias."""
        bias, *self._coming = self._coming
        self.tensor = self.tensor + (product if self._early else product + bias)

    def shift(self, constant: Tensor) -> None:
        """Add something; in 16 bits only to `value`, not to the tensor."""
        if self._early:
            self._shift = constant
        else:
            self.tensor = self.tensor + constant


def spatial(
    module: Transformer2DModel,
    x: Tensor,
    condition: BlockCondition,
    frames: int,
    following: AnimateDiffTransformer3D | None = None,
) -> Tensor:
    """Attention over a frame and the reference, and feed-forward.

    Args:
        module: the block's parameters.
        x: (rows * frames, channels, h, w), or (frames, channels, h, w) while the guidance rows are
            still equal.
        condition: of this block; its number of rows is that of the guidance.
        frames: frames in the window.
        following: motion module that gets the result with ``biased=True``.

    Returns:
        (rows * frames, channels, h, w). Of two rows, the first is unconditional and sees only itself; a
        single row sees the bank if there is one.
    """
    rows, size = len(condition.cross), x.shape[2:]
    block, last = module.transformer_blocks[0], module.proj_out
    cross, bias = condition.cross.repeat_interleave(frames, 0), last.bias
    if _is_half(x):
        # The tokens will lack the cross-attention's constant; what comes of it in the end is constant, too.
        bias = bias + F.linear(cross, last.weight.flatten(1))
        if following is not None:
            bias = bias + following.proj_out.bias
    parted = len(x) == rows * frames
    out = _Sum(_tokens(x if parted else x.repeat(rows, 1, 1, 1)), [bias])
    biases = [block.attn1.to_out[0].bias, block.ff.net[2].bias]
    tokens = _begin(module, _picture(out.value, *size) if parted else x, biases)
    query, key, value = _project(block.attn1, block.norm1(tokens.value))
    attended = _attend(query, key, value, condition, frames)
    if not parted:
        tokens.tensor = tokens.tensor.repeat(rows, 1, 1)
    tokens.add([part.flatten(2) for part in attended], block.attn1.to_out[0].weight)
    tokens.shift(cross)
    _add_feed_forward(tokens, block)
    out.add([tokens.tensor], last.weight.flatten(1))
    return _picture(out.tensor, *size)


def temporal(module: AnimateDiffTransformer3D, x: Tensor, frames: int, *, biased: bool = False) -> Tensor:
    """Motion module: each pixel attends over the window's frames, twice, then a feed-forward.

    MIMO normalises every frame by itself, diffusers' forward all frames together.

    Args:
        module: its parameters.
        x: (rows * frames, channels, h, w).
        frames: frames in the window.
        biased: x comes from `spatial`, which was told of this module: in 16 bits it has the bias of the last
            product, and is overwritten.

    Returns:
        (rows * frames, channels, h, w), with the residual.
    """
    block, last = module.transformer_blocks[0], module.proj_out
    out = _Sum(_tokens(x), [last.bias], biased=biased)
    biases = [block.attn1.to_out[0].bias, block.attn2.to_out[0].bias, block.ff.net[2].bias]
    tokens = _begin(module, _picture(out.value, *x.shape[2:]), biases)
    position = block.pos_embed.pe[0, :frames, None].to(x.dtype)
    for norm, attention in ((block.norm1, block.attn1), (block.norm2, block.attn2)):
        normed = norm(tokens.value).unflatten(0, (-1, frames)) + position
        attended = temporal_attention(*_project(attention, normed))
        tokens.add([attended.flatten(0, 1).flatten(2)], attention.to_out[0].weight)
    _add_feed_forward(tokens, block)
    out.add([tokens.tensor], last.weight)
    return _picture(out.tensor, *x.shape[2:])


def _begin(module: Transformer2DModel | AnimateDiffTransformer3D, x: Tensor, biases: list[Tensor]) -> _Sum:
    """A block's tokens (n, h * w, channels): group norm and first product of x; `biases` will be added."""
    bias = module.proj_in.bias + sum(biases) if _is_half(x) else module.proj_in.bias
    tokens = F.linear(_tokens(module.norm(x)), module.proj_in.weight.flatten(1), bias)
    return _Sum(tokens, biases, biased=True)


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


def _add_feed_forward(tokens: _Sum, block: BasicTransformerBlock) -> None:
    """Add a block's feed-forward, in 8 bits where `mimo.diffusion.quantisation.use_fp8` wants that."""
    normed = block.norm3(tokens.value)
    if getattr(block.ff, "use_8_bits", False):
        tokens.add_made(block.ff.in_8_bits(normed, _FEED_FORWARD_VALUES))
    else:
        tokens.add(*_feed_forward(block.ff, normed))


def _feed_forward(module: FeedForward, tokens: Tensor) -> tuple[list[Tensor], Tensor]:
    """Gated feed-forward up to its last product: what goes into that, by parts of the batch; its weight."""
    parts = min(len(tokens), max(1, -(-tokens.numel() // _FEED_FORWARD_VALUES)))
    gate = module.net[0].proj
    return [gated_linear(part, gate.weight, gate.bias) for part in tokens.chunk(parts)], module.net[2].weight


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


def _is_half(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)
