"""The web app: character, motion and scene chosen in a browser; the workflow makes the video.

    python -m mimo.app

It works in a project folder of the workflow: what it makes, the command line finds there, and vice versa.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import sys
from pathlib import Path

from mimo.app.cookies import Password
from mimo.app.core import Core
from mimo.app.queue import JobQueue
from mimo.app.workspace import Workspace
from mimo.run.lock import hold
from mimo.stage import EXIT_REJECTED, Rejected


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mimo.app", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workspace", type=Path, default=Path(), help="project folder to work in (default: this folder)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: this computer only)"
    )
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="for the workflow (default: all)"
    )
    parser.add_argument(
        "--users",
        choices=("one", "many"),
        help="one: the workspace is the project; many: a project for each browser (default: one on this "
        "computer only and without a password, else many)",
    )
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="DIR",
        help="project whose templates, motions, characters and scenes all users may use (default: with many "
        "users the workspace)",
    )
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="file with a password in its first line"
    )
    parser.add_argument(
        "--no-password", action="store_true", help="let everybody in who can reach the address, without one"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="name that browsers know this server by, where a proxy stands before it; may be repeated",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until told to end.

    Returns:
        0; 3 where the command line, the workspace or the password cannot be used.
    """
    args = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for noisy in ("httpx", "httpx2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        run(args)
    except Rejected as error:
        print(f"REJECTED: {error}", file=sys.stderr)
        return EXIT_REJECTED
    return 0


def run(args: argparse.Namespace) -> None:
    """Open the workspace and serve it.

    Raises:
        Rejected: it cannot be used, or would be open to everybody without that having been said.
    """
    alone = is_loopback(args.host)
    if not alone and args.password_file is None and not args.no_password:
        raise Rejected(
            f"{args.host}: everybody who can reach this address could use this computer; give "
            "--password-file FILE, or say --no-password"
        )
    if args.no_password and args.password_file is not None:
        raise Rejected("--no-password and --password-file contradict each other; give one")
    many = args.users == "many" or (args.users is None and not (alone and args.password_file is None))
    workspace = Workspace.open(args.workspace, many=many, gallery=args.gallery)
    hold(workspace.private / "server.lock", f"another server works in {workspace.folder}; stop it first")
    password = None
    if args.password_file is not None:
        password = Password.read(args.password_file, workspace.signer, workspace.limits.login_hours)
    if not alone and password is None:
        print(
            f"WARNING: no password: everybody who can reach {args.host}:{args.port} can use this computer's "
            "disk and processors",
            file=sys.stderr,
        )
    from mimo.app.server import serve

    print(f"open http://{args.host}:{args.port} ({'many users' if many else workspace.folder})", flush=True)
    serve(Core(workspace, JobQueue(workspace, args.cores)), args.host, args.port, args.name, password)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this computer only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
