"""Plans of the workflow: dry runs of the real command line, by a process that has imported Snakemake once.

Most of a dry run's time goes into imports; this process forks for each plan. What it has imported are other
people's packages only: ours come from the checkout that is planned.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from types import TracebackType

from conftest import Checkout

SERVER = """
import json, os, sys
import av, cv2, ffmpeg, imageio_ffmpeg, numpy, PIL.Image, platformdirs, pydantic, snakemake.cli, tqdm, yaml
ours = [name for name in sys.modules if name.partition(".")[0] in ("mimo", "video_decomp")]
assert not ours, ours
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        output = os.open(order["output"], os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        sys.path.insert(0, order["folder"])
        sys.argv[:] = ["snakemake", *order["options"]]
        snakemake.cli.main(order["options"])
        os._exit(99)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Planner:
    """Context manager that plans checkouts."""

    def __enter__(self) -> Planner:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        assert self._process.wait() == 0

    def output(self, checkout: Checkout, *options: str, **environment: str) -> tuple[int, str]:
        """Exit code and words of a dry run, with some variables of the environment."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
            order = {
                "folder": str(checkout.folder),
                "options": ["--cores", "2", "-n", *options],
                "output": output.name,
                "environment": environment,
            }
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return code, output.read()

    def plan(self, checkout: Checkout, *options: str, **environment: str) -> dict[str, int]:
        """Jobs that are planned: their number by rule, without `all`."""
        code, words = self.output(checkout, *options, **environment)
        assert code == 0, words
        if "Job stats:" not in words:
            assert "Nothing to be done" in words
            return {}
        counts = re.findall(r"^(\w+) +(\d+)$", words.rpartition("Job stats:")[2], re.MULTILINE)
        return {rule: int(count) for rule, count in counts if rule not in ("all", "total")}
