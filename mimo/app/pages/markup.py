"""Markup of the page's sections: templates in ``html/``, in which what users have named cannot be code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "html"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def render(name: str, **values: Any) -> str:
    """Markup of ``html/NAME.html`` with some values."""
    return _TEMPLATES.get_template(f"{name}.html").render(values)
