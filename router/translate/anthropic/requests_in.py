"""Translate a request of Anthropic's messages API to OpenAI's chat request.

The result always has the member `anthropic`, so that a provider can see the request's origin. It is
empty if OpenAI's shape expresses the whole request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.translate.anthropic.contents import blocks_of, tool_use
from router.translate.anthropic.requests_out import options_of
from router.translate.members import NATIVE, LeftOut, items, mapping, refuse, text, with_extras, word
from router.translate.returned import CALL_MARK, RETURNED, parted_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.translate.anthropic.contents import Block

PASSED_ON = ("model", "provider", "stream", "temperature", "top_p")
"""Members that both APIs have, and the router's own `provider`."""
TOOL_CHOICES: Mapping[str, str] = {"auto": "auto", "any": "required", "none": "none"}
SERVICE_TIERS: Mapping[str, str] = {"auto": "auto", "standard_only": "default"}
BUDGETS = ((4096, "low"), (16384, "medium"))
"""The largest thinking budget for which each effort is the nearest. Above them it is `high`."""
REASONING = ("thinking", "output_config")
"""Members that OpenAI's single member for reasoning expresses together."""
DEFAULT_EFFORT = "high"
"""Anthropic's own default."""


def chat_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Translate Anthropic's `body` to OpenAI's request.

    RequestError names a member that Anthropic's API would not accept.
    """
    given = {name: value for name, value in body.items() if value is not None}
    messages = [_parted(message) for message in items(given.pop("messages", None), "messages")]
    system = given.pop("system", None)
    chat: dict[str, Any] = {"messages": [], **_options(given)}
    if system is not None:
        content = system if isinstance(system, str) else _parts(system, "system")
        chat["messages"].append({"role": "system", "content": content})
    for position, message in enumerate(messages):
        chat["messages"].extend(_messages(message, f"messages.{position}"))
    return chat


def _options(given: dict[str, Any]) -> dict[str, Any]:
    chat = {name: given.pop(name) for name in PASSED_ON if name in given}
    if "max_tokens" in given:
        chat["max_completion_tokens"] = given.pop("max_tokens")
    if "stop_sequences" in given:
        chat["stop"] = given.pop("stop_sequences")
    given["metadata"] = _stated(given.get("metadata", {}), "metadata")
    if "user_id" in given["metadata"]:
        chat["user"] = given["metadata"]["user_id"]
    tier = word(given.get("service_tier"), SERVICE_TIERS)
    if tier is not None:
        chat["service_tier"] = tier
    tools = items(given.pop("tools", []), "tools")
    if tools:
        chat["tools"] = [_tool(tool) for tool in tools]
    choice = given["tool_choice"] = _stated(given.get("tool_choice", {}), "tool_choice")
    kind = word(choice.get("type"), TOOL_CHOICES)
    if kind is not None:
        chat["tool_choice"] = kind
    elif choice.get("type") == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False
    config = mapping(given.get("output_config", {}), "output_config")
    effort = _effort(mapping(given.get("thinking", {}), "thinking"), config.get("effort"))
    if effort is not None:
        chat["reasoning_effort"] = effort
    if config.get("format") is not None:
        chat["response_format"] = _format(mapping(config["format"], "output_config.format"))
    # Members that would not translate back the same are carried along unchanged.
    again = options_of({name: value for name, value in chat.items() if name != "provider"}, LeftOut())
    chat[NATIVE] = {name: value for name, value in given.items() if again.get(name, {}) != value}
    if any(again.get(name) != given.get(name) for name in REASONING):
        chat[NATIVE].update({name: given[name] for name in REASONING if name in given})
    return chat


def _stated(value: Any, member: str) -> dict[str, Any]:
    """An object's members whose value is not null or false."""
    return {
        name: said for name, said in mapping(value, member).items() if said is not None and said is not False
    }


def _effort(thinking: dict[str, Any], effort: Any) -> str | None:
    kind = thinking.get("type")
    if isinstance(effort, str):
        return effort
    if kind == "enabled" and isinstance(thinking.get("budget_tokens"), int):
        budget = thinking["budget_tokens"]
        return next((name for limit, name in BUDGETS if budget <= limit), DEFAULT_EFFORT)
    return DEFAULT_EFFORT if kind in ("adaptive", "enabled") else None


def _format(wanted: dict[str, Any]) -> dict[str, Any]:
    schema = mapping(wanted.get("schema"), "output_config.format.schema")
    described: dict[str, Any] = {"name": schema.get("title", "answer"), "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": described}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") not in (None, "custom"):
        return {"type": NATIVE, NATIVE: tool}
    function = {"name": tool.get("name")}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    function["parameters"] = tool.get("input_schema")
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    known = ("type", "name", "description", "input_schema", "strict")
    return with_extras({"type": "function", "function": function}, tool, known)


def _messages(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    role, content = message.get("role"), message.get("content")
    if extra := sorted(message.keys() - {"role", "content"}):
        refuse(f"{where}.{extra[0]}", "is not a member of a message; a message takes role and content")
    if role not in ("user", "assistant", "system"):
        refuse(f"{where}.role", f"is `{role!s:.40}`; use user, assistant or system")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if role == "assistant":
        return [assistant_message(items(content, f"{where}.content"), where)]
    blocks = items(content, f"{where}.content")
    results = [block for block in blocks if block.get("type") == "tool_result"]
    if blocks[: len(results)] != results:
        refuse(f"{where}.content", "has a tool_result after another block; tool results come first")
    made = [_tool_message(block, f"{where}.content.{at}") for at, block in enumerate(results)]
    rest = _parts(blocks[len(results) :], where)
    return [*made, {"role": role, "content": rest}] if rest or not made else made


def _parted(message: dict[str, Any]) -> dict[str, Any]:
    """The message with the providers' own ids of calls. The members that travelled in an id are set apart."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {
        **message,
        "content": [_parted_block(block) if isinstance(block, dict) else block for block in content],
    }


def _parted_block(block: Block) -> Block:
    name = {"tool_use": "id", "tool_result": "tool_use_id"}.get(str(block.get("type")))
    if name is None or not isinstance(block.get(name), str) or CALL_MARK not in block[name]:
        return block
    plain, kept = parted_id(block[name])
    block = {**block, name: plain}
    if kept is not None and name == "id":
        block[RETURNED] = kept
    return block


def _parts(content: Any, where: str) -> list[dict[str, Any]]:
    return [_part(block) for block in items(content, where)]


def _part(block: Block) -> dict[str, Any]:
    kind = block.get("type")
    source = block.get("source")
    if kind == "text":
        return with_extras({"type": "text", "text": block.get("text")}, block, ("type", "text"))
    if kind == "image" and isinstance(source, dict) and source.get("type") in ("url", "base64"):
        part: dict[str, Any] = {"type": "image_url", "image_url": {"url": _url(source)}}
        return with_extras(part, block, ("type", "source"))
    if kind == "document" and isinstance(source, dict) and source.get("media_type") == "application/pdf":
        file = {"file_data": _url(source)}
        if block.get("title") is not None:
            file["filename"] = block["title"]
        return with_extras({"type": "file", "file": file}, block, ("type", "source", "title"))
    return {"type": NATIVE, NATIVE: block}


def _url(source: Mapping[str, Any]) -> Any:
    if source["type"] == "url":
        return source.get("url")
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def _tool_message(block: Block, where: str) -> dict[str, Any]:
    content = block.get("content", "")
    message = {
        "role": "tool",
        "tool_call_id": text(block.get("tool_use_id"), f"{where}.tool_use_id"),
        "content": content if isinstance(content, str) else _parts(content, f"{where}.content"),
    }
    return with_extras(message, block, ("type", "tool_use_id", "content"))


def assistant_message(blocks: Sequence[Block], where: str) -> dict[str, Any]:
    """OpenAI's message for the blocks of Anthropic's assistant.

    The member `anthropic` keeps the whole blocks if OpenAI's shape lacks one or orders them differently.
    """
    said = [text(block.get("text"), f"{where}.text") for block in blocks if block.get("type") == "text"]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said) if said else None}
    if calls := [_tool_call(block) for block in blocks if block.get("type") == "tool_use"]:
        message["tool_calls"] = calls
    if thoughts := [str(block.get("thinking")) for block in blocks if block.get("type") == "thinking"]:
        message["reasoning_content"] = "".join(thoughts)
    native = [_without(block, RETURNED) for block in blocks]
    if _plainly(message, where) != native:
        message[NATIVE] = {"content": native}
    return message


def _without(block: Block, name: str) -> Block:
    return {known: value for known, value in block.items() if known != name} if name in block else block


def _plainly(message: Mapping[str, Any], where: str) -> list[Block]:
    """The blocks that a translation back from only OpenAI's members would give."""
    left = LeftOut()
    blocks = blocks_of(message["content"], where, left) if message["content"] is not None else []
    return [*blocks, *(tool_use(call, where, left) for call in message.get("tool_calls", []))]


def _tool_call(block: Block) -> dict[str, Any]:
    function = {"name": block.get("name"), "arguments": orjson.dumps(block.get("input") or {}).decode()}
    call = {"id": block.get("id"), "type": "function", "function": function}
    if RETURNED in block:
        call[RETURNED] = block[RETURNED]._asdict()
    return with_extras(call, block, ("type", "id", "name", "input", RETURNED))
