"""Read and check members of bodies that come from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from router.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NATIVE = "anthropic"
"""The member, and the type of an item, that holds parts of Anthropic's API which OpenAI's lacks."""
RESPONSES = "responses"
"""The member of a completion that holds the original response of OpenAI's responses API."""
JSON_TOOL = "respond_with_json"
"""The tool that replaces OpenAI's JSON mode, which Anthropic lacks. The tool's input is the answer."""
ITEM_MEMBERS = ("cache_control",)
"""Members of Anthropic's that OpenAI's items may carry, in addition to `anthropic`."""


def refuse(member: str, why: str) -> NoReturn:
    """Raise a RequestError that names the member."""
    raise RequestError(f"`{member}` {why}", param=member)


def mapping(value: object, member: str) -> dict[str, Any]:
    """`value` as an object, or RequestError."""
    if not isinstance(value, dict):
        refuse(member, f"must be an object, got `{type(value).__name__}`")
    return value


def items(value: object, member: str) -> list[dict[str, Any]]:
    """`value` as a list of objects, or RequestError."""
    if not isinstance(value, list | tuple):
        refuse(member, f"must be a list of objects, got `{type(value).__name__}`")
    return [mapping(item, f"{member}.{position}") for position, item in enumerate(value)]


def optional(value: object, member: str) -> dict[str, Any]:
    """As `mapping`, and an empty object for None."""
    return {} if value is None else mapping(value, member)


def optional_items(value: object, member: str) -> list[dict[str, Any]]:
    """As `items`, and an empty list for None."""
    return [] if value is None else items(value, member)


def word(value: object, table: Mapping[str, str]) -> str | None:
    """The other API's word for `value`, or None if it has none."""
    return table.get(value) if isinstance(value, str) else None


def text(value: object, member: str) -> str:
    """`value` as a text, or RequestError."""
    if not isinstance(value, str):
        refuse(member, f"must be a text, got `{type(value).__name__}`")
    return value


def only(item: Mapping[str, Any], known: Iterable[str], member: str, *, api: str) -> None:
    """RequestError if a member outside `known` has a value that is not null or empty."""
    for name, value in item.items():
        if name not in known and value not in (None, [], {}):
            refuse(f"{member}.{name}" if member else name, f"has no counterpart in {api}; leave it out")


class LeftOut:
    """The members of a request that its provider does not get.

    A hint changes nothing in the answer that a client could see, so that it is left out. A wish does. It is
    refused by name, unless `drop_params` gives it up.
    """

    def __init__(self, *, drops_wishes: bool = False) -> None:
        self.names: set[str] = set()
        self._drops_wishes = drops_wishes

    def hint(self, name: str) -> None:
        """Leave out a hint."""
        self.names.add(name)

    def wish(self, member: str, why: str) -> None:
        """Leave out a wish if the catalog or the policy says so, else raise RequestError."""
        if not self._drops_wishes:
            refuse(member, f"{why}; or set `drop_params` in catalog.yaml or in the policy")
        self.names.add(member)

    def others(
        self,
        item: Mapping[str, Any],
        known: Iterable[str],
        member: str,
        *,
        api: str,
        hints: Iterable[str] = (),
    ) -> None:
        """Handle the members outside `known`: `hints` are left out, and the rest is refused as in `only`."""
        for name, value in item.items():
            if name in hints:
                if name not in known and value not in (None, [], {}):
                    self.names.add(name)
            elif name not in known and value not in (None, [], {}):
                only({name: value}, (), member, api=api)


def extras(item: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Anthropic's members that an item of OpenAI's carries."""
    kept = {name: item[name] for name in ITEM_MEMBERS if item.get(name) is not None}
    if item.get(NATIVE) is not None:
        kept.update(mapping(item[NATIVE], f"{member}.{NATIVE}"))
    return kept


def with_extras(item: dict[str, Any], source: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Extend `item` in OpenAI's shape by the members of `source` that are not `known`.

    `source` is the Anthropic item that `item` was translated from, and `known` are the members that
    the translation covers. The others go into the member `anthropic`, so that none is lost.
    """
    rest = {name: value for name, value in source.items() if name not in known and value is not None}
    for name in ITEM_MEMBERS:
        if name in rest:
            item[name] = rest.pop(name)
    if rest:
        item[NATIVE] = rest
    return item
