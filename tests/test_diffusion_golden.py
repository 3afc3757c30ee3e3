"""The diffusion synthesiser gives the reference implementation's numbers (see golden/README.md)."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mimo import verify

GOLDEN = Path(__file__).parent / "golden"


pytestmark = pytest.mark.usefixtures("one_thread")


def test_everything_golden_is_met(golden_weights):
    checks = list(verify.checks(golden_weights, GOLDEN))
    assert len(checks) == 89
    assert [check for check in checks if not check.passed] == []


def test_a_wrong_number_fails_the_command(golden_weights, tmp_path, capsys):
    golden = tmp_path / "golden"
    golden.mkdir()
    for path in GOLDEN.iterdir():
        if path.name != "pose_guider.safetensors":
            (golden / path.name).symlink_to(path)
    data = load_file(GOLDEN / "pose_guider.safetensors")
    data["output"] += np.float32(1e-3)
    save_file(data, golden / "pose_guider.safetensors")
    assert verify.main([str(golden_weights), str(golden)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("OVER")] == [next(x for x in lines if "pose guider" in x)]
    assert lines[-1] == "88 of 89 comparisons within tolerance"
