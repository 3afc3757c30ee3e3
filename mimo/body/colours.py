"""The user's motion code: ``sdc_info.npy`` of the reference implementation, colours of SMPL's vertices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimo import restricted_pickle, weights
from mimo.stage import Rejected

MOTION_CODE = "mimo-motion-code"


def chosen_colours(choice: str | Path, vertices: int) -> np.ndarray | None:
    """Colours (V, 3) uint8 of a setting: ``canonical`` (None: the body's own), ``reference``, or a file.

    Raises:
        Rejected: as `read_colours`; or the registry's file is not there.
    """
    if choice == "canonical":
        return None
    return read_colours(weights.path(MOTION_CODE) if choice == "reference" else Path(choice), vertices)


def read_colours(path: Path, vertices: int) -> np.ndarray:
    """Colours (V, 3) uint8 of a body's vertices.

    Args:
        path: ``.npy`` with an array (V, 3 or more), 0..255 or as floats 0..1; or with a pickled dictionary of
            such arrays by body, as the reference implementation's, of which ``smpl`` is taken.
        vertices: of the body.

    Raises:
        Rejected: the file cannot be read, asks for more than arrays, or is of another body.
    """
    content = restricted_pickle.load_array_file(path, "colours of SMPL's vertices (sdc_info.npy)")
    if isinstance(content, dict):
        if "smpl" not in content:
            names = ", ".join(map(str, content)) or "nothing"
            raise Rejected(f"{path}: has colours of {names}, not of smpl")
        content = content["smpl"]
    colours = np.asarray(content)
    if colours.ndim != 2 or colours.shape[1] < 3 or colours.dtype.kind not in "uif":
        raise Rejected(f"{path}: not colours of vertices: an array {colours.shape} of {colours.dtype}")
    if len(colours) != vertices:
        raise Rejected(
            f"{path}: colours of {len(colours)} vertices, but the body has {vertices}; "
            "they belong to SMPL and SMPL-H"
        )
    if not np.isfinite(colours).all():
        raise Rejected(f"{path}: holds colours that are not finite")
    scale = 255 if colours.dtype.kind == "f" and colours.max(initial=0) <= 1 else 1
    return np.round(colours[:, :3] * scale).clip(0, 255).astype(np.uint8)
