"""The terms of the model files that a run used, in words."""

from __future__ import annotations

from collections.abc import Iterable

from mimo import weights


def summary(names: Iterable[str]) -> str:
    """One line with every model that a run used, by licence.

    Args:
        names: of the weights registry, as records name them; others are passed over here.
    """
    known = weights.registry().files
    by_licence: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        if name in known:
            by_licence.setdefault(known[name].licence.spdx, []).append(name)
    parts = [f"{spdx} ({', '.join(group)})" for spdx, group in sorted(by_licence.items())]
    return f"Models used: {'; '.join(parts) or 'none'}"


def cautions(names: Iterable[str]) -> list[str]:
    """What a user must heed: models without permission for commercial use, and those of unknown terms.

    Args:
        names: as in `summary`.
    """
    known, used = weights.registry().files, sorted(set(names))
    forbidden = [name for name in used if name in known and not known[name].licence.commercial]
    unknown = [name for name in used if name not in known]
    lines = []
    if forbidden:
        lines.append(f"NOT FOR COMMERCIAL USE: the terms of {', '.join(forbidden)} do not permit it")
    if unknown:
        lines.append(f"LOOK UP THE TERMS of {', '.join(unknown)}: not in the weights registry")
    return lines
