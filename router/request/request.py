"""`Request` and `Response`: a call and its answer."""

from __future__ import annotations

import base64
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import orjson

from router.catalog.prices import tier_name
from router.errors import RequestError
from router.request.demand import NO_OUTPUT_BOUND, NO_TOOL_BOUND, Demand, Missing
from router.translate.members import NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from router.catalog.catalog import Model
    from router.catalog.prices import Usage
    from router.request.decision import Decision
    from router.request.preferences import Preferences

AUTO = "auto"
CHARACTERS_PER_TOKEN = 4
"""For the context-window check only; billing uses the provider's count."""
MESSAGE_TOKENS = 16
"""More than any provider adds for a message's role and its separators."""
MAX_ATTACHMENT_TOKENS = 40_000
"""More than any provider counts for one image, sound or file at its finest."""
INPUT_PARAMETERS = ("tools", "functions", "response_format")
"""Parameters that a model reads, and a provider counts, as input."""
SEARCHES = ("web_search_options", "search_parameters", "enable_search", "web_search")
"""Members by which OpenAI, xAI, Alibaba and others are asked for a web search."""
CLIENTS_TOOLS = ("function", "custom", "bash", "text_editor", "computer", "memory")
FREE_OR_COUNTED = ("web_search", "web_fetch", "tool_search", "mcp")
"""Tools that Anthropic runs, and whose uses its answers count, or that cost nothing."""
NO_CAPABILITIES: frozenset[str] = frozenset()
MAX_LABEL_LENGTH = 255
WRITTEN = (
    "task_type",
    "policy",
    "environment",
    "organization_id",
    "user_id",
    "api_key_id",
    "session_id",
    "ip_address",
    "user_agent",
    "traceparent",
)
"""Members that the record keeps as they are."""
MAX_TAGS = 32
SHOWN = 60
"""Characters of an answer in its `repr`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesBody:
    """A request of the responses API in both forms. A provider sends the form that the model's API takes."""

    chat: Mapping[str, Any]
    responses: Mapping[str, Any]
    ignored: frozenset[str] = frozenset()
    """Hints that the form of chat lacks."""


Body: TypeAlias = "Mapping[str, Any] | ResponsesBody"


def chat_body(body: Body) -> Mapping[str, Any]:
    """The body in the form of chat completions."""
    return body.chat if isinstance(body, ResponsesBody) else body


def ignored_of(body: Body) -> frozenset[str]:
    """The hints that the form of chat completions lacks."""
    return body.ignored if isinstance(body, ResponsesBody) else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One chat completion to route.

    `messages` and `parameters` are OpenAI's: `parameters` holds any other member of the body
    (`temperature`, `tools`, `max_tokens`, …) and reaches the provider untouched.
    """

    operation: ClassVar[str] = "chat"
    """The name of the operation in the record: `chat` or `embeddings`."""
    messages: Sequence[Mapping[str, Any]]
    model: str = AUTO
    """`auto`, or the id of one catalog model."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    task_type: str | None = None
    policy: str | None = None
    preferences: Preferences | None = None
    """Constraints and wishes, in addition to the policy; None: the session's, else the user's."""
    environment: str | None = None
    organization_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    """The id of your own key that the caller uses, never the key itself."""
    session_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    ip_address: str | None = None
    user_agent: str | None = None
    traceparent: str | None = None
    """W3C's header: the caller's span, the parent of this request's span; None: the current span of the
    calling application."""

    is_streaming: bool = field(init=False, repr=False, compare=False)
    """Whether the caller wants the answer in pieces (`stream`). Embeddings come whole."""

    def __post_init__(self) -> None:
        self._check_messages()
        is_streaming = self.operation == "chat" and bool(self.parameters.get("stream"))
        object.__setattr__(self, "is_streaming", is_streaming)
        for name in (
            "model",
            "task_type",
            "policy",
            "organization_id",
            "user_id",
            "api_key_id",
            "session_id",
        ):
            value = getattr(self, name)
            if (value is not None or name == "model") and (
                not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL_LENGTH
            ):
                raise RequestError(
                    f"`{name}` must be a text of 1 to {MAX_LABEL_LENGTH} characters, got `{value!r:.80}`",
                    param=name,
                )
        for name in ("model", *WRITTEN):
            check_encodable(getattr(self, name), name)
        if len(self.tags) > MAX_TAGS:
            raise RequestError(f"at most {MAX_TAGS} tags are kept, got `{len(self.tags)}`", param="tags")
        for label in (*self.tags, *self.tags.values()):
            if not isinstance(label, str) or len(label) > MAX_LABEL_LENGTH:
                raise RequestError(
                    f"tags are texts of at most {MAX_LABEL_LENGTH} characters, got `{label!r:.80}`",
                    param="tags",
                )
            check_encodable(label, "tags")
        if self.parameters:
            check_written(self.parameters, "parameters")

    def _check_messages(self) -> None:
        if not isinstance(self.messages, list | tuple) or not self.messages:
            raise RequestError(
                # The type, not the value: error bodies are logged, prompts are not.
                f"`messages` must be a non-empty list of message objects, got `{_kind(self.messages)}`",
                param="messages",
            )
        for position, message in enumerate(self.messages):
            if not hasattr(message, "get") or not isinstance(message.get("role"), str):
                raise RequestError(
                    f"`messages[{position}]` must be an object with a `role`, got `{_kind(message)}`",
                    param=f"messages.{position}",
                )
            for text in _texts(message.get("content")):
                check_encodable(text, "messages")
            if len(message) > 2:
                check_written({name: message[name] for name in message if name != "content"}, "messages")

    def body(self) -> Body:
        """The body for the provider, without the model."""
        return {**self.parameters, "messages": self.messages}

    def asked(self) -> Mapping[str, Any]:
        """The body in the form of the caller's API, for the audit trail."""
        return {**chat_body(self.body()), "model": self.model}

    def accept(self, body: Mapping[str, Any]) -> None:
        """RequestError if the caller's API cannot express an answer in chat's shape."""

    def asked_tier(self) -> str | None:
        """The service tier that it asks for. None: the standard one."""
        asked = self.parameters.get("service_tier")
        return tier_name(asked) or None if isinstance(asked, str) else None

    def asked_charge(self) -> str | None:
        """The member that asks the provider for work that it charges and does not count, if any."""
        return next(self._hosted(FREE_OR_COUNTED), None)

    def runs_tools(self) -> bool:
        """Whether it lets the provider run tools, so that its cost has no bound."""
        return next(self._hosted(()), None) is not None

    def _hosted(self, left_out: tuple[str, ...]) -> Iterator[str]:
        parameters = self.parameters
        for name in SEARCHES:
            if parameters.get(name) not in (None, False):
                yield name
        for name in ("tools", "plugins"):
            items = parameters.get(name)
            for item in items if isinstance(items, list | tuple) else ():
                if isinstance(item, dict) and _is_hosted(item, name, left_out):
                    yield name

    def last_text(self) -> str:
        """The text of the last message, or an empty text."""
        return "".join(_texts(self.messages[-1].get("content")))

    def estimated_input_tokens(self) -> int:
        """A rough count, for the context-window check."""
        length = 0
        for message in self.messages:
            content = message.get("content")
            if isinstance(content, str):
                length += len(content)
            else:
                length += sum(map(len, _texts(content)))
        return length // CHARACTERS_PER_TOKEN

    def measure(self, tokens_per_estimate: float = 1.0) -> Demand:
        """Measure the needs of the request. `tokens_per_estimate` is its session's."""
        estimated = self.estimated_input_tokens()
        tokens_input = int(estimated * tokens_per_estimate)
        max_output_tokens = self.max_output_tokens()
        choices = self.parameters.get("n")
        return Demand(
            estimated,
            tokens_input,
            tokens_input + max_output_tokens,
            max_output_tokens,
            choices if isinstance(choices, int) and choices > 0 else 1,
            self.needed_capabilities(),
        )

    def worst_case_tokens(self, model: Model, max_input_tokens: int) -> tuple[int, int] | Missing:
        """The most tokens that `model` may count, as (input, output of one choice).

        `max_input_tokens` is the request's own, computed once.
        """
        if self.runs_tools():
            return NO_TOOL_BOUND
        allowed = model.bound_of_output(self.max_output_tokens())
        return NO_OUTPUT_BOUND if allowed is None else (max_input_tokens, allowed)

    def max_output_tokens(self) -> int:
        """The caller's limit of output tokens, 0 if there is none."""
        parameters = self.parameters
        value = parameters.get("max_completion_tokens")
        if value is None:
            value = parameters.get("max_tokens")
        return value if isinstance(value, int) and value > 0 else 0

    def max_input_tokens(self) -> int:
        """The most tokens the input can be: a token is at least a byte of text."""
        size = MESSAGE_TOKENS * len(self.messages)
        for message in self.messages:
            content = message.get("content")
            if isinstance(content, str):
                size += _bytes(content)
            elif isinstance(content, list):
                size += sum(_bytes(text) for text in _texts(content))
                attached = [part for part in content if isinstance(part, dict) and "text" not in part]
                size += MAX_ATTACHMENT_TOKENS * len(attached)
            if len(message) > 2:
                rest = [value for name, value in message.items() if name not in ("role", "content")]
                size += _bytes(repr(rest))
        for name in INPUT_PARAMETERS:
            if name in self.parameters:
                size += _bytes(repr(self.parameters[name]))
        return size

    def needed_capabilities(self) -> frozenset[str]:
        """The capabilities that a model needs to serve the request."""
        parameters = self.parameters
        needs = set()
        if parameters:
            if parameters.get("tools"):
                needs.add("tools")
            if isinstance(parameters.get("response_format"), dict):
                needs.add("json")
            if self.is_streaming:
                needs.add("streaming")
            if parameters.get("reasoning_effort") or parameters.get("reasoning"):
                needs.add("reasoning")
        for message in self.messages:
            content = message.get("content")
            if isinstance(content, list) and any(
                isinstance(part, dict) and part.get("type") == "image_url" for part in content
            ):
                needs.add("vision")
        return frozenset(needs) if needs else NO_CAPABILITIES


def _is_hosted(item: Mapping[str, Any], name: str, left_out: tuple[str, ...]) -> bool:
    """Whether a tool or plugin is the provider's own. The client runs functions and custom tools itself."""
    if name == "plugins":
        return item.get("id") == "web"
    kind = item.get("type", "function")
    if kind == NATIVE and isinstance(own := item.get(NATIVE), dict):  # Anthropic's, with a date in its name
        kind = str(own.get("type", "custom"))
        return not kind.startswith((*CLIENTS_TOOLS, *left_out))
    return kind not in CLIENTS_TOOLS


def has_control(text: str) -> bool:
    """Whether a text holds control characters, which a report or a terminal would obey."""
    return not text.isprintable() and any(
        character < " " or "\x7f" <= character <= "\x9f" for character in text
    )


def check_encodable(text: str | None, name: str) -> None:
    """RequestError if a text cannot be written as UTF-8. The record of the paid answer would be lost.

    Such texts come from file names and from `errors="surrogateescape"`.
    """
    if text is None or text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"`{name}` holds `{text[error.start : error.end]!r:.80}`, which is not text: decode it with the"
            ' encoding of its source, or replace it (`errors="replace"`)',
            param=name,
        ) from error


def check_written(value: Any, name: str) -> None:
    """RequestError if a value cannot be written as JSON. The provider and the audit trail get it so."""
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise RequestError(
            f"`{name}` cannot be written as JSON: {error}. Give texts, numbers, lists and objects", param=name
        ) from error


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    if isinstance(content, list):
        return [
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        ]
    return []


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Response:
    """A provider's answer, with its decision, its usage and its cost."""

    request_id: str
    """Pass it to `Router.feedback`."""
    model: str
    provider: str
    body: Mapping[str, Any]
    """The provider's JSON, parsed."""
    raw: bytes
    """The same JSON, as received."""
    decision: Decision
    usage: Usage
    cost_usd: Decimal | None
    latency_ms: float
    overhead_ms: float
    attempts: int
    limit_headers: Mapping[str, str] = field(default_factory=dict)
    """`x-ratelimit-*`: the remainder of the tightest rate limits; empty if none is set."""
    ignored: frozenset[str] = frozenset()
    """Members of the request that the provider did not get."""

    def __repr__(self) -> str:
        """The answer in one line: a notebook shows it after each call."""
        text = self.text if len(self.text) <= SHOWN else f"{self.text[:SHOWN]}…"
        cost = "unknown" if self.cost_usd is None else f"${self.cost_usd:f}"
        return (
            f"<Response {self.request_id} of {self.model} ({self.provider}): {text!r},"
            f" cost {cost}, {self.latency_ms:.0f} ms>"
        )

    @property
    def text(self) -> str:
        """The text of the first choice, or an empty text."""
        choices = self.body.get("choices")
        message = choices[0].get("message") if isinstance(choices, list) and choices else None
        content = message.get("content") if isinstance(message, dict) else None
        return content if isinstance(content, str) else ""

    @property
    def vectors(self) -> list[list[float]]:
        """The embeddings, one for each input; empty if there are none.

        ValueError for a `base64` that does not hold floats.
        """
        data = self.body.get("data")
        rows = [row["embedding"] for row in data] if isinstance(data, list) else []
        return [list(array("f", base64.b64decode(row))) if isinstance(row, str) else row for row in rows]


def _kind(value: object) -> str:
    return type(value).__name__ if value else repr(value)
