"""The table of what can go wrong says what the tests saw."""

import ast
from pathlib import Path

import pytest
from operations import OPERATIONS, PAGE, with_table


def caused() -> set[str]:
    """Faults that tests cause: the words in `fault("...")` inside a test."""
    names = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for test in ast.walk(ast.parse(path.read_text())):
            if not isinstance(test, ast.FunctionDef) or not test.name.startswith("test_"):
                continue
            for node in ast.walk(test):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fault":
                    names.update(arg.value for arg in node.args if isinstance(arg, ast.Constant))
    return names


def test_table_of_the_page():
    page = PAGE.read_text()
    assert page == with_table(page), "python tests/operations.py"


def test_every_line_is_produced_by_a_test():
    faults = [operation.fault for operation in OPERATIONS]
    assert len(faults) == len(set(faults))
    assert caused() == set(faults)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.fault)
def test_line_is_well_formed(operation):
    assert "|" not in operation.row.strip("| ").replace(" | ", "")
    assert "`" in operation.seen, "say literally what is seen"
