"""ProPainter's networks give the published networks' numbers (see golden_propainter/make.py)."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from propainter_material import NETWORKS, clip, flows, random_state, sampled

from video_decomp.propainter.flow_completion import FlowCompletion
from video_decomp.propainter.generator import Generator, quartered_flow, quartered_mask
from video_decomp.propainter.image_propagation import propagate
from video_decomp.propainter.raft import RAFT

GOLDEN = np.load(Path(__file__).parent / "golden_propainter" / "golden.npz")
pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def network(kind: type) -> torch.nn.Module:
    seed = next(seed for made, seed in NETWORKS.values() if made is kind)
    with torch.device("meta"):
        made = kind()
    made.load_state_dict(random_state(kind(), seed), strict=True, assign=True)
    return made.eval().requires_grad_(False)


def difference(name: str, ours: torch.Tensor) -> float:
    return float(np.abs(sampled(ours.numpy()) - GOLDEN[name]).max())


@pytest.mark.parametrize(
    ("kind", "parameters", "tensors"),
    [(RAFT, 5257536, 179), (FlowCompletion, 5079555, 74), (Generator, 39429667, 216)],
)
def test_networks_have_the_published_sizes(kind, parameters, tensors):
    with torch.device("meta"):
        made = kind()
    assert sum(p.numel() for p in made.parameters()) == parameters
    assert len(made.state_dict()) == tensors


def test_flow():
    forward, backward = network(RAFT)(clip(2, 128, 136)[0])
    both = torch.cat((forward, backward), 1)
    assert np.abs(GOLDEN["raft"]).max() > 1
    assert difference("raft", both) < 1e-5 * np.abs(GOLDEN["raft"]).max()


def test_flow_completion():
    _, holes = clip(7, 72, 120)
    both = network(FlowCompletion).complete(*flows(7, 72, 120), holes)
    assert difference("completed", torch.cat(both, 1)) < 1e-5


def test_flow_completion_in_pieces(monkeypatch):
    _, holes = clip(7, 72, 120)
    monkeypatch.setattr("video_decomp.propainter.flow_completion.FRAMES_AT_ONCE", 1)
    monkeypatch.setattr("video_decomp.propainter.flow_completion.HALO", 5)
    far, _ = network(FlowCompletion).complete(*flows(7, 72, 120), holes)
    assert difference("completed", torch.cat((far, far), 1)) > 1e-4, "five frames each way are too few"
    monkeypatch.setattr("video_decomp.propainter.flow_completion.HALO", 8)
    both = network(FlowCompletion).complete(*flows(7, 72, 120), holes)
    assert difference("completed", torch.cat(both, 1)) < 1e-5


def test_image_propagation():
    frames, holes = clip(7, 72, 120)
    forward, backward = flows(7, 72, 120)
    steps = propagate(frames.split(1), holes.split(1), lambda i: (forward[i : i + 1], backward[i : i + 1]))
    updated, left = (torch.cat(parts) for parts in zip(*steps, strict=True))
    assert difference("propagated", updated) == 0
    assert difference("left", left) == 0
    assert 0 < GOLDEN["left"].mean() < holes.mean()


def test_propagated_colours_are_the_scene_behind():
    scene = np.random.default_rng(0).uniform(-1, 1, (3, 48, 120)).astype(np.float32)
    frames = torch.from_numpy(np.stack([scene[:, :, 3 * time :][:, :, :90] for time in range(10)]))
    holes = torch.zeros(10, 1, 48, 90)
    holes[:, :, 10:40, 36:54] = 1
    ahead = torch.tensor([-3.0, 0]).view(1, 2, 1, 1).expand(1, 2, 48, 90)
    seen = frames * (1 - holes) + 0.5 * holes
    steps = propagate(seen.split(1), holes.split(1), lambda i: (ahead, -ahead))
    updated, left = (torch.cat(parts) for parts in zip(*steps, strict=True))
    assert left.sum() == 0, "a pan of 27 pixels uncovers a hole of 18"
    assert torch.equal(updated, frames)


def test_generator():
    frames, holes = clip(7, 72, 120)
    ahead, back = (quartered_flow(flow[:4]) for flow in flows(7, 72, 120))
    generator, left = network(Generator), holes * (frames[:, :1] > 0)
    features = generator.encode(frames, holes, left)
    masks = (quartered_mask(mask[:5]) for mask in (holes, left))
    pictures = generator(features[:5], features[5:], ahead, back, *masks)
    assert GOLDEN["generated"].std() > 0.2
    assert difference("generated", pictures) < 1e-5
