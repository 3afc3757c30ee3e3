"""The web app, sent what it should not take."""

import io
import json
import zipfile

import numpy as np
import pytest
from app_users import folder_of, picture, protected_server, user_with_picture
from PIL import Image

from mimo.video import VideoWriter


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with protected_server(tmp_path_factory.mktemp("app")) as started:
        yield started


@pytest.fixture(scope="module")
def anna(server):
    """A user with a picture."""
    return user_with_picture(server)


@pytest.fixture(scope="module")
def ben(server):
    """Another one."""
    return user_with_picture(server)


def test_uploads_are_known_by_their_content(server, anna):
    for kind, content, words in (
        ("characters", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        ("characters", b"<html><script>alert(1)</script>", "no picture"),
        ("characters", picture(80, 90)[:-60], "damaged"),
        ("characters", picture(1200, 1200), "million"),
        ("characters", picture(8, 8), "only 8"),
        ("characters", b"", "empty"),
        ("videos", picture(80, 90), "still picture"),
        ("videos", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", ""),
        ("motions", b"\x80\x04\x95cos\nsystem\n", "no motion"),
        ("motions", bomb(), "unpacks"),
        ("motions", lying_array(), "damaged"),
    ):
        answer = anna.upload(kind, content, "fine.mp4")
        assert answer.status == 400, (kind, content[:20])
        assert words in answer.error
        assert str(server.workspace) not in answer.error
        assert "Traceback" not in answer.error
    folder = folder_of(server, anna)
    left = {path.name for kind in ("videos", "motions") for path in (folder / kind).iterdir()}
    assert left == set()
    assert not [path for path in (folder / "characters").iterdir() if path.name.startswith(".")]


def bomb():
    """A small archive that unpacks to 400 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("poses.npy", "w") as array:
        header = {"descr": "<f4", "fortran_order": False, "shape": (100_000_000,)}
        np.lib.format.write_array_header_1_0(array, header)
        for _ in range(400):
            array.write(bytes(1_000_000))
    return file.getvalue()


def lying_array():
    """An array of a few bytes which says that it has a million millions."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("poses.npy", "w") as array:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        np.lib.format.write_array_header_1_0(array, header)
        array.write(bytes(64))
    return file.getvalue()


def test_too_large_a_file_is_not_read_to_its_end(anna):
    told = anna.upload("characters", b"x", "a.png", Content_Length=str(10**12))
    assert told.status == 400
    assert "larger than 0.2 MB" in told.error
    block = b"%x\r\n%s\r\n" % (60_000, b"x" * 60_000)
    untold = anna.upload("characters", block * 5 + b"0\r\n\r\n", "a.png", Transfer_Encoding="chunked")
    assert untold.status == 400
    assert "larger than 0.2 MB" in untold.error


def test_names_of_uploads_mean_nothing(server, anna):
    given = {
        "..%2f..%2f..%2fconfig.yaml": "config",
        "%2e%2e": "character",
        "-rf%20%2f": "character 2",
        "a%0ab%7bc%7d%3cd%3e.png": "a b c d",
        "C:%5CUsers%5Cme%5CAnna%20M%C3%BCller.png": "Anna Müller",
        "me.png": "me 2",
        "white.png": "white character",
        "x" * 300: "x" * 60,
        "a@b#c;d=e,f*g.png": "a b c d e f g",
    }
    for name, expected in given.items():
        answer = anna.upload("characters", picture(64, 64), name)
        assert json.loads(answer.body) == {"name": expected}, name
    there = {
        path.name for path in (folder_of(server, anna) / "characters").iterdir() if not path.is_symlink()
    }
    assert there == {"me.png", *(f"{name}.png" for name in given.values())}


def test_painted_masks_are_laid_over_each_other(server, anna):
    folder = folder_of(server, anna)
    (folder / "videos" / "clip.mp4").write_bytes(b"never opened here")
    with VideoWriter(folder / "templates" / "clip" / "vid.mp4", 15) as writer:
        for _ in range(3):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    for left, value in ((0, 255), (20, 0)):
        mask = np.full((48, 64), 128, np.uint8)
        mask[:, left : left + 10] = value
        answer = anna.ask("POST", "/corrections/clip/1", png(mask))
        assert answer.status == 200, answer.body
    painted = np.asarray(Image.open(folder / "corrections" / "clip" / "000001.png"))
    assert [painted[5, 5], painted[5, 15], painted[5, 25]] == [255, 128, 0]
    assert anna.get("/media/corrections/clip/000001.png").status == 200
    for address, body, words in (
        ("clip/3", png(mask), "no frame 3"),
        ("clip/0", png(mask[:20]), "64 × 20 pixels"),
        ("clip/0", b"GIF89a", "not a PNG"),
        ("absent/0", png(mask), "no 'absent'"),
    ):
        answer = anna.ask("POST", f"/corrections/{address}", body)
        assert answer.status == 400
        assert words in answer.error
        assert str(folder) not in answer.error
    for address in ("..%2f..%2fx/0", "clip/-1", "clip/a", "clip", "%2e%2e/0"):
        assert anna.ask("POST", f"/corrections/{address}", png(mask)).status in (400, 404, 405)
    assert [path.name for path in (folder / "corrections").iterdir()] == ["clip"]


def png(mask):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()
