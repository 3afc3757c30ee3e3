"""Character image animation in one command: a character performs a motion on white."""

from __future__ import annotations

from mimo.animation import Animation
from mimo.one_video import make_one_video


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    what = (
        "MOTION",
        "folder with sdc.mp4 (for the puppet also motion.npz), such as a template; or such a file",
    )
    return make_one_video("python -m mimo.animate", __doc__, Animation, what, argv)


if __name__ == "__main__":
    raise SystemExit(main())
