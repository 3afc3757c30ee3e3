"""Digests of what a stage's result depends on besides its inputs: its code and its model files.

Snakemake does not see that code behind ``python -m`` changed. The workflow therefore gives every job the
digest of exactly the modules of our two packages that its stage and chosen backend import.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mimo", "video_decomp")
NEUTRAL = ("mimo.worker", "mimo.gpus", "mimo.runtime_folder", "mimo.run.resources")
"""Modules and packages that decide where and in which process work is done, never what comes out: a change of
them makes nothing run again. Nor do their own imports count, unless the stage imports them, too."""


def fingerprint(*modules: str, also: tuple[str, ...] = ()) -> str:
    """Short digest of the meaning of some modules and of all they import from our packages.

    Comments, docstrings and layout do not count.

    Args:
        modules: dotted names, such as ``video_decomp.pose.__main__``.
        also: further texts that count, such as digests of model files.
    """
    digest = hashlib.sha256()
    for name, path in sources(modules, NEUTRAL).items():
        digest.update(f"{name}\0{_meaning(path)}\0".encode())
    for text in also:
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()[:12]


def sources(modules: tuple[str, ...], without: tuple[str, ...] = ()) -> dict[str, Path]:
    """Files of some modules and of every module of our packages that they import, by dotted name, sorted.

    Args:
        modules: dotted names.
        without: modules and packages to pass over.
    """
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        path = _source(name)
        if name in found or path is None or any(f"{name}.".startswith(f"{one}.") for one in without):
            continue
        found[name] = path
        todo += [*_imports(path), *filter(None, [name.rpartition(".")[0]])]
    return dict(sorted(found.items()))


def _source(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@cache
def _imports(path: Path) -> frozenset[str]:
    """Dotted names that a file may import from our packages (``from a import b``: both a and a.b)."""
    package = path.parent.relative_to(ROOT).parts
    names: set[str] = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parents, *filter(None, [node.module])])
            names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return frozenset(name for name in names if name.partition(".")[0] in PACKAGES)


@cache
def _meaning(path: Path) -> str:
    """The code without comments, docstrings and layout."""
    tree = _parsed(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))
