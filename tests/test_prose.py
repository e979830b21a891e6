"""The language stays plain: figures for the pages, and bounds that only go down for the code.

    python tests/test_prose.py      prints the figures

The pages must reach the goal. Docstrings and messages are held at the rate they have: lower a bound when
you have brought its rate down.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from router.config import Settings
from tests.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "router/README.md",
    "router/OPERATIONS.md",
    "pipelines/README.md",
    "tests/README.md",
)
README_LINES = 200
SEMICOLONS = 12.0
"""At most, in 100 sentences of a page."""
HEADLESS = 3.0
"""At most, in 10,000 words of all pages: sentences and clauses that begin with `What` or `Who`."""
DIALECT = frozenset(
    {"told", "tell", "tells", "stand", "stands", "standing", "beside", "anew", "alone"}
    | {"nobody", "somebody", "everybody", "anybody"}
)
CODE_BOUNDS: Mapping[str, Mapping[str, float]] = {
    "docstrings": {"headless": 1, "dialect": 1, "semicolons": 4},
    "messages": {"headless": 1, "dialect": 1, "semicolons": 9},
}
"""The rates of today, rounded up: in 10,000 words, and semicolons in 100 sentences."""

_HEADLESS = re.compile(r"(?:^|[.:;!]\s+|\n\s*[-*|]\s*(?:\*\*)?)(?:what|who)\b[^.?;:]*([?]?)", re.IGNORECASE)


def figures_of(texts: list[str]) -> dict[str, float]:
    """Words, and the three rates of the texts."""
    words = Counter[str]()
    headless = semicolons = sentences = 0
    for text in texts:
        words.update(word.lower() for word in re.findall(r"[A-Za-z][A-Za-z'-]*", text))
        headless += sum(not question for question in _HEADLESS.findall(text))
        semicolons += text.count(";")
        sentences += len(re.findall(r"[.!?](?=\s|$)", text))
    total = words.total()
    return {
        "words": total,
        "headless": 10_000 * headless / total,
        "dialect": 10_000 * sum(words[word] for word in DIALECT) / total,
        "semicolons": 100 * semicolons / max(sentences, 1),
    }


def prose_of(page: str) -> str:
    """A page without its code, its pictures, and the settings, whose texts are the code's."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    settings = [f"| `{name}` " for name, _, _ in Settings.describe()]
    lines = [line for line in text.splitlines() if not any(line.startswith(start) for start in settings)]
    return re.sub(r"`[^`]*`", "code", "\n".join(lines))


def _trees() -> Iterator[ast.Module]:
    for package in ("router", "pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text())


def docstrings() -> list[str]:
    """Docstrings of modules, classes, functions and fields."""
    return [
        node.value.value
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def messages() -> list[str]:
    """The texts of errors that are raised, with `code` for every value in them."""
    return [
        text
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        for argument in node.exc.args
        if (text := _text_of(argument))
    ]


def _text_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return f"{node.value}." if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "code" for part in node.values]
        return "".join(map(str, parts)) + "."
    return ""


def test_the_readme_is_one_page() -> None:
    """The front door is short: the manual is in the folders."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_short_sentences(page: str) -> None:
    """Sentences end: few semicolons, outside of tables."""
    prose = "\n".join(line for line in prose_of(page).splitlines() if not line.startswith("|"))
    assert figures_of([prose])["semicolons"] <= SEMICOLONS


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_dialect(page: str) -> None:
    """None of the words that make a reader stop."""
    found = {word.lower() for word in re.findall(r"[A-Za-z]+", prose_of(page))} & DIALECT
    assert found == set()


def test_the_pages_have_few_headless_clauses() -> None:
    """Sentences name their actor: hardly one begins with `What` or `Who`."""
    assert figures_of([prose_of(page) for page in PAGES])["headless"] <= HEADLESS


@pytest.mark.parametrize(("name", "texts"), [("docstrings", docstrings()), ("messages", messages())])
def test_the_code_gets_no_worse(name: str, texts: list[str]) -> None:
    """Rates of docstrings and of error messages are at most those that were reached."""
    figures = figures_of(texts)
    bounds = CODE_BOUNDS[name]
    assert {key: figures[key] for key in bounds if figures[key] > bounds[key]} == {}


def main() -> None:
    """Print the figures of every page, and of the code."""
    named = {page: [prose_of(page)] for page in PAGES} | {"docstrings": docstrings(), "messages": messages()}
    for name, texts in named.items():
        figures = figures_of(texts)
        print(f"{name:20} " + "  ".join(f"{key} {value:9.1f}" for key, value in figures.items()))  # noqa: T201


if __name__ == "__main__":
    main()
