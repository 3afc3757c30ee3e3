"""Jobs of one run share loaded networks: they are handed over to a worker that stays loaded.

The first job of a run with a backend starts `mimo.worker.server`; the next ones find it by a socket in a
private folder. A worker belongs to one run, one backend, one state of the code and one GPU, and ends with its
run. A run is whoever puts its process number into ``$MIMO_RUN_PID`` (`mimo.lifetime`): the workflow does, and
so can a script of one's own.

What is exchanged: an `Order` and the sender's own output streams, so that log and progress appear where they
would have; back come a line when the work begins, and one with its exit code.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mimo.fingerprint import PACKAGES, ROOT
from mimo.gpus import held_gpu, sees_only
from mimo.lifetime import RUN, RUN_PLACE, place
from mimo.run.resources import USUAL, clip_of_template, demand
from mimo.runtime_folder import runtime_folder
from mimo.stage import EXIT_FAULT, EXIT_REJECTED, Rejected, run
from mimo.worker.keeping import is_worker
from mimo.worker.room import make_room
from mimo.worker.sockets import Order, card, connect, folder_lock

_ATTEMPTS = 3
_BACKLOG = 64
# Variables that change what a process computes, or where.
_DECISIVE = (
    "CUDA",
    "NVIDIA",
    "TORCH",
    "PYTORCH",
    "TRITON",
    "MIMO",
    "OMP",
    "MKL",
    "HF_",
    "PYTHON",
    "LD_",
    "PATH",
)


def perform(
    module: str,
    args: argparse.Namespace,
    argv: list[str] | None,
    work: Callable[[], None],
    makes: Path,
    stage: str | None = None,
) -> int:
    """Do a stage's work on a GPU of its own, where it needs one; here, or in the run's worker.

    Args:
        module: of the command line, such as ``video_decomp.pose``.
        args: its command line, parsed by `mimo.stage.backend_arguments`.
        argv: its command line as given to `main`; None: this process's.
        work, makes: as for `mimo.stage.run`.
        stage: whose backend it is, where the module's name does not say so.

    Returns:
        The stage's exit code.
    """
    stage = stage or module.rpartition(".")[2]
    if is_worker():
        return run(work, makes)
    served, keep_loaded = run_to_serve(), getattr(args.settings, "keep_loaded", 0)
    try:
        with held_gpu(getattr(args.settings, "device", "cpu")) as held, sees_only(held):
            order = _order(module, stage, args, argv, keep_loaded)
            if not keep_loaded or served is None:
                make_room(order)
                return run(work, makes)
            return hand_over(order, f"{stage} {args.backend}", served, held.lock)
    except Rejected as error:
        print(f"REJECTED: {error}", file=sys.stderr)
        return EXIT_REJECTED


def _order(
    module: str, stage: str, args: argparse.Namespace, argv: list[str] | None, keep_loaded: float
) -> Order:
    """The order of a stage's job, with what it needs."""
    try:
        clip = clip_of_template(args.template)
    except (AttributeError, FileNotFoundError):
        clip = USUAL
    need = demand(stage, args.backend, args.settings, clip)
    words = sys.argv[1:] if argv is None else argv
    return Order(module, list(map(str, words)), keep_loaded, need.mem_mb, need.gpu_mem_mb)


def run_to_serve() -> int | None:
    """The process that a worker is not to outlive; None where there is none, or it cannot be watched."""
    if os.environ.get(RUN_PLACE, place()) != place():
        return None
    try:
        served = int(os.environ[RUN])
        os.close(os.pidfd_open(served))
    except (KeyError, ValueError, OSError, AttributeError):
        return None
    return served


def hand_over(order: Order, kind: str, served: int, lock: int | None = None) -> int:
    """Let the run's worker do a job, and wait for it.

    Args:
        order: the job.
        kind: of worker: jobs of different kinds have different ones.
        served: process that the worker is not to outlive.
        lock: open file that holds the GPU; the worker holds it, too, as long as it works.

    Returns:
        The exit code that doing it here would have had.

    Raises:
        Rejected: see `runtime_folder`.
    """
    for _ in range(_ATTEMPTS):
        with _connected(order, kind, served) as connection:
            code = _answer(connection, order, lock)
        if code is not None:
            return code
    print("no worker takes this job: each one ended before it began", file=sys.stderr)
    return EXIT_FAULT


def _answer(connection: socket.socket, order: Order, lock: int | None) -> int | None:
    """Order a job and wait; its exit code, or None: the worker ended before it began."""
    replies = connection.makefile("r", encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        text = order.as_json().encode()
        sent = socket.send_fds(connection, [text], [1, 2, *([lock] if lock is not None else [])])
        connection.sendall(text[sent:])
        begun = replies.readline()
    except (BrokenPipeError, ConnectionResetError):
        return None
    if not begun:
        return None
    worker = json.loads(begun)["worker"]
    print(f"handed over to process {worker}, which stays loaded", file=sys.stderr, flush=True)
    with suppress(ConnectionResetError):
        answer = replies.readline()
        if answer:
            return int(json.loads(answer)["exit"])
    print(f"the worker that was doing this job has died (process {worker})", file=sys.stderr)
    return EXIT_FAULT


def _connected(order: Order, kind: str, served: int) -> socket.socket:
    """A connection to the worker, which is started if there is none."""
    folder = runtime_folder()
    path = folder / f"{card()}-{_worker_name(kind, served)}.socket"
    with folder_lock(folder):
        try:
            return connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            _remove_dead(folder)
            _start_worker(path, served, order.keep_loaded)
            return connect(path)


def _worker_name(kind: str, served: int) -> str:
    """What tells workers apart: run, backend, code, environment."""
    decisive = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(_DECISIVE))
    parts = [kind, str(served), _state_of_code(), sys.executable, str(Path.cwd()), *decisive]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _state_of_code() -> str:
    """Times and sizes of all our modules; quicker than what `mimo.fingerprint` tells of one stage's."""
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return " ".join(f"{stat.st_mtime_ns} {stat.st_size}" for stat in (path.stat() for path in files))


def _remove_dead(folder: Path) -> None:
    """Remove sockets of workers that were killed."""
    for path in folder.glob("*.socket"):
        try:
            connect(path).close()
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue


def _start_worker(path: Path, served: int, keep_loaded: float) -> None:
    """Start a worker on a socket that listens already, so that nobody has to wait for it to come up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        command = [sys.executable, "-m", "mimo.worker.server", str(path)]
        command += ["--listener", str(listener.fileno()), "--run", str(served), "--idle", str(keep_loaded)]
        packages = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": packages},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
