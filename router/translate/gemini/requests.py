"""Translate a chat request to a request of Gemini's generateContent.

Source: Google's API reference (generateContent, function calling, thinking, thought signatures, caching).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from router.translate.anthropic.contents import DATA_URL
from router.translate.calls import arguments_object
from router.translate.members import items, mapping, only, optional, optional_items, refuse, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.members import LeftOut

    Part = dict[str, Any]

API = "Gemini's API"
SYSTEM_ROLES = ("system", "developer")
NEUTRAL: Mapping[str, Any] = {
    "logprobs": False,
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "store": False,
    "logit_bias": {},
}
"""Values with which members that Gemini lacks have no effect."""
SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "top_logprobs": "logprobs",
}
"""Members with a counterpart in `generationConfig`."""
HINTS = (
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "store",
    "user",
)
"""Members that change the processing, the price or what is kept, but not the answer."""
WISHES = (
    "audio",
    "logit_bias",
    "modalities",
    "parallel_tool_calls",
    "verbosity",
    "web_search_options",
)
"""Members that change the answer, and that Gemini lacks."""
GOOGLE = "google"
"""The member for parts of Gemini's API that chat lacks. Google's clients put it into `extra_body`."""
OWN = {
    "cached_content": "cachedContent",
    "thinking_config": "thinkingConfig",
    "safety_settings": "safetySettings",
}
"""Members of `google`, by Google's name for its OpenAI endpoint."""
TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
BUDGETS = {
    "none": 0,
    "minimal": 512,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 32768,
}
"""The thinking budget of each effort, for Gemini 2.5, as Google's OpenAI endpoint sets them."""
LEVELS = {
    "none": "minimal",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""The thinking level of each effort, from Gemini 3 on."""
UNSIGNED = "skip_thought_signature_validator"
"""Google's own signature for calls that another model made."""
HINTS_OF_MESSAGES = (
    "annotations",
    "audio",
    "citations",
    "id",
    "name",
    "parsed",
    "partial",
    "prefix",
    "provider_specific_fields",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "search_results",
)
_VERSION = re.compile(r"gemini-(\d+)")


def generate_request(body: Mapping[str, Any], left: LeftOut, *, name: str) -> dict[str, Any]:
    """Translate a chat request for the model `name`. RequestError names a member that Gemini lacks."""
    given = {
        key: value
        for key, value in body.items()
        if value is not None and not (key in NEUTRAL and value == NEUTRAL[key])
    }
    for key in ("model", "stream", "stream_options"):
        given.pop(key, None)
    request = _conversation(
        items(given.pop("messages", None), "messages"), left, is_signed=_version(name) >= 3
    )
    for key in HINTS:
        if given.pop(key, None):
            left.hint(key)
    for key in WISHES:
        if key in given:
            left.wish(key, f"has no counterpart in {API}; leave it out")
            del given[key]
    config: dict[str, Any] = {SAMPLING[key]: given.pop(key) for key in SAMPLING if key in given}
    if given.pop("logprobs", False):
        config["responseLogprobs"] = True
    bounds = [given.pop(key) for key in ("max_completion_tokens", "max_tokens") if key in given]
    if bounds:
        config["maxOutputTokens"] = bounds[0]
    if "stop" in given:
        stop = given.pop("stop")
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    tier = given.pop("service_tier", "auto")
    if tier in TIERS:
        request["serviceTier"] = TIERS[tier]
    elif tier != "auto":
        left.wish("service_tier", f"is `{tier!s:.40}`; use one of auto, {', '.join(TIERS)}")
    _format(given, config)
    _tools(given, request, left)
    effort = given.pop("reasoning_effort", None)
    if effort is not None:
        config["thinkingConfig"] = _thinking(effort, name, left)
    own = {**optional(optional(given.pop("extra_body", None), "extra_body").get(GOOGLE), GOOGLE)}
    own |= optional(given.pop(GOOGLE, None), GOOGLE)
    if "cached_content" in given:
        own.setdefault("cached_content", given.pop("cached_content"))
    only(given, (), "", api=API)
    if "thinking_config" in own:
        config["thinkingConfig"] = _camel(mapping(own.pop("thinking_config"), "google.thinking_config"))
    only(own, OWN, GOOGLE, api=API)
    request |= {OWN[key]: value for key, value in own.items()}
    return {**request, "generationConfig": config} if config else request


def _version(name: str) -> int:
    found = _VERSION.search(name)
    return int(found[1]) if found else 3


def _camel(given: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), key): value for key, value in given.items()}


def _thinking(effort: Any, name: str, left: LeftOut) -> dict[str, Any]:
    if not isinstance(effort, str) or effort not in LEVELS:
        left.wish("reasoning_effort", f"is `{effort!s:.40}`; use one of {', '.join(LEVELS)}")
        return {}
    shown = {"includeThoughts": True} if effort != "none" else {}
    if _version(name) >= 3:
        return {"thinkingLevel": LEVELS[effort], **shown}
    return {"thinkingBudget": BUDGETS[effort], **shown}


def _format(given: dict[str, Any], config: dict[str, Any]) -> None:
    wanted = optional(given.pop("response_format", None), "response_format")
    kind = wanted.get("type", "text")
    if kind == "text":
        return
    if kind not in ("json_object", "json_schema"):
        refuse("response_format.type", f"is `{kind!s:.40}`; use text, json_object, json_schema")
    config["responseMimeType"] = "application/json"
    if kind == "json_schema":
        described = mapping(wanted.get("json_schema"), "response_format.json_schema")
        config["responseJsonSchema"] = mapping(described.get("schema"), "response_format.json_schema.schema")


def _tools(given: dict[str, Any], request: dict[str, Any], left: LeftOut) -> None:
    declared = []
    for at, tool in enumerate(optional_items(given.pop("tools", None), "tools")):
        where = f"tools.{at}"
        if tool.get("type") != "function":
            refuse(f"{where}.type", f"is `{tool.get('type')!s:.40}`; {API} takes tools of type `function`")
        function = mapping(tool.get("function"), f"{where}.function")
        only(function, ("name", "description", "parameters", "strict"), f"{where}.function", api=API)
        made: dict[str, Any] = {"name": text(function.get("name"), f"{where}.function.name")}
        if function.get("description") is not None:
            made["description"] = function["description"]
        if schema := function.get("parameters"):
            made["parametersJsonSchema"] = {
                "type": "object",
                **mapping(schema, f"{where}.function.parameters"),
            }
        if function.get("strict"):
            left.hint("strict")
        declared.append(made)
    if declared:
        request["tools"] = [{"functionDeclarations": declared}]
    choice = given.pop("tool_choice", None)
    if choice is None:
        return
    if isinstance(choice, str) and choice in MODES:
        calling: dict[str, Any] = {"mode": MODES[choice]}
    elif isinstance(choice, dict) and choice.get("type") == "function":
        function = mapping(choice.get("function"), "tool_choice.function")
        calling = {"mode": "ANY", "allowedFunctionNames": [function.get("name")]}
    else:
        refuse("tool_choice", f"has no counterpart in {API}; use auto, none, required or a function")
    if declared:
        request["toolConfig"] = {"functionCallingConfig": calling}


def _conversation(messages: list[dict[str, Any]], left: LeftOut, *, is_signed: bool) -> dict[str, Any]:
    """The system instruction and the turns. Turns of one role that follow one another become one."""
    system: list[Part] = []
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for at, message in enumerate(messages):
        where, role = f"messages.{at}", message.get("role")
        known = ("role", "content", "tool_calls", "tool_call_id", "refusal")
        left.others(message, known, where, api=API, hints=HINTS_OF_MESSAGES)
        if role in SYSTEM_ROLES:
            system += _parts(message.get("content"), where)
            continue
        if role == "tool":
            parts = [_result(message, names, where)]
        elif role == "assistant":
            parts = _assistant(message, names, where, is_signed=is_signed)
        elif role == "user":
            parts = _parts(message.get("content"), where)
        else:
            refuse(f"{where}.role", f"is `{role!s:.40}`; {API} takes system, user, assistant and tool")
        speaker = "model" if role == "assistant" else "user"
        if contents and contents[-1]["role"] == speaker:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": speaker, "parts": parts})
    if not contents:  # Gemini wants a turn of the user
        contents = [{"role": "user", "parts": system or [{"text": ""}]}]
        system = []
    request: dict[str, Any] = {"contents": contents}
    if system:
        request["systemInstruction"] = {"parts": system}
    return request


def _parts(content: Any, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [
        _part(part, f"{where}.content.{at}") for at, part in enumerate(items(content, f"{where}.content"))
    ]


def _part(part: dict[str, Any], where: str) -> Part:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return {"text": text(part.get(kind), f"{where}.{kind}")}
    if kind == "image_url":
        given = part.get("image_url")
        image = {"url": given} if isinstance(given, str) else mapping(given, f"{where}.image_url")
        return _media(
            text(image.get("url"), f"{where}.image_url.url"), f"{where}.image_url.url", "image/jpeg"
        )
    if kind == "file":
        file = mapping(part.get("file"), f"{where}.file")
        return _media(text(file.get("file_data"), f"{where}.file.file_data"), f"{where}.file.file_data", None)
    if kind == "input_audio":
        audio = mapping(part.get("input_audio"), f"{where}.input_audio")
        data = text(audio.get("data"), f"{where}.input_audio.data")
        return {"inlineData": {"mimeType": f"audio/{audio.get('format')}", "data": data}}
    return refuse(f"{where}.type", f"is `{kind!s:.40}`; {API} takes text, image_url, file and input_audio")


def _media(url: str, where: str, kind: str | None) -> Part:
    found = DATA_URL.match(url)
    if found is not None:
        stated = (found[1] or kind or "").lower().replace("image/jpg", "image/jpeg")
        return {"inlineData": {"mimeType": stated, "data": url[found.end() :]}}
    if url.startswith(("gs://", "https://generativelanguage.googleapis.com/", "https://www.youtube.com/")):
        return {"fileData": {"fileUri": url}}
    return refuse(where, f"must be a base64 data URL or a file of Google's; {API} loads no other address")


def _assistant(
    message: Mapping[str, Any], names: dict[str, str], where: str, *, is_signed: bool
) -> list[Part]:
    parts = _parts(message.get("content"), where)
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        parts.append({"text": message["refusal"]})
    for at, call in enumerate(optional_items(message.get("tool_calls"), f"{where}.tool_calls")):
        place = f"{where}.tool_calls.{at}"
        function = mapping(call.get("function"), f"{place}.function")
        name = text(function.get("name"), f"{place}.function.name")
        given = arguments_object(function.get("arguments"), f"{place}.function.arguments")
        names[str(call.get("id"))] = name
        part: Part = {"functionCall": {"name": name, "args": given}}
        extra = optional(optional(call.get("extra_content"), place).get(GOOGLE), place)
        signature = extra.get("thought_signature")
        if isinstance(signature, str) and signature:
            part["thoughtSignature"] = signature
        elif is_signed and at == 0:
            part["thoughtSignature"] = UNSIGNED
        parts.append(part)
    return parts


def _result(message: Mapping[str, Any], names: Mapping[str, str], where: str) -> Part:
    name = names.get(str(message.get("tool_call_id")))
    if name is None:
        refuse(f"{where}.tool_call_id", "is of no tool call in the messages before it")
    content = message.get("content")
    if not isinstance(content, str):
        parts = optional_items(content, f"{where}.content")
        content = "".join(text(part.get("text"), f"{where}.content") for part in parts)
    return {"functionResponse": {"name": name, "response": {"result": content}}}
