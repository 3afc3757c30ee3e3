"""Settings that the backends with SAM 2.1 share, and the networks they choose."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from mimo.device import DEVICE, Precision
from mimo.worker.keeping import KeptSettings

DETECTOR = "rtdetr-v2-r50"
KEY_POINTS = "vitpose-base-simple"
SAM = "sam-vit-h"
MATTING = "vitmatte-small"


class NetworkSettings(KeptSettings):
    """Which networks find and mask people, and where they run."""

    size: Literal["tiny", "small", "base-plus", "large"] = Field(
        "large", description="of the registry's SAM 2.1; smaller ones are faster and less exact"
    )
    weights: Path | None = Field(
        None,
        description="SAM 2.1: folder as facebook/sam2.1-hiera-large, or a file as sam2.1_hiera_large.pt; "
        "null: the registry's",
    )
    detector: Path | None = Field(
        None, description="folder of an RT-DETR, RT-DETR v2 or D-FINE that knows people; null: the registry's"
    )
    key_points: Path | None = Field(None, description="folder of a ViTPose; null: the registry's")
    first_mask: Literal["sam2", "sam"] = Field(
        "sam2", description="what masks the person found: SAM 2.1, or the first SAM as the reference does"
    )
    sam_weights: Path | None = Field(
        None,
        description="the first SAM: file as sam_vit_h_4b8939.pth, or a folder as facebook/sam-vit-huge; "
        "null: the registry's",
    )
    matting: bool = Field(False, description="refine the mask's edge by ViTMatte")
    matting_weights: Path | None = Field(None, description="folder of a ViTMatte; null: the registry's")
    detection_score: float = Field(
        0.5, gt=0, lt=1, description="least score of the detector for a person (reference: 0.95, another one)"
    )
    joint_score: float = Field(
        0.35,
        ge=0,
        lt=1,
        description="least score of each main joint of a person seen in full (the reference's value)",
    )
    device: str = Field("auto", description=DEVICE)
    precision: Precision = Field(
        "auto", description="of SAM 2.1; auto: bfloat16 on a GPU, float32 on a CPU; the others run in float32"
    )

    def weight_files(self) -> dict[str, Path | None]:
        """Entries of the registry for the chosen networks."""
        files = {self.sam2: self.weights, DETECTOR: self.detector, KEY_POINTS: self.key_points}
        if self.first_mask == "sam":
            files[SAM] = self.sam_weights
        if self.matting:
            files[MATTING] = self.matting_weights
        return files

    @property
    def sam2(self) -> str:
        """Name of SAM 2.1 in the registry."""
        return f"sam2.1-hiera-{self.size}"
