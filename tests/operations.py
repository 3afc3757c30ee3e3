"""What can go wrong, what the user sees, and what recovers: the table of ``docs/operations.md``.

Each line of the table is an `Operation` in `OPERATIONS`, and is produced by a test:

    from operations import fault

    def test_killed_workflow(checkout):
        row = fault("kill -9 of Snakemake")
        ...                               # cause it, on the real programs
        row.assert_seen(output)           # every `literal` text of its column "what you see" is there
        result = row.recover(checkout)    # runs its command "recover with", word for word
                                          # (settings of the test stand in the checkout's config.yaml)
        assert result.returncode == 0

To add a line: add an `Operation` to `OPERATIONS`, write its test, then

    python tests/operations.py            # writes the table into docs/operations.md

`test_operations_table.py` compares the table with this list and looks for a test of each line.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from conftest import Checkout

PAGE = Path(__file__).parent.parent / "docs" / "operations.md"
BEGIN, END = "<!-- table by tests/operations.py -->\n", "<!-- end of table -->\n"
AGAIN = "snakemake --cores 2"


@dataclass(frozen=True)
class Operation:
    """One line of the table.

    Attributes:
        fault: what happened; the line's name.
        seen: what the user sees, in Markdown; texts in backquotes are literal, ``…`` is anything.
        command: the shell command that recovers; empty: nothing needs to be done.
        note: what else to know, behind the command.
    """

    fault: str
    seen: str
    command: str = AGAIN
    note: str = ""

    def assert_seen(self, text: str) -> None:
        """Fail unless every literal text of `seen` stands in what the user saw."""
        literal = re.findall(r"`([^`]+)`", self.seen)
        assert literal, f"{self.fault}: nothing to look for in '{self.seen}'"
        for words in literal:
            pattern = ".*".join(re.escape(part) for part in words.split("…"))
            assert re.search(pattern, text), f"'{words}' is not in:\n{text}"

    def recover(self, checkout: Checkout, *options: str, **more) -> subprocess.CompletedProcess:
        """Run the command in a checkout, as it stands, with further options of this test behind it."""
        assert self.command, f"{self.fault}: there is no command"
        return checkout.shell(f"{self.command} {shlex.join(options)}", **more)

    @property
    def row(self) -> str:
        """The line in Markdown."""
        done = f"`{self.command}`" if self.command else "nothing"
        return f"| {self.fault} | {self.seen} | {done}{f'; {self.note}' if self.note else ''} |"


OPERATIONS: list[Operation] = [
    Operation(
        "`kill -9` of Snakemake",
        "its stages end at once: `STOPPED: the run that it belongs to has ended` in their logs",
    ),
    Operation(
        "`kill -9` of a stage, or out of memory",
        "exit code 1; the status says `stopped before its end (killed, or out of memory?)`",
    ),
    Operation(
        "power failure, or `kill -9` of everything",
        "the status says `stopped before its end (killed, or out of memory?)`",
    ),
    Operation("Ctrl-C", "`STOPPED: it was interrupted` in the log"),
    Operation(
        "a stage of a killed run is still at work",
        "its successor says in the log `waiting for process … on …, which is making …`",
        note="the successor goes on as soon as the other has ended; that process may be killed",
    ),
    Operation(
        "the disk is full",
        "the status says `FAULT: …: the disk is full`, with the file",
        note="once there is space",
    ),
    Operation(
        "a folder can only be read",
        "the run ends before its first job: `results: the disk can only be read; make it writable`",
        note="once it can be written",
    ),
    Operation(
        "the folder `.snakemake` is lost",
        "`Nothing to be done`",
        note="by their times alone: settings and code that were changed meanwhile are not noticed",
    ),
    Operation(
        "results were copied without their times and `.snakemake`",
        "`snakemake -n` plans everything again: `updated input files`",
        "snakemake --cores 2 --touch",
        "says that they are up to date; `cp -a` keeps times",
    ),
    Operation("a file is dated in the future", "`was dated in the future`; it is given today's date"),
    Operation(
        "killed while the report was written",
        "`Nothing to be done`, and an old report or none",
        "python -m mimo.report",
    ),
    Operation(
        "some videos cannot be used",
        "exit code 1, the others are finished; status and report say `REJECTED: …` with the reason of each",
        note="with their names under `exclude:` in `config.yaml`",
    ),
    Operation(
        "two runs at once in one folder",
        "the second one ends at once: `another run is at work in …; wait for it or stop it`",
    ),
    Operation(
        "a Slurm job is cancelled, or its stage killed",
        "`SLURM status is: 'CANCELLED'` or `SLURM status is: 'FAILED'`, then `Trying to restart job`",
        "",
        "it is submitted again, twice at most",
    ),
    Operation(
        "a Slurm job is over its memory",
        "`exceeded memory limit` in the job's log of Slurm, then `Trying to restart job`",
        "",
        "it is submitted again with more",
    ),
    Operation(
        "a Slurm job is over its time",
        "`SLURM status is: 'TIMEOUT'`, then `Trying to restart job`",
        "",
        "it is submitted again with more",
    ),
    Operation(
        "a node of the cluster fails",
        "the job waits again, `Restarts=1` by scontrol",
        "",
        "Slurm starts it on another node",
    ),
    Operation(
        "`kill -9` of a Snakemake that has jobs on Slurm",
        "its jobs go on; the next run says `cancelling Slurm jobs of a run that was killed`",
        "snakemake --workflow-profile profiles/slurm",
    ),
    Operation(
        "a row of `jobs.tsv` names what is not there (any more)",
        "the run ends before its first job: `jobs.tsv: line …, column motion: no motion '…' (there is …)`",
        note="when the row is corrected or deleted, or the name stands under `exclude:` in `config.yaml`",
    ),
    Operation(
        "a bucket is missing",
        "`s3://…: no such bucket at …; create it, or correct config.yaml`",
        note="after that",
    ),
    Operation(
        "wrong credentials for a bucket",
        "`s3://…: the server refuses these credentials (…); check the key, its secret and its rights`",
        note="with the right ones ([remote storage](storage.md))",
    ),
    Operation(
        "the storage server is down",
        "after some tries `s3://…: … does not answer (…); is the server up, and AWS_ENDPOINT_URL right?`",
        note="when it answers again",
    ),
]


def fault(name: str) -> Operation:
    """The line of a fault, by its name."""
    return {operation.fault: operation for operation in OPERATIONS}[name]


def table() -> str:
    """The table in Markdown."""
    head = "| what happened | what you see | recover with |\n|---|---|---|\n"
    return head + "".join(f"{operation.row}\n" for operation in OPERATIONS)


def with_table(page: str) -> str:
    """A page with the table between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()), encoding="utf-8")
