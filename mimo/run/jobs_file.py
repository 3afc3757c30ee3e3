"""The table of wanted results, ``jobs.tsv``: which character performs which motion in which scene.

    character <tab> motion <tab> scene
    anna            dance        park
    anna, ben       *            own

The first line names the columns, in any order; `scene` may be left out or empty. Empty lines and lines that
begin with ``#`` are passed over. What spreadsheets write as tab-separated text is read as it is: UTF-8, with
or without a mark at its beginning, UTF-16, any line ends, cells in quotes. What the cells mean is the
business of `mimo.run.matrix`; here they are words.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mimo.files import sole_maker, whole_file
from mimo.stage import Rejected

COLUMNS = ("character", "motion", "scene")
NEEDED = COLUMNS[:2]
Cell = str | tuple[str, ...]
"""Words of a table's cell, which may be several names with commas between them; or names one by one."""

_HEADER = "a first line that names the columns: " + " <tab> ".join(COLUMNS)
_COLOUR = re.compile(r"#[0-9A-Fa-f]{3,6}")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class JobRow:
    """One row: every combination of its characters, motions and scenes is wanted.

    Attributes:
        character: names; for a video with several people a cast, ``anna=woman;ben=keep``.
        motion: names of templates.
        scene: names of scenes, or colours; empty: the motion's own.
        where: what to call the row in a message, such as ``jobs.tsv: line 3``; says nothing about the job.
    """

    character: Cell
    motion: Cell
    scene: Cell = ""
    where: str = field(default="", compare=False)


def read_jobs(path: Path) -> list[JobRow]:
    """Rows of a table.

    Args:
        path: the file.

    Returns:
        In the order of the file; none if it has a header only.

    Raises:
        Rejected: the file cannot be read, or a line does not have the form of the table; the message says
            which line, what is wrong and what is allowed.
    """
    _, _, rows = _parsed(path)
    return rows


def append_job(path: Path, job: JobRow) -> bool:
    """Add a row at the end of a table, which is made if it is missing; all else in it stays as it is.

    Several threads and processes may do so at the same time: one waits for the other.

    Returns:
        Whether the row was added; False: the table has it already.

    Raises:
        Rejected: the table cannot be read (see `read_jobs`), or a cell cannot stand in it.
    """
    with sole_maker(path):
        text, columns, rows = _parsed(path) if path.is_file() else ("", COLUMNS, [])
        if job in rows:
            return False
        text = text or _line(COLUMNS)
        _write(path, text + ("" if text.endswith("\n") else "\n") + _line(_cells(job, columns)))
    return True


def remove_jobs(path: Path, unwanted: Callable[[JobRow], bool]) -> int:
    """Take rows out of a table; all else in it stays as it is.

    Args:
        path: the file; a missing one has no rows.
        unwanted: whether a row goes.

    Returns:
        How many went.

    Raises:
        Rejected: see `read_jobs`.
    """
    if not path.is_file():
        return 0
    with sole_maker(path):
        text, _, rows = _parsed(path)
        gone = {row.where for row in rows if unwanted(row)}
        lines = enumerate(text.split("\n"), 1)
        if gone:
            _write(path, "\n".join(line for number, line in lines if _where(path, number) not in gone))
    return len(gone)


def _where(path: Path, number: int) -> str:
    return f"{path}: line {number}"


def _line(cells: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, "excel-tab", lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cells(job: JobRow, columns: tuple[str, ...]) -> tuple[str, ...]:
    """A row's words in the order of a table's columns.

    Raises:
        Rejected: one has a sign that a line cannot have, or there is a scene but no column for it.
    """
    words = {"character": job.character, "motion": job.motion, "scene": job.scene}
    texts = {name: cell if isinstance(cell, str) else ", ".join(cell) for name, cell in words.items()}
    for name, cell in texts.items():
        if cell and not cell.isprintable():
            raise Rejected(f"{name} {cell!r}: unprintable signs cannot stand in a table of jobs")
        if cell and name not in columns:
            raise Rejected(f"the table has no column '{name}'; add it to its first line")
    return tuple(texts.get(column, "") for column in columns)


def _write(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def _parsed(path: Path) -> tuple[str, tuple[str, ...], list[JobRow]]:
    """The text of a table with plain line ends, its columns, and its rows."""
    text = _text(path)
    columns: tuple[str, ...] = ()
    rows: list[JobRow] = []
    for number, line in enumerate(text.split("\n"), 1):
        where = _where(path, number)
        cells = _split(line, where)
        if not any(cells) or _is_comment(cells, columns):
            continue
        if not columns:
            columns = _columns(cells, where)
            continue
        row = _row(cells, columns, where)
        if row in rows:
            raise Rejected(f"{where}: the same as {rows[rows.index(row)].where}; delete either")
        rows.append(row)
    if not columns:
        raise Rejected(f"{path}: empty; give {_HEADER}")
    return text, columns, rows


def _text(path: Path) -> str:
    """Content of a table, with plain line ends and without a byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Rejected(f"{path}: cannot be read ({error.strerror})") from None
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Rejected(
            f"{_where(path, line)}: not UTF-8; save the table as 'Unicode Text' or as tab-separated UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _split(line: str, where: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], "excel-tab", strict=True), [])]
    except csv.Error:
        raise Rejected(f"{where}: a quotation mark opens a cell and none ends it; leave it out") from None


def _is_comment(cells: list[str], columns: tuple[str, ...]) -> bool:
    """Whether a line begins with ``#``, other than as a colour in the column `scene`."""
    if not cells[0].startswith("#"):
        return False
    is_scene = bool(columns) and columns[0] == "scene" and _COLOUR.match(cells[0]) is not None
    return not (is_scene and len(cells) > 1)


def _columns(cells: list[str], where: str) -> tuple[str, ...]:
    """Names of the columns, by the first line."""
    while cells and not cells[-1]:
        cells.pop()
    names = tuple(cell.lower() for cell in cells)
    if len(names) == 1 and re.search("[,;]", names[0]):
        raise Rejected(f"{where}: columns are separated by tabs here, not by '{names[0]}'; give {_HEADER}")
    for name in names:
        if name not in COLUMNS:
            raise Rejected(f"{where}: no column '{name}' is known; give {_HEADER}")
        if names.count(name) > 1:
            raise Rejected(f"{where}: two columns are called '{name}'; give {_HEADER}")
    if missing := [name for name in NEEDED if name not in names]:
        raise Rejected(f"{where}: column '{missing[0]}' is missing; give {_HEADER}")
    return names


def _row(cells: list[str], columns: tuple[str, ...], where: str) -> JobRow:
    if any(cells[len(columns) :]):
        raise Rejected(
            f"{where}: {len(cells)} cells, but the first line names {len(columns)} columns; "
            "separate columns by one tab each, names in a cell by commas"
        )
    words = dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))
    for column in NEEDED:
        if not words[column]:
            raise Rejected(f"{where}, column {column}: empty; give a name, several with commas, or *")
    return JobRow(words["character"], words["motion"], words.get("scene", ""), where)
