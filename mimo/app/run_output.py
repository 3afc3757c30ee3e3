"""What Snakemake says of a run: what it has planned, what it does, what has ended."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

BUSY = "another run is at work in"
"""What a run says that finds another one in its folder (see `mimo.run.lock`)."""

_TABLE = re.compile(r"^Job stats:\n.*\n[- ]+\n((?:\S+ +\d+\n)+)", re.MULTILINE)
_STARTED = re.compile(r"^(?:Job|localrule|checkpoint) (\d+): (.*)$", re.MULTILINE)
_FINISHED = re.compile(r"^Finished jobid: (\d+) \(Rule: (\w+)\)$", re.MULTILINE)
_FAILED = re.compile(r"^Error in rule (\w+), jobid: (\d+)|^ +jobid: (\d+)$", re.MULTILINE)
_COMPLAINT = re.compile(
    r"^(?:WorkflowError|[A-Za-z]+(?:Error|Exception))\b.*:?\n((?:[^\n]+\n?)+)", re.MULTILINE
)


@dataclass(frozen=True)
class RunOutput:
    """Where a run stands.

    Attributes:
        planned: jobs by rule, empty as long as the run is planning.
        finished: jobs that ended well, by rule.
        steps: what is being done, in the words of the rules, each with its video or character before it.
        complaint: what kept the run from starting or going on, one line; empty if nothing did.
        busy: another run was at work in its folder.
    """

    planned: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    steps: tuple[str, ...] = ()
    complaint: str = ""
    busy: bool = False

    @property
    def left(self) -> Counter[str]:
        """Jobs that have not ended, by rule."""
        return self.planned - self.finished


def read_output(path: Path) -> RunOutput:
    """Read what a run has said so far; nothing if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return RunOutput()
    table = _TABLE.search(text)
    rows = (line.split() for line in table[1].splitlines()) if table else ()
    planned = Counter({rule: int(count) for rule, count in rows if rule != "total"})
    ended = _FINISHED.findall(text)
    over = {number for number, _ in ended} | {one or two for _, one, two in _FAILED.findall(text)}
    steps = tuple(words for number, words in _STARTED.findall(text) if number not in over)
    complaint = _COMPLAINT.search(text)
    return RunOutput(
        planned,
        Counter(rule for _, rule in ended),
        steps,
        " ".join(complaint[1].split()) if complaint else "",
        BUSY in text,
    )
