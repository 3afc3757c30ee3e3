"""How video files are coded: one entry for each kind of frames, one for each container's sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["colour", "mask", "yuv", "prores", "vp9"]

TO_BT709 = "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd"
TAG_BT709 = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"


@dataclass(frozen=True)
class Coding:
    """How frames of one kind are coded.

    Attributes:
        given: ffmpeg's pixel format of the frames as they are handed over.
        planes: shape of such a frame after (height, width); None: planar 4:2:0, (height * 3 / 2, width).
        options: ffmpeg's, for the output.
    """

    given: str
    planes: tuple[int, ...] | None
    options: dict[str, Any]

    def size(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Height and width of the picture in a frame's array; None: it is no such frame.

        H.264 and VP9 hold a quarter of the colours, so sizes must be even.
        """
        height, width = shape[0] * 2 // 3 if self.planes is None else shape[0], shape[1]
        fits = shape[2:] == (self.planes or ()) and height % 2 == 0 and width % 2 == 0
        return (height, width) if fits else None


def _h264(**more: Any) -> dict[str, Any]:
    return {"vcodec": "libx264", "preset": "veryfast"} | more


CODINGS: dict[Kind, Coding] = {
    "colour": Coding("rgb24", (3,), _h264(crf=12, vf=f"{TO_BT709},format=yuv420p,{TAG_BT709}")),
    "mask": Coding("gray", (), _h264(pix_fmt="gray", qp=0)),
    "yuv": Coding("yuv420p", None, _h264(crf=12, vf=TAG_BT709)),
    # Colours about 55 dB where Apple's bit rates would give more and three times the bytes; alpha is exact.
    "prores": Coding(
        "rgba",
        (4,),
        {
            "vcodec": "prores_ks",
            "profile:v": "4444",
            "alpha_bits": 16,
            "vendor": "apl0",
            "qscale:v": 4,
            "vf": f"{TO_BT709},format=yuva444p10le,{TAG_BT709}",
        },
    ),
    # Frames that are never shown (alternate references) would come without their alpha.
    "vp9": Coding(
        "rgba",
        (4,),
        {
            "vcodec": "libvpx-vp9",
            "crf": 10,
            "b:v": 0,
            "auto-alt-ref": 0,
            "deadline": "good",
            "cpu-used": 4,
            "vf": f"{TO_BT709},format=yuva420p,{TAG_BT709}",
        },
    ),
}


@dataclass(frozen=True)
class SoundCoding:
    """What a container's sound may be.

    Attributes:
        copied: codecs that it holds as they are.
        otherwise: encoder for all others.
    """

    copied: frozenset[str]
    otherwise: str


SOUND: dict[str, SoundCoding] = {
    ".mp4": SoundCoding(frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"}), "aac"),
    ".mov": SoundCoding(frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"}), "aac"),
    ".webm": SoundCoding(frozenset({"opus", "vorbis"}), "libopus"),
}
"""By the file's suffix."""


def container_options(path: Path) -> dict[str, str]:
    """Options of the file's container: the table of contents first, where it is usually last."""
    return {} if path.suffix == ".webm" else {"movflags": "+faststart"}
