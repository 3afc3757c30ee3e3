"""Prints the JSON schema of `config.yaml`, with every backend's settings, for editors that check it.

    python -m mimo.schema > rules/config.schema.yaml

It is made from the models that the workflow itself checks with (`mimo.run.project`), so both say the same.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from mimo.run.configuration import Configuration
from mimo.run.matrix import JobEntry
from mimo.run.stages import STAGES, backend_names, settings_class


def config_schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    schema = Configuration.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for stage in STAGES:
        variants = []
        names: list[str | None] = [*backend_names(stage)]
        for backend in names or [None]:
            variant = settings_class(stage, backend, "config.yaml").model_json_schema()
            definitions |= variant.pop("$defs", {})
            if backend is not None:
                variant["properties"] = {"backend": {"const": backend}} | variant["properties"]
                variant["required"] = ["backend"]
            variants.append(variant | {"title": f"{stage}: {backend}" if backend else stage})
        block = variants[0] if len(variants) == 1 else {"oneOf": variants}
        schema["properties"][stage] = block | {"description": schema["properties"][stage]["description"]}
    entry = JobEntry.model_json_schema()
    for variant in schema["properties"]["jobs"]["anyOf"]:
        if variant["type"] == "array":
            variant["items"] = entry
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def main() -> int:
    """Command line."""
    print("# Made by `python -m mimo.schema`; do not edit.")
    yaml.safe_dump(config_schema(), sys.stdout, sort_keys=False, allow_unicode=True, width=110)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
