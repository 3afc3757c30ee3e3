"""Hands: where they are seen, by whole-body key points; their pose, by HaMeR; how they join SMPL-H's arms.

Rules are those of the reference implementation of MIMO: a hand counts as seen when more than three of its 21
key points are surer than one half; its wrist takes HaMeR's orientation, its arm stays as HMR2 says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from transformers import VitPoseConfig, VitPoseForPoseEstimation

from mimo.stage import Rejected
from video_decomp.hmr2.backbone import SIZE, config_of, renamed
from video_decomp.hmr2.checkpoint import fill, part, read_state
from video_decomp.hmr2.crops import ASPECT, Square, cut, square_around
from video_decomp.hmr2.network import MeshNetwork, Parameters, normalised
from video_decomp.hmr2.track import with_straight_hands

WHAT = "the whole-body ViTPose checkpoint (wholebody.pth)"
POINTS = 133
HAND_POINTS = (slice(POINTS - 42, POINTS - 21), slice(POINTS - 21, POINTS))
"""Left and right hand among COCO-WholeBody's key points."""
SURE, ENOUGH = 0.5, 3
BOX_SCALE, HAND_SCALE = 1.25, 2.0
MIRROR = np.array([1.0, -1.0, -1.0])
"""Axis-angle of a mirrored hand to that of the hand."""

WRISTS = (20, 21)
# From the pelvis to the elbow, left and right.
ARMS = ((0, 3, 6, 9, 13, 16, 18), (0, 3, 6, 9, 14, 17, 19))

_HEAD_RENAMED = (
    (r"^deconv_layers\.0\.", "deconv1."),
    (r"^deconv_layers\.1\.", "batchnorm1."),
    (r"^deconv_layers\.3\.", "deconv2."),
    (r"^deconv_layers\.4\.", "batchnorm2."),
    (r"^final_layer\.", "conv."),
)


class WholeBody:
    """ViTPose with COCO-WholeBody's 133 key points, from mmpose's file.

    Raises:
        Rejected: the file is not that checkpoint.
    """

    def __init__(self, path: Path, device: str, dtype: torch.dtype) -> None:
        state = read_state(path, WHAT)
        backbone = part(state, "backbone.")
        points = state.get("keypoint_head.final_layer.weight")
        if points is None or points.shape[0] != POINTS:
            found = "no key points" if points is None else f"{points.shape[0]} key points"
            raise Rejected(f"{path}: not {WHAT}: it has {found}, not {POINTS}")
        config = VitPoseConfig(
            backbone_config=config_of(backbone, path, WHAT), num_labels=POINTS, use_simple_decoder=False
        )
        with torch.device("meta"):
            self.network = VitPoseForPoseEstimation(config)
        fill(self.network, _renamed(state, backbone), path, WHAT)
        self.device, self.dtype = torch.device(device), dtype
        self.network.to(self.device, dtype).eval()

    @torch.inference_mode()
    def __call__(self, images: list[np.ndarray], boxes: list[np.ndarray]) -> np.ndarray:
        """Key points (B, 133, 3) of the persons in boxes (4,): x, y in pixels of the picture; certainty."""
        places = [_enlarged(box) for box in boxes]
        crops = [_cut_tall(image, place) for image, place in zip(images, places, strict=True)]
        pixels = normalised(crops, self.device).to(self.dtype)
        heat = self.network(pixels).heatmaps.float().cpu().numpy()
        points = _peaks(heat)
        for found, (left, top, width, _) in zip(points, places, strict=True):
            found[:, :2] = found[:, :2] * (width / heat.shape[3]) + [left, top]
        return points


def _renamed(state: Mapping[str, Tensor], backbone: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole network's tensors as transformers names them."""
    result = {f"backbone.{name}": value for name, value in renamed(backbone).items()}
    for name, value in part(state, "keypoint_head.").items():
        for pattern, replacement in _HEAD_RENAMED:
            name = re.sub(pattern, replacement, name)
        result[f"head.{name}"] = value
    return result


def _enlarged(box: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, width and height of mmpose's input around a box: 3 to 4, a quarter larger."""
    left, top, right, bottom = (float(value) for value in box)
    width = BOX_SCALE * max(right - left, (bottom - top) * ASPECT)
    height = width / ASPECT
    return (left + right - width) / 2, (top + bottom - height) / 2, width, height


def _cut_tall(image: np.ndarray, place: tuple[float, float, float, float]) -> np.ndarray:
    """The picture's part at a place, resampled to the network's (256, 192, 3)."""
    left, top, width, _ = place
    factor = SIZE[1] / width
    matrix = np.array([[factor, 0, -factor * left], [0, factor, -factor * top]])
    return np.asarray(cv2.warpAffine(image, matrix, (SIZE[1], SIZE[0]), flags=cv2.INTER_LINEAR))


def _peaks(heat: np.ndarray) -> np.ndarray:
    """Maxima (B, K, 3) of heat maps (B, K, h, w): x, y, moved a quarter to the higher neighbour; value."""
    count, points, height, width = heat.shape
    flat = heat.reshape(count, points, -1)
    best = flat.argmax(2)
    y, x = best // width, best % width
    result = np.stack([x, y, flat.max(2)], 2).astype(np.float64)
    item, point = np.indices((count, points))
    for axis, place, size in ((0, x, width), (1, y, height)):
        inner = np.clip(place, 1, size - 2)
        pairs = ((y, inner + 1), (y, inner - 1)) if axis == 0 else ((inner + 1, x), (inner - 1, x))
        slope = heat[item, point, *pairs[0]] - heat[item, point, *pairs[1]]
        result[..., axis] += 0.25 * np.sign(slope) * (inner == place)
    return result


def hand_squares(points: np.ndarray) -> list[Square | None]:
    """Squares of the left and the right hand of one person's key points (133, 3); None where it is not seen.

    Left hands are read mirrored, as right ones.
    """
    squares: list[Square | None] = []
    for number, which in enumerate(HAND_POINTS):
        sure = points[which][points[which][:, 2] > SURE]
        if len(sure) <= ENOUGH:
            squares.append(None)
            continue
        box = np.concatenate([sure[:, :2].min(0), sure[:, :2].max(0)])
        squares.append(square_around(box, HAND_SCALE, mirrored=number == 0))
    return squares


class Hands:
    """The reference's hands: which are seen, and SMPL-H's wrists and fingers.

    Args:
        whole_body, hamer: official checkpoints.
        device, dtype: as for `MeshNetwork`.

    Raises:
        Rejected: a file is not that checkpoint.
    """

    def __init__(self, whole_body: Path, hamer: Path, device: str, dtype: torch.dtype) -> None:
        self.whole_body = WholeBody(whole_body, device, dtype)
        self.network = MeshNetwork(hamer, "mano_head.", "the HaMeR checkpoint", device, dtype)

    def __call__(
        self, images: list[np.ndarray], boxes: list[np.ndarray], bodies: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """SMPL-H's joints of B persons.

        Args:
            images: B pictures (h, w, 3) uint8.
            boxes: (4,) of the person in each.
            bodies: (B, 24, 3, 3) SMPL's rotations by HMR2.

        Returns:
            (B, 52, 3, 3) rotations, fingers straight where a hand is not seen, and (B, 2) bool: left and
            right hand are seen.
        """
        squares = [hand_squares(points) for points in self.whole_body(images, boxes)]
        result = with_straight_hands(bodies)
        seen = np.array([[square is not None for square in pair] for pair in squares]).reshape(-1, 2)
        where = np.argwhere(seen)
        if len(where):
            found = [squares[person][hand] for person, hand in where]
            crops = [
                cut(images[person], square)
                for (person, _), square in zip(where, found, strict=True)
                if square is not None
            ]
            poses = self.network(normalised(crops, self.network.device))
            for (person, hand), pose in zip(where, _matrices(poses), strict=True):
                attach(result[person], int(hand), pose)
        return result, seen


def _matrices(poses: Parameters) -> np.ndarray:
    return poses.rotations.cpu().double().numpy()


def attach(body: np.ndarray, hand: int, pose: np.ndarray) -> None:
    """Give one person's SMPL-H rotations (52, 3, 3) a hand, in place.

    The wrist's rotation is what turns the fore-arm, as the body has it, to the hand's orientation.

    Args:
        hand: 0 left, 1 right.
        pose: (16, 3, 3) MANO's, the wrist's first, from MANO's axes to the camera's; a left hand's mirrored.
    """
    if hand == 0:
        vectors = Rotation.from_matrix(pose).as_rotvec() * MIRROR
        pose = Rotation.from_rotvec(vectors).as_matrix()
    arm = np.eye(3)
    for joint in ARMS[hand]:
        arm = arm @ body[joint]
    body[WRISTS[hand]] = arm.T @ pose[0]
    first = 22 + 15 * hand
    body[first : first + 15] = pose[1:]
