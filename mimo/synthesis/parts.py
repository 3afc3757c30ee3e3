"""A long video in parts: which frames each has, and the files of one.

A part is made by one job (``python -m mimo.synthesis --part 2/5``) and joined with the others by
`mimo.synthesis.join`. It begins where a group of frames begins (`mimo.closed_groups`), so that frames equal
to those of the undivided video are equal bytes, too. Three files lie beside each other:

``NAME.mp4``   the part's frames, coded as those of a result; no bytes where there are none
``NAME.npz``   frames at the part's ends that are blended with its neighbours', as they were before coding
``NAME.json``  what the part is, and the stage's record of it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from mimo.closed_groups import GROUP
from mimo.files import sha256, whole_file
from mimo.stage import Rejected

PATTERN = r"(\d+)(?:/|-of-)(\d+)"
"""How a part is written: ``2/5`` or, in file names, ``2-of-5``."""


@dataclass(frozen=True)
class Part:
    """One of several parts of a video.

    Attributes:
        number: from 1.
        count: of parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """A part from ``2/5`` or ``2-of-5``.

        Raises:
            ValueError: it is neither, or there is no such part.
        """
        found = re.fullmatch(PATTERN, text)
        if found is None:
            raise ValueError(f"'{text}' is no part of a video; write 2/5 for the second of five")
        number, count = map(int, found.groups())
        if not 1 <= number <= count:
            raise ValueError(f"part {number} of {count}: parts are numbered from 1 to {count}")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    def frames(self, total: int) -> range:
        """The part's frames of `total`; parts are equally long, up to a group, and may be empty."""
        groups = -(-total // GROUP)
        start, stop = (min(total, groups * n // self.count * GROUP) for n in (self.number - 1, self.number))
        return range(start, stop)


@dataclass(frozen=True)
class Span:
    """What is made for a part.

    Attributes:
        own: its frames.
        rendered: these, and those after them which are blended with the next part's first.
        head: number of its first frames that are blended with the last ones rendered for the part before.
    """

    own: range
    rendered: range
    head: int

    @classmethod
    def of(cls, part: Part, total: int, seam: int) -> Span:
        """The frames of a part of a video with `total` frames whose parts are blended over `seam` frames."""
        own = part.frames(total)
        after = min(seam, total - own.stop) if own else 0
        head = min(seam, len(own)) if own.start else 0
        return cls(own, range(own.start, own.stop + after), head)


class PartRecord(BaseModel):
    """Content of a part's ``.json``.

    Attributes:
        part: such as ``2-of-5``.
        frames: first frame, and the first one after it, of `total`.
        total: frames of the whole video.
        template, character, backend, settings: what it is made of.
        metrics, warnings, weights: as in a result's record, of this part.
        video_sha256, edges_sha256: of the files beside it.
    """

    model_config = ConfigDict(extra="forbid")
    part: str
    frames: tuple[int, int]
    total: int
    template: str
    character: str
    backend: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    warnings: list[str]
    weights: list[str]
    video_sha256: str
    edges_sha256: str


@dataclass(frozen=True)
class PartFiles:
    """The files of a part.

    Attributes:
        video: its ``.mp4``.
    """

    video: Path

    @property
    def edges(self) -> Path:
        """Uncoded frames: ``head`` and ``tail``, each uint8 (n, height, width, 3)."""
        return self.video.with_suffix(".npz")

    @property
    def record(self) -> Path:
        """A `PartRecord`; written last."""
        return self.video.with_suffix(".json")

    def read(self) -> PartRecord:
        """The record, once it is sure that the other files belong to it.

        Raises:
            Rejected: a file is missing, damaged or belongs to another job.
        """
        again = "make this part again"
        try:
            record = PartRecord.model_validate_json(self.record.read_bytes())
            found = sha256(self.video), sha256(self.edges)
        except OSError as error:
            raise Rejected(f"{error.filename}: {error.strerror}; {again}") from None
        except ValidationError:
            raise Rejected(f"{self.record}: is not the record of a part; {again}") from None
        if found != (record.video_sha256, record.edges_sha256):
            raise Rejected(f"{self.video}: not the file that its record tells of; {again}")
        return record

    def write_edges(self, head: list[np.ndarray], tail: list[np.ndarray]) -> None:
        """Write the frames that are blended."""
        with whole_file(self.edges) as path:
            np.savez(path, head=np.array(head, np.uint8), tail=np.array(tail, np.uint8))

    def read_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """``head`` and ``tail``."""
        with np.load(self.edges) as arrays:
            return arrays["head"], arrays["tail"]
