"""What a click on a frame means for its mask: the thing of one colour around it, as far as its edges."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from mimo.corrections import NOT_PERSON, PERSON, UNTOUCHED, Click
from video_decomp.segmentation.specks import without_specks

_REACH = 0.3  # of a click that adds, in longest sides of the person's box
_REACH_INSIDE = 0.7  # of a click that takes away: it cannot leave the mask
_ALONE = 0.6  # longest side of a person's box where none is known, in shorter sides of the frame
_SIDE = 160  # pixels of the window in which ways are measured
_STEP = 0.15  # what a pixel of way costs beside the colours it crosses (Lab levels)
_NEAR = 0.02  # share of the window, nearest by way, whose colours are the thing's
_FAR = 0.5  # share of it from which on colours are of other things
_OWN = 3  # colours of the thing
_OTHERS = 8  # colours of other things
_FOREIGN = 30.0  # Lab levels from the thing's colours at which others begin, where none are known
_GRAIN = 2.0  # pixels: standard deviation of the window in which neighbouring pixels decide together
_NECK = 7  # pixels: what hangs on by less is another thing
_DISC = 0.012  # radius of what a click says at least, in longest sides of the person's box


def clicked(
    image: np.ndarray, mask: np.ndarray, clicks: Iterable[Click], *, grows: bool = True
) -> np.ndarray:
    """Labels of a frame by its clicks; of clicks at one place the last one counts.

    Args:
        image: uint8 (height, width, 3) RGB.
        mask: uint8 (height, width), 255 where the person was found, else 0.
        clicks: all on this frame and inside of it.
        grows: whether they mean more than their own small discs.

    Returns:
        (height, width) uint8 of `PERSON`, `NOT_PERSON` and `UNTOUCHED`.
    """
    _, _, width, height = cv2.boundingRect(mask)
    side = max(width, height) or round(min(mask.shape) * _ALONE)
    labels = np.full(mask.shape, UNTOUCHED, np.uint8)
    now = mask.copy()
    for click in clicks:
        value = PERSON if click.person else NOT_PERSON
        region = np.zeros(mask.shape, np.uint8)
        place = (int(click.x), int(click.y))
        if grows and now[place[1], place[0]] != value:
            reach = _REACH if click.person else _REACH_INSIDE
            window = _window(place, round(reach * side), mask.shape)
            region[window] = _thing(image[window], now[window] != value, _inside(place, window))
        cv2.circle(region, place, max(2, round(_DISC * side)), 1, cv2.FILLED)
        labels[region > 0] = value
        now[region > 0] = value
    return labels


def _window(place: tuple[int, int], reach: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    x, y = place
    return (
        slice(max(0, y - reach), min(shape[0], y + reach + 1)),
        slice(max(0, x - reach), min(shape[1], x + reach + 1)),
    )


def _inside(place: tuple[int, int], window: tuple[slice, slice]) -> tuple[int, int]:
    return place[0] - window[1].start, place[1] - window[0].start


def _thing(image: np.ndarray, open_to_change: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """The thing at a place, bool (h, w), among the pixels that are open to change."""
    lab = cv2.medianBlur(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2LAB), 5)
    scale = min(1.0, _SIDE / max(lab.shape[:2]))
    size = (max(2, round(lab.shape[1] * scale)), max(2, round(lab.shape[0] * scale)))
    small = cv2.resize(lab, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    free = cv2.resize(open_to_change.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    start = (min(int(place[0] * scale), size[0] - 1), min(int(place[1] * scale), size[1] - 1))
    free[start[1], start[0]] = True
    graph = _graph(cv2.bilateralFilter(small, 5, 20, 3), free)
    way = _ways(graph, free, np.array([start[1] * size[0] + start[0]]))
    reached = np.sort(way[np.isfinite(way)])
    near = way <= reached[min(reached.size - 1, int(_NEAR * way.size))]
    far = free & (way > reached[int(_FAR * reached.size)])
    allowed = open_to_change
    border = _border(far)
    if len(border):
        nearer = (way < _ways(graph, free, border)).astype(np.float32)
        allowed = allowed & (cv2.resize(nearer, lab.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5)
    return _part_at(_closer(lab, small[near], small[far]) & allowed, place) & open_to_change


def _closer(lab: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Where colours are closer to a thing's own than to those of others, bool (h, w).

    Args:
        lab: (h, w, 3) uint8.
        own, others: (n, 3) float32, pixels of both.
    """
    alike = _distance(lab, _palette(own, _OWN))
    palette = _unlike(_palette(others, _OTHERS), own) if len(others) else others
    other = _distance(lab, palette) if len(palette) else np.full(alike.shape, _FOREIGN, np.float32)
    return cv2.GaussianBlur(other - alike, (0, 0), _GRAIN) > 0


def _graph(colours: np.ndarray, free: np.ndarray) -> csr_matrix:
    """Free pixels with their free neighbours; a step costs what colours differ."""
    height, width = free.shape
    index = np.arange(height * width).reshape(height, width)
    rows, columns, costs = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        b = (slice(down, height), slice(max(0, right), width - max(0, -right)))
        open_ = free[a] & free[b]
        cost = np.linalg.norm(colours[a] - colours[b], axis=2) + _STEP * np.hypot(down, right)
        rows.append(index[a][open_])
        columns.append(index[b][open_])
        costs.append(cost[open_])
    ends = (np.concatenate(rows), np.concatenate(columns))
    return coo_matrix((np.concatenate(costs), ends), shape=(index.size, index.size)).tocsr()


def _ways(graph: csr_matrix, free: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Length of the shortest way from any of the starts to each pixel, (h, w), infinite where none leads."""
    return dijkstra(graph, directed=False, indices=starts, min_only=True).reshape(free.shape)


def _border(free: np.ndarray) -> np.ndarray:
    """Indices of the free pixels at the window's border."""
    inner = np.zeros_like(free)
    inner[1:-1, 1:-1] = True
    return np.flatnonzero(free & ~inner)


def _palette(colours: np.ndarray, count: int) -> np.ndarray:
    """Some typical colours, (count, 3) float32."""
    count = min(count, len(colours))
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    cv2.setRNGSeed(0)
    best = np.zeros((0,), np.int32)
    return cv2.kmeans(colours.astype(np.float32), count, best, criteria, 1, cv2.KMEANS_PP_CENTERS)[2]


def _unlike(palette: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Colours of a palette that are not those of the thing itself."""
    own = _palette(colours, _OWN)
    spread = 8.0 + colours.std(axis=0).max()
    distance = np.linalg.norm(palette[:, None] - own[None], axis=2).min(axis=1)
    return palette[distance > spread]


def _distance(lab: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Distance of each pixel's colour to the nearest of a palette, (h, w) float32."""
    pixels = lab.astype(np.float32)
    distances = [np.linalg.norm(pixels - colour, axis=2) for colour in palette]
    return np.min(distances, axis=0).astype(np.float32)


def _part_at(region: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """The connected part of a region around a place, without small holes, uint8 0 or 1."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_NECK, _NECK))
    solid = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, disc)
    cv2.circle(solid, place, _NECK, 1, cv2.FILLED)
    _, parts = cv2.connectedComponents(solid, connectivity=8)
    part = (parts == parts[place[1], place[0]]).astype(np.uint8)
    return without_specks(cv2.morphologyEx(part, cv2.MORPH_CLOSE, disc) > 0) // 255
