"""The terms of the model files that a run used, in words."""

from __future__ import annotations

from collections.abc import Iterable

from mimo import weights


def licence_lines(names: Iterable[str]) -> list[str]:
    """What a user must know about the model files that a run used.

    Args:
        names: of the weights registry, as records name them; others are said to be unknown.

    Returns:
        One line with every licence, and one more each if some forbid commercial use or are unknown.
    """
    known = weights.registry().files
    used = sorted(set(names))
    by_licence: dict[str, list[str]] = {}
    for name in used:
        if name in known:
            by_licence.setdefault(known[name].licence.spdx, []).append(name)
    lines = []
    if by_licence:
        parts = [f"{spdx} ({', '.join(group)})" for spdx, group in sorted(by_licence.items())]
        lines.append(f"Models used: {'; '.join(parts)}")
    if forbidden := non_commercial(used):
        lines.append(
            f"NOT FOR COMMERCIAL USE as it stands: {', '.join(forbidden)} forbid it or do not allow it"
        )
    if unknown := [name for name in used if name not in known]:
        lines.append(f"Not in the registry, look up their terms: {', '.join(unknown)}")
    return lines


def non_commercial(names: Iterable[str]) -> list[str]:
    """Those of some names of the registry whose terms do not allow commercial use."""
    known = weights.registry().files
    return [name for name in names if name in known and not known[name].licence.commercial]
