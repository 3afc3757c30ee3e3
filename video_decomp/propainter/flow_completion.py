"""Recurrent flow completion: optical flow inside a hole from the flow around it (ProPainter, §3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from video_decomp.propainter.deformable import DeformableAlignment

HALO = 8
"""Frames on either side that the encoder sees: four convolutions over time, two frames each way."""
FRAMES_AT_ONCE = 12
REACH = 5


class FlowCompletion(nn.Module):
    """Completes flow in a hole, with memory of the frames before and after.

    Args:
        channels: of the deepest features, a multiple of 16.
    """

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.downsample = nn.Sequential(
            nn.Conv3d(3, quarter, (1, 5, 5), (1, 2, 2), (0, 2, 2), padding_mode="replicate"),
            nn.LeakyReLU(0.2),
        )
        self.encoder1 = _encoder(quarter, half)
        self.encoder2 = _encoder(half, channels)
        dilated: list[nn.Module] = []
        for step in (3, 2, 1):
            dilation = (1, step, step)
            dilated += [
                nn.Conv3d(channels, channels, (1, 3, 3), 1, (0, step, step), dilation),
                nn.LeakyReLU(0.2),
            ]
        self.mid_dilation = nn.Sequential(*dilated)
        self.feat_prop_module = _Propagation(channels)
        self.decoder2 = _decoder(channels, half, nn.LeakyReLU(0.2))
        self.decoder1 = _decoder(half, quarter, nn.LeakyReLU(0.2))
        self.upsample = _decoder(quarter, 2)
        self.edgeDetector = _EdgeDetector()

    def complete(self, forward: Tensor, backward: Tensor, holes: Tensor) -> tuple[Tensor, Tensor]:
        """Flow with the holes filled, and unchanged around them.

        Args:
            forward, backward: (t, 2, h, w), pixels; sides multiples of 8.
            holes: (t + 1, 1, h, w) of 0 and 1, of the frames between which the flow is.

        Returns:
            Both, the same shapes and type.
        """
        ahead = self(forward * (1 - holes[:-1]), holes[:-1])
        back = self((backward * (1 - holes[1:])).flip(0), holes[1:].flip(0)).flip(0)
        return (
            ahead * holes[:-1] + forward * (1 - holes[:-1]),
            back * holes[1:] + backward * (1 - holes[1:]),
        )

    def forward(self, flow: Tensor, holes: Tensor) -> Tensor:
        """The network's flow everywhere, (t, 2, h, w).

        Args:
            flow: (t, 2, h, w), zero in the holes.
            holes: (t, 1, h, w).
        """
        skipped, features = self._encode(torch.cat((flow, holes), dim=1))
        features = self.feat_prop_module(features)
        parts = zip(features.split(FRAMES_AT_ONCE), skipped.split(FRAMES_AT_ONCE), strict=True)
        return torch.cat([self.upsample(self.decoder1(self.decoder2(x) + skip)) for x, skip in parts])

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features at a quarter (t, 64, ...) and at an eighth (t, 128, ...) of the size.

        Piece by piece over time, each with as many frames around it as it sees: the same numbers as at once.
        """
        quarter, eighth = [], []
        for start in range(0, len(x), FRAMES_AT_ONCE):
            stop = min(start + FRAMES_AT_ONCE, len(x))
            first, last = max(0, start - HALO), min(len(x), stop + HALO)
            own = slice(start - first, stop - first)
            part = x[first:last].transpose(0, 1)[None]
            middle = self.encoder1(self.downsample(part))
            quarter.append(middle[0].transpose(0, 1)[own])
            deep = self.mid_dilation(self.encoder2(middle)[:, :, own])
            eighth.append(deep[0].transpose(0, 1))
        return torch.cat(quarter), torch.cat(eighth)


def _encoder(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        _Separable(channels, channels, 1), nn.LeakyReLU(0.2), _Separable(channels, out, 2), nn.LeakyReLU(0.2)
    )


class _Separable(nn.Module):
    """A convolution over the picture, then one over time (P3D, Qiu et al. 2017)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv3d(channels, out, (1, 3, 3), (1, stride, stride), (0, 1, 1)), nn.LeakyReLU(0.2)
        )
        self.conv2 = nn.Sequential(nn.Conv3d(out, out, (3, 1, 1), 1, (2, 0, 0), (2, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class UpsampledConv(nn.Module):
    """Twice the size, then a 3x3 convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(t, channels, h, w) → (t, out, 2 h, 2 w)."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


def _decoder(channels: int, out: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, 1, 1), nn.LeakyReLU(0.2), UpsampledConv(channels, out), *last
    )


class _Propagation(nn.Module):
    """Carries features through time, backward and then forward, aligned by deformable convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deform_align, self.backbone = nn.ModuleDict(), nn.ModuleDict()
        for inputs, way in ((2, "backward_"), (3, "forward_")):
            self.deform_align[way] = DeformableAlignment(2 * channels, 3 * channels, channels, REACH)
            self.backbone[way] = nn.Sequential(
                nn.Conv2d(inputs * channels, channels, 3, 1, 1),
                nn.LeakyReLU(0.1),
                nn.Conv2d(channels, channels, 3, 1, 1),
            )
        self.fusion = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (t, c, h, w) with those of other times mixed in."""
        backward = self._pass("backward_", x.flip(0), None).flip(0)
        forward = self._pass("forward_", x, backward)
        parts = zip(backward.split(FRAMES_AT_ONCE), forward.split(FRAMES_AT_ONCE), strict=True)
        return torch.cat([self.fusion(torch.cat(part, dim=1)) for part in parts]) + x

    def _pass(self, way: str, x: Tensor, other: Tensor | None) -> Tensor:
        """One way through time; `other` are the results of the other way, in the same order as `x`."""
        results: list[Tensor] = []
        nothing = torch.zeros_like(x[:1])
        for index, current in enumerate(x.split(1)):
            carried = nothing
            if index:
                before, earlier = results[-1], results[-2] if index > 1 else nothing
                condition = torch.cat((before, current, earlier), dim=1)
                carried = self.deform_align[way](torch.cat((before, earlier), dim=1), condition)
            known = [current] if other is None else [current, other[index : index + 1]]
            results.append(carried + self.backbone[way](torch.cat((*known, carried), dim=1)))
        return torch.cat(results)


class _EdgeDetector(nn.Module):
    """Edges of the flow, a training target only: its weights stand in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Sequential(nn.Conv2d(2, 16, 3, 1, 1), nn.LeakyReLU(0.2))
        self.mid_layer_1 = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.LeakyReLU(0.2))
        self.mid_layer_2 = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1))
        self.out_layer = nn.Conv2d(16, 1, 1)
