"""`Demand`: what one request needs of a model, measured once and handed on."""

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
    """As the caller allows for each choice; 0 when they do not say."""
    choices: int
    """How many answers the caller asks for (`n`)."""
    capabilities: frozenset[str]
    """What a model must be able to do."""
    apis: frozenset[str] = CHAT
    """By which of these (`Model.apis`) a model can be asked."""
    native: str | None = None
    """What in the request only OpenAI's responses API has; None: nothing."""
    refers_to: str | None = None
    """The member that names what only one provider knows; None: there is none."""
    is_open_ended: bool = False
    """Whether a model may read more than the request holds."""


class Missing(NamedTuple):
    """Why the most that a request can cost on a model is not known."""

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
