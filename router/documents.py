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

from router.errors import MASK, ConfigError, has_secret, masked

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        fault = f"`{path}` is not usable: {_faults(error, shows_values=False)}"
    raise ConfigError(fault)


def problems(error: ValidationError) -> Iterator[tuple[tuple[int | str, ...], str, str | None]]:
    """(place, problem, value) of each fault; value is None if it may be a secret or does not help."""
    for problem in error.errors(include_url=False):
        yield problem["loc"], hidden(problem["msg"].removeprefix("Value error, ")), _shown(problem)


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
        fault = f"`{path}` is not usable: {_faults(error)}"
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


def _faults(error: ValidationError, *, shows_values: bool = True) -> str:
    return "; ".join(
        f"{hidden(_place(place))}: {problem}"
        + (f" (got `{value}`)" if shows_values and value is not None else "")
        for place, problem, value in problems(error)
    )


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
