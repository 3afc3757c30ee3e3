"""Prints one row for each video, character and result: how far it is, and why it failed if it did."""

from __future__ import annotations

from mimo.configuration import configuration_files
from mimo.project import Project
from mimo.report.outcomes import Item, outcomes
from mimo.stage import run


def table(items: list[Item]) -> str:
    """The rows as text: kind, name, stage reached, seconds, and the reason of a failure."""
    rows = [("", "name", "reached", "time", "")]
    for item in items:
        reached = "by hand" if item.kind == "template" else item.reached
        rows.append(
            (item.kind, item.name, reached, f"{item.seconds:.0f} s" if item.seconds else "", remark(item))
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    )


def remark(item: Item) -> str:
    """What to say of an item that is not done; empty if it is."""
    if item.failure:
        return f"{item.failure.stage} failed: {item.failure.reason}"
    running = [outcome.stage for outcome in item.stages if outcome.state == "running"]
    return f"{', '.join(running)} running" if running else "" if item.done else "not finished"


def main(argv: list[str] | None = None) -> int:
    """Command line; leaves with 1 if anything failed."""
    files = configuration_files("python -m mimo.status", __doc__, argv)
    failures: list[Item] = []

    def work() -> None:
        items = outcomes(Project.read(files))
        failures.extend(item for item in items if item.failure)
        print(table(items))

    return run(work) or int(bool(failures))


if __name__ == "__main__":
    raise SystemExit(main())
