"""Changes one key of a ``config.yaml`` and leaves the rest of its text, with its comments, as it is."""

from __future__ import annotations

import re
from typing import Any

import yaml


def with_key(text: str, key: str, value: Any) -> str:
    """A configuration's text with another value of a key of its top level.

    Args:
        text: what stands in the file.
        key: its name.
        value: what YAML can say.
    """
    block = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True)
    # The key's line, and what follows as long as it is indented, empty, or a list at the line's beginning.
    pattern = re.compile(
        rf"^{re.escape(key)}[ ]*:[^\n]*\n?(?:(?:[ \t]+[^\n]*|-[ ][^\n]*|[ \t]*)\n)*", re.MULTILINE
    )
    if not pattern.search(text):
        return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{block}"
    return pattern.sub(lambda _: block, text, count=1)
