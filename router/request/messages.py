"""Requests of Anthropic's messages API, in the shape of chat completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.request.request import Request
from router.translate.anthropic.answers import message_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest(Request):
    """One request of the messages API, translated to a chat completion."""

    def accept(self, body: Mapping[str, Any]) -> None:
        """See Request: Anthropic's clients cannot read the arguments of a tool that are no JSON object."""
        message_of(body)
