"""Changes by hand that Snakemake does not see: those of ``occ.mp4``.

It is no output that the rules could name, as most videos have none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mimo.template import CONFIG
from mimo.weight_sources.digests import recorded_digest


def unseen_changes(template: Path, stage: str = "occlusion") -> list[str]:
    """Files of a template to make again, since its ``occ.mp4`` was deleted, or another one is in its place.

    Deleted, what passes in front has to be found again. Retouched, or added, it is taken as it is: the
    template has to be packed again.

    Args:
        template: its folder.
        stage: the one that finds what passes in front.
    """
    record, config, occluder = template / "records" / f"{stage}.json", template / CONFIG, template / "occ.mp4"
    packed = _read(config).get("pipeline") or {}
    if not occluder.is_file():
        return [str(record)] if packed.get("occ_sha256") or _read(record).get("occ_sha256") else []
    return [str(config)] if packed and packed.get("occ_sha256") != recorded_digest(occluder) else []


def _read(path: Path) -> dict[str, Any]:
    """Content of a JSON file; nothing if it is missing, or damaged, as its readers will say."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError):
        return {}
