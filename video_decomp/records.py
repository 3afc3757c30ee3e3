"""Reading what stages wrote about their work (see `mimo.stage.write_record`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mimo.stage import Rejected


def read_record(folder: Path, stage: str) -> dict[str, Any]:
    """Record of a stage.

    Raises:
        Rejected: it is missing or damaged.
    """
    path = folder / "records" / f"{stage}.json"
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except OSError:
        raise Rejected(f"{path}: missing; run the stage {stage} first") from None
    except ValueError:
        raise Rejected(f"{path}: damaged; run the stage {stage} again") from None
    return record
