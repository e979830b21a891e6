"""Compute the fake provider's answers. It is pure, so that you can test it without a server."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import ConfigError
from router.providers.fake.script import ModelScript, Script, StreamScript
from router.providers.fake.table import Outcome, read_outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

FAULTY_BODIES = {
    "truncated": b'{"id":"chatcmpl-fake","object":"chat.completion","choi',
    "not-json": b"<html><body>502 Bad Gateway</body></html>",
    "empty": b"",
    "no-choices": b'{"id":"chatcmpl-fake","object":"chat.completion","choices":[]}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One reply, and the delay before it."""

    body: bytes
    status: int = 200
    delay_s: float = 0.0
    retry_after: str | None = None
    text: str | None = None
    """The message's text, for streaming. None if the answer cannot be streamed."""
    usage: bytes | None = None
    """A JSON object, or None if the usage is unknown."""
    tools: tuple[dict[str, Any], ...] | None = None
    stream: StreamScript = field(default_factory=StreamScript)


class Answerer:
    """Answers by a script. Errors come in a fixed order for each model, independent of timing."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._outcomes = _by_model(script)
        self.models = sorted({*script.models, *self._outcomes})
        self.calls: Counter[str] = Counter()
        """Calls of each known model."""
        self._random = {model: Random(f"{script.seed}:{model}") for model in self.models}  # noqa: S311
        self._plain = ModelScript()
        for change in script.changes:
            for name in (*change.set, *change.set.values()):
                if name not in self._outcomes:
                    raise ConfigError(f"`changes` names the model `{name}`, which has no recorded outcomes")

    def answer(self, request: Mapping[str, Any], *, asked: str = "messages") -> Answer:
        """The reply to the body of a chat completion. `asked` is the member that holds the question."""
        model = request.get("model")
        if not isinstance(model, str) or model not in self._random:
            known = ", ".join(self.models)
            return refusal(
                404, f"The model `{model}` does not exist; this provider has {known}", "model_not_found"
            )
        if not isinstance(request.get(asked), list | str) or not request[asked]:
            return refusal(400, f"`{asked}` must be a non-empty list", "invalid_request_error")
        self.calls[model] += 1
        scripted = self._script.models.get(model, self._plain)
        is_failing = scripted.error_rate > 0 and self._random[model].random() < scripted.error_rate
        outcome, quality = self._outcome(model, request.get("metadata"))
        delay_s = self._delay_s(scripted, outcome)
        if is_failing:
            message = f"The script fails this request with {scripted.error_status}"
            return refusal(
                scripted.error_status,
                message,
                "scripted_error",
                delay_s=delay_s,
                retry_after=scripted.retry_after,
            )
        if scripted.body is not None:
            return Answer(body=FAULTY_BODIES[scripted.body], delay_s=delay_s)
        if outcome is not None:
            text = orjson.dumps({"item_id": outcome.item_id, "model": model, "quality": quality}).decode()
            usage = usage_json(outcome.tokens_input, outcome.tokens_output, cost_usd=outcome.cost_usd)
            return completion(model, text, usage, delay_s)
        if model in self._outcomes and scripted.answer is None:
            metadata = request.get("metadata")
            item = metadata.get("item_id") if isinstance(metadata, dict) else None
            message = (
                f"model `{model}` has no recorded outcome for the item `{item}`; send an item of the table"
                " as `metadata.item_id`, or give the model an `answer` in the script"
            )
            return refusal(404, message, "item_not_found")
        usage = usage_json(
            scripted.tokens_input,
            scripted.tokens_output,
            cached=scripted.tokens_cached_input,
            reasoning=scripted.tokens_reasoning,
            cost_usd=scripted.cost_usd,
        )
        text = "ok" if scripted.answer is None else scripted.answer
        answer = completion(model, text, usage, delay_s, tools=scripted.tools)
        return replace(answer, stream=scripted.stream)

    def _outcome(self, model: str, metadata: object) -> tuple[Outcome | None, float | None]:
        """The recorded outcome of the request's item, and its quality at the request's step."""
        table = self._outcomes.get(model)
        item = metadata.get("item_id") if isinstance(metadata, dict) else None
        outcome = table.get(item) if table is not None and isinstance(item, str) else None
        if outcome is None or not isinstance(metadata, dict):
            return None, None
        like = self._like(model, metadata.get("step"))
        if like == model:
            return outcome, outcome.quality
        other = self._outcomes[like].get(outcome.item_id)
        return outcome, None if other is None else other.quality

    def _like(self, model: str, step: object) -> str:
        """The model with this model's quality at `step`. The last change that names it wins."""
        if not self._script.changes or not isinstance(step, str | int) or not str(step).isdigit():
            return model
        like = model
        for change in self._script.changes:
            if int(step) >= change.step:
                like = change.set.get(model, like)
        return like

    def _delay_s(self, scripted: ModelScript, outcome: Outcome | None) -> float:
        if scripted.latency_ms is not None:
            return scripted.latency_ms / 1000
        if outcome is None or outcome.latency_ms is None or self._script.outcomes is None:
            return 0.0
        return outcome.latency_ms * self._script.outcomes.latency_scale / 1000


def completion(
    model: str,
    text: str,
    usage: bytes | None,
    delay_s: float,
    *,
    tools: tuple[dict[str, Any], ...] | None = None,
) -> Answer:
    """A chat completion in OpenAI's shape."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if tools is not None:
        message["tool_calls"] = tools
    choice = {"index": 0, "message": message, "finish_reason": "stop" if tools is None else "tool_calls"}
    body = orjson.dumps(
        {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [choice],
        }
    )
    if usage is not None:
        body = body[:-1] + b',"usage":' + usage + b"}"
    return Answer(body=body, delay_s=delay_s, text=text, usage=usage, tools=tools)


def usage_json(
    tokens_input: int | None,
    tokens_output: int | None,
    *,
    cached: int | None = None,
    reasoning: int | None = None,
    cost_usd: Decimal | None = None,
) -> bytes | None:
    """OpenAI's `usage` with OpenRouter's `cost`. Unknown members are absent."""
    members: dict[str, Any] = {}
    if tokens_input is not None:
        members["prompt_tokens"] = tokens_input
    if tokens_output is not None:
        members["completion_tokens"] = tokens_output
    if tokens_input is not None and tokens_output is not None:
        members["total_tokens"] = tokens_input + tokens_output
    if cached is not None:
        members["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning is not None:
        members["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    if cost_usd is not None:
        # Written as digits: a float would keep 0.1, but not more than 17 digits.
        members["cost"] = orjson.Fragment(f"{cost_usd.normalize():f}")
    return orjson.dumps(members) if members else None


def refusal(
    status: int, message: str, code: str, *, delay_s: float = 0.0, retry_after: str | None = None
) -> Answer:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return Answer(
        body=orjson.dumps({"error": error}), status=status, delay_s=delay_s, retry_after=retry_after
    )


def _by_model(script: Script) -> dict[str, dict[str, Outcome]]:
    if script.outcomes is None:
        return {}
    table: dict[str, dict[str, Outcome]] = {}
    for outcome in read_outcomes(script.outcomes.file, models=script.outcomes.models):
        table.setdefault(outcome.model, {})[outcome.item_id] = outcome
    missing = sorted((script.outcomes.models or set()) - set(table))
    if missing:
        raise ConfigError(f"`{script.outcomes.file}` has no outcome of the models {', '.join(missing)}")
    return table
