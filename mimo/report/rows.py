"""What the report's table says of each video, template, character and result."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mimo.report.flags import Flag, flags
from mimo.report.outcomes import Item, ItemKind, Key, State, made_of, verdict
from mimo.run.project import Project

STATES: tuple[State, ...] = ("failed", "running", "done", "waiting", "blocked")
KINDS: tuple[ItemKind, ...] = (
    *("result", "cast", "video", "motion", "staged", "group", "template"),
    "character",
)
PLURALS = {str(kind): "staged" if kind == "staged" else f"{kind}s" for kind in KINDS}
DEFAULT_CONFIG = Path("config.yaml")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        item: what it is about.
        state: as the item's stages say; blocked: what it is made of failed.
        reason: why it failed or is blocked, one line; else empty.
        flags: of the item itself and of all that it is made of.
        inherited: which of these came from what it is made of, by key.
    """

    item: Item
    state: State
    reason: str
    flags: list[Flag]
    inherited: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> str:
        """Its name within the page, the same in every report."""
        return row_key(self.item.kind, self.item.name)

    @property
    def title(self) -> str:
        """Its name; of a result its template's."""
        return self.item.template if self.item.is_result else self.item.name

    @cached_property
    def frames(self) -> int | None:
        """Number of frames, from the first record that says it."""
        counts = (outcome.metrics.get("frames") for outcome in self.item.stages)
        return next((count for count in counts if isinstance(count, int)), None)

    @property
    def seconds_per_frame(self) -> float | None:
        """Wall time of all its jobs for each frame."""
        return self.item.seconds / self.frames if self.frames and self.item.seconds else None

    @property
    def megabytes(self) -> float | None:
        """Peak memory of its largest job."""
        return max((o.megabytes for o in self.item.stages if o.megabytes is not None), default=None)

    @property
    def notes(self) -> list[str]:
        """Warnings of its stages."""
        return [str(line) for outcome in self.item.stages for line in outcome.record.get("warnings", [])]


def row_key(kind: str, name: str) -> str:
    """What an item's row is called within the page."""
    return "r" + hashlib.sha1(f"{kind}/{name}".encode()).hexdigest()[:10]


def table_rows(items: Iterable[Item]) -> list[Row]:
    """A row for each item: results first, and of each kind first what failed, is unfinished or flagged."""
    known: dict[Key, Item] = {(item.kind, item.name): item for item in items}
    rows = [_row(item, known) for item in known.values()]
    return sorted(
        rows,
        key=lambda row: (
            KINDS.index(row.item.kind),
            STATES.index(row.state),
            not row.flags,
            row.title,
            row.item.character,
        ),
    )


def _row(item: Item, known: Mapping[Key, Item]) -> Row:
    state, reason = verdict(item, known)
    taken = [flag for source in made_of(item, known) for flag in flags(source.stages)]
    return Row(item, state, reason, flags(item.stages) + taken, frozenset(flag.check.key for flag in taken))


def made_file(project: Project, item: Item, stage: str) -> Path:
    """The file whose presence says that a stage of an item is done."""
    config = project.config
    if item.is_result:
        return config.results / item.template / f"{item.character}.mp4"
    if item.kind == "character":
        return config.prepared / item.name / "character.json"
    folder = config.templates / item.name
    return folder / "config.json" if stage == "template" else folder / "records" / f"{stage}.json"


@dataclass(frozen=True)
class Failure:
    """Rows that failed at the same stage for the same reason.

    Attributes:
        stage: key of `STAGES`.
        reason: with ``…`` in the place of each row's own name, where there are several.
        rows: in the order of the table.
    """

    stage: str
    reason: str
    rows: list[Row]


def failures(rows: Iterable[Row]) -> list[Failure]:
    """What failed, the most frequent reason first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.item.failure:
            own = sorted({row.item.template, row.item.character, row.item.name} - {""}, key=len, reverse=True)
            reason = row.reason
            for name in own:
                reason = reason.replace(name, "…")
            groups.setdefault((row.item.failure.stage, reason), []).append(row)
    found = [
        Failure(stage, reason if len(those) > 1 else those[0].reason, those)
        for (stage, reason), those in groups.items()
    ]
    return sorted(found, key=lambda failure: -len(failure.rows))


def command_again(project: Project, rows: Iterable[Row], configfiles: Iterable[Path]) -> str:
    """Command line that makes the failed stages of some rows again, with what they need.

    Args:
        project: the run.
        rows: rows that failed.
        configfiles: configuration files of the run; the usual one need not be named.
    """
    named = [str(path) for path in configfiles if path.resolve() != DEFAULT_CONFIG.resolve()]
    pairs = [(row.item, row.item.failure) for row in rows]
    targets = [str(made_file(project, item, failure.stage)) for item, failure in pairs if failure]
    options = ["--configfile", *named] if named else []
    return shlex.join(["snakemake", "--cores", "all", *options, "--", *targets])
