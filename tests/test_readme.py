"""The README's settings, commands and links are true."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mimo.run.configuration import Configuration
from mimo.run.stages import STAGES, backend_names, settings_class
from mimo.weight_sources.registry import registry

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def table_rows():
    table = README[README.index("| stage | key |") :]
    for line in table[: table.index("\n\n")].splitlines()[2:]:
        stage, keys, defaults, _ = (cell.strip() for cell in line.strip("|").split("|"))
        for key, default in zip(keys.split(","), defaults.split(","), strict=True):
            yield stage, key.strip(" `"), default.strip(" `")


def fields(stage):
    """Settings of the workflow, or of a stage with its default backend."""
    if not stage:
        return Configuration.model_fields
    default = yaml.safe_load((ROOT / "config.yaml").read_text())[stage].get("backend")
    return settings_class(stage, default, stage).model_fields


@pytest.mark.parametrize(("stage", "key", "default"), list(table_rows()))
def test_setting(stage, key, default):
    value = fields(stage)[key].get_default()
    assert (str(value) if isinstance(value, Path) else value) == yaml.safe_load(default)


def test_table_of_backends():
    table = README[README.index("| stage | backend |") :]
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in table[: table.index("\n\n")].splitlines()[2:]
    ]
    assert [row[:2] for row in rows] == [
        [stage, name] for stage in STAGES for name in sorted(backend_names(stage), key=order_of(stage))
    ]
    for stage, name, runs_on, _, commercial, _ in rows:
        fields = settings_class(stage, name, stage).model_fields
        assert (runs_on == "GPU") == ("device" in fields), (stage, name)
        needed = [
            item
            for item in registry().files.values()
            if f"{stage}/{name}" in item.needed_by and not item.optional
        ]
        assert (commercial == "yes") == all(item.licence.commercial for item in needed), (stage, name)


def order_of(stage):
    """The default backend first, then as named."""
    default = yaml.safe_load((ROOT / "config.yaml").read_text())[stage].get("backend")
    return lambda name: (name != default, name)


def test_links():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_stage_commands_have_help():
    block = README[README.index("Every stage also works alone") :].split("```")[1]
    modules = [shlex.split(line)[2] for line in block.splitlines()[1:] if line]
    assert len(modules) == len(STAGES)
    for module in modules:
        result = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "settings:" in result.stdout
