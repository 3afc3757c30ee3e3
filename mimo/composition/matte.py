"""The synthesised person's soft outline and the synthesis' colour shift, by comparison with the scene.

The synthesis sees the scene's background and gives it back, slightly changed by the autoencoder. Where its
frame differs from the background the person (or their shadow) is; elsewhere, what is left of the difference
measures the autoencoder's shift of colours.
"""

from __future__ import annotations

import cv2
import numpy as np

from mimo.composition.regions import body_mask, clean_mask

# Colour difference (of 255) at which a pixel starts to be, and surely is, the person.
_FAINT, _SURE = 12.0, 40.0
# How far clothes and hair may reach past the rendered body, as a share of the body's height.
_REACH = 0.12


def person_matte(image: np.ndarray, background: np.ndarray, sdc: np.ndarray) -> np.ndarray:
    """Opacity of the synthesised person.

    Args:
        image: (h, w, 3) float32, 0 to 255, a synthesised frame.
        background: (h, w, 3) uint8, the scene behind.
        sdc: (h, w, 3) uint8 motion code of the same place.

    Returns:
        (h, w) float32 in [0, 1]; 0 far from the body, 1 inside it.
    """
    body = clean_mask(body_mask(sdc))
    _, _, _, body_height = cv2.boundingRect(body)
    if not body_height:
        return np.zeros(body.shape, np.float32)
    reach = max(4.0, _REACH * body_height)
    away = cv2.distanceTransform(255 - body, cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(body, cv2.DIST_L2, 5)
    scene = background.astype(np.float32)
    difference = np.abs(cv2.GaussianBlur(image - scene, (0, 0), 1.0)).max(2)
    # The autoencoder softens fine detail: where the scene has much, a difference says less.
    detail = cv2.GaussianBlur(np.abs(scene - cv2.GaussianBlur(scene, (0, 0), 2.0)).max(2), (0, 0), 2.0)
    seen = _smoothstep((difference - detail - _FAINT) / (_SURE - _FAINT))
    # Deep inside the body it is the person even where their colour is that of the background.
    core = _smoothstep(inside / (0.25 * reach))
    near = 1 - _smoothstep((away - 0.5 * reach) / (0.5 * reach))
    opacity = np.maximum(seen * near, core)
    opacity = _connected(opacity, body)
    return cv2.GaussianBlur(opacity, (0, 0), 1.0)


class ColourMatch:
    """Gain and offset of each channel from the synthesised background to the scene's, smoothed in time."""

    def __init__(self, memory: float = 0.9) -> None:
        self._memory = memory
        self._line: np.ndarray | None = None

    def apply(self, image: np.ndarray, background: np.ndarray, matte: np.ndarray) -> np.ndarray:
        """Correct a frame's colours.

        Args:
            image: (h, w, 3) float32, 0 to 255.
            background: (h, w, 3) uint8.
            matte: (h, w) opacity of the person; fully transparent pixels are compared.

        Returns:
            (h, w, 3) float32.
        """
        clear = matte < 0.01
        if clear.sum() > 200:
            line = np.array(
                [
                    _line(image[:, :, c][clear], background[:, :, c][clear].astype(np.float32))
                    for c in range(3)
                ]
            )
            if self._line is not None:
                line = self._memory * self._line + (1 - self._memory) * line
            self._line = line
        if self._line is None:
            return image
        gain, offset = self._line[:, 0].astype(np.float32), self._line[:, 1].astype(np.float32)
        return image * gain + offset


def _line(source: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Gain (within a tenth of 1) and offset that lead from source to target; medians resist outliers."""
    middle_source, middle_target = float(np.median(source)), float(np.median(target))
    spread = float(np.mean(np.abs(source - middle_source)))
    gain = float(np.mean(np.abs(target - middle_target))) / spread if spread > 4 else 1.0
    gain = float(np.clip(gain, 0.9, 1.1))
    return gain, middle_target - gain * middle_source


def _connected(opacity: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Opacity without the specks that do not touch the body."""
    count, labels = cv2.connectedComponents((opacity > 0.2).astype(np.uint8))
    touching = np.zeros(count, bool)
    touching[np.unique(labels[body > 0])] = True
    touching[0] = True
    return np.where(touching[labels], opacity, 0).astype(np.float32)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(x, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
