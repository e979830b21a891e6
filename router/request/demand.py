"""`Demand`: the needs of one request, measured once."""

from __future__ import annotations

from typing import NamedTuple

CHAT = frozenset({"chat"})


class Demand(NamedTuple):
    """The measures of one request."""

    tokens_estimated: int
    """A rough count of the input by its length; billing uses the provider's count."""
    tokens_input: int
    """The same, corrected by what the provider counted earlier in the session."""
    context_tokens: int
    """How many tokens must fit a model's context window."""
    max_output_tokens: int
    """The caller's limit for each choice; 0 if there is none."""
    choices: int
    """How many answers the caller asks for (`n`)."""
    capabilities: frozenset[str]
    """The capabilities that a model must have."""
    apis: frozenset[str] = CHAT
    """The APIs that can carry the request. A model must have one of them in `Model.apis`."""
    native: str | None = None
    """The part of the request that only OpenAI's responses API has; None if there is none."""
    refers_to: str | None = None
    """The member that refers to something only one provider knows; None if there is none."""
    is_open_ended: bool = False
    """Whether a model may read more than the request holds."""


class Missing(NamedTuple):
    """The reason why the worst-case cost of a request on a model is unknown."""

    what: str
    advice: str


NO_PRICE = Missing("price is not known", "give its `prices` in catalog.yaml")
NO_OUTPUT_BOUND = Missing(
    "output has no bound",
    "give max_tokens, or max_output_tokens / context_window in catalog.yaml",
)
NO_INPUT_BOUND = Missing(
    "input has no bound, since it may read what its provider stores",
    "give context_window in catalog.yaml",
)
NO_TOOL_BOUND = Missing("use of its provider's own tools has no bound", "leave these tools out")
