"""Names of tools and ids of calls, as the provider that receives them takes them.

Each provider allows other letters and another length, and clients and other providers make names that it
refuses. A name is replaced in the request, and restored in the answer. An id is replaced in the call and in
its result alike, because the same id always becomes the same other one.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OTHERS = re.compile(r"[^a-zA-Z0-9_-]")
_BARE = re.compile(r"[a-zA-Z0-9]{9}")
LONGEST_CHAT_ID = 40
"""The most characters of a call's id in OpenAI's chat completions."""
LONGEST_BEDROCK_ID = 64
LONGEST_CHAT_NAME = 64
"""The most characters of a tool's name in OpenAI's chat completions."""
MISTRALS = (
    "codestral",
    "devstral",
    "magistral",
    "ministral",
    "mistral",
    "mixtral",
    "pixtral",
    "voxtral",
)


class ToolNames:
    """The tool names of one request."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._given: dict[str, str] = {}

    def __bool__(self) -> bool:
        """Whether any name was replaced."""
        return bool(self._given)

    def fitting(self, name: Any) -> Any:
        """The name for the provider."""
        if not isinstance(name, str) or (len(name) <= self._longest and not _OTHERS.search(name)):
            return name
        made = _shortened(name, self._longest)
        self._given[made] = name
        return made

    def given(self, name: Any) -> Any:
        """The client's name for the provider's."""
        return self._given.get(name, name) if isinstance(name, str) else name

    def restore_chat(self, body: Mapping[str, Any]) -> None:
        """Put the client's names into a completion or a chunk."""
        for function in _called(body):
            function["name"] = self.given(function.get("name"))

    def restore_messages(self, holder: Mapping[str, Any]) -> None:
        """Put the client's names into a message of Anthropic's, or an event of its stream."""
        blocks = holder.get("content")
        for block in [holder.get("content_block"), *(blocks if isinstance(blocks, list) else [])]:
            if isinstance(block, dict) and block.get("type") == "tool_use":
                block["name"] = self.given(block.get("name"))


def rename_chat(request: dict[str, Any], names: ToolNames) -> None:
    """Replace the names in a chat request, wherever they occur. The given objects stay as they are."""
    tools = request.get("tools")
    if not isinstance(tools, list) or not any(
        _function_name(tool) != names.fitting(_function_name(tool)) for tool in tools
    ):
        return
    request["tools"] = [_renamed(tool, names) for tool in tools]
    if isinstance(request.get("tool_choice"), dict):
        request["tool_choice"] = _renamed(request["tool_choice"], names)
    messages = request.get("messages")
    request["messages"] = [
        {**message, "tool_calls": [_renamed(call, names) for call in message["tool_calls"]]}
        if isinstance(message, dict) and isinstance(message.get("tool_calls"), list)
        else message
        for message in (messages if isinstance(messages, list | tuple) else ())
    ]


def rename_messages(request: dict[str, Any], names: ToolNames) -> None:
    """Replace the names in a request of Anthropic's API."""
    tools = request.get("tools")
    if not isinstance(tools, list) or not any(_name(tool) != names.fitting(_name(tool)) for tool in tools):
        return
    request["tools"] = [
        {**tool, "name": names.fitting(tool["name"])} if "name" in tool else tool for tool in tools
    ]
    choice = request.get("tool_choice")
    if isinstance(choice, dict) and "name" in choice:
        request["tool_choice"] = {**choice, "name": names.fitting(choice["name"])}
    for turn in request["messages"]:
        if isinstance(turn.get("content"), list):
            turn["content"] = [
                {**block, "name": names.fitting(block.get("name"))}
                if block.get("type") == "tool_use"
                else block
                for block in turn["content"]
            ]


def _name(tool: Any) -> Any:
    return tool.get("name") if isinstance(tool, dict) else None


def _function_name(holder: Any) -> Any:
    return _name(holder.get("function")) if isinstance(holder, dict) else None


def _renamed(holder: Any, names: ToolNames) -> Any:
    """A tool, a call or a choice, whose function has a fitting name."""
    if not isinstance(_function_name(holder), str):
        return holder
    function = holder["function"]
    return {**holder, "function": {**function, "name": names.fitting(function["name"])}}


def _called(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        said = (choice.get("message") or choice.get("delta")) if isinstance(choice, dict) else None
        calls = said.get("tool_calls") if isinstance(said, dict) else None
        for call in calls if isinstance(calls, list) else []:
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict) and "name" in function:
                yield function


def is_mistral(model: str) -> bool:
    """Whether a model is one of Mistral's, by its name."""
    return any(name in model.lower() for name in MISTRALS)


def anthropic_id(call_id: str) -> str:
    """The id of a call for Anthropic, which takes letters, digits, `_` and `-`."""
    return _shortened(call_id, len(call_id) + 9) if _OTHERS.search(call_id) or not call_id else call_id


def bedrock_id(call_id: Any) -> Any:
    """An id that Anthropic takes, for Converse, which takes 64 characters of it."""
    if isinstance(call_id, str) and len(call_id) > LONGEST_BEDROCK_ID:
        return _shortened(call_id, LONGEST_BEDROCK_ID)
    return call_id


def chat_id(call_id: str, model: str) -> str:
    """The id of a call for a server of OpenAI's chat completions; `model` is its model's name."""
    if is_mistral(model):
        return call_id if _BARE.fullmatch(call_id) else hashlib.sha256(call_id.encode()).hexdigest()[:9]
    return call_id if len(call_id) <= LONGEST_CHAT_ID else _shortened(call_id, LONGEST_CHAT_ID)


def _shortened(name: str, longest: int) -> str:
    """A name of allowed letters, which no other name becomes."""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{_OTHERS.sub('_', name)[: longest - 9]}_{digest}"
