"""The report of a real run in a real browser: what a person does with it."""

import json
import os
import shutil

import pytest
import yaml
from conftest import Checkout, copy_checkout

from mimo import weights
from mimo.demo import CHARACTERS, picture

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.slow,
]
WALK = 'walk & "turn" <img src=x onerror=alert(1)>'
CORRUPT = "<script >alert(2)< -script> 'it'"
COPIES = 11
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The report of a workflow that ran on real footage: a good video, a corrupt one, copies of the good."""
    weights.fetch([*weights.select([]), "sports2d-demo"])
    checkout = copy_checkout(tmp_path_factory.mktemp("report") / "checkout")
    folder = checkout.folder
    for name in ("videos", "characters"):
        (folder / name).mkdir()
    footage = weights.path("sports2d-demo")
    shutil.copy(footage, folder / "videos" / f"{WALK}.mp4")
    (folder / "videos" / f"{CORRUPT}.mp4").write_bytes(b"no video" * 5000)
    _, number, box = CHARACTERS["woman"]
    picture(footage, number).crop(box).save(folder / "characters" / "anna.png")
    ingest = {"start": 3.0, "max_seconds": 0.4, "short_side": 240, "crop": [700, 450, 540, 540]}
    (folder / "more.yaml").write_text(yaml.safe_dump({"overrides": {WALK: {"ingest": ingest}}}))

    ran = checkout.snakemake("--keep-going", "--configfile", "more.yaml")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    written = folder / "results" / "report.html"
    assert f"Report: {written.relative_to(folder)}" in ran.stdout + ran.stderr
    for copy in range(COPIES):
        copy_result(folder, f"take {copy}", copy)
    made = checkout.run("mimo.report", "--configfile", "more.yaml")
    assert made.returncode == 0, made.stderr
    return written


def copy_result(folder, name, number):
    """Another template dropped in by hand with its result; every third has a fault in its measures."""
    shutil.copytree(folder / "templates" / WALK, folder / "templates" / name)
    shutil.copytree(folder / "results" / WALK, folder / "results" / name)
    record = json.loads((folder / "results" / name / "anna.json").read_text())
    record["metrics"]["frames"] = 100 - number
    record["metrics"]["scene_change"]["around"] = 9.0 if number % 3 == 0 else 0.5
    (folder / "results" / name / "anna.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, page_file):
    """Opens the report; after the test nothing may have been fetched, nor anything complained of."""
    said, asked, contexts = [], [], []

    def open_page(**options):
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not said
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {page_file.as_uri()}


def shown_rows(page):
    return page.locator("#table tbody.item:not([hidden]) a.open").all_inner_texts()


def test_failures_come_first_and_names_are_harmless(opened):
    page = opened()
    assert page.locator("main, section").first.get_attribute("class") == "failures"
    failures = page.locator(".failures").inner_text()
    assert CORRUPT in failures
    assert "REJECTED:" in failures
    assert page.locator("img[src=x]").count() == 0
    command = page.locator(".failures code").inner_text()
    assert command.startswith("snakemake --cores all --configfile more.yaml -- ")
    assert f"with anna\n{WALK}" not in failures


def test_remedy_given_for_a_failure_runs_that_stage(page_file, opened):
    command = opened().locator(".failures code").inner_text()
    checkout = Checkout(page_file.parent.parent)
    ran = checkout.shell(command.replace("--cores all", "--cores 1 --dry-run --quiet rules"))
    assert ran.returncode == 0, ran.stdout
    assert "ingest" in ran.stdout


def test_rows_are_sorted_by_a_click_or_a_key(opened):
    page = opened()
    page.locator("[data-group=kind] [value=result]").click()
    head = page.locator("th[data-sort=frames]")
    before = shown_rows(page)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert shown_rows(page)[:3] == ["take 0", "take 1", "take 2"]
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    counted = [name for name in shown_rows(page) if name.startswith("take")]
    assert counted[:2] == [f"take {COPIES - 1}", f"take {COPIES - 2}"]
    head.locator("button").press("Space")
    assert shown_rows(page) == before

    page.locator("th[data-sort=name] button").click()
    takes = [name for name in shown_rows(page) if name.startswith("take")]
    assert takes == [f"take {number}" for number in range(COPIES)]  # 2 before 10


def test_rows_are_filtered(opened):
    page = opened()
    everything = len(shown_rows(page))
    page.keyboard.press("/")
    page.keyboard.type("take 1")
    names = shown_rows(page)
    assert names
    assert all("take 1" in name for name in names)
    assert page.locator("#shown").inner_text() == f"{len(names)} of {everything} rows"
    page.fill("#search", "nothing has this name")
    assert page.locator(".nothing").is_visible()
    page.locator(".nothing button").click()
    assert len(shown_rows(page)) == everything

    page.locator("[data-group=flags] [value=scene-change]").click()
    assert sorted(shown_rows(page)) == sorted(f"take {number}" for number in range(0, COPIES, 3))
    page.locator("[data-group=state] [value=failed]").click()
    assert shown_rows(page) == []
    page.get_by_role("button", name="clear", exact=True).click()
    page.locator("[data-group=state] [value=failed]").click()
    assert shown_rows(page) == [CORRUPT]


def test_previews_play(opened):
    page = opened()
    row = page.locator("tbody.item[data-kind=result]", has_text="with anna").first
    # Nothing is decoded before it is asked for.
    assert page.evaluate("[...document.querySelectorAll('video')].every(video => video.readyState === 0)")
    row.locator("a.open").focus()
    page.keyboard.press("Enter")
    assert row.locator("a.open").get_attribute("aria-expanded") == "true"
    video = row.locator(".media video")
    video.evaluate("video => { video.loop = false; video.play() }")
    page.wait_for_function(
        "video => video.videoWidth > 0 && video.currentTime > 0.1", arg=video.element_handle()
    )
    assert max(video.evaluate("video => [video.videoWidth, video.videoHeight]")) <= 320

    row.locator(".pic a").hover()
    page.wait_for_function(
        "frame => frame.querySelector('video')?.currentTime > 0", arg=row.locator(".pic a").element_handle()
    )
    page.keyboard.press("Enter")
    assert not row.locator(".detail").is_visible()


def test_a_flag_says_number_limit_and_what_it_means(opened):
    page = opened()
    page.locator("[data-group=flags] [value=scene-change]").click()
    row = page.locator("tbody.item:not([hidden])").first
    row.locator("a.open").click()
    said = row.locator(".raised").inner_text()
    assert "9.0 levels" in said
    assert "above 6.0 levels" in said
    assert "a box or a halo may show" in said


def test_wall_of_pictures(opened):
    page = opened()
    page.locator("[data-view] [value=wall]").click()
    page.locator("[data-group=state] [value=failed]").click()
    assert page.locator("tbody.item:visible").count() == 1
    page.get_by_role("button", name="clear", exact=True).click()
    tops = {box["y"] for box in (item.bounding_box() for item in page.locator("tbody.item").all()[:3])}
    assert len(tops) == 1  # side by side


def test_link_to_a_row_opens_it(opened, page_file):
    page = opened()
    key = page.locator(".failures .names a").first.get_attribute("href")
    page.goto(f"{page_file.as_uri()}{key}")
    assert page.locator(f"{key} .detail").is_visible()
    assert "REJECTED" in page.locator(f"{key} pre").inner_text()  # the end of its log


def test_everything_is_there_without_javascript(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("tbody.item:visible").count() == 2 * COPIES + 5
    assert not page.locator(".controls").is_visible()
    row = page.locator("tbody.item[data-kind=result]").first
    row.locator("a.open").click()
    assert row.locator(".media video").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(opened, scheme, tmp_path):
    page = opened(viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    page.locator("tbody.item[data-kind=video] a.open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, ground.removeprefix("rgb(").rstrip(")").split(", "))) / 3
    assert (lightness > 200) == (scheme == "light")
