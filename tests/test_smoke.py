"""Every room has its tests, and a few of them that run in seconds."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ROOMS = sorted(
    str(path.parent.relative_to(ROOT))
    for half in ("router", "pipelines")
    for path in (ROOT / half).glob("*/__init__.py")
)


def _marks(path: Path) -> list[set[str]]:
    """For each test of a file the names of its marks."""
    return [
        {
            node.attr
            for decorator in function.decorator_list
            for node in ast.walk(decorator)
            if isinstance(node, ast.Attribute)
        }
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test_")
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_smoke_tests(room: str) -> None:
    """`pytest -m smoke tests/<room>` runs at least one test, and none of them is slow."""
    marks = [found for path in (ROOT / "tests" / room).rglob("test_*.py") for found in _marks(path)]
    smoke = [found for found in marks if "smoke" in found]
    assert smoke != []
    assert [found for found in smoke if "slow" in found] == []
