"""The parameters of a catalog entry, in the request that its model gets.

Two entries of one model with other parameters are two arms, each with scores of its own.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from router.request.request import ResponsesBody
from router.translate.members import NATIVE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.catalog import Model
    from router.request.request import Body, Request

SEARCH = "web_search_options"
_SEARCHING = re.compile(r"-search-(?:preview|api)")
"""OpenAI's models that search for every request, which it charges and does not count."""
BOUNDS = ("max_completion_tokens", "max_tokens")
"""Two names of one parameter."""
REASONING = ("thinking", "output_config")
"""Anthropic's members for the effort."""


def armed(body: Body, model: Model) -> Body:
    """The body for the model, with its default and forced parameters. Without any, the same object."""
    default, forced = model.default_parameters, model.forced_parameters
    if not model.is_arm:
        return body
    if isinstance(body, ResponsesBody):
        chat = _merged(body.chat, default, forced)
        own = _merged(body.responses, _in_responses(default), _in_responses(forced))
        return replace(body, chat=chat, responses=own)
    return _merged(body, default, forced)


def asked_of(request: Request, model: Model) -> Request:
    """The request as the model gets it, with the parameters of its arm. Without any, the same object.

    A model that always searches the web counts as asked to.
    """
    if _SEARCHING.search(model.provider_model):
        request = replace(request, parameters={SEARCH: {}, **request.parameters})
    if not model.is_arm:
        return request
    merged = _merged(request.parameters, model.default_parameters, model.forced_parameters)
    return replace(request, parameters=merged)


def _merged(
    body: Mapping[str, Any], default: Mapping[str, Any], forced: Mapping[str, Any]
) -> Mapping[str, Any]:
    given = {name: value for name, value in body.items() if value is not None}
    native = given.get(NATIVE)
    if isinstance(native, dict) and "reasoning_effort" in forced:
        # The effort in Anthropic's own words would prevail over the forced one.
        given[NATIVE] = {name: value for name, value in native.items() if name not in REASONING}
    if any(name in forced for name in BOUNDS):
        given = {name: value for name, value in given.items() if name not in BOUNDS}
        body = {name: value for name, value in body.items() if name not in BOUNDS}
    elif any(name in given for name in BOUNDS):
        default = {name: value for name, value in default.items() if name not in BOUNDS}
    merged = {**body, **default, **given, **forced}
    for name in ("reasoning", "text"):  # objects of the responses API, whose members are parameters
        parts = [part.get(name) for part in (default, given, forced)]
        if any(isinstance(part, dict) for part in parts):
            merged[name] = {
                key: value for part in parts if isinstance(part, dict) for key, value in part.items()
            }
    return {name: value for name, value in merged.items() if name not in BOUNDS or value is not None}


def _in_responses(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of chat completions in the words of the responses API."""
    made: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in BOUNDS:
            made["max_output_tokens"] = value
        elif name == "reasoning_effort":
            made["reasoning"] = {"effort": value}
        elif name == "verbosity":
            made["text"] = {"verbosity": value}
        else:
            made[name] = value
    return made
