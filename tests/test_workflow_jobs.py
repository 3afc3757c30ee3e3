"""Characters, motions and scenes put together: what is planned, what runs again, what is refused and how.

Plans are Snakemake's own dry runs; what is made are stand-ins that ``snakemake --touch`` signs. One small run
is real.
"""

import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from conftest import ROOT, Checkout, copy_checkout
from operations import fault

from mimo.run.alpha_results import has_alpha
from mimo.run.jobs_file import JobRow, append_job, read_jobs, remove_jobs
from mimo.run.project import Project
from mimo.scene_names import Staging, colour
from mimo.segments import parts_of
from mimo.stage import Rejected
from mimo.template import GROUP, STAGED, TemplateConfig, time_crop
from mimo.video import VideoReader, VideoWriter

SCENE_VIDEOS = ("vid.mp4", "mask.mp4", "sdc.mp4", "bk.mp4", "motion.npz", "preview.png")
RECORDS = ("ingest", "segmentation", "pose", "occlusion", "inpainting")
VIDEOS = ("walk", "duet-anna", "duet-lea")
STAGED_NAMES = ("jump@park", "jump@sea", "jump@203040", "jump@walk", "walk@transparent")
JOBS = """character\tmotion\tscene
anna, ben\tjump\tpark, sea, #203040
anna\twalk\town
ben\tjump\twalk
anna\twalk\ttransparent
anna=ben;lea=keep\tduet
"""
RESULTS = [
    *(f"{template}/{character}" for template in STAGED_NAMES[:3] for character in ("anna", "ben")),
    *("walk/anna", "jump@walk/ben", "walk@transparent/anna", "duet/anna=ben,lea=keep"),
]
OLD = 1_000_000_000


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> Checkout:
    """Two videos, one of them with two people, a motion and two scenes: everything made and signed."""
    checkout = copy_checkout(tmp_path_factory.mktemp("signed"))
    folder = checkout.folder
    values = yaml.safe_load((folder / "config.yaml").read_text())
    values["subjects"] = {"duet": {"anna": 0, "lea": [5.0, 7.0]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    paths = ["videos/walk.mp4", "videos/duet.mov", "motions/jump.bvh", "scenes/park.JPG", "scenes/sea.mp4"]
    for name, records in [
        *((video, RECORDS) for video in VIDEOS),
        *((staged, ("staging",)) for staged in STAGED_NAMES),
        ("duet", ("group", "inpainting")),
        ("jump", ("motion",)),
    ]:
        paths += [f"templates/{name}/{file}" for file in (*SCENE_VIDEOS, "people.mp4")]
        paths += [f"templates/{name}/records/{record}.json" for record in records]
    for character in ("anna", "ben"):
        paths.append(f"characters/{character}.png")
        files = ("image.png", "mask.png", "body.npz", "character.json")
        paths += [f"prepared/{character}/{name}" for name in files]
    paths += [f"results/{result}{suffix}" for result in RESULTS for suffix in (".mp4", ".json")]
    for path in [*paths, "results/walk@transparent/anna.mov"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("{}")
    kinds = {name: {"kind": STAGED} for name in STAGED_NAMES} | {
        "duet": {"kind": GROUP},
        "jump": {"kind": "motion"},
    }
    for name in (*VIDEOS, *kinds):
        config = TemplateConfig(fps=30, time_crop=time_crop(30, 0, 9), pipeline=kinds.get(name, {}))
        config.write(folder / "templates" / name / "config.json")
    (folder / "jobs.tsv").write_text(JOBS)
    result = checkout.snakemake("--touch", "--forceall")
    assert result.returncode == 0, result.stderr
    return checkout


def written(path: str, text: str, time: int | None = None) -> Callable[[Path], object]:
    """Put a file in place of another, or where none is; perhaps an old one."""

    def make(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        if time is not None:
            os.utime(folder / path, (time, time))

    return make


def longer(path: str) -> Callable[[Path], object]:
    """Add a line of code to a module."""
    return lambda folder: (folder / path).write_text(f"{(folder / path).read_text()}\nCHANGED = True\n")


def all_of(*makes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [make(folder) for make in makes]


OF_WALK = {stage: 1 for stage in ("segmentation", "pose", "occlusion", "inpainting", "template")}
CHANGES: dict[str, tuple[dict[str, int], Callable[[Path], object], list[str]]] = {
    "nothing": ({}, all_of(), []),
    "a scene replaced by an older one": (
        {"staging": 1, "synthesis": 2}, written("scenes/park.JPG", "another", OLD), []
    ),
    "a motion replaced": (
        {"motion": 1, "staging": 4, "synthesis": 7}, written("motions/jump.bvh", "another"), []
    ),
    "settings of a staged template, a scene left out, another kind of transparency": (
        {"staging": 1, "synthesis": 2, "synthesis_alpha": 1}, all_of(),
        ["overrides={jump@sea: {staging: {turn: 10}}}", "exclude=[park]", "alpha={format: png}"],
    ),
    "settings beside one scene, and a file of another one's template deleted": (
        {"staging": 2, "synthesis": 4},
        all_of(
            written("scenes/park.yaml", "staging: {horizon: 0.4}"),
            lambda folder: (folder / "templates/jump@sea/sdc.mp4").unlink(),
        ),
        [],
    ),
    "settings beside a video that is a motion and a scene": (
        OF_WALK | {"staging": 2, "synthesis": 2, "synthesis_alpha": 1},
        written("videos/walk.yaml", "segmentation: {subject: 1}"), [],
    ),
    "a member's mask corrected": (
        OF_WALK | {"inpainting": 2, "group": 1, "group_template": 1, "synthesis_cast": 1},
        written("corrections/duet-lea/000002.png", "painted", OLD), [],
    ),
    "code of a kind of scene, and of packing groups": (
        {"staging": 5, "synthesis": 7, "synthesis_alpha": 1, "group_template": 1, "synthesis_cast": 1},
        all_of(longer("video_decomp/staging/colour.py"), longer("video_decomp/group/pack.py")), [],
    ),
    "a row more": (
        {"staging": 1, "synthesis_alpha": 1},
        lambda folder: append_job(folder / "jobs.tsv", JobRow("ben", "jump", "transparent")), [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_runs_again(planner, signed, tmp_path, change):
    expected, make, options = CHANGES[change]
    shutil.copytree(signed.folder, tmp_path / "changed")
    make(tmp_path / "changed")
    assert (
        planner.plan(Checkout(tmp_path / "changed"), *(["--config", *options] if options else [])) == expected
    )


def test_a_cast_that_no_row_names_can_be_asked_for(planner, signed):
    assert planner.plan(signed, "results/duet/anna=remove,lea=anna.mp4") == {"synthesis_cast": 1}
    code, words = planner.output(signed, "results/duet/anna=nobody.mp4")
    assert code == 1
    assert "no character 'nobody' (there is anna, ben" in words


def test_a_row_of_something_that_is_gone(signed, tmp_path):
    row = fault("a row of `jobs.tsv` names what is not there (any more)")
    shutil.copytree(signed.folder, tmp_path / "changed")
    changed = Checkout(tmp_path / "changed")
    append_job(changed.folder / "jobs.tsv", JobRow("anna", "swim"))
    row.assert_seen(changed.shell(row.command).stdout)
    values = yaml.safe_load((changed.folder / "config.yaml").read_text()) | {"exclude": ["swim"]}
    (changed.folder / "config.yaml").write_text(yaml.safe_dump(values))
    again = row.recover(changed)
    assert "Nothing to be done" in again.stdout, again.stdout


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with two videos, a motion, two characters and a scene, all of them empty files."""
    monkeypatch.chdir(tmp_path)
    for path in ("videos/walk.mp4", "videos/duet.mp4", "motions/dance.bvh", "scenes/park.jpg"):
        written(path, "x")(tmp_path)
    for name in ("anna", "ben", "a, b"):
        written(f"characters/{name}.png", "x")(tmp_path)
    return tmp_path


def load(**more) -> Project:
    """The project of the working folder."""
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    return Project.load(values | {"subjects": {"duet": {"anna": 0, "lea": 1}}} | more)


def table(*lines: str) -> str:
    return "\n".join(["character\tmotion\tscene", *lines]) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", ["jobs.tsv: empty", "character <tab> motion <tab> scene"]),
        ("character,motion,scene\n", ["line 1", "separated by tabs"]),
        ("character\tscene\n", ["line 1: column 'motion' is missing"]),
        ("character\tmotion\twhere\n", ["line 1: no column 'where'"]),
        ("character\tmotion\tmotion\n", ["line 1: two columns are called 'motion'"]),
        (table("anna\t\tpark"), ["line 2, column motion: empty"]),
        (table("", "# why not", "anna\tdnace"), ["line 4, column motion", "'dnace'; did you mean dance?"]),
        (table("anna\tdance\tpork"), ["line 2, column scene", "did you mean park?", "a colour such as #"]),
        (table("bob\tdance"), ["line 2, column character: no character 'bob'", "a, b, anna, ben"]),
        (table("anna\tdance\tpark", "anna\tdance\tpark"), ["line 3: the same as jobs.tsv: line 2"]),
        (table("anna\tdance\tpark\tmore"), ["line 2: 4 cells", "3 columns"]),
        (table("anna\tduet"), ["line 2, column character: 'duet' has several", "anna=NAME;lea=keep"]),
        (table("anna=ben;bob=keep\tduet"), ["line 2, column character", "no member 'bob'"]),
        (table("anna=keep\tduet"), ["everybody is kept"]),
        (table("anna=ben,lea=ben\tduet"), ["join the roles of one by ';'"]),
        (table("anna=ben\tduet\tpark"), ["column scene: 'duet' has several people"]),
        (table("anna=ben\twalk"), ["no character 'anna=ben'"]),
        (table("anna\twalk\tdance"), ["column scene: 'dance' is a motion without a scene"]),
        (table('"anna\twalk'), ["line 2: a quotation mark"]),
        (table("änna\twalk").encode("latin-1"), ["jobs.tsv: line 2: not UTF-8", "Unicode Text"]),
    ],
)  # fmt: skip
def test_bad_tables(small, text, words):
    Path("jobs.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Rejected) as error:
        load()
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"jobs": [{"charcter": "anna", "motion": "walk"}]}, ["jobs: entry 1", "unknown key 'charcter'"]),
        ({"jobs": [{"character": "anna", "motion": "wlk"}]}, ["jobs: entry 1, column motion", "walk"]),
        ({"jobs": "other.tsv"}, ["other.tsv: cannot be read"]),
        ({"jobs": [], "pairs": []}, ["pairs and jobs both say"]),
        ({"overrides": {"dance@prak": {"staging": {}}}}, ["overrides", "'dance@prak'"]),
        ({"alpha": {"format": "gif"}}, ["alpha.format"]),
    ],
)
def test_bad_configuration(small, more, words):
    with pytest.raises(Rejected) as error:
        load(**more)
    assert all(word in str(error.value) for word in words), error.value


def test_names_that_collide_are_told(small):
    jobs = {"jobs": [{"character": "anna", "motion": "dance", "scene": "park"}]}
    assert load(**jobs).pairs == [("dance@park", "anna")]
    written("videos/dance@park.mp4", "x")(small)
    with pytest.raises(Rejected, match="is the video 'dance@park', but motion 'dance' in scene 'park' would"):
        load(**jobs)
    Path("videos/dance@park.mp4").unlink()
    folder = small / "templates" / "dance@park"
    TemplateConfig(fps=30, time_crop=time_crop(30, 0, 9)).write(folder / "config.json")
    with pytest.raises(Rejected, match="is the template 'dance@park', but motion"):
        load(**jobs)
    shutil.rmtree(folder)
    for name, why in (("white", "means a colour"), ("walk", "would share a name"), ("own", "means a colour")):
        scene = written(f"scenes/{name}.png", "x")
        scene(small)
        with pytest.raises(Rejected, match=why):
            load(**jobs)
        Path(f"scenes/{name}.png").unlink()
    written("videos/wlak.yaml", "segmentation: {subject: 1}")(small)
    with pytest.raises(Rejected, match=r"wlak\.yaml: settings of nothing"):
        load(**jobs)
    written("videos/wlak.yaml", "")(small)
    Path("videos/wlak.yaml").rename("videos/walk.yaml")
    written("videos/walk.yaml", "segmentation: {subjct: 1}")(small)
    with pytest.raises(Rejected, match=r"videos/walk\.yaml: segmentation: unknown key 'subjct'"):
        load(**jobs)


def test_made_templates_are_nobodys_when_no_row_wants_them(small):
    """What was made of a motion and a scene, or of a group, is no template that was dropped in by hand."""
    for name, kind in (("dance@park", STAGED), ("duet", GROUP), ("other", GROUP)):
        config = TemplateConfig(fps=30, time_crop=time_crop(30, 0, 9), pipeline={"kind": kind})
        config.write(small / "templates" / name / "config.json")
    assert load().dropped_in == []
    assert {template for template, _ in load().pairs} == {"walk", "duet-anna", "duet-lea", "dance"}


def test_combinations(small):
    Path("jobs.tsv").write_bytes(  # as a spreadsheet writes it
        '\ufeffScene\tMotion\tCharacter\r\n#203040\twalk\t"a, b"\r\n# later\tdance\tbob\r\n\t\t\r\n'
        "*, own\tdance\t*\r\n".encode()
    )
    project = load()
    assert project.pairs == [
        ("walk@203040", "a, b"),
        *(("dance@park", name) for name in ("a, b", "anna", "ben")),
        *(("dance", name) for name in ("a, b", "anna", "ben")),
    ]
    assert project.results.staged["dance@park"] == Staging("dance", "park")
    assert load(exclude=["park"]).results.staged.keys() == {"walk@203040"}
    assert load(exclude=["walk@203040", "anna"]).pairs[0] == ("dance@park", "a, b")
    casts = [{"character": ["anna=ben;lea=remove", "lea=anna"], "motion": "duet"}]
    made = load(jobs=casts).results
    assert [(group, cast.name) for group, cast in made.casts] == [
        ("duet", "anna=ben,lea=remove"), ("duet", "lea=anna")
    ]  # fmt: skip
    assert made.characters == ["anna", "ben"]
    assert load(jobs=casts, exclude=["duet-lea"]).results.casts == []
    assert [(colour(text)) for text in ("#FFF", "White", "abc", "203040")] == [
        "ffffff",
        "white",
        None,
        "203040",
    ]


def test_settings_of_a_motion_in_a_scene(small):
    """Those of the scene, then of the motion, then its own win."""
    written("scenes/park.yaml", "staging: {horizon: 0.4, turn: 5}")(small)
    written("motions/dance.yaml", "{staging: {turn: 10}, motion: {loop: 2}}")(small)
    jobs = [{"character": "anna", "motion": "dance", "scene": ["park", "white"]}]
    project = load(jobs=jobs, overrides={"dance@white": {"staging": {"scale": 2}}})
    park, white = (project.settings("staging", f"dance@{scene}") for scene in ("park", "white"))
    assert (park.horizon, park.turn, park.scale) == (0.4, 10, 1)
    assert (white.horizon, white.turn, white.scale) == (None, 10, 2)
    assert project.settings("motion", "dance").loop == 2


def test_a_long_motion_in_a_scene_is_made_in_as_many_parts(small):
    with VideoWriter(Path("videos/walk.mp4"), Fraction(8)) as writer:
        for _ in range(32):
            writer.write(np.zeros((16, 16, 3), np.uint8))
    jobs = [{"character": "anna", "motion": ["walk", "dance"], "scene": ["own", "white", "transparent"]}]
    project = load(jobs=jobs, segments={"length": 1})
    parts = {template: parts_of(project, template) for template, _ in project.pairs}
    assert {template for template, count in parts.items() if count == 4} == {
        "walk", "walk@white", "walk@transparent"
    }  # fmt: skip
    assert has_alpha(project, "walk@transparent")
    assert not has_alpha(project, "walk@white")


def test_rows_are_added_and_taken_away(tmp_path):
    path, row = tmp_path / "jobs.tsv", JobRow("anna", "walk", "park")
    assert append_job(path, row)
    assert not append_job(path, row)
    path.write_text("# mine\nmotion\tcharacter\tscene\nwalk\tanna\tpark\n\n# more")
    assert append_job(path, JobRow(("anna", "ben"), "*"))
    assert read_jobs(path) == [row, JobRow("anna, ben", "*")]
    assert remove_jobs(path, lambda job: job.scene == "park") == 1
    assert path.read_text() == "# mine\nmotion\tcharacter\tscene\n\n# more\n*\tanna, ben\t\n"
    with pytest.raises(Rejected, match="unprintable"):
        append_job(path, JobRow("anna", "wa\tlk"))


@pytest.mark.slow
def test_a_motion_on_a_colour_in_a_scene_and_without_one(batch_copy):
    """A real video's motion, five frames of it; the scene is the video's own, found again by another name."""
    folder = batch_copy.folder
    (name,) = (path.stem for path in (folder / "videos").iterdir())
    (character,) = (path.stem for path in (folder / "characters").iterdir())
    shutil.copytree(folder / "templates" / name, folder / "templates" / "place")
    (folder / "more.yaml").write_text("staging: {end: 0.15}\n")
    for scene in ("place", "#204080", "transparent"):
        append_job(folder / "jobs.tsv", JobRow(character, name, scene))
    result = batch_copy.snakemake("--configfile", "more.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    made = {scene: folder / "results" / f"{name}@{scene}" for scene in ("place", "204080", "transparent")}
    frames = {scene: VideoReader(path / f"{character}.mp4") for scene, path in made.items()}
    assert len({len(reader) for reader in frames.values()}) == 1
    assert len(frames["place"]) < 10
    assert abs(frames["204080"].frame(0)[2, 2].astype(int) - [0x20, 0x40, 0x80]).max() < 6
    with av.open(str(made["transparent"] / f"{character}.mov")) as file:
        pictures = [frame.to_ndarray(format="rgba") for frame in file.decode(video=0)]
    assert len(pictures) == len(frames["transparent"])
    alpha = pictures[0][..., 3]
    assert (alpha[0] == 0).all()
    assert 0.01 < np.mean(alpha > 250) < 0.6
    status = batch_copy.run("video_decomp.status", "--configfile", "more.yaml")
    assert status.returncode == 0, status.stdout
    assert f"staged     {name}@204080" in status.stdout
    assert "staged: 3 done" in status.stdout
    report = (folder / "results" / "report.html").read_text()
    assert 'data-kind="staged"' in report
    assert "with transparency" in report
    assert batch_copy.planned("--configfile", "more.yaml") == {}
