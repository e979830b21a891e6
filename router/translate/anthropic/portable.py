"""Write a chat request so that a server other than Anthropic's takes it.

Members that only Anthropic's API knows are removed. Hints, which change the processing and not the question
(caching, the signed reasoning of earlier turns, the editing of a context that is not there, …), are left
out and named. Any other member of Anthropic's is refused, unless `drop_params` gives it up.

Members that a provider demands back on the next turn (`router.translate.returned`) are put where it expects
them, and ids of calls are written as the server takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.translate.anthropic.requests_out import BETA
from router.translate.calls import EXTRAS
from router.translate.members import (
    ITEM_MEMBERS,
    NATIVE,
    items,
    mapping,
    optional,
    optional_items,
    refuse,
)
from router.translate.names import LONGEST_CHAT_ID, chat_id, is_mistral
from router.translate.returned import RETURNED, parted_id, returned_of
from router.translate.thoughts import BLOCKS, KINDS, TEXTS, sent_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.members import LeftOut

HINTS = ("betas", "cache_control", "context_management", "diagnostics", "metadata", "speed", "thinking")
"""Members of a request. `reasoning_effort` expresses `thinking`, except its exact budget."""
OUTPUT_HINTS = ("effort", "format", "task_budget")
"""Members of `output_config` that `reasoning_effort` and `response_format` express, or that are hints."""
ITEM_HINTS = (
    "allowed_callers",
    "caller",
    "citations",
    "context",
    "defer_loading",
    "eager_input_streaming",
    "input_examples",
    "is_error",
)
"""Members of a block or a tool."""
PLAIN_BLOCKS = {"text": {"type", "text"}, "tool_use": {"type", "id", "name", "input"}}
"""Blocks of an answer that OpenAI's shape has, with the members that it can express."""
THOUGHT = "reasoning_content"
OWN_MEMBERS = frozenset({NATIVE, BLOCKS, "tool_calls", "tool_call_id", "cache_control"})
"""Members of a message that need a look."""
THREAD = "; leave it out (`thread=False` in Anthropic's tool runner), and send the whole conversation"


def portable(
    body: Mapping[str, Any],
    left: LeftOut,
    *,
    provider: str | None = None,
    name: str = "",
    has_developers: bool = True,
) -> Mapping[str, Any]:
    """The request for the model `name` of `provider`. The names of hints are added to `left`.

    A body that the server takes is returned as it is, so that it reaches its provider untouched. If not
    `has_developers`, the server knows no role `developer`, and gets `system` instead.
    RequestError names a member that no other provider can serve.
    """
    given = body.get("messages")
    is_foreign = NATIVE in body
    if not is_foreign and BETA not in body and (given is None or _is_plain(given, name, has_developers)):
        return body
    messages = optional_items(given, "messages")
    native = optional(body.get(NATIVE), NATIVE)
    for member, value in native.items():
        if value in (None, [], {}):
            continue
        if member == "output_config" and isinstance(value, dict) and value.keys() <= set(OUTPUT_HINTS):
            if "task_budget" in value:
                left.hint("output_config.task_budget")
        elif member in HINTS:
            if member != "thinking" or "reasoning_effort" not in body:
                left.hint(member)
        else:
            left.wish(member, _only_anthropic(THREAD if member == "thread" else ""))
    if body.get(BETA):
        left.hint("betas")
    plain = {member: value for member, value in body.items() if member not in (NATIVE, BETA)}
    writer = _Messages(left, provider, name, has_developers=has_developers)
    for at, message in enumerate(messages):
        writer.add(message, f"messages.{at}")
    plain["messages"] = writer.finish()
    if body.get("tools"):
        tools = items(body["tools"], "tools")
        plain["tools"] = [_tool(tool, f"tools.{at}", left, is_foreign) for at, tool in enumerate(tools)]
    return plain


def _is_plain(messages: object, name: str, has_developers: bool) -> bool:
    """Whether these are messages that the server takes as they are."""
    if not isinstance(messages, list | tuple):
        return False
    for message in messages:
        if not isinstance(message, dict) or (not has_developers and message.get("role") == "developer"):
            return False
        if message.get("role") == "tool" and not _has_texts(message.get("content")):
            return False
        if not OWN_MEMBERS.isdisjoint(message) and not _has_plain_calls(message, name):
            return False
        if message.get(THOUGHT) and is_mistral(name):
            return False
    return True


def _has_texts(content: object) -> bool:
    """Whether a tool's result is of texts: chat takes nothing else."""
    if not isinstance(content, list):
        return True
    return all(not isinstance(part, dict) or part.get("type") in ("text", None) for part in content)


def _has_plain_calls(message: Mapping[str, Any], name: str) -> bool:
    if NATIVE in message or BLOCKS in message or "cache_control" in message:
        return False
    calls = message.get("tool_calls")
    listed = calls if isinstance(calls, list) else []
    ids = [call.get("id") for call in listed if isinstance(call, dict)] + [message.get("tool_call_id")]
    longest = 9 if is_mistral(name) else LONGEST_CHAT_ID
    return not any(isinstance(call, dict) and RETURNED in call for call in listed) and not any(
        isinstance(call_id, str) and (len(call_id) > longest or longest == 9) for call_id in ids
    )


class _Messages:
    """The messages of one request."""

    def __init__(self, left: LeftOut, provider: str | None, name: str, *, has_developers: bool) -> None:
        self._left = left
        self._provider = provider
        self._name = name
        self._has_developers = has_developers
        self._made: list[dict[str, Any]] = []
        self._shown: list[dict[str, Any]] = []
        """Images and files of tool results, which chat takes from the user only."""
        self._ids: dict[str, str] = {}
        """The ids that calls have at their provider, by the ids that clients see."""

    def add(self, message: dict[str, Any], where: str) -> None:
        """Write a message."""
        made = self._message(message, where)
        if made.get("role") != "tool" and self._shown:
            shown, self._shown = self._shown, []
            if made.get("role") == "user":
                content = made.get("content")
                said = (
                    [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
                )
                made["content"] = [*shown, *said]
            else:
                self._made.append({"role": "user", "content": shown})
        self._made.append(made)

    def finish(self) -> list[dict[str, Any]]:
        """All messages."""
        if self._shown:
            self._made.append({"role": "user", "content": self._shown})
        return self._made

    def _message(self, message: dict[str, Any], where: str) -> dict[str, Any]:
        thoughts: list[dict[str, Any]] = []
        turn: dict[str, Any] = {}
        if message.get("role") == "assistant" and (NATIVE in message or BLOCKS in message):
            if NATIVE in message:
                thoughts = self._turn(optional(message[NATIVE], f"{where}.{NATIVE}"), where)
                message = {name: value for name, value in message.items() if name != THOUGHT}
            thoughts = thoughts or optional_items(message.get(BLOCKS), f"{where}.{BLOCKS}")
            message = {name: value for name, value in message.items() if name not in (NATIVE, BLOCKS)}
        plain = _item(message, where, self._left)
        if thoughts:
            members = sent_back(thoughts, provider=self._provider, name=self._name)
            plain.update(members)
            if not members:
                self._left.hint("thinking")
        if plain.get("role") == "developer" and not self._has_developers:
            plain["role"] = "system"
        content = message.get("content")
        if isinstance(content, list):
            parts = items(content, f"{where}.content")
            plain["content"] = [
                _part(part, f"{where}.content.{at}", self._left) for at, part in enumerate(parts)
            ]
        if plain.get("role") == "tool":
            self._result(plain)
        if plain.get("tool_calls"):
            calls = items(plain["tool_calls"], f"{where}.tool_calls")
            plain["tool_calls"] = [self._call(call, f"{where}.tool_calls", turn) for call in calls]
            if not turn.keys().isdisjoint(TEXTS):  # the client may have kept the thought under another name
                plain = {name: value for name, value in plain.items() if name not in TEXTS}
            plain |= turn
        if plain.get("role") == "assistant" and is_mistral(self._name):
            _think_in_parts(plain)
        return plain

    def _result(self, plain: dict[str, Any]) -> None:
        """Write a tool's result: texts only, and its images in the user's next message."""
        if isinstance(plain.get("tool_call_id"), str):
            called, _ = parted_id(plain["tool_call_id"])
            plain["tool_call_id"] = self._ids.get(called) or chat_id(called, self._name)
        content = plain.get("content")
        if not isinstance(content, list) or all(part.get("type") == "text" for part in content):
            return
        texts = [part for part in content if part.get("type") == "text"]
        shown = [part for part in content if part.get("type") != "text"]
        what = (
            f"The next message of the user shows what the tool call `{plain.get('tool_call_id')}` returned."
        )
        plain["content"] = [*texts, {"type": "text", "text": what}]
        self._shown += shown

    def _call(self, call: dict[str, Any], where: str, turn: dict[str, Any]) -> dict[str, Any]:
        """Write a call. The members that its provider demands back in the message are added to `turn`."""
        made = _item(call, where, self._left)
        returned = made.pop(RETURNED, None)
        if not isinstance(made.get("id"), str):
            return made
        called, kept = parted_id(made["id"])
        kept = kept or returned_of(returned)
        made["id"] = chat_id(called, self._name)
        if kept is None:
            return made
        if kept.maker == self._provider:
            made |= kept.call
            turn |= kept.turn
        else:
            self._left.names.update(name for name in (*kept.call, *kept.turn) if name != "id")
            made = {name: value for name, value in made.items() if name not in EXTRAS}
        self._ids[called] = made["id"]
        return made

    def _turn(self, native: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
        """Check a turn as Anthropic writes it, and return its thoughts."""
        thoughts = []
        for at, block in enumerate(optional_items(native.get("content"), f"{where}.{NATIVE}.content")):
            kind = str(block.get("type"))
            if kind in KINDS:
                thoughts.append(block)
            elif kind not in PLAIN_BLOCKS:
                _refuse(f"{where}.content.{at}", f"a block of type `{kind:.40}`")
            else:
                for name in block.keys() - PLAIN_BLOCKS[kind]:
                    _leave_out(name, f"{where}.content.{at}", self._left)
        return thoughts


def _think_in_parts(message: dict[str, Any]) -> None:
    """Put a thought where Mistral expects it: into the content."""
    thought = message.pop(THOUGHT, None)
    if not isinstance(thought, str) or not thought:
        return
    part = {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}
    content = message.get("content")
    said = [{"type": "text", "text": content}] if isinstance(content, str) and content else content
    message["content"] = [part, *(said if isinstance(said, list) else [])]


def _part(part: dict[str, Any], where: str, left: LeftOut) -> dict[str, Any]:
    """A content part. Texts that Anthropic writes as documents and search results become texts."""
    block = part.get(NATIVE) if part.get("type") == NATIVE else None
    if isinstance(block, dict):
        source = optional(block.get("source"), f"{where}.source") if block.get("type") == "document" else {}
        if source.get("type") == "text" and isinstance(source.get("data"), str):
            head = f"{block['title']}\n\n" if isinstance(block.get("title"), str) else ""
            _note(block, ("type", "source", "title"), where, left)
            return {"type": "text", "text": head + source["data"]}
        if source.get("type") == "url" and isinstance(source.get("url"), str):
            _refuse(where, "a document by its URL")
        if block.get("type") == "search_result":
            texts = [str(item.get("text", "")) for item in optional_items(block.get("content"), where)]
            named = [str(block[name]) for name in ("title", "source") if isinstance(block.get(name), str)]
            _note(block, ("type", "source", "title", "content"), where, left)
            return {"type": "text", "text": "\n\n".join([*named, *texts])}
    return _item(part, where, left)


def _note(block: Mapping[str, Any], known: tuple[str, ...], where: str, left: LeftOut) -> None:
    for name in block.keys() - set(known):
        _leave_out(name, where, left)


def _tool(tool: dict[str, Any], where: str, left: LeftOut, is_foreign: bool) -> dict[str, Any]:
    """A tool. Servers of OpenAI's API want a schema with `type` and `properties`."""
    made = _item(tool, where, left)
    function = made.get("function")
    if not is_foreign or not isinstance(function, dict) or "parameters" not in function:
        return made
    schema = function["parameters"] if isinstance(function["parameters"], dict) else {}
    fitting = {"type": "object", "properties": {}, **schema}
    return {**made, "function": {**function, "parameters": schema if fitting == schema else fitting}}


def _item(item: dict[str, Any], where: str, left: LeftOut) -> dict[str, Any]:
    if item.get("type") == NATIVE:
        _refuse(where, f"`{mapping(item.get(NATIVE), where).get('type')!s:.40}`")
    for name in optional(item.get(NATIVE), f"{where}.{NATIVE}"):
        _leave_out(name, where, left)
    left.names.update(name for name in ITEM_MEMBERS if name in item)
    return {name: value for name, value in item.items() if name not in (NATIVE, *ITEM_MEMBERS)}


def _leave_out(name: str, where: str, left: LeftOut) -> None:
    if name not in ITEM_HINTS and name not in ITEM_MEMBERS:
        _refuse(f"{where}.{name}")
    left.hint(name)


def _only_anthropic(advice: str = "") -> str:
    return f"cannot be served by this provider: only Anthropic's API has it{advice}"


def _refuse(member: str, what: str = "it") -> None:
    refuse(member, f"cannot be served by this provider: only Anthropic's API has {what}")
