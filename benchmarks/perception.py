"""Speed and memory of the production perception backends on one GPU: full-size networks with random weights.

    python -m benchmarks.perception                       # everything, under five minutes on one H100
    python -m benchmarks.perception --sections pose occlusion --frames 100

Each section (`benchmarks.perception_STAGE`) runs in a process of its own, so that none can stop or slow
another. Writes its part of benchmarks/results/perception.md; the parts of sections that were not run stay.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.perception_row import Row

RESULTS = Path(__file__).parent / "results" / "perception.md"
SECTIONS = ("occlusion", "segmentation", "pose", "inpainting")
HEAD = """# Perception backends

Written by `python -m benchmarks.perception`. Full-size networks with random weights: speed and memory are
those of the real ones, results mean nothing. Memory is the highest that PyTorch had allocated."""


def main() -> int:
    """Run the chosen sections one after the other and write the tables; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--frames", type=int, default=300, help="frames of the clip (default: 300)")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=280, help="for all sections together (default: 280)")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rows:
        measure(args.sections[0], args.frames, tuple(args.size), args.device, args.rows)
        return 0
    stop = time.monotonic() + args.seconds
    failed = 0
    for section in args.sections:
        started = time.monotonic()
        outcome = run_section(section, args, stop - started)
        failed += bool(outcome.failure)
        text = table(outcome, time.monotonic() - started)
        print(f"## {section}\n\n{text}\n", flush=True)
        write_part(section, text)
    return int(failed > 0)


def measure(section: str, frames: int, size: tuple[int, int], device: str, path: Path) -> None:
    """Run one section here, and write its rows and what it ran on as JSON."""
    import torch
    import transformers

    module = importlib.import_module(f"benchmarks.perception_{section}")
    rows: list[Row] = module.measure(frames, size, device)
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "no GPU"
    machine = f"{name}; torch {torch.__version__}, transformers {transformers.__version__}"
    path.write_text(json.dumps({"machine": machine, "rows": [dataclasses.asdict(row) for row in rows]}))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a section gave: rows and the machine, or why there are none."""

    machine: str = "not known"
    rows: tuple[Row, ...] = ()
    failure: str = ""


def run_section(section: str, args: argparse.Namespace, seconds: float) -> Outcome:
    """Run one section in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.perception", "--sections", section, "--rows", str(path)]
        command += ["--frames", str(args.frames), "--device", args.device, "--size", *map(str, args.size)]
        try:
            result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            return Outcome(failure=f"stopped after {seconds:.0f} s")
        if result.returncode:
            print(result.stderr, file=sys.stderr)
            words = result.stderr.strip().splitlines() or [f"ended with {result.returncode}"]
            return Outcome(failure=words[-1])
        content = json.loads(path.read_text())
    return Outcome(content["machine"], tuple(Row(**row) for row in content["rows"]))


def table(outcome: Outcome, seconds: float) -> str:
    """One section's part of the results."""
    lines = [f"{outcome.machine}; {describe()}. {seconds:.0f} s with loading and warming up.", ""]
    if outcome.failure:
        return "\n".join([*lines, f"Failed: {outcome.failure}"])
    lines += ["| variant | frames/s | peak GiB | |", "|---|---|---|---|"]
    for row in outcome.rows:
        speed = "" if row.frames_per_second is None else f"{row.frames_per_second:.1f}"
        memory = "" if row.peak_gib is None else f"{row.peak_gib:.2f}"
        lines.append(f"| {row.variant} | {speed} | {memory} | {row.note} |")
    return "\n".join(lines)


def write_part(section: str, text: str) -> None:
    """Put a section's table into the results, in place of its former one."""
    former = RESULTS.read_text() if RESULTS.is_file() else HEAD
    parts = dict(part.split("\n", 1) for part in former.split("\n## ")[1:])
    parts[section] = f"\n{text}\n"
    order = [name for name in SECTIONS if name in parts]
    RESULTS.write_text("\n".join([HEAD, "", *(f"## {name}\n{parts[name].rstrip()}\n" for name in order)]))


if __name__ == "__main__":
    raise SystemExit(main())
