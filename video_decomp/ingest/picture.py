"""The geometry and colour of a normalised frame: upright, square pixels, even size, BT.709 limited range."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.filter import Graph

from mimo.stage import Rejected
from video_decomp.ingest.source import Source

# The filter that turns a picture upright, by the signs of its display matrix (a, b, c, d): a pixel at (x, y)
# is shown at (ax + cy, bx + dy).
UPRIGHT: dict[tuple[int, ...], list[tuple[str, str]]] = {
    (1, 0, 0, 1): [],
    (-1, 0, 0, 1): [("hflip", "")],
    (1, 0, 0, -1): [("vflip", "")],
    (-1, 0, 0, -1): [("hflip", ""), ("vflip", "")],
    (0, 1, -1, 0): [("transpose", "clock")],
    (0, -1, 1, 0): [("transpose", "cclock")],
    (0, 1, 1, 0): [("transpose", "cclock_flip")],
    (0, -1, -1, 0): [("transpose", "clock_flip")],
}
SMALLEST_SIDE = 32

# Code points of ITU-T H.273, as in AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic.
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
BT2020_PRIMARIES = 9
HDR_TRANSFERS = {16: "smpte2084", 18: "arib-std-b67"}
# Untagged pictures that are larger than standard definition are BT.709: so do players take them.
LARGEST_BT601 = (1024, 576)


@dataclass(frozen=True)
class Geometry:
    """How stored pixels become output pixels.

    Attributes:
        stored: (width, height) of the first frame as stored; later frames of another size are brought to it.
        upright: filters that undo the camera's rotation.
        crop: (x, y, width, height) of the upright picture in stored pixels.
        size: (width, height) of the output.
    """

    stored: tuple[int, int]
    upright: list[tuple[str, str]]
    crop: tuple[int, int, int, int]
    size: tuple[int, int]


def plan_geometry(
    source: Source, frame: av.VideoFrame, short_side: int, crop: tuple[int, int, int, int] | None
) -> Geometry:
    """Plan the output picture.

    Args:
        source: the file.
        frame: its first frame.
        short_side: the shorter side of the output at most; smaller pictures are not enlarged.
        crop: (x, y, width, height) to keep, in pixels of the picture as a player shows it at full size.

    Raises:
        Rejected: the crop leaves the picture, or what is left is too small.
    """
    upright = _upright(frame)
    turned = any(name == "transpose" for name, _ in upright)
    width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
    aspect = 1 / source.pixel_aspect if turned else source.pixel_aspect
    if not Fraction(1, 4) < aspect < 4 or abs(aspect - 1) < Fraction(1, 100):
        aspect = Fraction(1)
    wide, high = max(aspect, Fraction(1)), max(1 / aspect, Fraction(1))
    x, y, shown_width, shown_height = crop or (0, 0, int(width * wide), int(height * high))
    if x + shown_width > width * wide or y + shown_height > height * high:
        raise Rejected(
            f"{source.path}: crop {list(crop or ())} leaves the picture of {int(width * wide)} × "
            f"{int(height * high)} pixels; give [x, y, width, height] inside of it"
        )
    scale = min(Fraction(1), Fraction(short_side, min(shown_width, shown_height)))
    if scale == aspect == 1:
        size = (shown_width // 2 * 2, shown_height // 2 * 2)
        kept = (x, y, *size)
    else:
        size = (round(shown_width * scale / 2) * 2, round(shown_height * scale / 2) * 2)
        kept = (int(x / wide), int(y / high), int(shown_width / wide), int(shown_height / high))
    if min(size) < SMALLEST_SIDE:
        raise Rejected(
            f"{source.path}: the picture is only {size[0]} × {size[1]} pixels; "
            f"give a video of at least {SMALLEST_SIDE} pixels a side"
        )
    return Geometry((frame.width, frame.height), upright, kept, size)


def _upright(frame: av.VideoFrame) -> list[tuple[str, str]]:
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return []
    matrix = np.frombuffer(memoryview(data), np.int32)
    signs = tuple(int(np.sign(matrix[i]) * (abs(matrix[i]) > 1 << 15)) for i in (0, 1, 3, 4))
    return UPRIGHT.get(signs, [])


def is_hdr(frame: av.VideoFrame) -> bool:
    """Whether a frame's brightness goes beyond what a normal screen shows."""
    return frame.color_trc in HDR_TRANSFERS


class Converter:
    """Turns decoded frames into the planes that `VideoWriter` of kind ``yuv`` takes."""

    def __init__(self, plan: Geometry) -> None:
        self.plan = plan
        self._graph: Graph | None = None
        self._layout: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Convert one frame.

        Returns:
            (height * 3 / 2, width) uint8: the planes Y, U, V of 4:2:0, BT.709, limited range.
        """
        layout = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if self._graph is None or layout != self._layout:
            self._graph, self._layout = self._build(frame), layout
        self._graph.vpush(frame)
        return self._graph.vpull().to_ndarray(format="yuv420p")

    def _build(self, frame: av.VideoFrame) -> Graph:
        x, y, width, height = self.plan.crop
        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
        ]
        if (frame.width, frame.height) != self.plan.stored:
            nodes.append(graph.add("scale", "{}:{}".format(*self.plan.stored)))
        nodes += [graph.add(name, arguments or None) for name, arguments in self.plan.upright]
        nodes.append(graph.add("crop", f"w={width}:h={height}:x={x}:y={y}"))
        nodes.append(graph.add("scale", ":".join(_scaling(frame, self.plan.size))))
        nodes.append(graph.add("format", "yuv420p"))
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


def _scaling(frame: av.VideoFrame, size: tuple[int, int]) -> list[str]:
    """Arguments of the scale filter for one layout of source frames."""
    arguments = [f"w={size[0]}", f"h={size[1]}", "flags=bicubic+accurate_rnd"]
    arguments += ["out_color_matrix=bt709", "out_range=tv"]
    if not frame.format.is_rgb:
        small = max(frame.width, frame.height) <= LARGEST_BT601[0] and (
            min(frame.width, frame.height) <= LARGEST_BT601[1]
        )
        matrix = MATRICES.get(frame.colorspace, "smpte170m" if small else "bt709")
        arguments.append(f"in_color_matrix={matrix}")
    if frame.color_trc in HDR_TRANSFERS:
        arguments += [f"in_transfer={HDR_TRANSFERS[frame.color_trc]}", "out_transfer=bt709"]
    if frame.color_primaries == BT2020_PRIMARIES:
        arguments += ["in_primaries=bt2020", "out_primaries=bt709"]
    return arguments
