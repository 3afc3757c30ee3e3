"""Which results are made: characters, motions and scenes put together.

By default every template with every character; else what ``jobs.tsv``, `jobs` or `pairs` of the
configuration say. Names of rows are looked up here, so that a wrong one is told with its place and the
nearest names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from pathlib import Path

from pydantic import Field

from mimo.casting import Cast
from mimo.run.jobs_file import Cell, JobRow, read_jobs
from mimo.scene_names import OWN, TRANSPARENT, Staging, colour, is_reserved
from mimo.stage import Rejected, StageSettings, parse_settings

DEFAULT_FILE = Path("jobs.tsv")
"""The table of jobs that may be missing: every template is then put together with every character."""
EVERYTHING = "*"
SHOWN = 12
"""Names that a message lists at most."""


class Pair(StageSettings):
    """One result to make."""

    template: str
    character: str


class JobEntry(StageSettings):
    """An entry of `jobs` in the configuration: every combination of its names is wanted."""

    character: str | list[str] = Field(description="names, or *; of a video with several people a cast")
    motion: str | list[str] = Field(description="names of templates, or *")
    scene: str | list[str] = Field(
        OWN, description="names of scenes or templates, colours such as '#203040', transparent, own, or *"
    )

    def row(self, where: str) -> JobRow:
        """As a row of a table."""

        def cell(names: str | list[str]) -> Cell:
            return names if isinstance(names, str) else tuple(names)

        return JobRow(cell(self.character), cell(self.motion), cell(self.scene), where)


@dataclass(frozen=True)
class Stock:
    """What there is to put together, by name.

    Attributes:
        templates: those that characters are put into.
        sceneless: those of them that have a motion only.
        characters: all of them.
        scenes: files of the folder of scenes.
        groups: videos with several people: names of their members.
        excluded: names to leave out of everything.
    """

    templates: list[str]
    sceneless: Container[str]
    characters: Iterable[str]
    scenes: Mapping[str, Path]
    groups: Mapping[str, Iterable[str]]
    excluded: Collection[str]


@dataclass
class Results:
    """What is made.

    Attributes:
        pairs: (template, character) of each result with one character.
        staged: motions put into scenes, by the name of the template that they become.
        casts: (group, cast) of each result with several people.
    """

    pairs: list[tuple[str, str]] = field(default_factory=list)
    staged: dict[str, Staging] = field(default_factory=dict)
    casts: list[tuple[str, Cast]] = field(default_factory=list)

    @property
    def characters(self) -> list[str]:
        """Characters that appear in a result, in name order."""
        cast = {character for _, cast in self.casts for character in cast.characters}
        return sorted({character for _, character in self.pairs} | cast)


def every_pair(stock: Stock) -> Results:
    """Every template with every character."""
    return Results([(template, character) for template in stock.templates for character in stock.characters])


def chosen_pairs(pairs: Iterable[Pair], stock: Stock) -> Results:
    """The results of the configuration's key `pairs`.

    Raises:
        Rejected: no such template or character.
    """
    chosen: dict[tuple[str, str], None] = {}
    for pair in pairs:
        for kind, name, known in (
            ("template", pair.template, stock.templates),
            ("character", pair.character, [*stock.characters]),
        ):
            if name not in known and name not in stock.excluded:
                raise Rejected(f"config.yaml: pairs: {_unknown(kind, name, known)}")
        if pair.template not in stock.excluded and pair.character not in stock.excluded:
            chosen[pair.template, pair.character] = None
    return Results([*chosen])


def job_rows(jobs: Path | list[dict[str, object]]) -> list[JobRow] | None:
    """Rows of the configuration's key `jobs`.

    Args:
        jobs: a file, or entries.

    Returns:
        None where the file is the default one, and is not there.

    Raises:
        Rejected: see `read_jobs`, or an entry has another form.
    """
    if not isinstance(jobs, Path):
        places = {f"config.yaml: jobs: entry {number}": entry for number, entry in enumerate(jobs, 1)}
        return [parse_settings(JobEntry, entry, where).row(where) for where, entry in places.items()]
    # By its name, since a server reads projects in several folders by absolute paths.
    return None if jobs.name == DEFAULT_FILE.name and not jobs.is_file() else read_jobs(jobs)


def combined(rows: Iterable[JobRow], stock: Stock) -> Results:
    """The results of all combinations of each row, each once.

    Raises:
        Rejected: a name is not known or cannot be used so; the message begins with row and column.
    """
    results = Results()
    pairs: dict[tuple[str, str], None] = {}
    casts: dict[tuple[str, Cast], None] = {}
    for row in rows:
        motions = [*_names(row, "motion", row.motion, stock.templates, stock, also=stock.groups)]
        groups = [name for name in motions if name in stock.groups]
        for group in groups:
            casts |= dict.fromkeys((group, cast) for cast in _casts(row, group, stock))
        if len(groups) == len(motions):
            continue
        characters = [*_names(row, "character", row.character, [*stock.characters], stock)]
        scenes = [*_scenes(row, stock)]
        for motion, scene in product([name for name in motions if name not in groups], scenes):
            staging = Staging(motion, scene)
            template = motion if scene in (OWN, motion) else staging.name
            if template in stock.excluded:
                continue
            if template != motion:
                staging.check(row.where)
                results.staged[template] = staging
            pairs |= dict.fromkeys((template, character) for character in characters)
    results.pairs, results.casts = [*pairs], [*casts]
    return results


def _names(
    row: JobRow,
    column: str,
    cell: Cell,
    known: list[str],
    stock: Stock,
    also: Collection[str] = (),
    meant: Callable[[str], str | None] = lambda name: None,
) -> Iterator[str]:
    """Names that a cell means, without those that are excluded.

    Args:
        row, column, cell: what is read.
        known: names that ``*`` means.
        stock: says what is excluded.
        also: names that may be given, but that ``*`` does not mean.
        meant: what is meant by a word that is no name; None: nothing.
    """
    words = cell if isinstance(cell, tuple) else [cell]
    if isinstance(cell, str) and cell not in known and cell not in also:
        words = [word for part in cell.split(",") if (word := part.strip())]
    for word in words:
        if word == EVERYTHING:
            if not known and not stock.excluded:
                raise Rejected(
                    f"{row.where}, column {column}: {EVERYTHING} means nothing, since there is none"
                )
            yield from known
        elif word in stock.excluded:
            continue
        elif word in known or word in also:
            yield word
        elif name := meant(word):
            yield name
        else:
            raise Rejected(f"{row.where}, column {column}: {_unknown(column, word, [*known, *also])}")


def _scenes(row: JobRow, stock: Stock) -> Iterator[str]:
    """Scenes of a row as they stand in names of staged templates."""

    def meant(word: str) -> str | None:
        return word if word in (OWN, TRANSPARENT) else colour(word)

    files = [*stock.scenes]
    for name in _names(row, "scene", row.scene or OWN, files, stock, also=stock.templates, meant=meant):
        where = f"{row.where}, column scene"
        if name in stock.templates and is_reserved(name):
            raise Rejected(
                f"{where}: '{name}' is a template, but also means a scene without files; rename it"
            )
        if name in stock.sceneless:
            raise Rejected(
                f"{where}: '{name}' is a motion without a scene; take a video, a picture or a colour"
            )
        yield name


def _casts(row: JobRow, group: str, stock: Stock) -> Iterator[Cast]:
    """Casts of a group that a row means."""
    where = f"{row.where}, column character"
    if row.scene not in ("", OWN, (OWN,)):
        raise Rejected(f"{row.where}, column scene: '{group}' has several people and keeps its own scene")
    texts = row.character if isinstance(row.character, tuple) else row.character.split(",")
    members = [text.partition("=")[0].strip() for text in texts]
    if len(texts) > 1 and ";" not in "".join(texts) and len({*members}) == len(members):
        raise Rejected(
            f"{where}: a comma begins another cast; join the roles of one by ';': {';'.join(texts)}"
        )
    for text in texts:
        if "=" not in text:
            first, *others = stock.groups[group]
            example = ";".join([f"{first}=NAME", *(f"{member}=keep" for member in others)])
            raise Rejected(
                f"{where}: '{group}' has several people; say who plays whom, such as {example}, "
                f"not '{text.strip()}'"
            )
        try:
            cast = Cast.parse(text)
            if any(name in stock.excluded for name in cast.characters):
                continue
            cast.check(stock.groups[group], dict.fromkeys(stock.characters))
        except Rejected as error:
            raise Rejected(f"{where}: {error}") from None
        yield cast


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """That there is no such name, which ones are near, and which there are."""
    names = [*known]
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    nearest = f"; did you mean {' or '.join(near)}?" if near else ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    colours = "; or a colour such as #203040, transparent, own" if kind == "scene" else ""
    return f"no {kind} '{name}'{nearest} (there is {', '.join(names[:SHOWN]) or 'none'}{more}{colours})"
