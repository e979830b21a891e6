"""Translate OpenAI's chat request to a request of Anthropic's messages API.

Source: Anthropic's API reference (messages, tool use, structured outputs, effort, thinking).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.translate.anthropic.contents import PART_HINTS, conversation, system_of
from router.translate.anthropic.thinking import ADAPTIVE, NEWEST, as_it_thinks
from router.translate.members import (
    JSON_TOOL,
    NATIVE,
    LeftOut,
    extras,
    items,
    mapping,
    only,
    optional,
    refuse,
    text,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.anthropic.contents import Block
    from router.translate.anthropic.thinking import Takes

API = "Anthropic's messages API"
DEFAULT_MAX_TOKENS = 4096
"""Anthropic requires a bound where OpenAI does not. This one fits every model."""
MAX_TEMPERATURE = 1
NEUTRAL: Mapping[str, Any] = {
    "frequency_penalty": 0,
    "logprobs": False,
    "modalities": ["text"],
    "logit_bias": {},
    "n": 1,
    "presence_penalty": 0,
    "store": False,
    "top_logprobs": 0,
}
"""Values with which members that Anthropic lacks have no effect."""
EFFORTS: Mapping[str, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
SERVICE_TIERS: Mapping[str, str] = {"auto": "auto", "default": "standard_only"}
TOOL_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any"}
HINTS = (
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "store",
)
"""Members that change the processing, the price or what is kept, but not the answer."""
WISHES = (
    "audio",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "min_p",
    "modalities",
    "n",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "top_logprobs",
    "verbosity",
    "web_search_options",
)
"""Members that change the answer, and that Anthropic lacks."""
SAMPLING = ("temperature", "top_p", "top_k")
"""Members that Anthropic's models refuse from 4.7 on."""
BETA = "anthropic_beta"
"""The member of a request that holds names for Anthropic's `anthropic-beta` header."""
INLINE = ("cache_control", "thinking", "top_k")
"""Members of Anthropic's that clients also put next to OpenAI's."""
BETAS = "betas"
"""Names for Anthropic's `anthropic-beta` header. They are sent there and not in the body."""


def messages_request(
    body: Mapping[str, Any],
    *,
    default_max_tokens: int = DEFAULT_MAX_TOKENS,
    takes: Takes = NEWEST,
    left: LeftOut | None = None,
) -> dict[str, Any]:
    """Translate OpenAI's `body` to Anthropic's request.

    `default_max_tokens` holds if the body sets no bound on the output, and `takes` says which members the
    model takes. RequestError names the member that Anthropic's API cannot express. The names of hints are
    added to `left`.
    """
    left = LeftOut() if left is None else left
    chat = items(body.get("messages"), "messages")
    system, start = system_of(chat, left)
    request = options_of({name: value for name, value in body.items() if name != "messages"}, left)
    request.setdefault("max_tokens", default_max_tokens)
    turns = conversation(chat, start, left)
    if not takes.system_turns:
        system, turns = _system_first(system, turns)
    if system is not None:
        request["system"] = system
    request["messages"] = turns
    if not takes.sampling:
        for name in SAMPLING:
            if name in request:
                left.hint(name)
                del request[name]
    return as_it_thinks(request, body, takes.thinking)


def _system_first(
    system: str | list[Block] | None, turns: list[Block]
) -> tuple[str | list[Block] | None, list[Block]]:
    """Move system turns within the conversation into the system prompt, the only place older models read."""
    late = [turn["content"] for turn in turns if turn["role"] == "system"]
    if not late:
        return system, turns
    blocks: list[Block] = []
    for content in (system, *late):
        if isinstance(content, str):
            blocks.append({"type": "text", "text": content})
        else:
            blocks.extend(content or ())
    return blocks, [turn for turn in turns if turn["role"] != "system"]


def options_of(body: Mapping[str, Any], left: LeftOut) -> dict[str, Any]:
    """Every member of a request except its conversation. The names of hints are added to `left`."""
    given = {
        name: value
        for name, value in body.items()
        if value is not None and not (name in NEUTRAL and value == NEUTRAL[name])
    }
    native = dict(optional(given.pop(NATIVE, None), NATIVE))
    native.pop(BETAS, None)
    native = {**{name: given.pop(name) for name in INLINE if name in given}, **native}
    given.pop("stream_options", None)  # changes the form of OpenAI's stream, not the question
    given.pop(BETA, None)
    for name in HINTS:
        if given.pop(name, None):
            left.hint(name)
    for name in WISHES:
        if name in given:
            left.wish(name, f"has no counterpart in {API}; leave it out")
            del given[name]
    request: dict[str, Any] = {}
    for name in ("model", "stream", "top_p"):
        if name in given:
            request[name] = given.pop(name)
    _bound(given, request)
    if "temperature" in given:
        _temperature(given.pop("temperature"), request, left)
    if "stop" in given:
        stop = given.pop("stop")
        request["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    _user(given, request)
    if "service_tier" in given:
        tier = given.pop("service_tier")
        request["service_tier"] = word(tier, SERVICE_TIERS)
        if request["service_tier"] is None:
            del request["service_tier"]
            why = f"`{tier!s:.40}` has no counterpart in {API}; use one of auto, default"
            left.wish("service_tier", why)
    _tools(given, request, left)
    effort = given.pop("reasoning_effort", None)
    says_itself = "thinking" in native or "effort" in optional(native.get("output_config"), "output_config")
    if effort is not None and not says_itself:
        _reason(effort, request, left)
    _format(given, request, left)
    only(given, (), "", api=API)
    if isinstance(native.get("output_config"), dict):
        native["output_config"] = {**request.get("output_config", {}), **native["output_config"]}
    return {**request, **native}


def _bound(given: dict[str, Any], request: dict[str, Any]) -> None:
    bounds = [given.pop(name) for name in ("max_completion_tokens", "max_tokens") if name in given]
    if bounds:
        request["max_tokens"] = bounds[0]


def _temperature(value: Any, request: dict[str, Any], left: LeftOut) -> None:
    if isinstance(value, int | float) and value <= MAX_TEMPERATURE:
        request["temperature"] = value
    else:
        left.wish("temperature", f"is `{value!s:.40}`; {API} takes 0 to {MAX_TEMPERATURE}")


def _user(given: dict[str, Any], request: dict[str, Any]) -> None:
    members = [name for name in ("user", "safety_identifier") if name in given]
    named = {text(given.pop(name), name) for name in members}
    if len(named) > 1:
        refuse("safety_identifier", f"and `user` differ; {API} takes one id")
    if named:
        request["metadata"] = {"user_id": named.pop()}


def _tools(given: dict[str, Any], request: dict[str, Any], left: LeftOut) -> None:
    tools = items(given.pop("tools", []), "tools")
    if tools:
        request["tools"] = [_tool(tool, f"tools.{position}", left) for position, tool in enumerate(tools)]
    choice = given.pop("tool_choice", None)
    is_parallel = given.pop("parallel_tool_calls", True)
    if choice is not None:
        request["tool_choice"] = _tool_choice(choice)
    if not is_parallel and tools:
        request.setdefault("tool_choice", {"type": "auto"})
        if request["tool_choice"]["type"] != "none":
            request["tool_choice"]["disable_parallel_tool_use"] = True


def _tool(tool: dict[str, Any], where: str, left: LeftOut) -> dict[str, Any]:
    if tool.get("type") == NATIVE:
        return mapping(tool.get(NATIVE), f"{where}.{NATIVE}")
    if tool.get("type") != "function":
        refuse(f"{where}.type", f"is `{tool.get('type')!s:.40}`; {API} takes tools of type `function`")
    left.others(tool, ("type", "function", "cache_control", NATIVE), where, api=API, hints=PART_HINTS)
    function = mapping(tool.get("function"), f"{where}.function")
    only(function, ("name", "description", "parameters", "strict"), f"{where}.function", api=API)
    made: dict[str, Any] = {"name": text(function.get("name"), f"{where}.function.name")}
    if function.get("description") is not None:
        made["description"] = function["description"]
    made["input_schema"] = _input_schema(function.get("parameters"), f"{where}.function.parameters")
    if function.get("strict") is not None:
        made["strict"] = function["strict"]
    return {**made, **extras(tool, where)}


def _input_schema(given: Any, where: str) -> dict[str, Any]:
    """The schema of a tool's input, which Anthropic wants to be of an object in so many words."""
    if given in (None, {}):
        return {"type": "object", "properties": {}}
    schema = mapping(given, where)
    return schema if schema.get("type") == "object" else {**schema, "type": "object"}


def _tool_choice(choice: Any) -> dict[str, Any]:
    kind = word(choice, TOOL_CHOICES)
    if kind is not None:
        return {"type": kind}
    if not isinstance(choice, dict) or choice.get("type") != "function":
        refuse("tool_choice", f"has no counterpart in {API}; use auto, none, required or a function")
    function = mapping(choice.get("function"), "tool_choice.function")
    return {"type": "tool", "name": text(function.get("name"), "tool_choice.function.name")}


def _reason(effort: Any, request: dict[str, Any], left: LeftOut) -> None:
    if effort == "none":
        request["thinking"] = {"type": "disabled"}
    elif (said := word(effort, EFFORTS)) is not None:
        request["thinking"] = dict(ADAPTIVE)
        request["output_config"] = {"effort": said}
    else:
        why = f"is `{effort!s:.40}`; use one of none, {', '.join(EFFORTS)}"
        left.wish("reasoning_effort", why)


def _format(given: dict[str, Any], request: dict[str, Any], left: LeftOut) -> None:
    if "response_format" not in given:
        return
    wanted = mapping(given.pop("response_format"), "response_format")
    if wanted.get("type") == "json_schema":
        schema = _schema(mapping(wanted.get("json_schema"), "response_format.json_schema"), left)
        config = request.setdefault("output_config", {})
        config["format"] = {"type": "json_schema", "schema": schema}
    elif wanted.get("type") == "json_object":
        _json_mode(request)
    elif wanted.get("type") != "text":
        refuse("response_format.type", f"is `{wanted.get('type')!s:.40}`; use text, json_object, json_schema")


def _schema(wanted: dict[str, Any], left: LeftOut) -> dict[str, Any]:
    """The schema, with OpenAI's separate name and description as its annotations."""
    where = "response_format.json_schema"
    only(wanted, ("name", "description", "schema", "strict"), where, api=API)
    schema = dict(mapping(wanted.get("schema"), f"{where}.schema"))
    name, described, own = wanted.get("name"), wanted.get("description"), schema.get("description")
    if name is not None and schema.setdefault("title", name) != name:
        left.hint(f"{where}.name")  # a name constrains nothing
    if described is not None and own != described:
        schema["description"] = described if own is None else f"{described}\n\n{own}"
    return schema


def _json_mode(request: dict[str, Any]) -> None:
    """Ask for JSON without a schema, which in Anthropic's API is a tool that the model must call."""
    if "tools" in request:
        refuse("response_format", f"`json_object` cannot be combined with `tools` in {API}; use json_schema")
    if request.get("thinking", {}).get("type") == "adaptive":
        refuse(
            "response_format", f"`json_object` cannot be combined with reasoning in {API}; use json_schema"
        )
    described = "Give the whole answer as the members of one JSON object."
    schema = {"type": "object", "additionalProperties": True}
    request["tools"] = [{"name": JSON_TOOL, "description": described, "input_schema": schema}]
    request["tool_choice"] = {"type": "tool", "name": JSON_TOOL}
