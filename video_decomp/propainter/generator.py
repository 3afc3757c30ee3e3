"""ProPainter's inpainting network: features, their propagation along flow, the transformer, pictures again
(Zhou et al., ICCV 2023, §3.2 and §3.3). The names are those of the published checkpoint."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from video_decomp.propainter.deformable import DeformableAlignment
from video_decomp.propainter.flow_completion import UpsampledConv
from video_decomp.propainter.transformer import KERNEL, PADDING, STRIDE, Compose, Split, Transformer
from video_decomp.propainter.warping import consistent, warp

REACH = 3
GROUPS = (1, 2, 4, 8, 1)


class Generator(nn.Module):
    """Fills what image propagation left, from neighbouring and from far frames.

    Args:
        channels: of the feature maps, a multiple of 16.
        dim, heads, hidden, depth: of the transformer; `hidden` a multiple of 49.
    """

    def __init__(
        self, channels: int = 128, dim: int = 512, heads: int = 4, hidden: int = 1960, depth: int = 8
    ) -> None:
        super().__init__()
        half = channels // 2
        self.encoder = _Encoder(channels)
        self.decoder = nn.Sequential(
            UpsampledConv(channels, channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, half, 3, 1, 1),
            nn.LeakyReLU(0.2),
            UpsampledConv(half, half),
            nn.LeakyReLU(0.2),
            nn.Conv2d(half, 3, 3, 1, 1),
        )
        self.ss, self.sc = Split(channels, dim), Compose(channels, dim)
        self.feat_prop_module = _Propagation(channels)
        self.transformers = Transformer(dim, heads, hidden, depth)

    def encode(self, frames: Tensor, holes: Tensor, left: Tensor) -> Tensor:
        """Features (t, channels, h / 4, w / 4) of frames.

        Args:
            frames: (t, 3, h, w) in -1..1, after image propagation; sides multiples of 8.
            holes, left: (t, 1, h, w), the holes and what image propagation left of them.
        """
        return self.encoder(torch.cat((frames, holes, left), dim=1))

    def forward(
        self, local: Tensor, distant: Tensor, forward: Tensor, backward: Tensor, holes: Tensor, left: Tensor
    ) -> Tensor:
        """Pictures of neighbouring frames, (l, 3, h, w) in -1..1.

        Args:
            local: features of the l neighbouring frames, from `encode`.
            distant: features of frames farther away (maybe none).
            forward, backward: completed flow between the neighbours, from `quartered_flow`.
            holes, left: of the neighbours, from `quartered_mask`.
        """
        size = (local.shape[2], local.shape[3])
        masks = torch.cat((holes, left), dim=1)
        local = self.feat_prop_module(local, forward, backward, masks)
        grid = F.max_pool2d(holes, KERNEL, STRIDE, PADDING)[:, 0]
        tokens = self.transformers(self.ss(torch.cat((local, distant))), size, grid)
        features = local + self.sc(tokens[: len(local)], size)
        return torch.cat([self.decoder(feature).tanh() for feature in features.split(1)])


def quartered_flow(flow: Tensor) -> Tensor:
    """Flow (t, 2, h, w) at the features' size and in their pixels, (t, 2, h / 4, w / 4)."""
    return F.interpolate(flow, scale_factor=0.25, mode="bilinear", align_corners=False) / 4


def quartered_mask(mask: Tensor) -> Tensor:
    """A mask (t, 1, h, w) at the features' size."""
    return F.interpolate(mask, scale_factor=0.25, mode="nearest")


class _Encoder(nn.Module):
    """Convolutions to a quarter of the size; the deep ones see the middle one's result again, in groups."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, twice = channels // 2, channels * 2
        plan = [(5, half, 2, 1), (half, half, 1, 1), (half, channels, 2, 1), (channels, twice, 1, 1)]
        before = 0
        for out, groups in zip(
            (3 * channels, 4 * channels, 3 * channels, twice, channels), GROUPS, strict=True
        ):
            plan.append((twice + before, out, 1, groups))
            before = out
        layers: list[nn.Module] = []
        for inputs, out, stride, groups in plan:
            layers += [nn.Conv2d(inputs, out, 3, stride, 1, groups=groups), nn.LeakyReLU(0.2)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        first, deep = self.layers[:8], self.layers[8:]
        for layer in first:
            x = layer(x)
        middle = x
        for index, (convolution, activation) in enumerate(zip(deep[::2], deep[1::2], strict=True)):
            if index:
                parts = (part.unflatten(1, (GROUPS[index], -1)) for part in (middle, x))
                x = torch.cat(tuple(parts), dim=2).flatten(1, 2)
            x = activation(convolution(x))
        return x


class _Propagation(nn.Module):
    """Carries features along completed flow, backward in time and then forward."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deform_align, self.backbone = nn.ModuleDict(), nn.ModuleDict()
        for way in ("backward_1", "forward_1"):
            self.deform_align[way] = DeformableAlignment(channels, 2 * channels + 5, channels, REACH)
            self.backbone[way] = _two_convolutions(channels)
        self.fuse = _two_convolutions(channels)

    def forward(self, x: Tensor, forward: Tensor, backward: Tensor, masks: Tensor) -> Tensor:
        """Features (l, c, h, w) with those of neighbours mixed in.

        Args:
            x: the features.
            forward, backward: flow at their size, (l - 1, 2, h, w).
            masks: (l, 2, h, w), the holes and what is left of them.
        """
        back = self._pass("backward_1", x.flip(0), forward.flip(0), backward.flip(0), masks.flip(0)).flip(0)
        ahead = self._pass("forward_1", back, backward, forward, masks)
        return self.fuse(torch.cat((back, ahead, masks), dim=1)) + x

    def _pass(self, way: str, x: Tensor, flow: Tensor, check: Tensor, masks: Tensor) -> Tensor:
        """One way through time.

        Args:
            way: names the weights.
            x, masks: in the order of the way.
            flow, check: from each frame but the first to the one before it on the way, and back.
        """
        results: list[Tensor] = []
        trusted = consistent(flow, check)
        for index, current in enumerate(x.split(1)):
            mask, carried = masks[index : index + 1], current
            if index:
                step = slice(index - 1, index)
                warped = warp(results[-1], flow[step])
                condition = torch.cat((current, warped, flow[step], trusted[step], mask), dim=1)
                carried = self.deform_align[way](results[-1], condition, flow[step])
            results.append(carried + self.backbone[way](torch.cat((current, carried, mask), dim=1)))
        return torch.cat(results)


def _two_convolutions(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2 * channels + 2, channels, 3, 1, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels, channels, 3, 1, 1),
    )
