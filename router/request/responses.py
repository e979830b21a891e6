"""Requests of OpenAI's responses API.

    request = ResponsesRequest.parse({"model": "auto", "input": "2 + 2?"}, task_type="math")
    response = await router.complete(request)
    print(response.text, request.answer(response.body))

They are routed, called and recorded like chat completions. A model with `responses` in its `apis` gets
the request in that form, other models in the form of chat. If chat cannot express it, they are excluded.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.request.demand import NO_INPUT_BOUND, NO_OUTPUT_BOUND, NO_TOOL_BOUND, Demand, Missing
from router.request.preferences import Preferences
from router.request.request import AUTO, Request, ResponsesBody
from router.translate.responses.answers import response_of
from router.translate.responses.requests import chat_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from router.catalog.catalog import Model

EITHER = frozenset({"chat", "responses"})
NATIVE_ONLY = frozenset({"responses"})
OWN = ("model", "provider")
"""Members that select the model. No provider gets them as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesRequest(Request):
    """One request of the responses API. Use `parse` to make one."""

    given: Mapping[str, Any]
    """The body in the form of the responses API, without `model` and `provider`."""
    only_native: str | None = None
    """See `Demand.native`."""
    referred: str | None = None
    """See `Demand.refers_to`."""
    ignored: frozenset[str] = frozenset()
    """Hints that only OpenAI's responses API uses."""
    is_hosted: bool = False
    """Whether the provider may run tools itself: their cost has no bound."""

    @classmethod
    def parse(cls, body: Mapping[str, Any], **labels: Any) -> Self:
        """The request that a body of the API describes; `labels` are fields of Request (`task_type`, …).

        `user` sets the user and `provider` sets the preferences, unless a label does.
        RequestError names a member that is malformed.
        """
        chat, native, refers_to, ignored, is_hosted = chat_of(body)
        messages, preferences = chat.pop("messages"), chat.pop("provider", None)
        if preferences is not None:
            labels.setdefault("preferences", Preferences.parse(preferences))
        labels.setdefault("user_id", chat.get("user"))
        labels.setdefault("model", chat.pop("model", AUTO))
        chat.pop("model", None)
        return cls(
            messages=messages,
            parameters=chat,
            given={name: value for name, value in body.items() if name not in OWN},
            only_native=native,
            referred=refers_to,
            ignored=ignored,
            is_hosted=is_hosted,
            **labels,
        )

    def measure(self, tokens_per_estimate: float = 1.0) -> Demand:
        """See Request. A model also reads stored items, and the results of tools that OpenAI runs."""
        demand = super(ResponsesRequest, self).measure(tokens_per_estimate)
        is_native = self.only_native is not None
        return demand._replace(
            apis=NATIVE_ONLY if is_native else EITHER,
            native=self.only_native,
            refers_to=self.referred,
            is_open_ended=is_native,
        )

    def body(self) -> ResponsesBody:
        """See Request."""
        chat = {**self.parameters, "messages": self.messages}
        return ResponsesBody(chat=chat, responses=self.given, ignored=self.ignored)

    def asked(self) -> Mapping[str, Any]:
        """See Request."""
        return {**self.given, "model": self.model}

    def worst_case_tokens(self, model: Model, max_input_tokens: int) -> tuple[int, int] | Missing:
        """See Request. A model may read stored input up to its context window."""
        if self.is_hosted:
            return NO_TOOL_BOUND
        allowed = model.bound_of_output(self.max_output_tokens())
        if allowed is None:
            return NO_OUTPUT_BOUND
        if self.only_native is None:
            return max_input_tokens, allowed
        window = model.context_window
        return NO_INPUT_BOUND if window is None else (max(max_input_tokens, window), allowed)

    def answer(
        self, completion: Mapping[str, Any], *, response_id: str | None = None, maker: str | None = None
    ) -> dict[str, Any]:
        """The response object for `Response.body`. A provider's own is returned as received.

        `maker` is `Response.provider`. It lets the response carry members that this provider demands back
        on the next turn.
        """
        made = response_id or new_response_id()
        asked = self.asked()
        return response_of(completion, asked, response_id=made, created=int(time.time()), maker=maker)


def new_response_id() -> str:
    """An id for a response that has none from its provider."""
    return f"resp_{secrets.token_hex(16)}"
