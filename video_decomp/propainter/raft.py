"""RAFT, optical flow by recurrent lookups in all-pairs correlations (Teed & Deng, ECCV 2020).

The basic network with the names of the published checkpoints. As ProPainter uses it: frames come in -1..1
and are not normalised again.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ITERATIONS = 20
LEVELS = 4
RADIUS = 4
HIDDEN = 128


class RAFT(nn.Module):
    """Flow between two frames, to a quarter of a pixel and better with trained weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = _Encoder(256, nn.InstanceNorm2d)
        self.cnet = _Encoder(2 * HIDDEN, nn.BatchNorm2d)
        self.update_block = _Update()

    def forward(self, frames: Tensor, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
        """Flow of a run of frames, both ways.

        Args:
            frames: (t, 3, h, w) in -1..1, sides multiples of 8 and at least 128: else the
                coarsest correlations are a single pixel, which cannot be interpolated.
            iterations: updates; more are more exact.

        Returns:
            Forward and backward flow, (t - 1, 2, h, w) float32 each: pixels right and down, from a frame to
            the next and back.
        """
        pairs = list(self.pairs(iter(frames), iterations))
        return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])

    def pairs(self, frames: Iterator[Tensor], iterations: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As `forward`, pair by pair: (2, h, w) forward and backward; a frame is encoded only once."""
        before: tuple[Tensor, Tensor] | None = None
        for frame in frames:
            # Similarities and places stay in float32 when the networks' parameters are float16.
            encoded = self.fnet(frame[None]).float(), self.cnet(frame[None])
            if before is not None:
                correlations = _correlations(before[0], encoded[0])
                forward = self._flow(_Lookup(correlations), before[1], iterations)
                height, width = encoded[0].shape[-2:]
                turned = correlations.view(height * width, -1).T.reshape_as(correlations)
                del correlations
                yield forward, self._flow(_Lookup(turned), encoded[1], iterations)
            before = encoded

    def _flow(self, lookup: _Lookup, context: Tensor, iterations: int) -> Tensor:
        state, context = context.split([HIDDEN, HIDDEN], dim=1)
        state, context = state.tanh(), context.relu()
        height, width = state.shape[-2:]
        rows = torch.arange(height, device=state.device, dtype=torch.float32)
        columns = torch.arange(width, device=state.device, dtype=torch.float32)
        start = torch.stack((columns.expand(height, -1), rows[:, None].expand(-1, width)))[None]
        target = start
        for _ in range(iterations):
            seen, moved = lookup(target).to(state.dtype), (target - start).to(state.dtype)
            state, change = self.update_block(state, context, seen, moved)
            target = target + change.float()
        # Only the last update's upsampling weights are used.
        weights = 0.25 * self.update_block.mask(state).float()
        return _upsample(target - start, weights)[0]


def _correlations(first: Tensor, second: Tensor) -> Tensor:
    """Similarity of every place of a feature map (1, c, h, w) to all of another: (h * w, 1, h, w)."""
    channels, height, width = first.shape[1:]
    product = first[0].flatten(1).T @ second[0].flatten(1)
    return (product / channels**0.5).view(height * width, 1, height, width)


class _Lookup:
    """Reads windows around places out of correlations and their coarser copies."""

    def __init__(self, correlations: Tensor) -> None:
        self._pyramid = [correlations]
        for _ in range(LEVELS - 1):
            self._pyramid.append(F.avg_pool2d(self._pyramid[-1], 2, stride=2))
        device = correlations.device
        sizes = [(values.shape[-1] - 1, values.shape[-2] - 1) for values in self._pyramid]
        self._limits = torch.tensor(sizes, device=device, dtype=torch.float32)
        side = torch.arange(-RADIUS, RADIUS + 1, device=device, dtype=torch.float32)
        # The published networks were trained with windows that run down the columns first.
        self._window = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=-1)

    def __call__(self, target: Tensor) -> Tensor:
        """Correlations around places (1, 2, h, w), right and down: (1, levels * 81, h, w) float32."""
        height, width = target.shape[-2:]
        places = target[0].permute(1, 2, 0).reshape(-1, 1, 1, 2)
        found = []
        for level, values in enumerate(self._pyramid):
            grid = 2 * (places / 2**level + self._window) / self._limits[level] - 1
            found.append(F.grid_sample(values, grid, align_corners=True).view(height, width, -1))
        return torch.cat(found, dim=-1).permute(2, 0, 1)[None]


def _upsample(flow: Tensor, weights: Tensor) -> Tensor:
    """Eightfold, each pixel a convex mix of nine coarse vectors.

    Args:
        flow: (1, 2, h, w).
        weights: (1, 9 * 64, h, w), before the softmax over the nine.
    """
    height, width = flow.shape[-2:]
    shares = weights.view(1, 1, 9, 8, 8, height, width).softmax(dim=2)
    around = F.unfold(8 * flow, 3, padding=1).view(1, 2, 9, 1, 1, height, width)
    fine = (shares * around).sum(dim=2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(1, 2, 8 * height, 8 * width)


class _Encoder(nn.Module):
    """Residual network to an eighth of the size."""

    def __init__(self, out: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.norm1 = norm(64)
        self.layer1 = nn.Sequential(_Residual(64, 64, 1, norm), _Residual(64, 64, 1, norm))
        self.layer2 = nn.Sequential(_Residual(64, 96, 2, norm), _Residual(96, 96, 1, norm))
        self.layer3 = nn.Sequential(_Residual(96, 128, 2, norm), _Residual(128, 128, 1, norm))
        self.conv2 = nn.Conv2d(128, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x)).relu()
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class _Residual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1)
        self.norm1, self.norm2 = norm(out), norm(out)
        self.downsample = None
        if stride != 1:
            # The published files hold this norm under both names.
            self.norm3 = norm(out)
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y)).relu()
        return ((x if self.downsample is None else self.downsample(x)) + y).relu()


class _Update(nn.Module):
    """One step: what the correlations say, a recurrent state, a change of the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Motion()
        self.gru = _Recurrence(2 * HIDDEN)
        self.flow_head = _FlowHead()
        self.mask = nn.Sequential(nn.Conv2d(HIDDEN, 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 64 * 9, 1))

    def forward(
        self, state: Tensor, context: Tensor, correlations: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        motion = self.encoder(flow, correlations)
        state = self.gru(state, torch.cat((context, motion), dim=1))
        return state, self.flow_head(state)


class _Motion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, 1, 1)
        self.convf1 = nn.Conv2d(2, 128, 7, 1, 3)
        self.convf2 = nn.Conv2d(128, 64, 3, 1, 1)
        self.conv = nn.Conv2d(64 + 192, HIDDEN - 2, 3, 1, 1)

    def forward(self, flow: Tensor, correlations: Tensor) -> Tensor:
        seen = self.convc2(self.convc1(correlations).relu()).relu()
        moved = self.convf2(self.convf1(flow).relu()).relu()
        both = self.conv(torch.cat((seen, moved), dim=1)).relu()
        return torch.cat((both, flow), dim=1)


class _Recurrence(nn.Module):
    """Gated recurrent unit of convolutions along rows, then along columns."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        for name, kernel, padding in (("1", (1, 5), (0, 2)), ("2", (5, 1), (2, 0))):
            for gate in ("z", "r", "q"):
                layer = nn.Conv2d(HIDDEN + inputs, HIDDEN, kernel, padding=padding)
                self.add_module(f"conv{gate}{name}", layer)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        for name in ("1", "2"):
            update, reset, candidate = (self.get_submodule(f"conv{gate}{name}") for gate in "zrq")
            both = torch.cat((state, x), dim=1)
            share = update(both).sigmoid()
            proposed = candidate(torch.cat((reset(both).sigmoid() * state, x), dim=1)).tanh()
            state = (1 - share) * state + share * proposed
        return state


class _FlowHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, 1, 1)
        self.conv2 = nn.Conv2d(256, 2, 3, 1, 1)

    def forward(self, state: Tensor) -> Tensor:
        return self.conv2(self.conv1(state).relu())
