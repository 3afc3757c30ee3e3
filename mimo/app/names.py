"""Names of what users bring: they become names of files, and words in tables of jobs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from pathlib import PurePath

LONGEST = 60
_OTHER = re.compile(r"[^\w .()+-]+", re.ASCII)


def safe_name(given: str, taken: Container[str], otherwise: str) -> str:
    """A name for a file that a browser calls `given`: without suffix, path and signs that mean something.

    Args:
        given: the file's name on its user's computer; anything.
        taken: names that are in use, in lower case.
        otherwise: the name of a file that has none.

    Returns:
        Letters and digits of any language, spaces, ``-``, ``_``, ``.``, ``+``, brackets; not in `taken`.
    """
    text = unicodedata.normalize("NFC", given.replace("\\", "/"))
    stem = PurePath(text.rpartition("/")[2]).stem
    words = "".join(sign if sign.isalnum() or not _OTHER.match(sign) else " " for sign in stem)
    name = " ".join(words.split()).strip(" .-")[:LONGEST].strip(" .-") or otherwise
    number, free = 2, name
    while free.casefold() in taken:
        free = f"{name} {number}"
        number += 1
    return free
