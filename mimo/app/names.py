"""Names of what users bring: they become names of files, and words in tables of jobs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from pathlib import PurePath

from mimo.casting import KEEP, REMOVE
from mimo.scene_names import is_reserved

LONGEST = 60
_OTHER = re.compile(r"[^\w .()+-]+", re.ASCII)


def safe_name(given: str, taken: Container[str], otherwise: str) -> str:
    """A name for a file that a browser calls `given`: without suffix, path and signs that mean something.

    Args:
        given: the file's name on its user's computer; anything.
        taken: names that are in use, in lower case.
        otherwise: the name of a file that has none.

    Returns:
        Letters and digits of any language, spaces, ``-``, ``_``, ``.``, ``+``, brackets; not in `taken`, and
        no word that means something in a table of jobs, as colours do.
    """
    text = unicodedata.normalize("NFC", given.replace("\\", "/"))
    stem = PurePath(text.rpartition("/")[2]).stem
    words = "".join(sign if sign.isalnum() or not _OTHER.match(sign) else " " for sign in stem)
    name = " ".join(words.split()).strip(" .-")[:LONGEST].strip(" .-") or otherwise
    if is_reserved(name) or name in (KEEP, REMOVE):
        name = f"{name} {otherwise}"
    number, free = 2, name
    while free.casefold() in taken:
        free = f"{name} {number}"
        number += 1
    return free
