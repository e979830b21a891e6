"""Reasoning effort, for the models of Anthropic's that know no adaptive thinking.

Models from Claude 4.6 on decide themselves how long to think, guided by an effort; those from 3.7 to
4.5 refuse that and take a budget of tokens; older ones do not think. Source: Anthropic's documentation
(adaptive thinking, extended thinking, effort).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from router.translate.members import NATIVE, optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.entries import Thinking

ADAPTIVE = {"type": "adaptive"}
BUDGET_OF_EFFORT: Mapping[str, int] = {"low": 4096, "medium": 16384}
"""Tokens; what `router.translate.chat` reads back as the same effort."""
MAX_BUDGET = 32768
"""Of every higher effort."""
MIN_BUDGET = 1024
"""Anthropic's own."""
ANSWER_SHARE = 0.5
"""Of `max_tokens`, which holds thoughts and answer together, that the thoughts leave."""
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d)(?:[-.](\d))?(?!\d)")


def thinking_of(name: str) -> Thinking:
    """How a model thinks, by its name at Anthropic; a name without a version is taken for a new one."""
    found = _VERSION.search(name)
    if found is None:
        return "adaptive"
    version = (int(found[1]), int(found[2] or 0))
    if version >= (4, 6):
        return "adaptive"
    return "budget" if version >= (3, 7) else "none"


def as_it_thinks(request: dict[str, Any], body: Mapping[str, Any], thinking: Thinking) -> dict[str, Any]:
    """Anthropic's `request`, made of `body`, with the effort said in the way that the model takes.

    What the body says in Anthropic's own words (`thinking`, `output_config`) stays as it is.
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
    """Whether thinking goes with the rest: effort is a hint, and what it cannot go with is asked for."""
    if request.get("temperature", 1) != 1 or "top_k" in request:
        return False
    if request.get("tool_choice", {}).get("type") in ("any", "tool"):
        return False
    return not _continues_unthought_calls(request["messages"])


def _continues_unthought_calls(turns: list[dict[str, Any]]) -> bool:
    """Whether tool calls are being answered whose turn does not begin with signed thoughts."""
    last = next((turn for turn in reversed(turns) if turn["role"] == "assistant"), None)
    if last is None or not isinstance(last["content"], list) or not isinstance(turns[-1]["content"], list):
        return False
    kinds = [block.get("type") for block in last["content"]]
    is_answered = any(block.get("type") == "tool_result" for block in turns[-1]["content"])
    return is_answered and kinds[:1] not in (["thinking"], ["redacted_thinking"])
