"""The page: its sections, and how events reach them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from mimo.app.core import Core
from mimo.app.pages import make
from mimo.app.pages.character import CharacterSection
from mimo.app.pages.correcting import CorrectingSection
from mimo.app.pages.jobs import QueueSection
from mimo.app.pages.layers import LayersSection
from mimo.app.pages.make import MakeSection
from mimo.app.pages.markup import render
from mimo.app.pages.motion import MotionSection
from mimo.app.pages.placement import PlacementSection
from mimo.app.pages.previews import Previews
from mimo.app.pages.results import ResultsSection
from mimo.app.pages.scene import SceneSection
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session
from mimo.app.pages.theme import THEME
from mimo.stage import Rejected

logger = logging.getLogger(__name__)

LOOK = 1.5
"""Seconds between two looks at the queue."""
FAULT = "Something went wrong here, not by your fault. Whoever runs this server finds more in its log."
MOUNT = {
    "theme": THEME,
    # As a file of its own, since Gradio rewrites styles that it is given, and breaks lists in `:is()`.
    "head": '<link rel="stylesheet" href="/static-app/app.css">',
}
"""What `gradio.mount_gradio_app` is told about how the page looks."""


class Page:
    """All sections of the page.

    Args:
        core: the server.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._previews = Previews()
        self._sections: list[Section] = []
        gr.HTML(render("masthead"), elem_classes="mimo", js_on_load="", apply_default_css=False)
        with gr.Row(elem_classes="trio"):
            for kinds in ((MotionSection,), (CharacterSection,), (SceneSection, PlacementSection)):
                with gr.Column(elem_classes="card"):
                    self._sections += [kind() for kind in kinds]
        with gr.Column(elem_classes="card"):
            self._sections += [LayersSection(), CorrectingSection()]
        with gr.Row(elem_classes="duo"):
            with gr.Column(elem_classes="card"):
                self._make = MakeSection()
            with gr.Column(elem_classes="card"):
                self._sections += [self._make, QueueSection()]
        with gr.Column(elem_classes="card"):
            self._sections.append(ResultsSection())
        self._drawn = [section for section in self._sections if not section.fixed]
        self._sent = gr.State({})
        self._timer = gr.Timer(LOOK)

    def connect(self, blocks: gr.Blocks) -> None:
        """Bind events to what they do."""
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        outputs = [self._sent, *(section.markup for section in self._drawn)]
        settings = self._make.settings
        for section in self._sections:
            section.markup.act(self._acting(section), self._sent, outputs, trigger_mode="multiple", **hidden)
        changing = [self._sent, *settings.values()]
        for name, component in settings.items():
            listen = component.release if isinstance(component, gr.Slider) else component.input
            listen(self._changing([*settings]), changing, outputs, **hidden, key=name)
        self._make.start.click(self._starting([*settings]), changing, outputs, **hidden)
        self._timer.tick(self._looking, self._sent, outputs, **hidden)
        blocks.load(self._loading, None, [*outputs, *settings.values()], **hidden)

    def _acting(self, section: Section) -> Callable[..., list[Any]]:
        def act(sent: dict[str, str], event: gr.EventData, request: gr.Request) -> list[Any]:
            told = event._data if isinstance(event._data, dict) else {}
            action = section.actions.get(str(told.get("do")))
            return self._answer(sent, request, lambda session: action(session, told) if action else None)

        return act

    def _changing(self, names: list[str]) -> Callable[..., list[Any]]:
        def change(sent: dict[str, str], request: gr.Request, *values: Any) -> list[Any]:
            return self._answer(sent, request, lambda session: make.change(session, names, values))

        return change

    def _starting(self, names: list[str]) -> Callable[..., list[Any]]:
        def start(sent: dict[str, str], request: gr.Request, *values: Any) -> list[Any]:
            def work(session: Session) -> None:
                make.change(session, names, values)
                make.start(session)

            return self._answer(sent, request, work)

        return start

    def _looking(self, sent: dict[str, str], request: gr.Request) -> list[Any]:
        return self._answer(sent, request, lambda session: None)

    def _loading(self, request: gr.Request) -> list[Any]:
        drawn = self._answer({}, request, lambda session: None)
        try:
            session = Session.open(self._core, self._previews, request)
        except Rejected:
            return [*drawn, *(gr.skip() for _ in self._make.settings)]
        return [*drawn, *self._make.values(session)]

    def _answer(
        self, sent: dict[str, str], request: gr.Request, work: Callable[[Session], None]
    ) -> list[Any]:
        """Do what an event asks for, and draw what has changed since the browser was sent anything."""
        try:
            session = Session.open(self._core, self._previews, request)
            before = session.draft.model_copy()
            work(session)
            if session.draft != before:
                session.keep()
        except Rejected as error:
            gr.Warning(escape(str(error)), title="Not possible")
        except Exception:
            logger.exception("an event of the page")
            gr.Warning(FAULT, title="Fault")
        return self._draw(sent, request)

    def _draw(self, sent: dict[str, str], request: gr.Request) -> list[Any]:
        """The page's state and its sections; those that the browser has already are left out."""
        try:
            session = Session.open(self._core, self._previews, request)
        except Rejected:
            return [sent, *(gr.skip() for _ in self._drawn)]
        drawn = {section.name: section.draw(session) for section in self._drawn}
        updates = [gr.skip() if sent.get(name) == html else html for name, html in drawn.items()]
        return [drawn, *updates]


def build(core: Core) -> gr.Blocks:
    """The page of a server."""
    with gr.Blocks(title="MIMO", analytics_enabled=False, fill_width=True) as blocks:
        Page(core).connect(blocks)
    blocks.queue(default_concurrency_limit=16)
    return blocks
