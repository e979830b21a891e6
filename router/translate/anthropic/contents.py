"""Translate OpenAI's messages to Anthropic's conversation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from router.translate.members import NATIVE, arguments, extras, items, mapping, only, refuse, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

API = "Anthropic's messages API"
SYSTEM_ROLES = ("system", "developer")
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.ASCII)
MEMBERS = {
    "system": ("role", "content", NATIVE),
    "developer": ("role", "content", NATIVE),
    "user": ("role", "content", NATIVE),
    "assistant": ("role", "content", "tool_calls", "refusal", "reasoning_content", "reasoning", NATIVE),
    "tool": ("role", "content", "tool_call_id", "cache_control", NATIVE),
}
FULL_DETAILS = ("auto", "high", "original")
"""Image details that need no translation, because Anthropic always uses full detail."""

Block = dict[str, Any]


def system_of(messages: Sequence[Mapping[str, Any]]) -> tuple[str | list[Block] | None, int]:
    """The system prompt from the leading messages, and the position where the conversation starts."""
    start = next(
        (at for at, message in enumerate(messages) if message.get("role") not in SYSTEM_ROLES), len(messages)
    )
    if start == 0:
        return None, 0
    if start == 1 and isinstance(messages[0].get("content"), str):
        only(messages[0], MEMBERS["system"], "messages.0", api=API)
        return messages[0]["content"], 1
    blocks = []
    for at, message in enumerate(messages[:start]):
        only(message, MEMBERS["system"], f"messages.{at}", api=API)
        blocks.extend(blocks_of(message.get("content"), f"messages.{at}"))
    return blocks, start


def conversation(messages: Sequence[Mapping[str, Any]], start: int) -> list[Block]:
    """Anthropic's turns. Results of parallel tool calls, and the user's additions to them, are one turn."""
    turns: list[Block] = []
    open_results: list[Block] | None = None  # content of the turn that receives tool results
    for at, message in enumerate(messages[start:], start):
        where, role = f"messages.{at}", message.get("role")
        if role not in MEMBERS:
            refuse(f"{where}.role", f"is `{role!s:.40}`; {API} takes {', '.join(MEMBERS)}")
        only(message, MEMBERS[role], where, api=API)
        if role == "tool":
            if open_results is None:
                open_results = []
                turns.append({"role": "user", "content": open_results})
            open_results.append(_tool_result(message, where))
        elif role == "user" and open_results is not None:
            open_results.extend(blocks_of(message.get("content"), where))
            open_results = None
        elif role == "assistant":
            turns.append({"role": role, "content": _assistant(message, where)})
            open_results = None
        else:
            content = message.get("content")
            said = content if isinstance(content, str) else blocks_of(content, where)
            turns.append({"role": "user" if role == "user" else "system", "content": said})
            open_results = None
    return turns


def blocks_of(content: Any, where: str) -> list[Block]:
    """Anthropic's blocks of a message's content."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    parts = items(content, f"{where}.content")
    return [_block(part, f"{where}.content.{at}") for at, part in enumerate(parts)]


def _block(part: dict[str, Any], where: str) -> Block:
    kind = part.get("type")
    if kind == NATIVE:
        return mapping(part.get(NATIVE), f"{where}.{NATIVE}")
    only(part, ("type", str(kind), "cache_control", NATIVE), where, api=API)
    if kind == "text":
        block: Block = {"type": "text", "text": text(part.get("text"), f"{where}.text")}
    elif kind == "refusal":
        block = {"type": "text", "text": text(part.get("refusal"), f"{where}.refusal")}
    elif kind == "image_url":
        block = _image(mapping(part.get("image_url"), f"{where}.image_url"), f"{where}.image_url")
    elif kind == "file":
        block = _document(mapping(part.get("file"), f"{where}.file"), f"{where}.file")
    else:
        refuse(f"{where}.type", f"is `{kind!s:.40}`; {API} takes text, image_url and file")
    return {**block, **extras(part, where)}


def _image(image: dict[str, Any], where: str) -> Block:
    only(image, ("url", "detail"), where, api=API)
    if image.get("detail") is not None and image["detail"] not in FULL_DETAILS:
        refuse(
            f"{where}.detail",
            f"is `{image['detail']!s:.40}`; {API} takes images as they are: send it smaller",
        )
    url = text(image.get("url"), f"{where}.url")
    data = DATA_URL.match(url)
    if data is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    return {"type": "image", "source": _base64(url, data)}


def _document(file: dict[str, Any], where: str) -> Block:
    only(file, ("file_data", "filename"), where, api=API)
    url = text(file.get("file_data"), f"{where}.file_data")
    data = DATA_URL.match(url)
    if data is None or data[1] != "application/pdf":
        refuse(f"{where}.file_data", "must be a base64 data URL of a PDF")
    block: Block = {"type": "document", "source": _base64(url, data)}
    if file.get("filename") is not None:
        block["title"] = file["filename"]
    return block


def _base64(url: str, data: re.Match[str]) -> dict[str, str]:
    return {"type": "base64", "media_type": data[1], "data": url[data.end() :]}


def _tool_result(message: Mapping[str, Any], where: str) -> Block:
    content = message.get("content")
    return {
        "type": "tool_result",
        "tool_use_id": text(message.get("tool_call_id"), f"{where}.tool_call_id"),
        "content": content if isinstance(content, str) else blocks_of(content, where),
        **extras(message, where),
    }


def _assistant(message: Mapping[str, Any], where: str) -> str | list[Block]:
    if message.get(NATIVE) is not None:
        return _native_turn(message, where)
    content, calls = message.get("content"), items(message.get("tool_calls") or [], f"{where}.tool_calls")
    if message.get("refusal") is not None:
        content = [*_parts(content), {"type": "refusal", "refusal": message["refusal"]}]
    if isinstance(content, str) and not calls:
        return content
    # Anthropic refuses empty texts, but OpenAI writes one with tool calls.
    blocks = blocks_of(content, where) if content else []
    return [*blocks, *(tool_use(call, f"{where}.tool_calls.{at}") for at, call in enumerate(calls))]


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content or [])


def tool_use(call: dict[str, Any], where: str) -> Block:
    """Anthropic's block of a tool call."""
    if call.get("type", "function") != "function":
        refuse(f"{where}.type", f"is `{call.get('type')!s:.40}`; {API} takes calls of type `function`")
    only(call, ("id", "type", "index", "function", "cache_control", NATIVE), where, api=API)
    function = mapping(call.get("function"), f"{where}.function")
    return {
        "type": "tool_use",
        "id": text(call.get("id"), f"{where}.id"),
        "name": text(function.get("name"), f"{where}.function.name"),
        "input": arguments(function.get("arguments"), f"{where}.function.arguments"),
        **extras(call, where),
    }


def _native_turn(message: Mapping[str, Any], where: str) -> list[Block]:
    """The turn as Anthropic wrote it, without unsigned thinking, which another provider wrote."""
    native = mapping(message[NATIVE], f"{where}.{NATIVE}")
    only(native, ("content",), f"{where}.{NATIVE}", api=API)
    blocks = items(native.get("content"), f"{where}.{NATIVE}.content")
    if reading(blocks) != _said(message, where):
        refuse(f"{where}.{NATIVE}", "says another thing than the message; leave it out of an edited message")
    return [block for block in blocks if block.get("type") != "thinking" or block.get("signature")]


def reading(blocks: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """The text and the ids of the tool calls that OpenAI's shape can express of Anthropic's blocks."""
    said = "".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    return said, [block.get("id") for block in blocks if block.get("type") == "tool_use"]


def _said(message: Mapping[str, Any], where: str) -> tuple[str, list[Any]]:
    calls = items(message.get("tool_calls") or [], f"{where}.tool_calls")
    said = "".join(
        str(part.get("text", "")) for part in _parts(message.get("content")) if isinstance(part, dict)
    )
    return said, [call.get("id") for call in calls]
