"""Downloads from hubs and the web, from a server on loopback: interrupted, damaged, refused, out of reach."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save
from weights_server import hub

from mimo import weights
from mimo.files import sha256
from mimo.lifetime import EXIT_STOPPED
from mimo.weight_sources import http
from mimo.weight_sources import registry as registry_file

NET = save({"conv.weight": torch.arange(300_000, dtype=torch.float32)})
HUB_FILE = "/org/net/resolve/main/parts/net.safetensors"
WEB_FILE = "/releases/net.safetensors"
SCOPE_FILE = "/models/iic/net/resolve/master/parts/net.safetensors"


@pytest.fixture
def server(monkeypatch):
    with hub() as offer:
        monkeypatch.setenv("HF_ENDPOINT", offer.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", offer.url)
        monkeypatch.setattr(http, "TIMEOUT", 5.0)
        monkeypatch.setattr(http.time, "sleep", lambda seconds: None)
        yield offer


@pytest.fixture
def entry_of(tmp_path, monkeypatch):
    """Writes a registry with one entry `net`."""
    monkeypatch.setenv("MIMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.delenv("MIMO_WEIGHTS", raising=False)

    def write(*origins, **more):
        item = {"what": "a net", "kind": "model", "needed_by": ["synthesis/mimo"], "file": "net.safetensors"}
        item |= {"licence": {"spdx": "MIT", "commercial": True}, "origins": list(origins)} | more
        place = tmp_path / "weights.yaml"
        place.write_text(yaml.safe_dump({"sources": {}, "files": {"net": item}}))
        monkeypatch.setattr(registry_file, "REGISTRY", place)
        registry_file.registry.cache_clear()

    yield write
    registry_file.registry.cache_clear()


def web(server):
    return {"kind": "url", "url": server.url + WEB_FILE}


HUGGING_FACE = {"kind": "huggingface", "repo": "org/net", "path": "parts/net.safetensors"}
MODELSCOPE = {"kind": "modelscope", "repo": "iic/net", "path": "parts/net.safetensors"}


@pytest.mark.parametrize(
    ("origin", "path"), [(HUGGING_FACE, HUB_FILE), (MODELSCOPE, SCOPE_FILE), (None, WEB_FILE)]
)
def test_a_dropped_connection_is_gone_on_with(server, entry_of, origin, path):
    entry_of(origin or web(server))
    server.files[path] = NET
    server.breaks.append(path)
    assert weights.main(["download", "net"]) == 0
    assert weights.path("net").read_bytes() == NET
    first, second = server.asked(path)
    assert first is None
    assert second == f"bytes={len(NET) // 2}-"
    noted = weights.path("net").with_name("net.safetensors.sha256").read_text()
    assert noted.split()[0] == hashlib.sha256(NET).hexdigest()
    assert [p.name for p in (weights.cache_dir() / ".partial").rglob("*") if p.is_file()] == []


def test_a_later_run_goes_on_where_a_killed_one_stopped(server, entry_of, monkeypatch):
    entry_of(web(server))
    server.files[WEB_FILE] = NET
    server.breaks.append(WEB_FILE)

    def pressed(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(http.time, "sleep", pressed)
    assert weights.main(["fetch", "net"]) == EXIT_STOPPED
    assert weights.main(["fetch", "net"]) == 0
    assert server.asked(WEB_FILE) == [None, f"bytes={len(NET) // 2}-"]
    assert weights.path("net").read_bytes() == NET


def test_two_versions_of_a_file_are_never_joined(server, entry_of):
    entry_of(web(server))
    server.files[WEB_FILE] = NET
    partial = weights.cache_dir() / ".partial" / "net.safetensors"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"of another version")
    note = {"identity": server.url + WEB_FILE, "version": '"another"'}
    partial.with_name("net.safetensors.json").write_text(json.dumps(note))
    assert weights.main(["fetch", "net"]) == 0
    assert weights.path("net").read_bytes() == NET


@pytest.mark.parametrize(
    ("content", "more", "words"),
    [
        (NET, {"sha256": "0" * 64}, "its digest is"),
        (NET, {"size": len(NET) + 1}, f"is {len(NET)} bytes long instead of {len(NET) + 1}"),
        (b"<!DOCTYPE html><title>Log in</title>" * 9, {}, "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", {}, "git-LFS pointer"),
        (NET[:-1000], {}, "corrupt"),
        (None, {}, "HTTP 404"),
    ],
)
def test_what_is_not_the_file_is_refused(server, entry_of, capsys, content, more, words):
    entry_of(web(server), **more)
    if content is not None:
        server.files[WEB_FILE] = content
    assert weights.main(["fetch", "net"]) == 3
    message = capsys.readouterr().err
    assert words in message
    assert "--from FOLDER" in message
    assert not (weights.cache_dir() / "net.safetensors").exists()


def test_the_next_origin_is_tried(server, entry_of):
    entry_of(HUGGING_FACE, MODELSCOPE)
    server.files[SCOPE_FILE] = NET
    assert weights.main(["fetch", "net"]) == 0
    assert weights.path("net").read_bytes() == NET


def test_out_of_reach_says_what_to_do(entry_of, monkeypatch, capsys):
    with hub() as gone:
        pass
    monkeypatch.setenv("HF_ENDPOINT", gone.url)
    entry_of(
        HUGGING_FACE,
        web(gone),
        {"kind": "manual", "url": "https://example.org", "how": "register there, download net.zip"},
    )
    assert weights.main(["fetch", "net"]) == 3
    message = capsys.readouterr().err
    assert message.count("cannot be reached") == 2
    assert "https://example.org: register there, download net.zip" in message
    assert "--from FOLDER" in message


def test_a_folder_of_the_hub_and_a_damaged_member(server, entry_of, capsys):
    members = {
        "config.json": {},
        "net.safetensors": {"size": len(NET), "sha256": hashlib.sha256(NET).hexdigest()},
    }
    entry_of(HUGGING_FACE | {"path": "parts"}, file="net", members=members)
    server.files |= {HUB_FILE: NET, HUB_FILE.replace("net.safetensors", "config.json"): b'{"width": 3}'}
    assert weights.main(["fetch", "net"]) == 0
    assert weights.path("net").is_dir()
    assert weights.main(["verify"]) == 0
    (weights.path("net") / "config.json").write_text('{"width": 4}')
    assert weights.main(["verify"]) == 3
    assert "fetch net" in capsys.readouterr().err
    asked = len(server.asked(HUB_FILE))
    assert weights.main(["fetch", "net"]) == 0
    assert (weights.path("net") / "config.json").read_text() == '{"width": 3}'
    assert len(server.asked(HUB_FILE)) == asked, "the intact member is not fetched again"


def test_a_file_out_of_an_archive(server, entry_of, tmp_path):
    (tmp_path / "net.safetensors").write_bytes(NET)
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(tmp_path / "net.safetensors", "data/logs/net.safetensors")
    server.files["/data.tar.gz"] = (tmp_path / "data.tar.gz").read_bytes()
    entry_of({"kind": "url", "url": f"{server.url}/data.tar.gz", "member": "data/logs/net.safetensors"})
    assert weights.main(["fetch", "net"]) == 0
    assert weights.path("net").read_bytes() == NET
    assert not list(weights.cache_dir().rglob("data.tar.gz"))


def test_two_at_once_fetch_once(server, entry_of):
    entry_of(web(server))
    server.files[WEB_FILE] = NET
    threads = [threading.Thread(target=weights.fetch, args=(["net"],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked(WEB_FILE)) == 1
    assert weights.path("net").read_bytes() == NET


def test_a_folder_that_the_user_has_is_used_in_place(entry_of, tmp_path, monkeypatch):
    entry_of(HUGGING_FACE, file="mimo/net.safetensors")
    own = tmp_path / "pretrained_weights" / "net.safetensors"
    own.parent.mkdir()
    own.write_bytes(NET)
    with pytest.raises(weights.WeightsError, match="fetch net"):
        weights.path("net")
    monkeypatch.setenv("MIMO_WEIGHTS", f"{tmp_path / 'nothing'}:{own.parent}")
    assert weights.path("net") == own
    monkeypatch.delenv("MIMO_WEIGHTS")
    assert weights.main(["fetch", "net", "--from", str(own.parent)]) == 0
    assert weights.path("net").samefile(own)
    assert weights.path("net").is_symlink()


def test_what_does_not_fit_is_not_linked(entry_of, tmp_path, capsys):
    entry_of(HUGGING_FACE, sha256="0" * 64)
    (tmp_path / "net.safetensors").write_bytes(NET)
    assert weights.main(["fetch", "net", "--from", str(tmp_path)]) == 3
    assert "not the registry's 'net'" in capsys.readouterr().err
    assert weights.main(["fetch", "net", "--from", str(tmp_path / "cache")]) == 3
    assert "does not have net" in capsys.readouterr().err


def test_a_file_in_the_hub_clients_cache_is_used_offline(entry_of, tmp_path):
    """As a user whose other tools have downloaded the file already, without a network."""
    repo = tmp_path / "hf" / "models--org--net"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("abc")
    (repo / "snapshots" / "abc" / "parts").mkdir(parents=True)
    (repo / "snapshots" / "abc" / "parts" / "net.safetensors").write_bytes(NET)
    entry_of(HUGGING_FACE)
    code = (
        "import sys; from pathlib import Path; from mimo import weights\n"
        "from mimo.weight_sources import registry\n"
        "registry.REGISTRY = Path(sys.argv[1]); sys.exit(weights.main(['fetch', 'net']))"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-c", code, registry_file.REGISTRY], env=environment, check=True)
    assert sha256(Path(weights.path("net"))) == hashlib.sha256(NET).hexdigest()
