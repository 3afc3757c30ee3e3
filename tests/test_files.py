"""Outputs are whole or absent, whatever kills or races their writer."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest

from mimo.files import sha256, whole_file, write_json

WRITE = """
import contextlib, errno, fcntl, sys
from pathlib import Path
from mimo.files import remove, sole_maker, whole_file
_, path, makes, locks = sys.argv
if locks != "True":
    def flock(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
with sole_maker(Path(makes)) if makes else contextlib.nullcontext():
    with whole_file(Path(path)) as part, part.open("w") as file:
        print("started", flush=True)
        for line in sys.stdin:
            if line == "remove\\n":
                remove(Path(path))
            file.write(line)
            file.flush()
            print("wrote", flush=True)
"""


class Writer:
    """Another process that writes into `path` what it is told to, perhaps as the sole maker of something."""

    def __init__(self, path: Path, makes: Path | str = "", locks: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path), str(makes), str(locks)],
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


def test_leftovers_of_the_dead_are_removed_and_never_written_into(tmp_path: Path) -> None:
    """An encoder that outlives its killed parent still holds the left file open, perhaps still empty."""
    path = tmp_path / "out.txt"
    for name in (".out.part-1234abcd.txt", ".out.part-1234abcd.pictures.txt"):
        (tmp_path / name).touch()
    with (tmp_path / ".out.part-1234abcd.txt").open("w") as orphan:
        with whole_file(path) as part:
            part.write_text("mine")
            orphan.write("an orphan's words, longer than mine")
            orphan.flush()
        assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_one_stem_are_written_side_by_side(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.mp4") as video:
        video.write_text("video")
        with whole_file(tmp_path / "a.webp") as picture:
            picture.write_text("picture")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.mp4": "video",
        "a.webp": "picture",
    }


def test_two_writers_do_not_mix_and_the_last_to_end_wins(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    first, second = Writer(path), Writer(path)
    assert first.heard() == second.heard() == "started"
    first.write("first")
    second.write("second")
    first.process.communicate()
    assert path.read_text() == "first\n"
    second.process.communicate()
    assert path.read_text() == "second\n"
    assert list(tmp_path.iterdir()) == [path]


def test_second_maker_waits_for_the_first(tmp_path: Path) -> None:
    """Also for one that was killed, and for its files of several stages."""
    record, path = tmp_path / "records" / "pose.json", tmp_path / "out.txt"
    first = Writer(path, makes=record)
    assert first.heard() == "started"
    second = Writer(path, makes=record)
    assert second.process.stderr
    waiting = second.process.stderr.readline()
    assert waiting.startswith(f"waiting for process {first.process.pid} on {gethostname()} (begun ")
    assert waiting.endswith(f"), which is making {record}\n")
    first.write("first")
    first.process.communicate()
    assert path.read_text() == "first\n"
    assert second.heard() == "started"
    third = Writer(path, makes=record)
    second.process.kill()
    assert third.heard() == "started"
    third.write("third")
    third.process.communicate()
    assert path.read_text() == "third\n"
    assert sorted(tmp_path.rglob("*")) == [path, record.parent]


@pytest.mark.parametrize("last_words", ["", "remove\n"])
def test_where_locks_do_not_reach_the_last_to_begin_wins(tmp_path: Path, last_words: str) -> None:
    """A job of a lost run goes on on another node; it is too late for it to write or delete anything."""
    record, path = tmp_path / "pose.json", tmp_path / "out.txt"
    old = Writer(path, record, locks=False)
    assert old.heard() == "started"
    new = Writer(path, record, locks=False)
    assert new.heard() == "started"
    new.write("new")
    new.process.communicate()
    assert path.read_text() == "new\n"
    _, errors = old.process.communicate(last_words)
    assert "TakenOver: somebody has taken" in errors
    assert old.process.returncode == 1
    assert sorted(tmp_path.iterdir()) == [path]


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
