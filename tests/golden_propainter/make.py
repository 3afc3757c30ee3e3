"""Makes ``golden.npz``: what the published networks compute, by an independent implementation of them.

    pip install --no-deps pytorchcv==0.0.74     # in an environment of its own; torch, numpy, requests besides
    python -m tests.golden_propainter.make       # from the repository's root

pytorchcv (MIT) holds ProPainter's networks under other names. Its networks get the weights of
`tests.propainter_material` by renaming and compute in float32 on the CPU. It needs one class of torchvision,
which is defined here, plainly, by its documentation. The loop over the clip is the released inference's, for
a clip of one sub-video, but for pixels that are not cut to 8 bits at every blend.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests import propainter_material as material

NEIGHBOURS, REFERENCE_STRIDE = 3, 4
"""Of the whole clip, which is short and must have references too; 5 and 10 as released."""
CLIP_ITERATIONS = 3


class DeformConv2d(nn.Module):
    """torchvision's layer of this name, 3x3 with padding 1, by explicit sums over corners and taps."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int) -> None:
        super().__init__()
        assert (kernel_size, padding) == (3, 1)
        self.in_channels, self.kernel_size = in_channels, (3, 3)
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        count, channels, height, width = input.shape
        groups = mask.shape[1] // 9
        result = self.bias[None, :, None, None].expand(count, -1, height, width).clone()
        rows = torch.arange(height)[:, None].float()
        columns = torch.arange(width)[None].float()
        for tap in range(9):
            sampled = []
            for group in range(groups):
                index = group * 9 + tap
                y = rows + tap // 3 - 1 + offset[:, 2 * index]
                x = columns + tap % 3 - 1 + offset[:, 2 * index + 1]
                own = input[:, group * channels // groups : (group + 1) * channels // groups]
                sampled.append(_bilinear(own, y, x) * mask[:, index : index + 1])
            weight = self.weight[:, :, tap // 3, tap % 3]
            result += torch.einsum("oc,nchw->nohw", weight, torch.cat(sampled, dim=1))
        return result


def _bilinear(x: Tensor, y_at: Tensor, x_at: Tensor) -> Tensor:
    count, _, height, width = x.shape
    total = torch.zeros_like(x)
    for corner in range(4):
        row, column = y_at.floor() + corner // 2, x_at.floor() + corner % 2
        share = (1 - (y_at - row).abs()) * (1 - (x_at - column).abs())
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        places = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        values = x.flatten(2).gather(2, places.view(count, 1, -1).expand(-1, x.shape[1], -1))
        total += values.view_as(x) * (share * inside)[:, None]
    return total


def import_networks() -> types.SimpleNamespace:
    """pytorchcv's networks and functions, without torchvision."""
    operators = types.ModuleType("torchvision.ops")
    operators.DeformConv2d = DeformConv2d  # type: ignore[attr-defined]
    sys.modules["torchvision"] = types.ModuleType("torchvision")
    sys.modules["torchvision.ops"] = operators
    from pytorchcv.models.propainter import propainter
    from pytorchcv.models.propainter_ip import propainter_ip
    from pytorchcv.models.propainter_rfc import (
        calc_bidirectional_opt_flow_completion_by_pprfc,
        propainter_rfc,
    )
    from pytorchcv.models.raft import calc_bidirectional_optical_flow_on_video_by_raft, raft_things

    files = iter(material.NETWORKS.values())
    return types.SimpleNamespace(
        raft=_loaded(raft_things(in_normalize=False, iters=20), *next(files), raft_name),
        completion=_loaded(propainter_rfc(), *next(files), completion_name),
        generator=_loaded(propainter(), *next(files), generator_name),
        propagation=propainter_ip().eval(),
        flow=calc_bidirectional_optical_flow_on_video_by_raft,
        complete=calc_bidirectional_opt_flow_completion_by_pprfc,
    )


def _loaded(network: nn.Module, ours: type, seed: int, rename: Callable[[str], str | None]) -> nn.Module:
    state = {rename(key): value for key, value in material.random_state(ours(), seed).items()}
    state.pop(None, None)
    network.load_state_dict(state, strict=True)
    return network.eval()


def raft_name(key: str) -> str | None:
    if "norm3." in key:
        return None
    net, _, rest = key.partition(".")
    if net in ("fnet", "cnet"):
        rest = re.sub(r"^conv1\.", "features.init_block.conv.", rest)
        rest = re.sub(r"^norm1\.", "features.init_block.bn.", rest)
        rest = re.sub(r"^conv2\.", "features.final_block.", rest)
        found = re.match(r"layer(\d)\.(\d)\.(.*)", rest)
        if found:
            stage, unit, rest = found.groups()
            rest = re.sub(r"^conv(\d)\.", r"body.conv\1.conv.", rest)
            rest = re.sub(r"^norm(\d)\.", r"body.conv\1.bn.", rest)
            rest = rest.replace("downsample.0.", "identity_conv.conv.").replace(
                "downsample.1.", "identity_conv.bn."
            )
            rest = f"features.stage{stage}.unit{int(unit) + 1}.{rest}"
        return f"{net}.{rest}"
    for pattern, name in (
        (r"encoder\.convc(\d)\.", r"encoder.conv_corr.conv_list.conv\1.conv."),
        (r"encoder\.convf(\d)\.", r"encoder.conv_flow.conv_list.conv\1.conv."),
        (r"encoder\.conv\.", r"encoder.conv_out.conv."),
        (r"gru\.conv([zrq])1\.", r"gru.horizontal_gru.conv_\1.conv."),
        (r"gru\.conv([zrq])2\.", r"gru.vertical_gru.conv_\1.conv."),
        (r"flow_head\.conv1\.", "flow_head.conv1.conv."),
        (r"mask\.0\.", "mask.conv1.conv."),
        (r"mask\.2\.", "mask.conv2."),
    ):
        key = re.sub(pattern, name, key)
    return key


def _propagation_name(key: str) -> str:
    key = re.sub(r"(deform_align\.\w+?)\.(weight|bias)$", r"\1.deform_conv.\2", key)
    key = re.sub(r"conv_offset\.(\d)\.", lambda m: f"conv_offset.conv{int(m[1]) // 2 + 1}.conv.", key)
    return re.sub(r"(backbone\.\w+|fuse)\.(\d)\.", lambda m: f"{m[1]}.conv{int(m[2]) // 2 + 1}.conv.", key)


def completion_name(key: str) -> str | None:
    if key.startswith("edgeDetector"):
        key = key.replace("projection.0", "proj.conv").replace("out_layer", "out_conv")
        return re.sub(r"mid_layer_(\d)\.0", r"res_unit.body.conv\1.conv", key)
    if key.startswith("feat_prop_module"):
        return "hg.skip_seq.skip4." + _propagation_name(key)
    for pattern, name in (
        (r"^downsample\.0\.", lambda m: "hg.down_seq.down1.conv.conv."),
        (
            r"^encoder(\d)\.(\d)\.conv(\d)\.0\.",
            lambda m: f"hg.down_seq.down{int(m[1]) + 1}.block{int(m[2]) // 2 + 1}.conv{m[3]}.conv.",
        ),
        (
            r"^mid_dilation\.(\d)\.",
            lambda m: f"hg.skip_seq.skip4.mid_dilation.conv{int(m[1]) // 2 + 1}.conv.",
        ),
        (r"^decoder(\d)\.0\.", lambda m: f"hg.up_seq.up{int(m[1]) + 1}.conv1.conv."),
        (r"^decoder(\d)\.2\.conv\.", lambda m: f"hg.up_seq.up{int(m[1]) + 1}.conv2.conv."),
        (r"^upsample\.0\.", lambda m: "hg.up_seq.up1.conv1.conv."),
        (r"^upsample\.2\.conv\.", lambda m: "hg.up_seq.up1.conv2.conv."),
    ):
        key = re.sub(pattern, name, key)
    return key


def generator_name(key: str) -> str | None:
    if key.startswith("feat_prop_module"):
        return _propagation_name(key)
    key = re.sub(r"^encoder\.layers\.(\d+)\.", lambda m: f"encoder.layers.{int(m[1]) // 2}.conv.", key)
    for old, new in (
        ("decoder.0.conv.", "unit1.conv1"),
        ("decoder.2.", "unit1.conv2"),
        ("decoder.4.conv.", "unit2.conv1"),
        ("decoder.6.", "unit2.conv2"),
    ):
        key = key.replace(old, f"decoder.{new}.conv.")
    return key


def whole_clip(networks: types.SimpleNamespace, frames: Tensor, holes: Tensor) -> dict[str, Tensor]:
    """The released inference on a clip that fits into one sub-video; `pixels` are 0..255, unrounded."""
    networks.raft.iters = CLIP_ITERATIONS
    flow = networks.flow(networks.raft, frames)
    completed, _ = networks.complete(networks.completion, flow, torch.cat((holes[:-1], holes[1:]), dim=1))
    found, left = networks.propagation(frames, holes, completed)
    updated = frames * (1 - holes) + found * holes
    results: dict[int, Tensor] = {}
    count = len(frames)
    for middle in range(0, count, NEIGHBOURS):
        near = list(range(max(0, middle - NEIGHBOURS), min(count, middle + NEIGHBOURS + 1)))
        seen = near + [i for i in range(0, count, REFERENCE_STRIDE) if i not in near]
        pictures = networks.generator(
            updated[seen][None], left[seen][None], holes[seen][None], completed[near[:-1]][None], len(near)
        )[0]
        for picture, index in zip((pictures + 1) / 2 * 255, near, strict=True):
            results[index] = 0.5 * results[index] + 0.5 * picture if index in results else picture
    return {"left": left, "pixels": torch.stack([results[i] for i in range(count)]) * holes}


def main() -> None:
    networks = import_networks()
    golden: dict[str, Tensor] = {}
    frames, holes = material.clip(2, 128, 136)
    golden["raft"] = networks.flow(networks.raft, frames)
    frames, holes = material.clip(7, 72, 120)
    forward, backward = material.flows(7, 72, 120)
    completed, _ = networks.complete(
        networks.completion, torch.cat((forward, backward), 1), torch.cat((holes[:-1], holes[1:]), 1)
    )
    golden["completed"] = completed
    both = torch.cat((forward, backward), 1)
    golden["propagated"], golden["left"] = networks.propagation(frames, holes, both)
    golden["generated"] = networks.generator(
        frames[None], (holes * (frames[:, :1] > 0))[None], holes[None], both[None, :4], 5
    )[0]
    frames, holes = material.clip(8, 128, 128)
    whole = whole_clip(networks, frames, holes)
    golden |= {f"clip_{name}": value for name, value in whole.items()}
    for name, value in golden.items():
        print(f"{name:15} {tuple(value.shape)} mean {value.mean():.4f} std {value.std():.4f}")
    kept = {name: material.sampled(value.numpy()) for name, value in golden.items()}
    np.savez_compressed(Path(__file__).with_name("golden.npz"), **kept)


if __name__ == "__main__":
    torch.manual_seed(0)
    with torch.inference_mode():
        main()
