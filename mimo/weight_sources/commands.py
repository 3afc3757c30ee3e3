"""Command line of `mimo.weights`: fetch, list and verify the files of the registry."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimo.stage import run
from mimo.weight_sources.fetching import fetch, is_intact, select
from mimo.weight_sources.registry import registry
from mimo.weights import FETCH, WeightsError, cache_dir, place


def _list() -> None:
    for name, item in registry().files.items():
        there = "there" if place(item) else "optional" if item.optional else "to fetch"
        use = "commercial use allowed" if item.licence.commercial else "NO commercial use"
        size = (
            f"{item.total_size / 1e6:.1f} MB" if item.total_size else "built here" if item.built else "? MB"
        )
        print(f"{name:28} {there:9} {size:>10}  {item.licence.spdx} ({use})")
        print(f"{'':28} {item.what}; for {', '.join(item.needed_by)}")
    print(f"\ncache folder: {cache_dir()}")


def _verify() -> None:
    damaged = []
    for name, item in registry().files.items():
        if (cache_dir() / item.file).exists():
            intact = is_intact(name)
            print(f"{name:28} {'intact' if intact else 'DAMAGED'}")
            damaged += [] if intact else [name]
    if damaged:
        raise WeightsError(f"damaged in {cache_dir()}: fetch again with `{FETCH} {' '.join(damaged)}`")


def main(argv: list[str] | None = None) -> int:
    """Command line: fetch, list and verify the files of the registry."""
    parser = argparse.ArgumentParser(prog="python -m mimo.weights", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetcher = commands.add_parser("fetch", help="bring files into the cache folder")
    fetcher.add_argument(
        "names", nargs="*", help="names (* allowed) or a backend; none: all that the default backends need"
    )
    fetcher.add_argument("--all", action="store_true", help="every file, the optional ones too")
    fetcher.add_argument(
        "--archives", type=Path, metavar="FOLDER", help="take packages from here, download nothing"
    )
    commands.add_parser("list", help="what there is, its size and licence")
    commands.add_parser("verify", help="check the digests of what is in the cache folder")
    args = parser.parse_args(argv)
    if args.command == "list":
        return run(_list)
    if args.command == "verify":
        return run(_verify)
    return run(lambda: fetch(select(args.names, args.all), args.archives))
