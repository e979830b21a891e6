"""The fake provider's script: a JSON file that says how each model behaves.

    {
      "seed": 7,
      "models": {
        "steady": {"answer": "hello", "tokens_input": 10, "tokens_output": 5, "cost_usd": "0.00012"},
        "flaky": {"latency_ms": 40, "error_rate": 0.2, "error_status": 429, "retry_after": "2"},
        "cut": {"stream": {"chunks": 50, "delay_ms": 5, "fault": "cut", "fault_after": 20}}
      },
      "outcomes": {"file": "outcomes.parquet", "latency_scale": 0.01},
      "changes": [{"step": 9000, "set": {"good-model": "bad-model"}}]
    }

A model of `outcomes` answers from the table, by the request's `metadata.item_id`. You can also give it
errors or another latency in `models`. If a script leaves out a token count or a cost, the answer leaves
it out too. It is never 0.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from router.documents import Entry, parse_json
from router.errors import ConfigError


class StreamScript(Entry):
    """How a model streams, if it does not send one chunk a word without delay."""

    chunks: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """The number of pieces, instead of the answer's words. With 0 there is not even a finish reason."""
    role_first: bool = False
    """Whether a chunk with only the role comes before the first piece."""
    first_delay_ms: Annotated[float, Field(ge=0, le=3_600_000)] = 0.0
    """The delay before the first piece, after the headers and the role."""
    delay_ms: Annotated[float, Field(ge=0, le=3_600_000)] = 0.0
    """The delay before each later piece."""
    fault_after: Annotated[int, Field(ge=0)] | None = None
    """Pieces before the `fault`. If it is None, the fault comes after the last piece."""
    fault: Literal["cut", "truncated", "ended", "error", "not-json"] | None = None
    """With `cut` the connection breaks. With `truncated` the reply ends within an event, with `ended` after
    one. `error` sends an error event, and `not-json` an event that is not JSON."""
    is_done_sent: bool = True
    """Whether `[DONE]` ends the stream."""
    is_usage_sent: bool = True
    """Whether the usage comes if the request asks for it."""
    is_usage_announced: bool = False
    """Whether the remaining chunks then say `"usage": null`, as OpenAI's do."""
    line_end: Literal["\n", "\r\n"] = "\n"


class ModelScript(Entry):
    """One model's behaviour."""

    answer: str | None = None
    """Text of the answer to a request without a recorded outcome. If it is None, a model with outcomes
    refuses such a request, and a model without outcomes answers `ok`."""
    tokens_input: Annotated[int, Field(ge=0)] | None = None
    tokens_output: Annotated[int, Field(ge=0)] | None = None
    tokens_cached_input: Annotated[int, Field(ge=0)] | None = None
    tokens_reasoning: Annotated[int, Field(ge=0)] | None = None
    cost_usd: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None
    """Reported as `usage.cost`. Write it as a text to keep every digit."""
    latency_ms: Annotated[float, Field(ge=0, le=3_600_000)] | None = None
    """If it is None, the outcome's latency times `latency_scale` holds, or no delay without an outcome."""
    error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of requests that fail, drawn in order of arrival from a generator seeded per model."""
    error_status: Annotated[int, Field(ge=400, le=599)] = 500
    retry_after: str | None = None
    """`Retry-After` header of the failures."""
    body: Literal["truncated", "not-json", "empty", "no-choices"] | None = None
    """A malformed 200 instead of an answer, for the requests that do not fail."""
    tools: tuple[dict[str, Any], ...] | None = None
    """`tool_calls` of the answer, in addition to its text."""
    stream: StreamScript = StreamScript()


class OutcomesScript(Entry):
    """Recorded outcomes to answer from."""

    file: Path
    models: frozenset[str] | None = None
    """If it is None, every model of the file answers."""
    latency_scale: Annotated[float, Field(ge=0)] = 1.0


class ChangeScript(Entry):
    """From `step` (the request's `metadata.step`) on, models answer like other models."""

    step: Annotated[int, Field(ge=0)]
    set: dict[str, str]
    """Maps a model to the model with its new quality. Cost, tokens and latency stay its own."""


class Script(Entry):
    """The whole file."""

    seed: int = 0
    models: dict[str, ModelScript] = Field(default_factory=dict)
    outcomes: OutcomesScript | None = None
    changes: tuple[ChangeScript, ...] = ()

    @model_validator(mode="after")
    def _answers_something(self) -> Script:
        if not self.models and self.outcomes is None:
            raise ValueError("the script names no model: give `models`, `outcomes` or both")
        if self.changes and self.outcomes is None:
            raise ValueError("`changes` swap recorded outcomes: give `outcomes` too")
        return self


def load_script(path: Path) -> Script:
    """Read the script at `path`. ConfigError says what is wrong, and where."""
    try:
        return parse_json(path.read_bytes(), Script, path)
    except FileNotFoundError:
        raise ConfigError(f"no script at `{path}`: write one as described in `{__name__}`") from None
