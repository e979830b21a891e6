"""Translate a request of OpenAI's responses API to a chat request, and find the parts that chat lacks.

Source: OpenAI's API reference (responses: create, streaming events), as of the `openai` package 3.54.

Members that chat cannot express (state that OpenAI keeps, tools that it runs itself, future members) are
named. Only a provider that speaks the responses API receives such a request, unchanged. Hints, which
change the processing and not the question (`reasoning.summary`, the reasoning of earlier turns, …), are
left out for the others, and named to the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from router.translate.members import items, mapping, optional, optional_items, refuse, text
from router.translate.names import chat_id
from router.translate.returned import CALL_MARK, RETURNED, is_ours, kept_in, parted_id
from router.translate.thoughts import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Mapping

SAME = (
    "metadata",
    "model",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "provider",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "temperature",
    "top_p",
    "user",
)
"""Members that both APIs have, and the router's own `provider`."""
NEUTRAL: Mapping[str, Any] = {
    "background": False,
    "include": [],
    "stream_options": {},
    "top_logprobs": 0,
    "truncation": "disabled",
}
"""Values with which members that chat lacks have no effect."""
EMPTY_INCLUDES = frozenset(
    {
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
        "web_search_call.results",
    }
)
"""Parts of an answer that only OpenAI's own tools and reasoning have."""
WITHOUT_EFFECT = (
    "client_metadata",
    "truncation",  # models with too small a window are never chosen
)
"""Members that change no answer of a chat model."""
STATE = ("previous_response_id", "conversation", "prompt")
"""Members that refer to state which only one provider has, and which the model reads as input."""
ECHOED = {
    "message": {"type", "role", "content", "id", "status", "phase"},
    "function_call": {"type", "call_id", "name", "arguments", "id", "status"},
    "function_call_output": {"type", "call_id", "output", "id", "status", "name"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
}
"""Members of an item. Clients send an answer's items back, with ids and states that have no effect."""
PARTS = {
    "input_text": {"type", "text"},
    "output_text": {"type", "text", "annotations", "logprobs"},
    "refusal": {"type", "refusal"},
    "input_image": {"type", "image_url", "detail"},
    "input_file": {"type", "file_data", "filename"},
    "input_audio": {"type", "input_audio"},
}
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
FUNCTION = ("name", "description", "parameters", "strict")
CHOICES = ("auto", "none", "required")


class Chat(NamedTuple):
    """A request in chat's words."""

    body: dict[str, Any]
    """The part that chat can express."""
    native: str | None
    """The first part that chat cannot express, or None if the body expresses the whole request."""
    refers_to: str | None
    """The first member that refers to state which only one provider has, or None."""
    ignored: frozenset[str]
    """Hints that are left out."""
    is_hosted: bool
    """Whether the provider may run tools itself. They add input, and cost more than the tokens."""


def chat_of(asked: Mapping[str, Any]) -> Chat:
    """Translate `asked` to a chat request. RequestError names a malformed member."""
    return _Reading(asked).chat()


def native_of(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], frozenset[str]]:
    """(the request for a server of the responses API, the hints that it leaves out).

    Earlier turns of other providers hold ids and signatures that only those read. Without any, the request
    is returned as it is.
    """
    listed = given.get("input")
    if not isinstance(listed, list):
        return given, frozenset()
    made = [_native_item(item) if isinstance(item, dict) else item for item in listed]
    if all(new is old for new, old in zip(made, listed, strict=True)):
        return given, frozenset()
    left = frozenset({"reasoning of earlier turns"}) if None in made else frozenset()
    return {**given, "input": [item for item in made if item is not None]}, left


def _native_item(item: dict[str, Any]) -> dict[str, Any] | None:
    if item.get("type") == "reasoning" and is_ours(item.get("encrypted_content")):
        return None
    if isinstance(item.get("call_id"), str) and CALL_MARK in item["call_id"]:
        return {**item, "call_id": chat_id(parted_id(item["call_id"])[0], "")}
    return item


class _Reading:
    """One request, with the findings of its translation."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._given = {
            name: value
            for name, value in asked.items()
            if value is not None and not (name in NEUTRAL and value == NEUTRAL[name])
        }
        self._native: list[str] = []
        self._refers_to: list[str] = []
        self._ignored: set[str] = set()
        self._thoughts: list[dict[str, Any]] = []
        """Thoughts whose message is still to come."""
        self._is_hosted = "prompt" in self._given

    def chat(self) -> Chat:
        given = self._given
        if "input" not in given and not any(name in given for name in STATE):
            refuse("input", "is missing: send a text or a list of items")
        messages = self._messages(given.pop("instructions", None), given.pop("input", None))
        chat = {name: given.pop(name) for name in SAME if name in given}
        if "max_output_tokens" in given:
            chat["max_completion_tokens"] = given.pop("max_output_tokens")
        self._reasoning(optional(given.pop("reasoning", None), "reasoning"), chat)
        self._text(optional(given.pop("text", None), "text"), chat)
        self._tools(optional_items(given.pop("tools", None), "tools"), chat)
        self._choice(given.pop("tool_choice", None), chat)
        self._include(given)
        for name in WITHOUT_EFFECT:
            if given.pop(name, None) is not None:
                self._ignored.add(name)
        options = dict(optional(given.pop("stream_options", None), "stream_options"))
        if options.pop("include_obfuscation", False):
            self._ignored.add("stream_options.include_obfuscation")
        if options:
            self._only_native("`stream_options`")
        if chat.get("stream"):  # streams of this API always report the usage
            chat["stream_options"] = {"include_usage": True}
        for name in given:
            self._only_native(f"`{name:.40}`", refers_to=name if name in STATE else None)
        if not messages:  # the whole input is in members that chat lacks
            messages = [{"role": "user", "content": ""}]
        return Chat(
            {"messages": messages, **chat},
            next(iter(self._native), None),
            next(iter(self._refers_to), None),
            frozenset(self._ignored),
            self._is_hosted,
        )

    def _include(self, given: dict[str, Any]) -> None:
        """Leave out wishes for parts of an answer that no other API has: without them, nothing is missing."""
        wanted = given.pop("include", None)
        if not isinstance(wanted, list):
            if wanted is not None:
                refuse("include", "must be a list of texts")
            return
        for name in wanted:
            if name in EMPTY_INCLUDES:
                self._ignored.add(f"include {name}")
            else:
                self._only_native(f"`include` (`{name!s:.60}`)")

    def _only_native(self, what: str, *, refers_to: str | None = None) -> None:
        self._native.append(what)
        if refers_to is not None:
            self._refers_to.append(refers_to)

    def _unknown(self, item: Mapping[str, Any], known: set[str] | tuple[str, ...], where: str) -> None:
        for name, value in item.items():
            if name not in known and value not in (None, [], {}, False):
                self._only_native(f"`{where}.{name:.40}`", refers_to=where if name.endswith("_id") else None)

    def _messages(self, instructions: Any, given: Any) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        if instructions is not None:
            messages.append({"role": "system", "content": text(instructions, "instructions")})
        if isinstance(given, str):
            messages.append({"role": "user", "content": given})
        elif given is not None:
            for at, item in enumerate(items(given, "input")):
                self._item(item, f"input.{at}", messages)
            if not given:
                refuse("input", "is empty: send a text or a list of items")
        return messages

    def _item(self, item: dict[str, Any], where: str, messages: list[dict[str, Any]]) -> None:
        kind = item.get("type", "message" if "role" in item else None)
        if kind not in ECHOED:
            if not isinstance(kind, str):
                refuse(f"{where}.type", "must be a text, such as `message`")
            is_stored = kind == "item_reference"
            self._only_native(f"`{where}` (`{kind:.40}`)", refers_to=where if is_stored else None)
            return
        self._unknown(item, ECHOED[kind], where)
        if kind == "message":
            messages.append(self._message(item, where))
        elif kind == "function_call":
            self._call(item, where, messages)
        elif kind == "function_call_output":
            output = item.get("output")
            content = output if isinstance(output, str) else self._result(output, f"{where}.output")
            called, _ = parted_id(text(item.get("call_id"), f"{where}.call_id"))
            messages.append({"role": "tool", "tool_call_id": called, "content": content})
        else:
            self._thought(item, where)

    def _thought(self, item: dict[str, Any], where: str) -> None:
        """Put a thought into the assistant's message that follows it."""
        parts = optional_items(item.get("content"), f"{where}.content") or optional_items(
            item.get("summary"), f"{where}.summary"
        )
        thought = "".join(str(part.get("text") or "") for part in parts)
        signature = item.get("encrypted_content")
        kept = kept_in(signature)
        if kept is not None and kept.member in ("signature", "data"):
            signature = kept.value
            if isinstance(signature, dict):
                thought, signature = str(signature.get("thinking")), signature.get("signature")
        if kept is not None and (kept.member == "data" or not thought):
            self._thoughts.append({"type": "redacted_thinking", "data": signature})
        elif thought:
            own = "" if kept is None else signature
            self._thoughts.append({"type": "thinking", "thinking": thought, "signature": own})
        else:
            self._ignored.add("reasoning of earlier turns")

    def _message(self, item: dict[str, Any], where: str) -> dict[str, Any]:
        role = item.get("role")
        if not isinstance(role, str) or role not in ROLES:
            refuse(f"{where}.role", f"is `{role!s:.40}`; use one of {', '.join(ROLES)}")
        content = item.get("content")
        if not isinstance(content, str):
            parts = items(content, f"{where}.content")
            made = [self._part(part, f"{where}.content.{at}") for at, part in enumerate(parts)]
            content = [part for part in made if part is not None]
            if role == "assistant" and all(part["type"] == "text" for part in content):
                content = "".join(part["text"] for part in content)  # every server accepts a plain text
        return self._after_thoughts({"role": ROLES[role], "content": content})

    def _part(self, part: dict[str, Any], where: str) -> dict[str, Any] | None:
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in PARTS:
            if not isinstance(kind, str):
                refuse(f"{where}.type", "must be a text, such as `input_text`")
            self._only_native(f"`{where}` (`{kind:.40}`)")
            return None
        self._unknown(part, PARTS[kind], where)
        if kind in ("input_text", "output_text"):
            return {"type": "text", "text": text(part.get("text"), f"{where}.text")}
        if kind == "refusal":
            return {"type": "refusal", "refusal": text(part.get("refusal"), f"{where}.refusal")}
        if kind == "input_audio":
            return {
                "type": "input_audio",
                "input_audio": mapping(part.get("input_audio"), f"{where}.input_audio"),
            }
        if kind == "input_image":
            if part.get("image_url") is None:
                return None  # its file's id is already reported
            image = {"url": text(part["image_url"], f"{where}.image_url")}
            if part.get("detail") is not None:
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        if part.get("file_data") is None:
            return None
        return {
            "type": "file",
            "file": {name: part[name] for name in ("filename", "file_data") if name in part},
        }

    def _result(self, output: Any, where: str) -> list[dict[str, Any]]:
        """A tool's result in parts."""
        parts = []
        for at, part in enumerate(items(output, where)):
            made = self._part(part, f"{where}.{at}")
            if made is not None and made["type"] in ("text", "image_url", "file"):
                parts.append(made)
            elif made is not None:
                self._only_native(f"`{where}.{at}` (`{part['type']}`)")
        return parts

    def _call(self, item: dict[str, Any], where: str, messages: list[dict[str, Any]]) -> None:
        """Add a call to the assistant's message that it belongs to."""
        function = {
            "name": text(item.get("name"), f"{where}.name"),
            "arguments": text(item.get("arguments"), f"{where}.arguments"),
        }
        call_id, kept = parted_id(text(item.get("call_id"), f"{where}.call_id"))
        call: dict[str, Any] = {"id": call_id, "type": "function", "function": function}
        if kept is not None:
            call[RETURNED] = kept._asdict()
        if not messages or messages[-1]["role"] != "assistant" or self._thoughts:
            messages.append(self._after_thoughts({"role": "assistant", "content": None}))
        messages[-1].setdefault("tool_calls", []).append(call)

    def _after_thoughts(self, message: dict[str, Any]) -> dict[str, Any]:
        """An assistant's message with the thoughts before it."""
        if self._thoughts and message["role"] == "assistant":
            message[BLOCKS], self._thoughts = self._thoughts, []
        return message

    def _reasoning(self, reasoning: dict[str, Any], chat: dict[str, Any]) -> None:
        for name, value in reasoning.items():
            if value is None or (name, value) in (("context", "auto"), ("mode", "standard")):
                continue
            if name == "effort":
                chat["reasoning_effort"] = value
            elif name in ("summary", "generate_summary"):
                self._ignored.add("reasoning.summary")
            else:
                self._only_native(f"`reasoning.{name:.40}`")

    def _text(self, wanted: dict[str, Any], chat: dict[str, Any]) -> None:
        self._unknown(wanted, ("format", "verbosity"), "text")
        if wanted.get("verbosity") is not None:
            chat["verbosity"] = wanted["verbosity"]
        form = optional(wanted.get("format"), "text.format")
        kind = form.get("type", "text")
        if kind == "json_object":
            chat["response_format"] = {"type": "json_object"}
        elif kind == "json_schema":
            described = {name: value for name, value in form.items() if name != "type" and value is not None}
            chat["response_format"] = {"type": "json_schema", "json_schema": described}
        elif kind != "text":
            self._only_native(f"`text.format` (`{kind!s:.40}`)")

    def _tools(self, tools: list[dict[str, Any]], chat: dict[str, Any]) -> None:
        made = []
        for at, tool in enumerate(tools):
            where = f"tools.{at}"
            if tool.get("type") != "function":
                self._only_native(f"`{where}` (`{tool.get('type')!s:.40}`)")
                self._is_hosted = True
                continue
            self._unknown(tool, ("type", *FUNCTION), where)
            function = {name: tool[name] for name in FUNCTION if tool.get(name) is not None}
            text(function.get("name"), f"{where}.name")
            made.append({"type": "function", "function": function})
        if made:
            chat["tools"] = made
        else:
            chat.pop("parallel_tool_calls", None)

    def _choice(self, choice: Any, chat: dict[str, Any]) -> None:
        if choice is None:
            return
        if isinstance(choice, dict) and choice.keys() == {"type", "name"} and choice["type"] == "function":
            chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
        elif isinstance(choice, str) and choice in CHOICES:
            if "tools" in chat:
                chat["tool_choice"] = choice
            elif choice == "required":
                self._only_native("`tool_choice`")
        else:
            self._only_native("`tool_choice`")
