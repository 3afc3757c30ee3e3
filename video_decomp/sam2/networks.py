"""The networks that the settings choose, on their device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mimo import weights
from mimo.device import resolve
from video_decomp.sam2 import loading
from video_decomp.sam2.interface import Prompt
from video_decomp.sam2.masker import ImageMasker
from video_decomp.sam2.matting import EdgeMatter
from video_decomp.sam2.network import Network, loaded
from video_decomp.sam2.people import PeopleFinder, Rules
from video_decomp.sam2.settings import DETECTOR, KEY_POINTS, MATTING, SAM, NetworkSettings
from video_decomp.sam2.tracker import VideoTracker


class Networks:
    """Loads what is asked for; `used` has the registry's names of what was loaded.

    Args:
        settings: which networks, and where they run.

    Raises:
        mimo.stage.Rejected: a GPU is asked for that is not there.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        self._settings = settings
        device, self._dtype = resolve(settings.device, settings.precision)
        self._device = torch.device(device)
        if settings.precision == "auto" and self._device.type == "cuda":
            # What SAM 2 was published to run in; float16 has no room for some of its values.
            self._dtype = torch.bfloat16
        self.used: list[str] = []

    def people_finder(self) -> PeopleFinder:
        """Detector and key points.

        Raises:
            mimo.stage.Rejected: a file is missing or wrong; so for the others.
        """
        settings = self._settings
        detector = self._exact(loading.load_detector, self._place(DETECTOR, settings.detector))
        key_points = self._exact(loading.load_key_points, self._place(KEY_POINTS, settings.key_points))
        return PeopleFinder(detector, key_points, Rules(settings.detection_score, settings.joint_score))

    def tracker(self, batch: int = 8) -> VideoTracker:
        """SAM 2.1 for video, and for images."""
        place = self._place(self._settings.sam2, self._settings.weights)
        return VideoTracker(loaded(loading.load_video_network, place, self._device, self._dtype), batch)

    def first_mask(
        self, image: np.ndarray, prompt: Prompt, tracker: VideoTracker | None = None
    ) -> np.ndarray:
        """How likely each pixel belongs to the prompted person, by the network that the settings choose.

        Args:
            image: the prompt's frame, uint8 (height, width, 3) RGB.
            prompt: by a box; or by points, which always go to SAM 2.1.
            tracker: SAM 2.1 if it is loaded already.

        Returns:
            float32 (height, width), 0..1.
        """
        if self._settings.first_mask == "sam2" or prompt.box is None:
            return (tracker or self.tracker()).first_mask(image, prompt)
        network = self._exact(loading.load_image_network, self._place(SAM, self._settings.sam_weights))
        return ImageMasker(network).mask(image, prompt.box)

    def matter(self) -> EdgeMatter | None:
        """ViTMatte, if the settings want it."""
        if not self._settings.matting:
            return None
        place = self._place(MATTING, self._settings.matting_weights)
        return EdgeMatter(self._exact(loading.load_matting, place))

    def _place(self, name: str, own: Path | None) -> Path:
        place = weights.path(name, own)
        self.used.append(name)
        return place

    def _exact(self, load: Callable[[Path], Network], place: Path) -> Network:
        """A network on the device, in float32."""
        return loaded(load, place, self._device, torch.float32)
