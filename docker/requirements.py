"""Prints the pinned packages of pyproject.toml for pip, one a line.

python docker/requirements.py diffusion perception     # with these optional groups
python docker/requirements.py --only torch
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("groups", nargs="*", help="optional groups")
    parser.add_argument("--only", metavar="PACKAGE", help="this package's line alone")
    args = parser.parse_args()
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for group in args.groups:
        lines += project["optional-dependencies"][group]
    if args.only:
        lines = [line for line in lines if line.partition("==")[0] == args.only]
        if not lines:
            sys.exit(f"pyproject.toml does not pin {args.only}")
    print("\n".join(dict.fromkeys(lines)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
