"""Prints one row for each template, character and result: how far it is, and why it failed if it did.

Exit code: 0 everything is done; 1 something failed; 4 nothing failed, but something is not finished yet;
3 the configuration cannot be used.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from mimo.report.outcomes import Item, Key, StageOutcome, State, outcomes, verdict
from mimo.report.rows import PLURALS
from mimo.run.configuration import add_configfile_option, chosen_configfiles
from mimo.run.project import Project
from mimo.stage import run

EXIT_FAILED = 1
EXIT_NOT_FINISHED = 4


@dataclass(frozen=True)
class Row:
    """What there is to say of one item; the fields are the columns, and the keys of ``--format json``.

    Attributes:
        kind: video, motion, template (dropped in by hand), staged (a motion in a scene), group (several
            people), character, result or cast (a result with several people).
        name: its name; of a result ``TEMPLATE with CHARACTER``.
        state: done, failed, running, blocked (what it is made of failed) or waiting.
        stage: the stage that failed or runs, else the last one that is done.
        backend: of that stage.
        seconds: wall time of its stages so far, as far as it was measured.
        reason: why it failed or is blocked.
    """

    kind: str
    name: str
    state: State
    stage: str
    backend: str
    seconds: float
    reason: str


def rows(project: Project) -> list[Row]:
    """A row for each item of a project, in the order of the report."""
    items = outcomes(project)
    known: dict[Key, Item] = {(item.kind, item.name): item for item in items}
    return [_row(project, item, known) for item in items]


def _row(project: Project, item: Item, known: dict[Key, Item]) -> Row:
    state, reason = verdict(item, known)
    outcome = _stage_to_name(item, state)
    stage = outcome.stage if outcome else ""
    made = outcome.record.get("backend") if outcome else None
    backend = project.backend(stage, item.template or item.name) if stage and made is None else made
    return Row(item.kind, item.name, state, stage, str(backend or ""), round(item.seconds, 1), reason)


def _stage_to_name(item: Item, state: State) -> StageOutcome | None:
    wanted = state if state in ("failed", "running") else "done"
    found = [outcome for outcome in item.stages if outcome.state == wanted]
    return (found[0] if wanted == "failed" else found[-1]) if found else None


def as_table(rows: Iterable[Row]) -> str:
    """Columns for people."""
    cells = [("", "name", "state", "stage", "backend", "time", "")]
    for row in rows:
        seconds = f"{row.seconds:.0f} s" if row.seconds else ""
        cells.append((row.kind, row.name, row.state, row.stage, row.backend, seconds, row.reason))
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[6]]).rstrip()
        for line in cells
    )


def as_tsv(rows: Iterable[Row]) -> str:
    """Tab-separated values with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.__dataclass_fields__), dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().rstrip("\n")


def as_json(rows: Iterable[Row]) -> str:
    """A list of objects."""
    return json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)


FORMATS = {"table": as_table, "tsv": as_tsv, "json": as_json}


def summary(rows: Iterable[Row]) -> str:
    """How many of each kind are in which state, in one line."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.kind, Counter())[row.state] += 1
    return "; ".join(
        f"{PLURALS[kind]}: {', '.join(f'{number} {state}' for state, number in states.items())}"
        for kind, states in counts.items()
    )


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's help for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m video_decomp.status",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_configfile_option(parser)
    parser.add_argument("--failed", action="store_true", help="only what failed")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table, with a summary")
    args = parser.parse_args(argv)
    states: set[State] = set()

    def work() -> None:
        found = rows(Project.read(chosen_configfiles(args)))
        states.update(row.state for row in found)
        print(FORMATS[args.format]([row for row in found if row.state == "failed" or not args.failed]))
        if args.format == "table":
            print(f"\n{summary(found)}")

    return run(work) or (
        EXIT_FAILED if "failed" in states else EXIT_NOT_FINISHED if states != {"done"} else 0
    )


if __name__ == "__main__":
    raise SystemExit(main())
