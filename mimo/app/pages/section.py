"""One section of the page: markup that follows from the session, and what its buttons do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from mimo.app.pages.session import Session

SCRIPTS = '<script src="/static-app/app.js"></script><script src="/static-app/stage.js"></script>'
"""What a section waits for before it comes to life."""
Action = Callable[[Session, dict[str, Any]], None]


class Section:
    """A section; components are made where it is constructed, inside a `gradio.Blocks`.

    Args:
        name: id of its element.
        script: function of ``window.mimo`` that brings its markup to life.
        fixed: markup that never changes, as the state of a drawing is kept in it; None: `draw` makes it.

    Attributes:
        markup: the component.
        actions: what elements with ``data-do`` of a name ask for; they may raise `Rejected`.
    """

    def __init__(self, name: str, script: str = "mount", fixed: str | None = None) -> None:
        self.name = name
        self.markup = gr.HTML(
            fixed or "",
            elem_id=name,
            elem_classes="mimo",
            js_on_load=f"window.mimo.{script}(element, (data) => trigger('act', data), watch)",
            apply_default_css=False,
            head=SCRIPTS,
        )
        self.fixed = fixed is not None
        self.actions: dict[str, Action] = {}

    def draw(self, session: Session) -> str:
        """Markup that follows from a session."""
        raise NotImplementedError
