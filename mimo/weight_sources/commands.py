"""Command line of `mimo.weights`: fetch, list, verify and check the files of the registry."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mimo.files import sha256
from mimo.run.project import Project
from mimo.stage import run
from mimo.weight_sources.check import THERE, advice, check, table
from mimo.weight_sources.digests import note_digest
from mimo.weight_sources.fetching import expected_digest, fetch, link, select
from mimo.weight_sources.registry import Entry, registry
from mimo.weights import FETCH, WeightsError, cache_dir, place

INTACT, DAMAGED, UNKNOWN = "intact", "DAMAGED", "digest not known"


def list_entries() -> None:
    """Print every entry: whether it is there, its size, licence, purpose, and the backends that need it."""
    for name, item in registry().files.items():
        there = "there" if place(item) else "optional" if item.optional else "to fetch"
        use = "commercial use allowed" if item.licence.commercial else "NO commercial use"
        print(f"{name:28} {there:9} {_size(item):>12}  {item.licence.spdx} ({use})")
        print(f"{'':28} {item.what}; for {', '.join(item.needed_by)}")
    print(f"\ncache folder: {cache_dir()}")


def _size(item: Entry) -> str:
    if item.built:
        return "built here"
    known = sum(part.size or 0 for part in item.parts.values()) / 1e6
    return f"{known:.1f} MB" if item.total_size else f"> {known:.0f} MB" if known else "? MB"


def verify() -> None:
    """Read all bytes of what is there, in the cache folder and in the user's, and compare digests.

    Raises:
        WeightsError: a file is damaged.
    """
    damaged = []
    for name, item in registry().files.items():
        where = place(item) or cache_dir() / item.file
        if where.exists():
            state = _state(item, where)
            print(f"{name:28} {state:22} {where}")
            damaged += [name] if state == DAMAGED else []
    if damaged:
        raise WeightsError(f"damaged: fetch again with `{FETCH} {' '.join(damaged)}`")


def _state(item: Entry, where: Path) -> str:
    """What comes of comparing all bytes of an entry with what they should be."""
    states = set()
    for part, member in item.parts.items():
        file = where / Path(part).relative_to(item.file)
        if not file.is_file():
            return DAMAGED
        actual, expected = sha256(file), expected_digest(file, member)
        # `fetch` goes by the record: it must not take for intact what rotted without another time.
        note_digest(file, actual)
        if expected not in (None, actual):
            return DAMAGED
        states.add(INTACT if expected else UNKNOWN)
    return UNKNOWN if UNKNOWN in states else INTACT


def check_configuration(files: Sequence[Path]) -> None:
    """Print what the configured backends need and whether it is there.

    Raises:
        WeightsError: a file is missing or cannot be used.
    """
    rows = check(Project.configured(files))
    print(table(rows))
    bad = [row for row in rows if row.state != THERE]
    if bad:
        raise WeightsError(f"{len(bad)} of {len(rows)} missing or damaged; {advice(bad)}")


def bring(names: list[str], args: argparse.Namespace) -> None:
    """Fetch entries, or link those that lie in the user's folder.

    Raises:
        WeightsError: something cannot be had.
    """
    if args.source is None:
        fetch(names, args.archives)
        return
    found = link(names, args.source)
    lacking = [name for name in names if name not in found]
    if lacking and (args.names or not found):
        raise WeightsError(
            f"{args.source}: does not have {', '.join(lacking)}; see `python -m mimo.weights list`"
        )


def _chosen(args: argparse.Namespace) -> list[str]:
    """Names that a command line of `fetch` asks for."""
    if args.configfile is not None:
        project = Project.configured([Path("config.yaml"), *args.configfile])
        needed = [row.name for row in check(project) if not row.own]
        return list(dict.fromkeys([*needed, *(select(args.names) if args.names else [])]))
    everything_there = args.source is not None and not args.names
    return select(args.names, args.all or everything_there)


def main(argv: list[str] | None = None) -> int:
    """Command line: fetch, list, verify and check the files of the registry."""
    parser = argparse.ArgumentParser(prog="python -m mimo.weights", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetcher = commands.add_parser(
        "fetch",
        aliases=["download"],
        help="bring files into the cache folder; goes on where it was interrupted",
    )
    fetcher.add_argument(
        "names", nargs="*", help="names (* allowed) or a backend; none: all that the default backends need"
    )
    fetcher.add_argument("--all", action="store_true", help="every file, the optional ones too")
    fetcher.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FOLDER",
        help="use files that lie in this folder: they are checked and linked, not copied",
    )
    fetcher.add_argument(
        "--archives", type=Path, metavar="FOLDER", help="take packages from here, download nothing"
    )
    commands.add_parser("list", help="what there is, its size and licence")
    commands.add_parser("verify", help="read all that is there and check the digests")
    checker = commands.add_parser("check", help="quickly: do the configured backends have what they need?")
    for command in (fetcher, checker):
        command.add_argument(
            "--configfile",
            type=Path,
            nargs="+",
            help="configuration files that win over config.yaml, as for snakemake"
            + ("; fetches what its backends need" if command is fetcher else ""),
        )
    args = parser.parse_args(argv)
    if args.command == "list":
        return run(list_entries)
    if args.command == "verify":
        return run(verify)
    if args.command == "check":
        return run(lambda: check_configuration([Path("config.yaml"), *(args.configfile or [])]))
    return run(lambda: bring(_chosen(args), args))
