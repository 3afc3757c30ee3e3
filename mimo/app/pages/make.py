"""Renders what is chosen: quality, body, transparency, and the button that starts it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mimo.app.pages.draft import Draft, Placement
from mimo.app.pages.markup import render
from mimo.app.pages.quality import QUALITIES, missing_models
from mimo.app.pages.section import Section
from mimo.app.pages.session import Session
from mimo.scene_names import OWN
from mimo.stage import Rejected

ALPHA = {
    "none": "none",
    "prores": "ProRes 4444 (.mov)",
    "vp9": "VP9 (.webm)",
}
PREVIEW_ONLY = ("relight", "shadow")
OF_ONE_BACKEND = (*PREVIEW_ONLY, "preset")
"""Settings that another backend refuses."""


class MakeSection(Section):
    """Settings of the result as Gradio's own components, and what will be made in words.

    Attributes:
        settings: components by the draft's attribute that they show.
        start: the button.
    """

    def __init__(self) -> None:
        super().__init__("make")
        qualities = [(f"{one.title}: {one.words}", key) for key, one in QUALITIES.items()]
        self.settings: dict[str, gr.Radio | gr.Slider] = {
            "quality": gr.Radio(qualities, value="preview", label="Quality", elem_id="quality"),
        }
        with gr.Accordion("More settings", open=False, elem_id="more"):
            self.settings |= {
                "body": gr.Radio(
                    [("the character's, from the picture", "own"), ("those of who is filmed", "driver")],
                    value="own",
                    label="Proportions",
                ),
                "height": gr.Radio(
                    [("as who is filmed", "driver"), ("as the character is", "own")],
                    value="driver",
                    label="Height",
                ),
                "alpha": gr.Radio(
                    [(words, key) for key, words in ALPHA.items()],
                    value="prores",
                    label="File for compositing, of transparent scenes",
                ),
                "relight": gr.Slider(0, 1, 0.9, step=0.05, label="Light follows the scene (preview)"),
                "shadow": gr.Slider(0, 1, 0.45, step=0.05, label="Contact shadow (preview)"),
            }
        self.start = gr.Button("Start", variant="primary", elem_id="start")

    def draw(self, session: Session) -> str:
        """See `Section.draw`."""
        problem = lacking(session)
        return render("make", problem=problem, words="" if problem else sentence(session))

    def values(self, session: Session) -> list[Any]:
        """What the components show, in the order of `settings`."""
        return [getattr(session.draft, name) for name in self.settings]


def lacking(session: Session) -> str:
    """What has still to be chosen, in words."""
    if session.motion is None:
        return "Choose a motion."
    if session.character is None:
        return "Choose a character."
    if session.draft.scene_kind in ("scenes", "templates", "videos") and session.scene is None:
        return "Choose a scene."
    return ""


def sentence(session: Session) -> str:
    """What will be made, in words."""
    where = {"transparent": "on nothing", "colour": f"on {session.draft.colour}", "own": "in its own scene"}
    place = where.get(session.draft.scene_kind, f"in {session.draft.scene}")
    return f"{session.draft.character} performs {session.draft.motion} {place}."


def change(session: Session, names: list[str], values: tuple[Any, ...]) -> None:
    """Keep what the components say.

    Raises:
        Rejected: a value is none that they offer.
    """
    try:
        session.draft = Draft.model_validate(
            session.draft.model_dump() | dict(zip(names, values, strict=True))
        )
    except ValueError:
        raise Rejected("that setting was not understood; load the page again") from None
    if session.draft.quality not in QUALITIES:
        raise Rejected("there is no such quality; load the page again")


def start(session: Session) -> None:
    """Write down what is wanted where the workflow reads it, and put it into the queue.

    Raises:
        Rejected: something is not chosen yet, or the workflow would refuse it.
    """
    if problem := lacking(session):
        raise Rejected(problem)
    draft, project, template = session.draft, session.project, session.result_template
    quality = QUALITIES[draft.quality]
    if lacks := missing_models(project.load(), quality):
        raise Rejected(
            f"{quality.title} needs model files that this server lacks: {', '.join(lacks)}; "
            f"whoever runs it gets them by: python -m mimo.weights fetch synthesis/{quality.backend}"
        )
    scene = "" if session.scene_word == OWN else session.scene_word
    project.add_row(draft.character, draft.motion, scene)
    settings = {"synthesis": dict.fromkeys(OF_ONE_BACKEND) | synthesis_settings(draft)}
    if template != draft.motion:
        settings["staging"] = draft.placements.get(template, Placement()).model_dump(mode="json")
    project.change_overrides(template, settings)
    if draft.scene_kind == "transparent":
        alpha = None if draft.alpha == "none" else draft.alpha
        project.change_configuration({"alpha": {"format": alpha, "of": "transparent"}})
    target = session.result(template, draft.character)
    names = [template, draft.motion, draft.character, *([draft.scene] if session.scene else [])]
    session.start(f"{draft.character} · {template}", "result", target, names)
    draft.shown = (template, draft.character)


def synthesis_settings(draft: Draft) -> dict[str, Any]:
    """Settings of the stage `synthesis` that a draft means."""
    quality = QUALITIES[draft.quality]
    settings = {"backend": quality.backend, **quality.settings, "body": draft.body, "height": draft.height}
    if quality.backend == "puppet":
        settings |= {name: getattr(draft, name) for name in PREVIEW_ONLY}
    return settings
