"""Which model files a backend with its settings needs, and the digests that its result depends on."""

from __future__ import annotations

from pathlib import Path

from mimo.stage import StageSettings
from mimo.weight_sources.digests import content_digests, recorded_digest
from mimo.weight_sources.registry import registry
from mimo.weights import entry, place

Needs = dict[str, Path | None]
"""Names of entries or folders of the registry; the user's own path in place of each, or None."""


def needs(user: str, settings: StageSettings) -> Needs:
    """What a backend needs: as its settings say, else every entry that names it and is not optional.

    Args:
        user: ``stage/backend``.
        settings: of the backend.
    """
    said = settings.weight_files()
    if said is not None:
        return said
    files = registry().files.items()
    return {name: None for name, item in files if user in item.needed_by and not item.optional}


def entries(name: str) -> list[str]:
    """The entries behind a name: itself, or those of a folder of the registry."""
    return registry().folders.get(name, [name])


def digests(needed: Needs) -> list[str]:
    """What a result depends on: the files' digests; for what is built here the function that builds it.

    A registry's file that is not there yet counts with the digest that it will have, if that is known.
    """
    found = []
    for name, own in needed.items():
        if own is not None:
            found += content_digests(own) if own.exists() else [f"{own} missing"]
        else:
            found += [digest for part in entries(name) for digest in _registry_digests(part)]
    return found


def _registry_digests(name: str) -> list[str]:
    item = entry(name)
    if item.built:
        return [item.built]
    there = place(item)
    if there is None:
        return [part.sha256 or "" for part in item.parts.values()]
    if not item.members:
        return [recorded_digest(there)]
    return [recorded_digest(there / member) for member in item.members]
