"""The diffusion synthesiser gives the reference implementation's numbers (see golden/README.md)."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from mimo import verify

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    # Networks this small only lose by threads that wait for each other.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    zipfile.ZipFile(GOLDEN / "weights.zip").extractall(folder)
    return folder


def test_everything_golden_is_met(weights):
    checks = list(verify.checks(weights, GOLDEN))
    assert len(checks) == 89
    assert [check for check in checks if not check.passed] == []


def test_a_wrong_number_fails_the_command(weights, tmp_path, capsys):
    golden = tmp_path / "golden"
    golden.mkdir()
    for path in GOLDEN.iterdir():
        if path.name != "pose_guider.safetensors":
            (golden / path.name).symlink_to(path)
    data = load_file(GOLDEN / "pose_guider.safetensors")
    data["output"] += np.float32(1e-3)
    save_file(data, golden / "pose_guider.safetensors")
    assert verify.main([str(weights), str(golden)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("OVER")] == [next(x for x in lines if "pose guider" in x)]
    assert lines[-1] == "88 of 89 comparisons within tolerance"
