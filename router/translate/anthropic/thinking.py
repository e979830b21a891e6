"""Translate reasoning effort for Anthropic's models without adaptive thinking.

Models from Claude 4.6 on take an effort, and decide themselves how long to think. Models from 3.7 to 4.5
refuse an effort and take a budget of tokens. Older ones do not think. Source: Anthropic's documentation
(adaptive thinking, extended thinking, effort).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from router.translate.members import NATIVE, optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.entries import Thinking

ADAPTIVE = {"type": "adaptive"}
BUDGET_OF_EFFORT: Mapping[str, int] = {"low": 4096, "medium": 16384}
"""Tokens, which `router.translate.anthropic.requests_in` translates back to the same effort."""
MAX_BUDGET = 32768
"""The budget of every higher effort, in tokens."""
MIN_BUDGET = 1024
"""Anthropic's own minimum, in tokens."""
ANSWER_SHARE = 0.5
"""The share of `max_tokens`, which bounds thoughts and answer together, that remains for the answer."""
FIRST_WITHOUT_SAMPLING = (4, 7)
"""The version from which models refuse `temperature`, `top_p` and `top_k`."""
FIRST_WITH_SYSTEM_TURNS = (4, 8)
"""The version from which models take a system message within the conversation."""
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d)(?:[-.](\d))?(?!\d)")


class Takes(NamedTuple):
    """The members that a model takes."""

    thinking: Thinking
    sampling: bool
    """Whether it takes `temperature`, `top_p` and `top_k`."""
    system_turns: bool
    """Whether it takes a system message within the conversation."""


NEWEST = Takes("adaptive", sampling=True, system_turns=True)
"""A model whose version is unknown."""


@lru_cache(maxsize=1024)
def takes_of(name: str, thinking: Thinking | None = None) -> Takes:
    """The members that a model takes, by its name at Anthropic. `thinking` is stated in the catalog."""
    version = version_of(name)
    if version is None:
        return NEWEST._replace(thinking=thinking or "adaptive")
    return Takes(
        thinking or thinking_of(name),
        sampling=version < FIRST_WITHOUT_SAMPLING,
        system_turns=version >= FIRST_WITH_SYSTEM_TURNS,
    )


def version_of(name: str) -> tuple[int, int] | None:
    """The version in a model's name, or None if it states none."""
    found = _VERSION.search(name)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def thinking_of(name: str) -> Thinking:
    """How a model thinks, by its name at Anthropic. A name without a version counts as a new model."""
    version = version_of(name)
    if version is None or version >= (4, 6):
        return "adaptive"
    return "budget" if version >= (3, 7) else "none"


def as_it_thinks(request: dict[str, Any], body: Mapping[str, Any], thinking: Thinking) -> dict[str, Any]:
    """Express the effort in Anthropic's `request`, made from `body`, in the form that the model takes.

    Anthropic's own members in the body (`thinking`, `output_config`) stay unchanged.
    """
    native = {**body, **optional(body.get(NATIVE), NATIVE)}
    if thinking == "adaptive" or body.get("reasoning_effort") is None:
        return request
    if "thinking" in native or "effort" in optional(native.get("output_config"), "output_config"):
        return request
    plain = {name: value for name, value in request.items() if name not in ("thinking", "output_config")}
    config = dict(request.get("output_config", {}))
    effort = config.pop("effort", None)
    if config:
        plain["output_config"] = config
    if thinking == "budget":
        budget = _budget(effort, request)
        if effort is None:
            plain["thinking"] = request["thinking"]  # disabled
        elif budget >= MIN_BUDGET and _may_think(request):
            plain["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return plain


def _budget(effort: str | None, request: Mapping[str, Any]) -> int:
    wanted = BUDGET_OF_EFFORT.get(effort or "", MAX_BUDGET)
    bound = request["max_tokens"]
    return min(wanted, int(ANSWER_SHARE * bound)) if isinstance(bound, int) else wanted


def _may_think(request: Mapping[str, Any]) -> bool:
    """Whether the request allows thinking. Effort is only a hint, so members that exclude it prevail."""
    if request.get("temperature", 1) != 1 or "top_k" in request:
        return False
    if request.get("tool_choice", {}).get("type") in ("any", "tool"):
        return False
    return not _continues_unthought_calls(request["messages"])


def _continues_unthought_calls(turns: list[dict[str, Any]]) -> bool:
    """Whether the last turn answers tool calls, and their own turn does not begin with signed thoughts."""
    last = next((turn for turn in reversed(turns) if turn["role"] == "assistant"), None)
    if last is None or not isinstance(last["content"], list) or not isinstance(turns[-1]["content"], list):
        return False
    kinds = [block.get("type") for block in last["content"]]
    is_answered = any(block.get("type") == "tool_result" for block in turns[-1]["content"])
    return is_answered and kinds[:1] not in (["thinking"], ["redacted_thinking"])
