"""Reads documents (YAML or JSON files that people edit) into pydantic models.

A message names the file, the place and the fault. It shows a value only if that cannot be a secret:
people paste keys into the wrong member, and messages go to clients, logs and records. A document is
refused if a value or a name in it has the shape of a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from router.errors import MASK, ConfigError, has_secret, masked, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

Parsed = TypeVar("Parsed", bound=BaseModel)
REFUSAL = (
    "looks like a key or a password: keep it in an environment variable, and replace it if others saw it"
)
_SECRET_MEMBER = re.compile(
    r"key|secret|token(?!s)|passw|credential|auth|header|cookie|url|dsn|salt|sha256|hash", re.IGNORECASE
)
"""Names of members whose values are never shown."""
_OPAQUE = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{20,}(?![A-Za-z0-9])")
"""A long word of letters and digits: some providers' keys have no other shape."""
_MAX_SHOWN = 80
_LIST = "must be a list: begin each entry with `- `"
_NAMES = "must be names with values, as in `name: value`"
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a known member",
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), _NAMES),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type", "decimal_parsing", "decimal_type"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    "string_type": "must be a text",
}
"""The fault by pydantic's name for it."""
NAMING = ("id", "name", "start")
"""Members that name an entry of a list, the best first."""
_NAME = re.compile(r"[\w./:@-]{1,80}")


class Entry(BaseModel):
    """A part of a document. It refuses unknown members, and its validation errors hide the input."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def parse_yaml(content: bytes, kind: type[Parsed], path: Path) -> Parsed:
    """Validate the content of a YAML file; ConfigError names the place and the fault."""
    import yaml

    try:
        tree = yaml.safe_load(content) or {}
    except yaml.YAMLError as error:
        fault = f"`{path}` is not valid YAML: {_syntax_fault(error)}"
    except ValueError:  # e.g. a date of day 32: Python's message quotes it
        fault = f"`{path}` is not valid YAML: it holds a date or a number that does not exist; correct it"
    else:
        return _validated(tree, kind, path)
    raise ConfigError(fault)  # after the handler: a traceback shows the cause, which quotes the file


def parse_json(content: bytes, kind: type[Parsed], path: Path) -> Parsed:
    """Validate the content of a JSON file; ConfigError names the place and the fault, and shows no value."""
    try:
        _refuse_secrets(_tree_of(content), path)
        return kind.model_validate_json(content)
    except ValidationError as error:
        fault = f"`{path}` is not usable: {_faults(error, kind, _tree_of(content), shows_values=False)}"
    raise ConfigError(fault)


def problems(
    error: ValidationError, kind: type[BaseModel] | None = None
) -> Iterator[tuple[tuple[int | str, ...], str, str | None]]:
    """(place, problem, value) of each fault; value is None if it may be a secret or does not help.

    With the document's `kind`, an unknown member is named with the nearest known ones.
    """
    for problem in error.errors(include_url=False):
        text = hidden(_in_words(problem))
        if problem["type"] == "extra_forbidden" and kind is not None:
            *parent, name = problem["loc"]
            if known := _members(kind, parent):
                text = f"{text}; {nearest(str(name), known)}"
        yield problem["loc"], text, _shown(problem)


def secrets_in(tree: object) -> Iterator[str]:
    """The places in a document of values and names that have the shape of a secret."""
    waiting: list[tuple[tuple[object, ...], object]] = [((), tree)]
    seen: set[int] = set()
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            if has_secret(value):
                yield hidden(_place(place))
        elif isinstance(value, dict | list):
            if id(value) in seen:  # YAML's aliases: a part may hold itself
                continue
            seen.add(id(value))
            members = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*place, name), member) for name, member in members]
            if isinstance(value, dict) and any(has_secret(str(name)) for name in value):
                yield f"a name in {hidden(_place(place))}"


def is_opaque(text: str) -> bool:
    """Whether a part of `text` could be a key: by its shape, or as a long word of letters and digits."""
    return has_secret(text) or _OPAQUE.search(text) is not None


def hidden(text: str) -> str:
    """`text` with MASK for each part that could be a key."""
    return _OPAQUE.sub(MASK, masked(text))


def _validated(tree: Any, kind: type[Parsed], path: Path) -> Parsed:
    _refuse_secrets(tree, path)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        fault = f"`{path}` is not usable: {_faults(error, kind, tree)}"
    raise ConfigError(fault)


def _tree_of(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:  # pydantic says where
        return None


def _refuse_secrets(tree: object, path: Path) -> None:
    found = sorted(set(secrets_in(tree)))
    if found:
        raise ConfigError(f"`{path}` is not usable: {'; '.join(f'{at} {REFUSAL}' for at in found)}")


def _faults(error: ValidationError, kind: type[BaseModel], tree: object, *, shows_values: bool = True) -> str:
    return "; ".join(
        (f"{hidden(_place(_named(place, tree)))}: " if place else "")
        + problem
        + (f" (got `{value}`)" if shows_values and value is not None else "")
        for place, problem, value in problems(error, kind)
    )


def _in_words(problem: ErrorDetails) -> str:
    """The fault in the words of a person who writes YAML, not of the library."""
    words = _WORDS.get(problem["type"])
    return words or re.sub(
        r"^Input should be(?! valid)", "must be", problem["msg"].removeprefix("Value error, ")
    )


def _members(kind: type[BaseModel], place: Sequence[int | str]) -> set[str]:
    """The members that a place of a document may have. Empty if the schema does not lead there."""
    whole = kind.model_json_schema()
    parts = [whole]
    for step in place:
        inner = [
            part.get("properties", {}).get(step) or part.get("additionalProperties") or part.get("items")
            for part in _alternatives(parts, whole)
        ]
        parts = [part for part in inner if isinstance(part, dict)]
    return {name for part in _alternatives(parts, whole) for name in part.get("properties", ())}


def _alternatives(parts: Iterable[dict[str, Any]], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Parts of a JSON Schema, with what they refer to in their place."""
    for part in parts:
        if "$ref" in part:
            part = whole["$defs"][part["$ref"].rpartition("/")[2]]
        others = [*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())]
        yield from _alternatives(others, whole) if others else iter((part,))


def _named(location: tuple[int | str, ...], tree: object) -> tuple[int | str, ...]:
    """A place with the entries of lists by their names, as the person who wrote them knows them."""
    named: list[int | str] = []
    for step in location:
        try:
            tree = tree[step]  # type: ignore[index]
        except (IndexError, KeyError, TypeError):
            tree = None
        name = next((tree[key] for key in NAMING if key in tree), None) if isinstance(tree, dict) else None
        is_name = isinstance(step, int) and name is not None and _NAME.fullmatch(str(name))
        named.append(str(name) if is_name else step)
    return tuple(named)


def _place(location: tuple[object, ...]) -> str:
    return ".".join(map(str, location)) or "file"


def _shown(problem: ErrorDetails) -> str | None:
    """The value, to help correct the document, unless it may be a secret."""
    value = problem["input"]
    if not isinstance(value, str | int | float) or problem["type"] == "extra_forbidden":
        return None
    if isinstance(value, str) and any(_SECRET_MEMBER.search(str(part)) for part in problem["loc"]):
        return None
    return hidden(str(value))[:_MAX_SHOWN]


def _syntax_fault(error: Exception) -> str:
    """The place and the kind of a YAML error; PyYAML's own message quotes the line."""
    problem = re.sub(r"(['\"]).{4,}\1", "`...`", str(getattr(error, "problem", None) or "it cannot be read"))
    mark = getattr(error, "problem_mark", None)
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
