"""Video character editing in one command: a template with another character in it, sound included."""

from __future__ import annotations

from mimo.one_video import make_one_video
from mimo.template import Template


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    what = ("TEMPLATE", "template folder, made here or by the reference implementation")
    return make_one_video("python -m mimo.edit", __doc__, Template, what, argv)


if __name__ == "__main__":
    raise SystemExit(main())
