"""Outputs are whole or absent, whatever kills or races their writer."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mimo.files import sha256, whole_file, write_json

WRITE = """
import sys
from pathlib import Path
from mimo.files import whole_file
with whole_file(Path(sys.argv[1])) as part, part.open("w") as file:
    print("started", flush=True)
    for line in sys.stdin:
        file.write(line)
        file.flush()
        print("wrote", flush=True)
"""


class Writer:
    """Another process that writes into `path` what it is told to."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def heard(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def write(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.heard() == "wrote"


def test_killed_writer_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    for words in ([], ["half"]):
        writer = Writer(path)
        assert writer.heard() == "started"
        for word in words:
            writer.write(word)
        writer.process.send_signal(signal.SIGKILL)
        writer.process.communicate()
        assert path.read_text() == "old"
    with whole_file(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_leftover_is_never_written_into(tmp_path: Path) -> None:
    """An encoder that outlives its killed parent still holds the left file open, perhaps still empty."""
    path = tmp_path / "out.txt"
    with (tmp_path / ".out.part.txt").open("w") as orphan:
        with whole_file(path) as part:
            part.write_text("mine")
            orphan.write("an orphan's words, longer than mine")
            orphan.flush()
        assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    first = Writer(path)
    assert first.heard() == "started"
    second = Writer(path)
    assert second.process.stderr
    assert "waiting for another process" in second.process.stderr.readline()
    first.write("first")
    first.process.communicate()
    assert path.read_text() == "first\n"
    assert second.heard() == "started"
    second.write("second")
    assert path.read_text() == "first\n"
    second.process.communicate()
    assert path.read_text() == "second\n"
    assert list(tmp_path.iterdir()) == [path]


def test_many_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    code = (
        "import sys; from pathlib import Path; from mimo.files import whole_file\n"
        "for _ in range(100):\n"
        "    with whole_file(Path(sys.argv[1])) as part: part.write_text(sys.argv[2] * 1000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "abcd"]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert path.read_text() in {letter * 1000 for letter in "abcd"}
    assert list(tmp_path.iterdir()) == [path]


def test_failed_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ü.json"
    write_json(path, {"a": "ü"})
    digest = sha256(path)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(FileNotFoundError), whole_file(path) as part:
        part.unlink()
    assert sha256(path) == digest
    assert list(path.parent.iterdir()) == [path]
