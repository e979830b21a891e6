"""Translate OpenAI's messages to Anthropic's conversation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from router.translate.calls import arguments_object
from router.translate.members import (
    NATIVE,
    extras,
    items,
    mapping,
    only,
    optional_items,
    refuse,
    text,
)
from router.translate.names import anthropic_id
from router.translate.returned import parted_id
from router.translate.thoughts import BLOCKS, KINDS, signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.translate.members import LeftOut

API = "Anthropic's messages API"
SYSTEM_ROLES = ("system", "developer")
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII | re.IGNORECASE)
MEMBERS = {
    "system": ("role", "content", NATIVE),
    "developer": ("role", "content", NATIVE),
    "user": ("role", "content", NATIVE),
    "assistant": ("role", "content", "tool_calls", "refusal", "reasoning_content", "reasoning", NATIVE),
    "tool": ("role", "content", "tool_call_id", "cache_control", NATIVE),
}
MESSAGE_HINTS = (
    "annotations",
    "cache_control",
    "citations",
    "extra_content",
    "id",
    "name",
    "parsed",
    "partial",
    "prefix",
    "provider_specific_fields",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "returned",
    "search_results",
    "thinking_blocks",
    "tool_name",
)
"""Members of a message that an earlier answer had, or that only name its author."""
PART_HINTS = (
    "annotations",
    "extra_content",
    "id",
    "index",
    "logprobs",
    "provider_specific_fields",
    "returned",
)
"""Members of a content part or of a tool call that an earlier answer had."""
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
BEGINNINGS = {"/9j/": IMAGES[0], "iVBORw0KGgo": IMAGES[1], "R0lGOD": IMAGES[2], "UklGR": IMAGES[3]}
"""The type of an image by the first letters of its base64, because clients often name another."""
FULL_DETAILS = ("auto", "high", "original")
"""Image details that need no translation, because Anthropic always uses full detail."""

Block = dict[str, Any]


def system_of(messages: Sequence[Mapping[str, Any]], left: LeftOut) -> tuple[str | list[Block] | None, int]:
    """The system prompt from the leading messages, and the position where the conversation starts."""
    start = next(
        (at for at, message in enumerate(messages) if message.get("role") not in SYSTEM_ROLES), len(messages)
    )
    if start == 0:
        return None, 0
    if start == 1 and isinstance(messages[0].get("content"), str):
        left.others(messages[0], MEMBERS["system"], "messages.0", api=API, hints=MESSAGE_HINTS)
        return messages[0]["content"], 1
    blocks = []
    for at, message in enumerate(messages[:start]):
        left.others(message, MEMBERS["system"], f"messages.{at}", api=API, hints=MESSAGE_HINTS)
        blocks.extend(blocks_of(message.get("content"), f"messages.{at}", left))
    return blocks, start


def conversation(messages: Sequence[Mapping[str, Any]], start: int, left: LeftOut) -> list[Block]:
    """Anthropic's turns. Results of parallel tool calls, and the user's additions to them, are one turn."""
    turns: list[Block] = []
    open_results: list[Block] | None = None  # content of the turn that receives tool results
    for at, message in enumerate(messages[start:], start):
        where, role = f"messages.{at}", message.get("role")
        if role not in MEMBERS:
            refuse(f"{where}.role", f"is `{role!s:.40}`; {API} takes {', '.join(MEMBERS)}")
        left.others(message, MEMBERS[role], where, api=API, hints=MESSAGE_HINTS)
        if role == "tool":
            if open_results is None:
                open_results = []
                turns.append({"role": "user", "content": open_results})
            open_results.append(_tool_result(message, where, left))
        elif role == "user" and open_results is not None:
            open_results.extend(blocks_of(message.get("content"), where, left))
            open_results = None
        elif role == "assistant":
            said = _assistant(message, where, left)
            if said and not (isinstance(said, str) and not said.strip()):  # Anthropic refuses an empty turn
                turns.append({"role": role, "content": said})
            open_results = None
        else:
            content = message.get("content")
            said = content if isinstance(content, str) else blocks_of(content, where, left)
            turns.append({"role": "user" if role == "user" else "system", "content": said})
            open_results = None
    last = turns[-1] if turns else {}
    if last.get("role") == "assistant" and isinstance(last["content"], str):
        last["content"] = last["content"].rstrip()  # Anthropic refuses blanks at the end
    return turns


def blocks_of(content: Any, where: str, left: LeftOut) -> list[Block]:
    """Anthropic's blocks of a message's content."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    parts = items(content, f"{where}.content")
    blocks = [_block(part, f"{where}.content.{at}", left) for at, part in enumerate(parts)]
    # Anthropic refuses blank texts. A message of nothing else stays, for its refusal to say so.
    return [block for block in blocks if not _is_blank(block)] or blocks


def _is_blank(block: Block) -> bool:
    return block.keys() == {"type", "text"} and not block["text"].strip()


def _block(part: dict[str, Any], where: str, left: LeftOut) -> Block:
    kind = part.get("type")
    if kind == NATIVE:
        return mapping(part.get(NATIVE), f"{where}.{NATIVE}")
    left.others(part, ("type", str(kind), "cache_control", NATIVE), where, api=API, hints=PART_HINTS)
    if kind == "text":
        block: Block = {"type": "text", "text": text(part.get("text"), f"{where}.text")}
    elif kind == "refusal":
        block = {"type": "text", "text": text(part.get("refusal"), f"{where}.refusal")}
    elif kind == "image_url":
        block = _image(part.get("image_url"), f"{where}.image_url", left)
    elif kind == "file":
        block = _document(mapping(part.get("file"), f"{where}.file"), f"{where}.file")
    else:
        refuse(f"{where}.type", f"is `{kind!s:.40}`; {API} takes text, image_url and file")
    return {**block, **extras(part, where)}


def _image(given: Any, where: str, left: LeftOut) -> Block:
    image = {"url": given} if isinstance(given, str) else mapping(given, where)
    only(image, ("url", "detail"), where, api=API)
    if image.get("detail") is not None and image["detail"] not in FULL_DETAILS:
        why = f"is `{image['detail']!s:.40}`; {API} takes images as they are: send it smaller"
        left.wish(f"{where}.detail", why)
    url = text(image.get("url"), f"{where}.url")
    data = DATA_URL.match(url)
    if data is not None:
        return {"type": "image", "source": _image_source(url[data.end() :], data[1], f"{where}.url")}
    if url[:5].lower() == "data:":
        refuse(f"{where}.url", f"is a data URL without base64; {API} takes base64 and https")
    return {"type": "image", "source": {"type": "url", "url": url}}


def _image_source(data: str, stated: str | None, where: str) -> dict[str, str]:
    """The image, under the type that it has. Clients write `image/jpg`, or the type of another image."""
    kind = next((kind for start, kind in BEGINNINGS.items() if data.startswith(start)), None)
    kind = kind or (stated or "").lower().replace("image/jpg", "image/jpeg").replace(
        "image/pjpeg", "image/jpeg"
    )
    if kind not in IMAGES:
        refuse(where, f"is an image of type `{kind:.40}`; {API} takes {', '.join(IMAGES)}")
    return {"type": "base64", "media_type": kind, "data": data}


def _document(file: dict[str, Any], where: str) -> Block:
    only(file, ("file_data", "filename"), where, api=API)
    url = text(file.get("file_data"), f"{where}.file_data")
    data = DATA_URL.match(url)
    if data is None or (data[1] or "").lower() != "application/pdf":
        refuse(f"{where}.file_data", "must be a base64 data URL of a PDF")
    block: Block = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": url[data.end() :]},
    }
    if file.get("filename") is not None:
        block["title"] = file["filename"]
    return block


def _tool_result(message: Mapping[str, Any], where: str, left: LeftOut) -> Block:
    content = message.get("content")
    return {
        "type": "tool_result",
        "tool_use_id": anthropic_id(parted_id(text(message.get("tool_call_id"), f"{where}.tool_call_id"))[0]),
        "content": content if isinstance(content, str) else blocks_of(content, where, left),
        **extras(message, where),
    }


def _assistant(message: Mapping[str, Any], where: str, left: LeftOut) -> str | list[Block]:
    if message.get(NATIVE) is not None:
        return _native_turn(message, where)
    content, calls = message.get("content"), items(message.get("tool_calls") or [], f"{where}.tool_calls")
    if message.get("refusal") is not None:
        content = [*_parts(content), {"type": "refusal", "refusal": message["refusal"]}]
    thoughts = signed(optional_items(message.get(BLOCKS), f"{where}.{BLOCKS}"))
    if isinstance(content, str) and not calls and not thoughts:
        return content
    # Anthropic refuses empty texts, but OpenAI writes one with tool calls.
    blocks = blocks_of(content, where, left) if content else []
    called = [tool_use(call, f"{where}.tool_calls.{at}", left) for at, call in enumerate(calls)]
    thoughts = [{name: value for name, value in block.items() if name != "index"} for block in thoughts]
    return [*thoughts, *blocks, *called]


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content or [])


def tool_use(call: dict[str, Any], where: str, left: LeftOut) -> Block:
    """Anthropic's block of a tool call."""
    if call.get("type", "function") != "function":
        refuse(f"{where}.type", f"is `{call.get('type')!s:.40}`; {API} takes calls of type `function`")
    known = ("id", "type", "function", "cache_control", NATIVE)
    left.others(call, known, where, api=API, hints=PART_HINTS)
    function = mapping(call.get("function"), f"{where}.function")
    return {
        "type": "tool_use",
        "id": anthropic_id(parted_id(text(call.get("id"), f"{where}.id"))[0]),
        "name": text(function.get("name"), f"{where}.function.name"),
        "input": arguments_object(
            function.get("arguments"),
            f"{where}.function.arguments",
            f"is not valid JSON; {API} takes tool arguments as an object",
        ),
        **extras(call, where),
    }


def _native_turn(message: Mapping[str, Any], where: str) -> list[Block]:
    """The turn as Anthropic wrote it, without unsigned thinking, which another provider wrote."""
    native = mapping(message[NATIVE], f"{where}.{NATIVE}")
    only(native, ("content",), f"{where}.{NATIVE}", api=API)
    blocks = items(native.get("content"), f"{where}.{NATIVE}.content")
    if reading(blocks) != _said(message, where):
        refuse(f"{where}.{NATIVE}", "says another thing than the message; leave it out of an edited message")
    return [_valid(block) for block in blocks if block.get("type") not in KINDS or signed([block])]


def _valid(block: Block) -> Block:
    """A block of a conversation whose ids Anthropic takes."""
    if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
        return {**block, "id": anthropic_id(block["id"])}
    return block


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
