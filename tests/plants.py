"""Documents with a canary in every member, made from the pydantic models that read them."""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str | int, ...]


def sample(kind: Any) -> Any:
    """A value of the type as YAML or JSON holds it, with every member of every model in it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: sample(field.annotation) for name, field in kind.model_fields.items()}
    if origin is Literal:
        return arguments[0]
    if origin in (Union, types.UnionType):
        return sample(next(item for item in reversed(arguments) if item is not type(None)))
    if origin in (tuple, list, frozenset, set):
        return [sample(arguments[0])]
    if origin in (dict, Mapping):
        return {"a-name": sample(arguments[1])}
    if arguments:  # Annotated
        return sample(arguments[0])
    return {int: 1, float: 0.5, bool: True}.get(kind, "text")


def places(tree: Any, at: Place = ()) -> Iterator[Place]:
    """Every member of a document, however deep."""
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, member in members:
        yield (*at, name)
        yield from places(member, (*at, name))


def planted(tree: Any, at: Place, value: Any) -> Any:
    """The document with `value` at a place."""
    changed = copy.deepcopy(tree)
    holder = changed
    for name in at[:-1]:
        holder = holder[name]
    holder[at[-1]] = value
    return changed


def neighbour(at: Place, name: str) -> Place | None:
    """The place of another member in the same mapping; None in a list."""
    return None if isinstance(at[-1], int) else (*at[:-1], name)
