"""Tells, before any job starts, which model files the configured backends lack or cannot use.

It looks at sizes, first bytes and tables of contents only: `python -m mimo.weights verify` reads every byte.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mimo.run.project import Project
from mimo.run.stages import STAGES
from mimo.weight_sources.inspection import lacking_keys, problem
from mimo.weight_sources.needs import entries
from mimo.weights import FETCH, WeightsError, cache_dir, entry, place, registry

THERE = "there"
MODEL_FILES = {".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pkl", ".npz", ".tflite", ".json"}


@dataclass(frozen=True)
class Row:
    """One model file or folder of one configured backend.

    Attributes:
        user: stage/backend.
        name: in the registry.
        place: where it lies or should lie.
        state: ``there``, or what is wrong.
        own: whether the settings put the user's own in place of the registry's.
    """

    user: str
    name: str
    place: Path
    state: str
    own: bool


def check(project: Project, stages: Collection[str] = tuple(STAGES)) -> list[Row]:
    """Look at the model files of the configured backends of some stages, also of single videos' settings."""
    rows: dict[tuple[str, str, Path | None], Row] = {}
    for stage in [stage for stage in STAGES if stage in stages]:
        names = [name for name, own in project.config.overrides.items() if stage in own]
        for name in ["", *names]:
            for user, needed in project.weight_files(stage, name).items():
                for wanted, own in needed.items():
                    for part in [wanted] if own is not None else entries(wanted):
                        if (user, part, own) not in rows:
                            rows[user, part, own] = _row(user, part, own)
    return list(rows.values())


def require(project: Project, stages: Collection[str]) -> None:
    """Refuse to go on unless all model files of some stages are there.

    Raises:
        WeightsError: one is missing or cannot be used; the message is the table of those.
    """
    bad = [row for row in check(project, stages) if row.state != THERE]
    if bad:
        raise WeightsError(f"model files are missing or damaged:\n{table(bad)}\n{advice(bad)}")


def table(rows: list[Row]) -> str:
    """The rows as text."""
    cells = [("needed by", "file", "state", "place")]
    cells += [(row.user, row.name, row.state, str(row.place)) for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[3]])
        for line in cells
    )


def advice(rows: list[Row]) -> str:
    """What to do about rows that are not ``there``; empty if all are."""
    lacking = sorted({row.name for row in rows if row.state != THERE and not row.own})
    wrong = sorted({str(row.place) for row in rows if row.state != THERE and row.own})
    lines = []
    if lacking:
        lines.append(f"run `{FETCH} {' '.join(lacking)}`")
    if wrong:
        lines.append(f"set another path, or put the right files there: {', '.join(wrong)}")
    return "; ".join(lines)


def _row(user: str, name: str, own: Path | None) -> Row:
    if own is not None:
        return Row(user, name, own, _own_state(name, own), True)
    item = entry(name)
    where = place(item)
    if where is None:
        return Row(user, name, cache_dir() / item.file, "missing", False)
    faults = []
    for part, member in item.parts.items():
        file = where / Path(part).relative_to(item.file)
        # A configuration that another version of a library wrote is longer and means the same.
        size = member.size if file.suffix != ".json" else None
        if fault := problem(file, size):
            faults.append(f"{file.name}: {fault}" if item.members else fault)
    files = [where / member for member in item.members] or [where]
    if not faults and (lacking := lacking_keys(files, item.keys)):
        faults.append(f"wrong kind: holds no tensor '{lacking[0]}'")
    return Row(user, name, where, faults[0] if faults else THERE, False)


def _own_state(name: str, own: Path) -> str:
    """What is wrong with the user's own file or folder; its files may be called as they like."""
    if not own.exists():
        return "missing"
    files = [own]
    if own.is_dir():
        files = sorted(path for path in own.rglob("*") if path.suffix in MODEL_FILES and path.is_file())
        if not files:
            return "wrong kind: no model file in it"
    for file in files:
        if fault := problem(file):
            return f"{file.relative_to(own)}: {fault}" if own.is_dir() else fault
    keys = entry(name).keys if name in registry().files else []
    lacking = lacking_keys(files, keys)
    return f"wrong kind: holds no tensor '{lacking[0]}'" if lacking else THERE
