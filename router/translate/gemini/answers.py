"""Translate Gemini's answers to completions, and the portions of its streams to chunks.

Source: Google's API reference (GenerateContentResponse).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.translate.calls import new_call_id
from router.translate.members import optional, optional_items
from router.translate.usage import UNPRICED, usage_from_gemini

if TYPE_CHECKING:
    from collections.abc import Mapping

FINISH_REASONS: Mapping[str, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
"""Why an answer ended. Any other reason is a failure of the model."""
NO_REASON = (None, "", "FINISH_REASON_UNSPECIFIED")


def is_failure(reason: object) -> bool:
    """Whether a finish reason says that the answer is no answer."""
    return reason not in NO_REASON and reason not in FINISH_REASONS


def block_reason(answer: Mapping[str, Any]) -> str | None:
    """Why Gemini refused the prompt, or None if it did not."""
    reason = optional(answer.get("promptFeedback"), "promptFeedback").get("blockReason")
    return reason if isinstance(reason, str) and not answer.get("candidates") else None


def completion_of(answer: Mapping[str, Any], *, created: int) -> dict[str, Any]:
    """The completion of an answer. RequestError if it is malformed."""
    choices = []
    for position, candidate in enumerate(optional_items(answer.get("candidates"), "candidates")):
        message: dict[str, Any] = {"role": "assistant", "content": None}
        message |= _said(candidate, calls_before=0)
        for call in message.get("tool_calls", ()):
            del call["index"]
        reason = _finish_reason(candidate, has_calls="tool_calls" in message)
        choices.append(
            {"index": candidate.get("index", position), "message": message, "finish_reason": reason}
        )
    completion = {
        "id": answer.get("responseId"),
        "object": "chat.completion",
        "created": created,
        "model": answer.get("modelVersion"),
        "choices": choices,
    }
    if usage := chat_usage(answer):
        completion["usage"] = usage
    return completion


class PortionsToChunks:
    """Translates the portions of Gemini's stream to OpenAI's chunks."""

    def __init__(self, *, created: int) -> None:
        """`created` is in seconds since 1970."""
        self.is_finished = False
        """Whether the answer reached its end. A stream that stops before is broken."""
        self._created = created
        self._calls: dict[int, int] = {}

    def feed(self, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Translate a portion. RequestError if it is malformed."""
        head = {
            "id": answer.get("responseId"),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": answer.get("modelVersion"),
        }
        choices, is_finished = [], False
        for position, candidate in enumerate(optional_items(answer.get("candidates"), "candidates")):
            index = candidate.get("index", position)
            role = {} if index in self._calls else {"role": "assistant"}
            before = self._calls.get(index, 0)
            delta = role | _said(candidate, calls_before=before)
            self._calls[index] = before + len(delta.get("tool_calls", ()))
            reason = _finish_reason(candidate, has_calls=self._calls[index] > 0)
            is_finished = is_finished or reason is not None
            choices.append({"index": index, "delta": delta, "finish_reason": reason})
        self.is_finished = self.is_finished or is_finished
        chunks = [{**head, "choices": choices}] if choices else []
        if self.is_finished and (usage := chat_usage(answer)):
            chunks.append({**head, "choices": [], "usage": usage})
        return chunks


def _finish_reason(candidate: Mapping[str, Any], *, has_calls: bool) -> str | None:
    reason = FINISH_REASONS.get(str(candidate.get("finishReason")))
    return "tool_calls" if reason == "stop" and has_calls else reason


def _said(candidate: Mapping[str, Any], *, calls_before: int) -> dict[str, Any]:
    """The members of a message, or of a delta, for the parts of a candidate."""
    said: dict[str, Any] = {}
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    content = optional(candidate.get("content"), "content")
    for part in optional_items(content.get("parts"), "parts"):
        if isinstance(part.get("text"), str):
            (thoughts if part.get("thought") else texts).append(part["text"])
        elif part.get("functionCall") is not None:
            calls.append(_call(part, calls_before + len(calls)))
        elif part.get("inlineData") is not None:
            data = optional(part["inlineData"], "inlineData")
            url = f"data:{data.get('mimeType')};base64,{data.get('data')}"
            images.append({"type": "image_url", "image_url": {"url": url}})
    if texts:
        said["content"] = "".join(texts)
    if thoughts:
        said["reasoning_content"] = "".join(thoughts)
    if calls:
        said["tool_calls"] = calls
    if images:
        said["images"] = images
    return said


def _call(part: Mapping[str, Any], index: int) -> dict[str, Any]:
    given = optional(part["functionCall"], "functionCall")
    call_id = given.get("id")
    function = {"name": given.get("name"), "arguments": orjson.dumps(given.get("args") or {}).decode()}
    call: dict[str, Any] = {
        "index": index,
        "id": call_id if isinstance(call_id, str) and call_id else new_call_id(),
        "type": "function",
        "function": function,
    }
    if isinstance(part.get("thoughtSignature"), str):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def chat_usage(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """OpenAI's usage, or None if the answer reports none."""
    usage = usage_from_gemini(answer)
    given, answered = usage.tokens_input, usage.tokens_output
    if given is None and answered is None:
        return None
    told: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": answered}
    if given is not None and answered is not None:
        told["total_tokens"] = given + answered
    details: dict[str, dict[str, Any]] = {
        "prompt_tokens_details": {
            "cached_tokens": usage.tokens_cached_input,
            "audio_tokens": usage.tokens_audio_input,
            "cached_tokens_details": {"audio_tokens": usage.tokens_cached_audio_input},
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.tokens_reasoning,
            "audio_tokens": usage.tokens_audio_output,
            "image_tokens": usage.tokens_image_output,
            "video_tokens": usage.tokens_video_output,
        },
    }
    if usage.tokens_cached_audio_input is None:
        del details["prompt_tokens_details"]["cached_tokens_details"]
    for name, counts in details.items():
        if known := {member: count for member, count in counts.items() if count is not None}:
            told[name] = known
    if usage.service_tier is not None:
        told["service_tier"] = usage.service_tier
    if usage.unpriced:
        told[UNPRICED] = list(usage.unpriced)
    return told
