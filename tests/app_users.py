"""A protected server of the web app with several users, for tests that ask it what they should not get."""

import io
import json
from contextlib import contextmanager
from urllib.parse import quote

from app_server import Server
from PIL import Image

PASSWORD = "correct horse é"
SECRET_WORDS = "nobody may read this"


@contextmanager
def protected_server(folder):
    """A server with a password and many users; nothing may go wrong in it."""
    workspace = folder / "workspace"
    (workspace / "templates" / "shared").mkdir(parents=True)
    (workspace / "templates" / "shared" / "preview.png").write_bytes(picture(64, 64))
    (workspace / "videos").mkdir()
    (workspace / "videos" / "private.mp4").write_text(SECRET_WORDS)
    (folder / "outside.png").write_text(SECRET_WORDS)
    (workspace / "config.yaml").write_text("app: {picture_megabytes: 0.2, picture_megapixels: 1}\n")
    (folder / "password.txt").write_text(f"{PASSWORD}\n")
    started = Server(workspace, "--password-file", folder / "password.txt")
    yield started
    assert started.stop() == 0, started.said()
    assert "ERROR mimo.app" not in started.said()


def picture(width, height, **options):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, **{"format": "PNG"} | options)
    return file.getvalue()


def log_in(browser, password=PASSWORD):
    return browser.ask(
        "POST", "/login", f"password={quote(password)}".encode(),
        Content_Type="application/x-www-form-urlencoded",
    )  # fmt: skip


def user_with_picture(server):
    browser = server.browser()
    assert log_in(browser).status == 303
    assert browser.get("/").status == 200
    answer = browser.upload("characters", picture(80, 90), "me.png")
    assert answer.status == 200, answer.body
    assert json.loads(answer.body) == {"name": "me"}
    return browser


def folder_of(server, browser):
    return server.workspace / "users" / browser.cookies["mimo-user"].split(".")[0]
