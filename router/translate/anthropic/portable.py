"""Remove the members of a chat request that only Anthropic's API knows, for every other provider.

Hints, which change the processing and not the question (caching, the signed reasoning of earlier
turns, …), are left out and named. Any other member of Anthropic's is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.translate.members import ITEM_MEMBERS, NATIVE, items, mapping, optional, optional_items, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

HINTS = ("betas", "cache_control", "diagnostics", "thinking")
"""Members of a request. `reasoning_effort` expresses `thinking`, except its exact budget."""
OUTPUT_HINTS = ("effort", "format")
"""Members of `output_config` that `reasoning_effort` and `response_format` express."""
ITEM_HINTS = ("caller", "citations", "eager_input_streaming", "is_error")
"""Members of a block or a tool."""
PLAIN_BLOCKS = {"text": {"type", "text"}, "tool_use": {"type", "id", "name", "input"}}
"""Blocks of an answer that OpenAI's shape has, with the members that it can express."""
THOUGHTS = ("thinking", "redacted_thinking")


def portable(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The request without Anthropic's members, and the names of the hints left out.

    A body without such members is returned as it is, so that it reaches its provider untouched.
    RequestError names a member that no other provider can serve.
    """
    given = body.get("messages")
    if NATIVE not in body and (given is None or _is_plain(given)):
        return body, frozenset()
    messages = optional_items(given, "messages")
    ignored: set[str] = set()
    native = optional(body.get(NATIVE), NATIVE)
    for name, value in native.items():
        if name == "output_config" and isinstance(value, dict) and value.keys() <= set(OUTPUT_HINTS):
            continue
        if name not in HINTS:
            _refuse(name)
        if name != "thinking" or "reasoning_effort" not in body:
            ignored.add(name)
    plain = {name: value for name, value in body.items() if name != NATIVE}
    plain["messages"] = [_message(message, f"messages.{at}", ignored) for at, message in enumerate(messages)]
    if body.get("tools"):
        tools = items(body["tools"], "tools")
        plain["tools"] = [_item(tool, f"tools.{at}", ignored) for at, tool in enumerate(tools)]
    return plain, frozenset(ignored)


def _is_plain(messages: object) -> bool:
    """Whether these are messages without a member of Anthropic's."""
    return isinstance(messages, list | tuple) and all(
        isinstance(message, dict) and NATIVE not in message for message in messages
    )


def _message(message: dict[str, Any], where: str, ignored: set[str]) -> dict[str, Any]:
    content = message.get("content")
    if message.get("role") == "assistant" and NATIVE in message:
        _check_turn(optional(message[NATIVE], f"{where}.{NATIVE}"), where, ignored)
        message = {
            name: value for name, value in message.items() if name not in (NATIVE, "reasoning_content")
        }
    plain = _item(message, where, ignored)
    if isinstance(content, list):
        parts = items(content, f"{where}.content")
        plain["content"] = [_item(part, f"{where}.content.{at}", ignored) for at, part in enumerate(parts)]
        if plain.get("role") == "tool" and any(part.get("type") != "text" for part in plain["content"]):
            _refuse(f"{where}.content", "an image in a tool's result")
    if plain.get("tool_calls"):
        calls = items(plain["tool_calls"], f"{where}.tool_calls")
        plain["tool_calls"] = [_item(call, f"{where}.tool_calls", ignored) for call in calls]
    return plain


def _check_turn(native: Mapping[str, Any], where: str, ignored: set[str]) -> None:
    for at, block in enumerate(optional_items(native.get("content"), f"{where}.{NATIVE}.content")):
        kind = str(block.get("type"))
        if kind in THOUGHTS:
            ignored.add("thinking")
        elif kind not in PLAIN_BLOCKS:
            _refuse(f"{where}.content.{at}", f"a block of type `{kind:.40}`")
        else:
            for name in block.keys() - PLAIN_BLOCKS[kind]:
                _leave_out(name, f"{where}.content.{at}", ignored)


def _item(item: dict[str, Any], where: str, ignored: set[str]) -> dict[str, Any]:
    if item.get("type") == NATIVE:
        _refuse(where, f"`{mapping(item.get(NATIVE), where).get('type')!s:.40}`")
    for name in optional(item.get(NATIVE), f"{where}.{NATIVE}"):
        _leave_out(name, where, ignored)
    ignored.update(name for name in ITEM_MEMBERS if name in item)
    return {name: value for name, value in item.items() if name not in (NATIVE, *ITEM_MEMBERS)}


def _leave_out(name: str, where: str, ignored: set[str]) -> None:
    if name not in ITEM_HINTS and name not in ITEM_MEMBERS:
        _refuse(f"{where}.{name}")
    ignored.add(name)


def _refuse(member: str, what: str = "it") -> None:
    refuse(member, f"cannot be served by this provider: only Anthropic's API has {what}")
