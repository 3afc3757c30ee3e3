"""The web app, asked by people who should not get what they ask for."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from app_server import ROOT, Browser
from app_users import PASSWORD, SECRET_WORDS, folder_of, log_in, picture, protected_server, user_with_picture


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


def test_nothing_is_told_without_the_password(server):
    browser = server.browser()
    assert browser.get("/").headers["location"] == "/login"
    for address in ("/config", "/media/characters/me.png", "/gradio_api/queue/data?session_hash=a", "/x"):
        assert browser.get(address).status == 401, address
    assert browser.upload("characters", picture(80, 90)).status == 401
    page = browser.get("/login")
    assert page.status == 200
    assert b"Password" in page.body
    assert "mimo-login" not in browser.cookies
    # Who has only a user's cookie, or one that another server has signed, has not given the password.
    browser.cookies["mimo-login"] = "99999999999." + "0" * 64
    assert browser.get("/config").status == 401


def test_cookies_are_for_this_server_and_not_for_scripts(server):
    browser = server.browser()
    header = log_in(browser).headers["set-cookie"]
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    header = browser.get("/").headers["set-cookie"]
    assert header.startswith("mimo-user=")
    assert "HttpOnly" in header
    assert "Secure" not in header
    behind_proxy = server.browser()
    assert "Secure" in log_in_over_tls(behind_proxy).headers["set-cookie"]


def log_in_over_tls(browser):
    return browser.ask(
        "POST", "/login", f"password={PASSWORD.replace(' ', '+')}".encode(), X_Forwarded_Proto="https"
    )


def test_secret_is_its_owners_alone(server):
    secret = server.workspace / ".mimo-app" / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700


def test_a_cookie_cannot_be_forged(server, anna, ben):
    own, signature = ben.cookies["mimo-user"].split(".")
    other = anna.cookies["mimo-user"].split(".")[0]
    for value in (
        other,
        f"{other}.{signature}",
        f"{other}.",
        f"../{own}.{signature}",
        f"{own}.{'0' * 64}",
        ".",
    ):
        forger = Browser(server.port, ben.cookies | {"mimo-user": value})
        answer = forger.get("/media/characters/me.png")
        assert answer.status == 400, value
        assert "load it again" in answer.error


def test_users_see_their_own_files_only(server, anna, ben):
    mine = anna.get("/media/characters/me.png")
    assert mine.status == 200
    assert mine.headers["content-type"] == "image/png"
    ben_only = ben.upload("characters", picture(100, 120), "only ben.png".replace(" ", "%20"))
    assert json.loads(ben_only.body) == {"name": "only ben"}
    assert ben.get("/media/characters/only%20ben.png").status == 200
    assert anna.get("/media/characters/only%20ben.png").status == 404
    them = folder_of(server, ben).name
    for address in (
        f"/media/characters/../../{them}/characters/only%20ben.png",
        f"/gallery/users/{them}/characters/only%20ben.png",
        f"/gallery/characters/../users/{them}/characters/only%20ben.png",
    ):
        assert anna.get(address).status == 404, address


PASSWD = "etc/passwd"
TRAVERSALS = [
    "/media/characters/../config.yaml",
    "/media/characters/%2e%2e/config.yaml",
    "/media/characters/%2e%2e%2fconfig.yaml",
    "/media/characters/..%2f..%2f..%2f.mimo-app/secret",
    "/media/characters/%252e%252e/config.yaml",
    "/media/characters/..%5c..%5cconfig.yaml",
    "/media/characters/.%00./config.yaml",
    "/media/characters/me.png%00.html",
    "/media/characters//etc/passwd",
    f"/media/characters/%2f{PASSWD}",
    f"/media//{PASSWD}",
    f"/media/{'../' * 12}{PASSWD}",
    f"/media/characters/{'%2e%2e/' * 12}{PASSWD}",
    f"/media/characters/{'..%c0%af' * 12}{PASSWD}",
    "/media/characters/",
    "/media/characters",
    "/media/",
    "/media/config.yaml",
    "/media/.mimo-app/secret",
    "/media/..",
    "/media/logs/x.log",
    "/media/.snakemake/log",
    "/media/users/x.png",
    "/gallery/videos/private.mp4",
    "/gallery/.mimo-app/secret",
    "/gallery/templates/../videos/private.mp4",
    "/gallery/templates/shared/../../.mimo-app/secret",
    "/gallery/templates/shared",
    "/static-app/../page.py",
    "/static-app/%2e%2e/page.py",
    f"/static-app/{'..%2f' * 12}{PASSWD}",
    f"/assets/{'..%2f' * 12}{PASSWD}",
    f"/static/{'%2e%2e/' * 12}{PASSWD}",
]


@pytest.mark.parametrize("address", TRAVERSALS)
def test_no_path_leads_out(anna, address):
    answer = anna.get(address)
    assert answer.status in (400, 404), (answer.status, answer.body[:200])
    assert b"root:" not in answer.body
    assert SECRET_WORDS.encode() not in answer.body


GRADIO_FILES = [
    f"/gradio_api/file=/{PASSWD}",
    f"/gradio_api/file%3D/{PASSWD}",
    f"/gradio_api/file/{PASSWD}",
    f"/gradio_api/../gradio_api/file=/{PASSWD}",
    f"/file=/{PASSWD}",
    "/gradio_api/proxy=http://127.0.0.1:1/x",
    "/gradio_api/file=http://127.0.0.1:1/x",
    "/gradio_api/stream/a/b/c/playlist.m3u8",
    "/gradio_api/custom_component/a/client/b/c",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/upload_progress?upload_id=a",
    "/gradio_api/runs",
    "/gradio_api/run-history/records",
    "/gradio_api/queue/status",
    "/gradio_api/deep_link",
    "/gradio_api/vibe-code",
    "/gradio_api/profiling/traces",
    "/gradio_api/mcp/",
    "/monitoring",
    "/docs",
    "/openapi.json",
    "/redoc",
]


@pytest.mark.parametrize("address", GRADIO_FILES)
def test_gradios_own_routes_to_files_and_documents_are_closed(anna, address):
    assert anna.get(address).status == 404
    assert anna.ask("HEAD", address).status == 404


@pytest.mark.parametrize(
    "address", ["upload", "component_server", "process_recording", "vibe-edit", "api/x", "call/x"]
)
def test_gradios_other_ways_to_send_are_closed(anna, address):
    assert anna.ask("POST", f"/gradio_api/{address}", b"{}").status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POST"])
def test_other_methods_do_nothing(anna, method):
    assert anna.ask(method, "/media/characters/me.png", b"").status in (404, 405)
    assert anna.get("/media/characters/me.png").status == 200


def test_links_do_not_lead_out(server, anna):
    folder = folder_of(server, anna)
    (folder / "characters" / "linked.png").symlink_to(server.workspace.parent / "outside.png")
    (folder / "characters" / "secret.png").symlink_to(server.workspace / ".mimo-app" / "secret")
    (folder / "templates" / "theirs").symlink_to(server.workspace / "users")
    (folder / "templates" / "shared").symlink_to(server.workspace / "templates" / "shared")
    for address in (
        "characters/linked.png",
        "characters/secret.png",
        f"templates/theirs/{folder.name}/me.png",
    ):
        assert anna.get(f"/media/{address}").status == 404, address
    # What the gallery offers may be part of a project by a link.
    assert anna.get("/media/templates/shared/preview.png").status == 200
    assert anna.get("/gallery/templates/shared/preview.png").status == 200


def test_only_kinds_that_are_known_are_served_and_never_as_pages(server, anna):
    folder = folder_of(server, anna)
    results = folder / "results"
    (results / "t").mkdir(parents=True, exist_ok=True)
    for name in ("page.html", "picture.svg", "text.txt", "notes.yaml", "noend", ".hidden.png"):
        (results / "t" / name).write_text("<script>alert(1)</script>")
    (results / "report.html").write_text(f"<h1>{folder.name}</h1>{folder}/x <script>alert(1)</script>")
    for name in ("t/page.html", "t/picture.svg", "t/notes.yaml", "t/noend", "t/.hidden.png"):
        assert anna.get(f"/media/results/{name}").status == 404, name
    text = anna.get("/media/results/t/text.txt")
    assert text.headers["content-type"] == "application/octet-stream"
    assert text.headers["content-disposition"].startswith("attachment")
    assert text.headers["x-content-type-options"] == "nosniff"
    report = anna.get("/media/results/report.html")
    assert report.body == b"<h1>your project</h1>x <script>alert(1)</script>"
    # It runs as a page of nobody: no cookies, no requests, not in a frame of others.
    assert report.headers["content-security-policy"].startswith(
        "sandbox allow-scripts allow-popups; default-src 'none'"
    )
    assert "allow-same-origin" not in report.headers["content-security-policy"]
    name = anna.get("/media/characters/me.png?download=a%22%0d%0aX-Evil:%201.png")
    assert "x-evil" not in name.headers


def test_parts_of_a_file_are_served(anna):
    whole = anna.get("/media/characters/me.png")
    part = anna.get("/media/characters/me.png", Range="bytes=10-19")
    assert part.status == 206
    assert part.body == whole.body[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.body)}"
    assert anna.get("/media/characters/me.png", Range="bytes=999999-").status == 416
    assert anna.get("/media/characters/me.png", If_None_Match=whole.headers["etag"]).status == 304
    assert anna.ask("HEAD", "/media/characters/me.png").body == b""


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "[::1", "a:b:c"]
)
def test_pages_of_other_names_that_point_here_get_nothing(anna, host):
    assert anna.get("/config", Host=host).status in (400, 421)
    assert anna.get("/media/characters/me.png", Host=host).status in (400, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "file://"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_pages_of_other_sites_can_send_nothing(anna, headers):
    assert anna.upload("characters", picture(80, 90), "sent.png", **headers).status == 403
    assert anna.ask("POST", "/login", b"password=x", **headers).status == 403
    assert anna.ask("POST", "/gradio_api/queue/join", b"{}", **headers).status == 403


def test_every_answer_has_the_headers(anna):
    for address in ("/", "/media/characters/me.png", "/nothing", "/login"):
        headers = anna.get(address).headers
        assert headers["x-content-type-options"] == "nosniff", address
        assert headers["x-frame-options"] == "DENY", address
        assert headers["referrer-policy"] == "same-origin", address
        assert "frame-ancestors 'none'" in headers["content-security-policy"], address
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    policy = anna.get("/").headers["content-security-policy"]
    assert "http" not in policy
    assert "*" not in policy


def test_the_page_names_no_other_server(anna):
    page = anna.get("/").body.decode()
    import re

    loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["'](https?:)?//""", page)
    assert loaded == []


def test_a_page_of_another_user_cannot_be_listened_to(anna, ben):
    event = json.dumps({"data": [], "fn_index": 0, "session_hash": "annaspage"}).encode()
    first = anna.ask("POST", "/gradio_api/queue/join", event, Content_Type="application/json")
    assert first.status != 403
    assert ben.get("/gradio_api/queue/data?session_hash=annaspage").status == 403
    assert ben.get("/gradio_api/heartbeat/annaspage").status == 403
    assert ben.ask("POST", "/gradio_api/queue/join", event, Content_Type="application/json").status == 403
    cancel = json.dumps({"session_hash": "annaspage", "fn_index": 0, "event_id": "x"}).encode()
    assert ben.ask("POST", "/gradio_api/cancel", cancel, Content_Type="application/json").status == 403
    assert ben.ask("POST", "/gradio_api/queue/join", b"x" * 1_100_000).status == 403
    assert ben.ask("POST", "/gradio_api/queue/join", b"[" * 100_000).status == 403


def test_a_password_cannot_be_guessed_by_trying(server):
    with ThreadPoolExecutor(4) as pool:
        tried = [*pool.map(lambda n: log_in(server.browser(), f"guess {n}").status, range(12))]
    assert set(tried) == {403, 429}
    assert tried.count(403) <= 8
    # Also the right one has to wait now; who is in stays in.
    answer = log_in(server.browser())
    assert answer.status == 429
    assert b"Wait a minute" in answer.body


def test_two_servers_do_not_share_a_workspace(server):
    done = subprocess.run(
        [sys.executable, "-m", "mimo.app", "--workspace", server.workspace, "--port", "1"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 3
    assert "another server works in" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "--no-password"),
        (["--password-file", "short.txt"], "at least 8"),
        (["--password-file", "absent.txt"], "cannot be read"),
    ],
)
def test_what_would_be_unsafe_is_refused(tmp_path, options, words):
    (tmp_path / "short.txt").write_text("short\n")
    done = subprocess.run(
        [sys.executable, "-m", "mimo.app", "--workspace", "w", *options],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("REJECTED: ")
    assert words in done.stderr
