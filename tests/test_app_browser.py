"""The app as its users see it: in headless Chromium, with the real workflow behind it."""

import json
import os
import shutil

import pytest
import yaml
from app_server import Server

from mimo import weights
from mimo.demo import CHARACTERS, picture
from mimo.video import VideoReader, VideoWriter

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]
pytest.importorskip("gradio", reason="needs the optional group `app`")

FRAMES = 10
CLIP, PICTURE = "walk <b>.mp4", "anna.png"
"""The clip's name is markup; what becomes of it is a file's name."""
LONGEST = 240_000
"""Milliseconds that anything may take on a busy machine."""
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A woman who walks, her picture, and what is neither a video nor a picture."""
    weights.fetch([*weights.select([]), "sports2d-demo"])
    footage, folder = weights.path("sports2d-demo"), tmp_path_factory.mktemp("inputs")
    with VideoWriter(folder / CLIP, 15) as writer:
        for frame in VideoReader(footage).frames(90, 90 + FRAMES):
            writer.write(frame[450:990, 700:1240][::2, ::2])
    _, number, box = CHARACTERS["woman"]
    picture(footage, number).crop(box).save(folder / PICTURE)
    (folder / "notes.mp4").write_text("This is a shopping list.\n" * 100)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("app") / "workspace", "--users", "many", "--cores", "2")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


class User:
    """Somebody with a browser of their own, at the page."""

    def __init__(self, chromium, server, **options):
        self.server = server
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 1600}} | options)
        self.context.set_default_timeout(LONGEST)
        self.said, self.asked = [], []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.open()

    def open(self):
        self.page.goto(f"http://127.0.0.1:{self.server.port}/")
        self.page.wait_for_selector("#queue .head")

    def bring(self, kind, path, section="motion"):
        self.page.set_input_files(f"#{section} [data-upload='/upload/{kind}'] input", path)

    def choose_inputs(self, inputs):
        self.bring("videos", inputs / CLIP)
        self.page.wait_for_selector("#motion .facts b")
        self.bring("characters", inputs / PICTURE, "character")
        self.page.wait_for_selector("#character .facts b")
        return self.page.inner_text("#motion .facts b")

    def wait_for_job(self, label, state):
        self.page.wait_for_selector(f".job[data-state={state}]:has-text('{label}')")

    def draw_at(self, tool, x, y):
        """Press on the large frame, with a tool, at shares of its width and height."""
        button = self.page.locator(f"[data-tool={tool}]")
        if button.get_attribute("aria-pressed") == "false":
            button.click()
        frame = self.page.locator("#correcting canvas")
        self.page.wait_for_function("document.querySelector('#correcting .plate video')?.readyState >= 2")
        box = frame.bounding_box()
        frame.click(position={"x": box["width"] * x, "y": box["height"] * y})

    def file(self, url):
        """Fetch a file of the page with the user's cookie."""
        return self.context.request.get(f"http://127.0.0.1:{self.server.port}{url}")

    @property
    def folder(self):
        """The only project in which the page's user has a video."""
        (cookie,) = [one for one in self.context.cookies() if "user" in one["name"]]
        name = next(part for part in cookie["value"].split(".") if len(part) == 32)
        return self.server.workspace / "users" / name


@pytest.fixture(scope="module")
def anna(chromium, server, inputs):
    """A user whose video is decomposed; the page was loaded again meanwhile."""
    user = User(chromium, server)
    assert "No results yet" in user.page.inner_text("#results")
    user.name = user.choose_inputs(inputs)
    user.page.click("[data-do=decompose]")
    user.wait_for_job("Decompose", "running")
    user.open()
    user.seen_after_reload = user.page.inner_text("#queue"), user.page.inner_text("#motion .facts")
    user.wait_for_job("Decompose", "done")
    user.page.wait_for_function(
        "document.querySelectorAll('#layers video[data-layer]').length === 4"  # nothing passes in front
    )
    yield user
    user.context.close()


@pytest.fixture(scope="module")
def film(anna):
    """The same user's result, of the person clicked on; served frames and the player's."""
    anna.draw_at("subject", 0.6, 0.4)
    anna.page.wait_for_selector("#layers .note:has-text('Corrections are waiting')")
    anna.side_file = yaml.safe_load(anna.folder.joinpath("videos", f"{anna.name}.yaml").read_text())
    anna.page.click("#start")
    anna.page.wait_for_selector("#results video[data-result]")
    return anna


def test_page_after_reload_says_what_goes_on(anna):
    queue, chosen = anna.seen_after_reload
    assert f"Decompose {anna.name}" in queue
    assert anna.name in chosen
    assert anna.page.locator("#character .tile[aria-pressed=true]").count() == 1


def test_layers_move_together(anna):
    page = anna.page
    assert "Nothing passes in front" in page.inner_text("#layers")
    page.locator("#layers input[type=range]").fill("6")
    assert page.inner_text("[data-time]") == f"7 / {FRAMES}"
    page.wait_for_function(
        "[...document.querySelectorAll('#layers video[data-layer]')].every(video =>"
        " !video.seeking && Math.floor(video.currentTime * 15) === 6)"
    )
    page.locator("#layers input[type=range]").press("ArrowRight")
    assert page.inner_text("[data-time]") == f"8 / {FRAMES}"
    page.locator("[data-play]").click()
    page.wait_for_function(
        "[...document.querySelectorAll('#layers video[data-layer]')].every(video => !video.paused)"
    )
    page.locator("[data-play]").click()


def test_corrections_lie_in_the_project(anna):
    anna.page.locator("#layers input[type=range]").fill("3")
    anna.draw_at("remove", 0.1, 0.9)
    folder = anna.folder / "corrections" / anna.name
    anna.page.wait_for_function("document.querySelector('[data-layers]').dataset.marks.includes('person')")
    (click,) = json.loads(folder.joinpath("clicks.json").read_text())
    assert (click["frame"], click["person"]) == (3, False)
    assert (click["x"], click["y"]) == (pytest.approx(27, abs=2), pytest.approx(243, abs=2))

    anna.draw_at("brush", 0.5, 0.5)
    anna.page.click("[data-apply]")
    anna.page.wait_for_function("document.querySelector('[data-layers]').dataset.marks.includes('painted')")
    assert folder.joinpath("000003.png").is_file()

    anna.page.click("[data-do=clear-all]")
    anna.page.wait_for_function("document.querySelector('[data-layers]').dataset.marks === '[]'")
    assert not list(folder.glob("*"))
    anna.page.click("[data-tool=brush]")


def test_person_clicked_on_is_the_one_who_is_replaced(film):
    x, y = film.side_file["segmentation"]["subject"]
    assert (x, y) == (pytest.approx(162, abs=3), pytest.approx(108, abs=3))
    record = film.folder / "templates" / film.name / "records" / "segmentation.json"
    assert json.loads(record.read_text())["settings"]["subject"] == [x, y]


def test_result_plays_with_all_frames(film, tmp_path):
    page = film.page
    video = page.locator("#results video[data-result]")
    page.wait_for_function("video => video.readyState >= 3", arg=video.element_handle())
    seconds, fps = video.evaluate("video => [video.duration, Number(video.dataset.fps)]")
    assert round(seconds * fps) == FRAMES
    video.evaluate("video => { video.muted = true; video.loop = true; return video.play() }")
    page.wait_for_function("video => video.currentTime > 0.2", arg=video.element_handle())

    served = tmp_path / "served.mp4"
    served.write_bytes(film.file(video.get_attribute("src")).body())
    assert sum(1 for _ in VideoReader(served).frames()) == FRAMES
    saved = film.file(page.get_attribute("#results a[download]", "href"))
    assert saved.headers["content-disposition"].startswith("attachment")
    assert saved.body() == served.read_bytes()
    assert film.file(page.get_attribute("#results .head a", "href")).text().startswith("<!doctype html>")


def test_job_that_is_cancelled_leaves_nothing(chromium, server, inputs):
    user = User(chromium, server)
    name = user.choose_inputs(inputs)
    if weights.place(weights.entry("mimo-vae")) is None:
        user.page.click("#quality label:has-text('Diffusion, fast')")
        user.page.click("#start")
        user.page.wait_for_selector("text=model files that this server lacks")
        assert user.page.locator(".job").count() == 0
        user.page.click("#quality label:has-text('Preview')")
    user.page.click("#start")
    user.wait_for_job("anna", "running")
    user.page.click(".job [data-do=cancel]")
    user.wait_for_job("anna", "cancelled")
    assert not list(user.folder.glob("results/*/*.mp4"))
    assert user.page.locator("#results video[data-result]").count() == 0
    user.page.click(".job [data-do=forget]")
    user.page.wait_for_selector("#queue .empty")
    assert name in user.page.inner_text("#motion")
    user.context.close()


def test_wrong_files_and_too_early_starts_are_answered_in_words(chromium, server, inputs):
    user = User(chromium, server)
    user.page.click("#start")
    user.page.wait_for_selector("text=Choose a motion")
    user.bring("videos", inputs / "notes.mp4")
    user.page.wait_for_selector("#motion .said.bad")
    words = user.page.inner_text("#motion .said.bad")
    assert "notes.mp4" in words
    assert "Traceback" not in words
    assert "/" not in words.replace("notes.mp4", "")
    user.bring("characters", inputs / CLIP, "character")
    user.page.wait_for_selector("#character .said.bad")
    assert user.page.locator("#motion .tile").count() == 0
    user.context.close()


def test_two_users_at_once_do_not_see_each_other(film, chromium, server, inputs):
    ben = User(chromium, server)
    assert film.name not in ben.page.inner_text("#motion")
    assert ben.page.locator(".job").count() == 0
    ben.choose_inputs(inputs)
    for user in (film, ben):
        user.page.click("[data-do=decompose]")
        user.page.wait_for_selector(".job[data-state=waiting], .job[data-state=running]")
    assert ben.page.locator(".job").count() == 1
    theirs = film.page.get_attribute("#results video[data-result]", "src")
    assert ben.file(theirs).status == 404
    ben.page.click(".job [data-do=cancel]")
    ben.wait_for_job("Decompose", "cancelled")
    film.wait_for_job("Decompose", "done")
    assert film.page.locator(".job[data-state=cancelled]").count() == 0
    ben.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(film, scheme):
    page = film.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    film.open()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, ground.removeprefix("rgb(").rstrip(")").split(", "))) / 3
    assert (lightness > 200) == (scheme == "light")


def test_everything_has_a_name_and_comes_from_the_server(film):
    nameless = film.page.evaluate(
        "[...document.querySelectorAll('button, input, canvas, video, a')].filter(one =>"
        " one.checkVisibility() && !(one.innerText?.trim() || one.ariaLabel || one.labels?.length"
        " || one.title)).map(one => one.outerHTML)"
    )
    assert nameless == []
    places = {url.split("/")[2] for url in film.asked if not url.startswith(("data:", "blob:"))}
    assert places == {f"127.0.0.1:{film.server.port}"}
    # What Gradio says of its connection when its page is left or loaded again.
    left = ("AbortError", "Connection errored out")
    assert [words for words in film.said if not any(start in words for start in left)] == []
