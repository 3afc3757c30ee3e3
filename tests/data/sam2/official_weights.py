"""The weights and the clip that the golden results were made with, by formula; see `make_golden.py`."""

import zlib

import numpy as np
import torch


def fill(shapes):
    """Values for tensors of these shapes, by name: random, of a size that keeps signals alive."""
    weights = {}
    for name, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if name.endswith(("norm.weight", "gamma")) or ("norm" in name and name.endswith("weight")):
            values = 1 + 0.1 * values
        elif len(shape) > 1 and name.endswith(".weight"):
            values /= np.sqrt(np.prod(shape[1:]))
        elif len(shape) < 2:
            values *= 0.1
        if "output_hypernetworks_mlps" in name:
            values *= 2
        if name.startswith("sam_mask_decoder.pred_obj_score_head.layers.2.bias"):
            values += 4
        weights[name] = torch.from_numpy(np.asarray(values, np.float32))
    return weights


def clip():
    """Twenty frames of a disc that moves over a pattern: float32 (20, 3, 128, 128), about -2 to 2."""
    y, x = np.mgrid[:128, :128] / 128
    frames = []
    for t in range(20):
        pattern = np.stack([np.sin(9 * x + 5 * y), np.cos(14 * y), np.sin(11 * (x - y))])
        disc = (x - 0.2 - 0.025 * t) ** 2 + (y - 0.6 + 0.3 * np.sin(t / 4)) ** 2 < 0.04
        frames.append(np.where(disc, np.array([1.8, -1.5, 0.6])[:, None, None], pattern))
    return torch.from_numpy(np.asarray(frames, np.float32))
