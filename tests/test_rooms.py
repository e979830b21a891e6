"""The rooms of the house: no circles, few files at the doors, and a map in every room."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HALVES = ("router", "pipelines")
DOORS = {"router": 8, "pipelines": 6}
"""The most files at the door of each half."""
MAP_LINES = 3


def files() -> dict[str, Path]:
    """Every file of both halves, by the name that it is imported by."""
    found = {}
    for half in HALVES:
        for path in sorted((ROOT / half).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Files that a file imports anywhere: at its top, for annotations only, or inside a function.

    A room is imported with each of its files, so its `__init__` counts only where it is named itself.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{name} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return (found & known.keys()) - {name}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of files that import one another, directly or by way of others (Tarjan's algorithm)."""
    numbers: dict[str, int] = {}
    lows: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        numbers[name] = lows[name] = len(numbers)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in numbers:
                visit(other)
            if other in stack:
                lows[name] = min(lows[name], lows[other])
        if lows[name] == numbers[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(graph):
        if name not in numbers:
            visit(name)
    return found


def test_no_files_import_one_another() -> None:
    """Annotations and imports inside functions count: a circle that is hidden is a circle."""
    known = files()
    assert circles({name: imports_of(name, path, known) for name, path in known.items()}) == []


def test_a_circle_is_found() -> None:
    """A circle of three files is named; the files that only lead to it are not."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b", "e"}, "e": set()}
    assert circles(graph) == [["b", "c", "d"]]


def test_imports_are_found_wherever_they_are(tmp_path: Path) -> None:
    """At the top, under TYPE_CHECKING and inside a function; packages of others are left out."""
    path = tmp_path / "file.py"
    path.write_text(
        "import json\nfrom typing import TYPE_CHECKING\nimport a.top\nfrom a import named, b\n"
        "if TYPE_CHECKING:\n    from a.typed import T\ndef f():\n    from a.inner import x\n"
    )
    known = dict.fromkeys(("a", "a.top", "a.b", "a.typed", "a.inner", "a.unused"), path)
    assert imports_of("own", path, known) == {"a", "a.top", "a.b", "a.typed", "a.inner"}


@pytest.mark.parametrize("half", HALVES)
def test_few_files_are_at_the_door(half: str) -> None:
    """A newcomer opens a room first, so each half has few files outside of its rooms."""
    at_the_door = sorted(path.name for path in (ROOT / half).glob("*.py"))
    assert len(at_the_door) <= DOORS[half], at_the_door


def test_every_room_has_a_map() -> None:
    """The docstring of a room gives what comes in, what goes out, and the order to read it in."""
    without = []
    for name, path in files().items():
        if path.name == "__init__.py":
            lines = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()
            if sum(bool(line.strip()) for line in lines) < MAP_LINES:
                without.append(name)
    assert without == [], without
