"""How well and how long a result is rendered: a few choices that stand for settings of `synthesis`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Quality:
    """One choice.

    Attributes:
        title: for users.
        words: what it costs and gives.
        backend: of the stage `synthesis`.
        settings: of that backend.
    """

    title: str
    words: str
    backend: str
    settings: dict[str, Any] = field(default_factory=dict)


QUALITIES = {
    "preview": Quality("Preview", "on any processor, under a second a frame", "puppet"),
    "fast": Quality("Diffusion, fast", "a GPU and MIMO's weights", "mimo", {"preset": "fast"}),
    "exact": Quality("Diffusion, exact", "four times as long", "mimo", {"preset": "exact"}),
}
"""From the quickest to the best."""
