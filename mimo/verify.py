"""Compare this implementation with golden data of the reference: ``python -m mimo.verify WEIGHTS GOLDEN``.

Prints every comparison's largest difference beside what is allowed; exit code 1 when one is over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from mimo.verification.check import Check


def checks(weights: Path, golden: Path) -> Iterator[Check]:
    """All comparisons.

    Args:
        weights: folder of the weights that made the golden data.
        golden: folder of the golden data, laid out as described in its README.

    Raises:
        WeightsError: the weights cannot be used.
        OSError: golden data are missing.
    """
    from mimo.pipeline import MimoPipeline
    from mimo.verification.geometry import geometry_checks
    from mimo.verification.networks import network_checks, pipeline_checks, scheduler_checks

    yield from geometry_checks(golden)
    pipeline = MimoPipeline.from_pretrained(weights)
    pipeline.set_progress_bar_config(disable=True)
    yield from scheduler_checks(pipeline, golden)
    yield from network_checks(pipeline, golden)
    yield from pipeline_checks(pipeline, golden)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mimo.verify", description=__doc__)
    parser.add_argument("weights", type=Path, help="folder of the weights that made the golden data")
    parser.add_argument("golden", type=Path, help="folder of the golden data")
    args = parser.parse_args(argv)
    failed = count = 0
    for check in checks(args.weights, args.golden):
        verdict = "ok" if check.passed else "OVER"
        print(f"{check.name:58} {check.difference:10.2e} of {check.tolerance:8.1e}  {verdict}")
        failed += not check.passed
        count += 1
    print(f"{count - failed} of {count} comparisons within tolerance")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
