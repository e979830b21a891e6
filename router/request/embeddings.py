"""Requests for embeddings. Vectors of two models do not mix, so chance never decides between them.

`model` is one of

- a name of `vectors` in catalog.yaml: any model that is declared to give these, with fallback among them,
- the id of a model that embeds: only that model,
- `auto`: the vectors of the catalog, if all its models that embed give the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from router.errors import RequestError, UnknownModelError
from router.request.demand import Demand
from router.request.request import AUTO, CHARACTERS_PER_TOKEN, Request, check_encodable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.catalog.catalog import Catalog, Model

EMBEDDINGS = frozenset({"embeddings"})
INPUT_TOKENS = 16
"""More than any provider adds to an input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest(Request):
    """One request for embeddings; `parameters` are OpenAI's (`dimensions`, `encoding_format`, …)."""

    operation: ClassVar[str] = "embeddings"
    input: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]
    """One text, several texts, the tokens of one text, or the tokens of several."""
    messages: Sequence[Mapping[str, Any]] = ()
    """Always empty."""

    def _check_messages(self) -> None:
        if self.messages:
            raise RequestError("embeddings take `input` and no `messages`", param="messages")
        given = self.input
        is_several = isinstance(given, list | tuple) and bool(given) and not isinstance(given[0], int)
        each = given if is_several else (given,)
        if not all(map(_is_one, each)) or len({isinstance(item, str) for item in each}) > 1:
            raise RequestError(
                "`input` must be a text, a list of texts, a list of token numbers or a list of such lists,"
                " none of them empty",
                param="input",
            )
        for item in each:
            if isinstance(item, str):
                check_encodable(item, "input")

    def measure(self, tokens_per_estimate: float = 1.0) -> Demand:
        """See Request. Each input has the window to itself, so the longest must fit."""
        sizes = [_estimated(item) for item in self.inputs()]
        tokens_input = int(sum(sizes) * tokens_per_estimate)
        return Demand(sum(sizes), tokens_input, max(sizes), 0, 1, frozenset(), EMBEDDINGS)

    def meant(self, catalog: Catalog) -> tuple[str | None, str | None]:
        """(the one model asked for, the vectors asked for); RequestError if `model` names neither."""
        spaces = catalog.vectors
        if self.model in spaces:
            return None, self.model
        if self.model in catalog.models:
            return self.model, catalog.models[self.model].vectors
        if self.model != AUTO:
            known = [name for name, model in catalog.models.items() if model.vectors is not None]
            raise UnknownModelError(self.model, {*spaces, *known})
        if len(spaces) > 1:
            names = ", ".join(f"`{name}`" for name in sorted(spaces))
            raise RequestError(
                f"`auto` could mean the vectors {names}, which do not mix: name one of them as `model`",
                param="model",
            )
        return None, next(iter(spaces), None)

    def body(self) -> Mapping[str, Any]:
        """See Request."""
        return {**self.parameters, "input": self.input}

    def last_text(self) -> str:
        """Always empty: an answer of vectors has no text."""
        return ""

    def inputs(self) -> Sequence[str | Sequence[int]]:
        """The inputs. Each gets one vector."""
        given = self.input
        is_one = isinstance(given, str) or isinstance(given[0], int)
        return [given] if is_one else given  # type: ignore[list-item,return-value]

    def estimated_input_tokens(self) -> int:
        """A rough count."""
        return sum(map(_estimated, self.inputs()))

    def max_input_tokens(self) -> int:
        """The most tokens the input can be: a token is at least a byte of text."""
        inputs = self.inputs()
        sizes = [len(item.encode()) if isinstance(item, str) else len(item) for item in inputs]
        return sum(sizes) + INPUT_TOKENS * len(inputs)

    def worst_case_tokens(self, model: Model, max_input_tokens: int) -> tuple[int, int]:  # noqa: ARG002
        """See Request: there is no output."""
        return max_input_tokens, 0


def _is_one(item: object) -> bool:
    if isinstance(item, str):
        return bool(item)
    return (
        isinstance(item, list | tuple)
        and bool(item)
        and all(type(token) is int and token >= 0 for token in item)
    )


def _estimated(item: str | Sequence[int]) -> int:
    return len(item) // CHARACTERS_PER_TOKEN if isinstance(item, str) else len(item)
