"""One comparison with golden data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Check(NamedTuple):
    """Result of a comparison.

    Attributes:
        name: what was compared.
        difference: largest absolute difference; for exact comparisons the number of unequal items.
        tolerance: what is allowed.
    """

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance (never for NaN)."""
        return self.difference <= self.tolerance


def difference(value: Any, expected: Any) -> float:
    """Largest absolute difference of two arrays; infinite when their shapes differ."""
    value, expected = np.asarray(value, np.float64), np.asarray(expected, np.float64)
    if value.shape != expected.shape:
        return float("inf")
    return float(np.abs(value - expected).max(initial=0))
