"""ProPainter's mask-guided sparse video transformer (§3.3): attention only in windows that touch the hole.

Tokens are (t, h, w, c). In windows with hole, all frames ask every second frame; elsewhere each window looks
at itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = (5, 9)
POOL = 4
KERNEL, STRIDE, PADDING = 7, 3, 3
TAPS = KERNEL**2
FRAMES_AT_ONCE = 4
WINDOWS_AT_ONCE = 24


class Split(nn.Module):
    """Overlapping patches of a feature map become tokens."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(TAPS * channels, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(t, channels, h, w) → (t, h', w', dim)."""
        weight = self.embedding.weight.unflatten(1, (x.shape[1], KERNEL, KERNEL))
        tokens = F.conv2d(x, weight, self.embedding.bias, STRIDE, PADDING)
        return tokens.permute(0, 2, 3, 1).contiguous()


class Compose(nn.Module):
    """Tokens become overlapping patches of a feature map, which add up."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(dim, TAPS * channels)
        self.bias_conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(t, h', w', dim) → (t, channels, *size)."""
        parts = tokens.split(FRAMES_AT_ONCE)
        return self.bias_conv(torch.cat([_add_patches(self.embedding(part), size) for part in parts]))


class FeedForward(nn.Module):
    """A feed-forward whose hidden tokens are patches, averaged where they overlap (FuseFormer)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Sequential(nn.Linear(dim, hidden))
        self.fc2 = nn.Sequential(nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(t, h', w', dim), both ways; `size` of the feature map the tokens were split from."""
        count = _add_patches(tokens.new_ones(1, *tokens.shape[1:3], TAPS), size)
        results = []
        for part in tokens.split(FRAMES_AT_ONCE):
            mean = _add_patches(self.fc1(part), size) / count
            # The activation commutes with cutting patches, zeros at the border included.
            patches = F.unfold(self.fc2[0](mean), KERNEL, padding=PADDING, stride=STRIDE)
            results.append(self.fc2[1](patches.transpose(1, 2)).view(part.shape))
        return torch.cat(results)


def _add_patches(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """(t, h', w', taps * c) → (t, c, *size)."""
    columns = patches.flatten(1, 2).transpose(1, 2)
    return F.fold(columns, size, KERNEL, padding=PADDING, stride=STRIDE)


@dataclass(frozen=True)
class Places:
    """Numbers of the tokens (in row-major order of the padded grid) of windows.

    Attributes:
        plain: windows without hole, (windows, 45).
        holed: windows with hole, (windows, 45).
        seen: the same windows and the ring around each, (windows, 45 + 148).
    """

    plain: Tensor
    holed: Tensor
    seen: Tensor

    @classmethod
    def of(cls, holes: Tensor) -> Places:
        """From the hole on the tokens' grid, (l, h', w'); any frame's counts."""
        padded = F.pad(holes, (0, -holes.shape[2] % WINDOW[1], 0, -holes.shape[1] % WINDOW[0]))
        holed = _holed_windows(padded)
        own, around = _all_places(padded.shape[1], padded.shape[2])
        seen = torch.cat((own, around), dim=1)[holed]
        return cls(*(part.to(holes.device) for part in (own[~holed], own[holed], seen)))


def _holed_windows(holes: Tensor) -> Tensor:
    """(windows,) bool, in row-major order, on the CPU."""
    return (F.max_pool2d(holes[:, None].float(), WINDOW) > 0).any(dim=0).flatten().cpu()


@cache
def _all_places(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Numbers of the tokens of every window (windows, 45) and of the ring around it (windows, 148).

    The ring is cut out of the map rolled to its four corners, so it goes round the map's borders.
    """
    at = torch.arange(rows * columns, device="cpu").view(rows, columns)
    down, right = ((side + 1) // 2 for side in WINDOW)
    corners = ((-down, -right), (-down, right), (down, -right), (down, right))
    rolled = [_windows(at.roll(corner, (0, 1))) for corner in corners]
    return _windows(at), torch.cat(rolled, dim=1)[:, _ring()]


class WindowAttention(nn.Module):
    """Attention of windows of 5x9 tokens to themselves, the ring around them and coarse tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.key, self.query, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.pool_layer = nn.Conv2d(dim, dim, POOL, POOL, groups=dim)
        # A constant that stands in the published files.
        self.register_buffer("valid_ind_rolled", _ring())

    def forward(self, x: Tensor, places: Places, times: slice) -> Tensor:
        """Attention within a clip.

        Args:
            x: (t, h, w, dim).
            places: the windows.
            times: frames that windows with hole look at.

        Returns:
            The same shape as `x`.
        """
        rows, columns = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -columns % WINDOW[1], 0, -rows % WINDOW[0]))
        tokens = x.flatten(1, 2)
        query, key, value = self.query(tokens), self.key(tokens), self.value(tokens)
        result = torch.empty_like(query)
        if len(places.plain):
            own = (part[:, places.plain].flatten(0, 1) for part in (query, key, value))
            result[:, places.plain.flatten()] = self._attend(*own).view(len(x), -1, x.shape[-1])
        coarse = self.pool_layer(x[times].permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        coarse_key, coarse_value = self.key(coarse), self.value(coarse)
        for start in range(0, len(places.holed), WINDOWS_AT_ONCE):
            asking, seen = (part[start : start + WINDOWS_AT_ONCE] for part in (places.holed, places.seen))
            windows = len(asking)
            answer = self._attend(
                _joined(query[:, asking]),
                torch.cat((_joined(key[times][:, seen]), _repeated(coarse_key, windows)), dim=1),
                torch.cat((_joined(value[times][:, seen]), _repeated(coarse_value, windows)), dim=1),
            )
            answer = answer.unflatten(1, (len(x), -1)).transpose(0, 1)
            result[:, asking.flatten()] = answer.flatten(1, 2)
        return self.proj(result.unflatten(1, x.shape[1:3])[:, :rows, :columns])

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Softmax attention, (windows, tokens, dim) each: the fast kernels take no further dimension."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def _windows(at: Tensor) -> Tensor:
    """(rows, columns) → (windows, tokens of a window)."""
    parts = at.unflatten(1, (-1, WINDOW[1])).unflatten(0, (-1, WINDOW[0]))
    return parts.transpose(1, 2).flatten(2).flatten(0, 1)


def _ring() -> Tensor:
    """Which tokens of a window rolled to its four corners lie outside of the window itself."""
    down, right = ((side + 1) // 2 for side in WINDOW)
    kept = np.ones((4, *WINDOW), bool)
    for corner, (rows, columns) in enumerate(
        (rows, columns)
        for rows in (slice(None, -down), slice(down, None))
        for columns in (slice(None, -right), slice(right, None))
    ):
        kept[corner, rows, columns] = False
    return torch.from_numpy(np.flatnonzero(kept))


def _joined(tokens: Tensor) -> Tensor:
    """All frames of a window in one row: (t, windows, n, c) → (windows, t * n, c)."""
    return tokens.transpose(0, 1).flatten(1, 2)


def _repeated(tokens: Tensor, windows: int) -> Tensor:
    """The same tokens of all frames for every window: (t, n, c) → (windows, t * n, c)."""
    return tokens.flatten(0, 1).expand(windows, -1, -1)


class Block(nn.Module):
    """Attention and feed-forward, each beside the identity."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads)
        self.mlp = FeedForward(dim, hidden)

    def forward(self, x: Tensor, size: tuple[int, int], places: Places, times: slice) -> Tensor:
        """See `Transformer.forward` and `WindowAttention.forward`."""
        x = x + self.attention(self.norm1(x), places, times)
        return x + self.mlp(self.norm2(x), size)


class Transformer(nn.Module):
    """Blocks that look at even and odd frames in turn."""

    def __init__(self, dim: int, heads: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.transformer = nn.Sequential(*(Block(dim, heads, hidden) for _ in range(depth)))

    def forward(self, x: Tensor, size: tuple[int, int], holes: Tensor) -> Tensor:
        """Tokens (t, h', w', dim), both ways.

        Args:
            x: the tokens.
            size: height and width of the feature map they were split from.
            holes: (l, h', w') hole of the frames to be filled, on the tokens' grid.
        """
        places = Places.of(holes)
        for index, block in enumerate(self.transformer):
            x = block(x, size, places, slice(index % 2, None, 2))
        return x
