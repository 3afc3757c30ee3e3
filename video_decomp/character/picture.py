"""Pictures of all kinds as upright 8-bit sRGB, with their transparency as a mask."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from mimo.stage import Rejected

LARGEST = 250_000_000
"""Pixels beyond which a file is taken for an attack on memory."""
WORKING_SIDE = 3000
"""Larger pictures are reduced to this longest side first."""
SMALLEST_SIDE = 64


@dataclass(frozen=True)
class Picture:
    """An upright picture.

    Attributes:
        image: uint8 (height, width, 3) RGB; transparent parts are white.
        alpha: uint8 (height, width) when the file marks something as transparent, else None.
        size: width and height of the upright source.
        scale: pixels of `image` for each pixel of the source.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    size: tuple[int, int]
    scale: float


def read_picture(path: Path) -> Picture:
    """Read a picture; of an animation, the first frame.

    Raises:
        Rejected: it is missing, is no picture, is damaged, too large or too small.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if file.width * file.height > LARGEST:
                    raise Rejected(f"{path}: {file.width}x{file.height} pixels are too many; reduce it")
                file.seek(0)
                file.load()
                image = ImageOps.exif_transpose(file)
    except FileNotFoundError:
        raise Rejected(f"{path}: there is no such file") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Rejected(
            f"{path}: cannot be read as a picture ({error}); save it as JPEG, PNG or WebP"
        ) from None
    size = image.size
    if min(size) < SMALLEST_SIDE:
        raise Rejected(f"{path}: only {size[0]}x{size[1]} pixels; give a picture of at least {SMALLEST_SIDE}")
    colours, alpha = _to_srgb(image), _alpha(image)
    scale = min(1.0, WORKING_SIDE / max(size))
    if scale < 1:
        reduced = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        colours = colours.resize(reduced, Image.Resampling.LANCZOS)
        alpha = alpha.resize(reduced, Image.Resampling.BOX) if alpha else None
    pixels = np.array(colours)
    if alpha is None:
        return Picture(pixels, None, size, scale)
    cover = np.array(alpha)
    share = cover[..., None].astype(np.float32) / 255
    return Picture((pixels * share + 255 * (1 - share) + 0.5).astype(np.uint8), cover, size, scale)


def _to_srgb(image: Image.Image) -> Image.Image:
    """The colours as 8-bit sRGB, without transparency."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        top = 65535.0 if values.max() > 255 else 255.0
        image = Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8))
        profile = None
    if image.mode in ("P", "PA", "LA", "La", "RGBa", "1"):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "L", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image.convert("RGB")
        except ImageCms.PyCMSError:
            # A broken profile, or one for another colour space, is common: viewers ignore it too.
            return image.convert("RGB")
    return image.convert("RGB")


def _alpha(image: Image.Image) -> Image.Image | None:
    """Transparency, if any pixel has some."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    lowest, highest = alpha.getextrema()
    return alpha if lowest < 250 and highest > 127 else None  # type: ignore[operator]
