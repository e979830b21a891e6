"""JSON schemas of requests and answers, limited to the members that the shim itself reads."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

from router.keys.keys import Scope
from router.request.decision import Decision
from router.request.feedback import MAX_COMMENT_LENGTH, FeedbackSource
from router.sessions.usage import COUNTS, TOKENS

_PRINTABLE = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
_LABEL: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE}
_OPTIONAL_LABEL: dict[str, Any] = {**_LABEL, "type": ["string", "null"]}
_NAMES: dict[str, Any] = {
    "type": ["array", "null"],
    "maxItems": 200,
    "items": {"type": "string", "minLength": 1},
}
_USD: dict[str, Any] = {"type": ["number", "null"], "minimum": 0}
_OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
_TOKENS: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
_COUNT: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0}
_SUMS: dict[str, Any] = {
    "required": ["requests", "requests_with_cost", "requests_without_cost", "cost_usd", "cached_share"],
    "properties": {
        "cost_usd": {"type": ["string", "null"], "description": "Of the requests whose cost is known."},
        "cached_share": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "requests_without_cost": _COUNT,
        **dict.fromkeys((*COUNTS, *TOKENS), _COUNT),
    },
}

SCHEMAS: dict[str, Any] = {
    "Object": {"type": "object"},
    "Text": {"type": "string"},
    "ChatCompletionRequest": {
        "type": "object",
        "description": "OpenAI's; members that are not listed reach the provider untouched.",
        "required": ["messages"],
        "properties": {
            "model": {**_LABEL, "description": "A model of the catalog, or `auto`.", "default": "auto"},
            "messages": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["role"],
                    "properties": {"role": {"type": "string"}},
                },
            },
            "stream": {"type": ["boolean", "null"]},
            "user": _OPTIONAL_LABEL,
            "provider": {"$ref": "#/components/schemas/Preferences"},
        },
    },
    "Preferences": {
        "type": ["object", "null"],
        "description": "Wishes for this request, as OpenRouter's; names are of models and providers.",
        "additionalProperties": False,
        "properties": {
            "order": _NAMES,
            "only": _NAMES,
            "ignore": _NAMES,
            "sort": {"enum": ["price", "latency", None]},
            "max_price": {
                "type": ["object", "null"],
                "description": "Dollars per million tokens.",
                "additionalProperties": False,
                "properties": {"prompt": _USD, "completion": _USD},
            },
            "allow_fallbacks": {"type": "boolean"},
            "deterministic": {"type": "boolean"},
            "data_collection": {"enum": ["allow", "deny"]},
            "zdr": {"type": "boolean"},
            "data_policy": _NAMES,
            "regions": _NAMES,
            "min_quality": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "max_cost_usd": _USD,
            "max_latency_ms": {"type": ["number", "null"], "minimum": 0},
        },
    },
    "ResponsesRequest": {
        "type": "object",
        "description": (
            "OpenAI's; members that are not listed reach a provider that speaks this API untouched, and"
            " exclude every other."
        ),
        "properties": {
            "model": {**_LABEL, "description": "A model of the catalog, or `auto`.", "default": "auto"},
            "input": {
                "description": "Missing only beside `previous_response_id`, `conversation` or `prompt`.",
                "oneOf": [
                    {"type": "string"},
                    {"type": "array", "minItems": 1, "items": {"type": "object"}},
                    {"type": "null"},
                ],
            },
            "instructions": {"type": ["string", "null"]},
            "tools": {"type": ["array", "null"], "items": {"type": "object"}},
            "text": {"type": ["object", "null"]},
            "reasoning": {"type": ["object", "null"]},
            "stream": {"type": ["boolean", "null"]},
            "user": _OPTIONAL_LABEL,
            "provider": {"$ref": "#/components/schemas/Preferences"},
        },
    },
    "ResponseObject": {
        "type": "object",
        "description": "OpenAI's; with `stream`, server-sent events that end with one in `response`.",
        "required": ["id", "object", "output"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "response"},
            "status": {"type": "string"},
            "output": {"type": "array", "items": {"type": "object"}},
            "usage": {"type": ["object", "null"]},
        },
    },
    "EmbeddingsRequest": {
        "type": "object",
        "description": "OpenAI's; members that are not listed reach the provider untouched.",
        "required": ["input"],
        "properties": {
            "model": {
                **_LABEL,
                "description": (
                    "A name of vectors, a model that embeds, or `auto` where the catalog has one kind of"
                    " vectors."
                ),
                "default": "auto",
            },
            "input": {
                "oneOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
                    _TOKENS,
                    {"type": "array", "minItems": 1, "items": _TOKENS},
                ]
            },
            "user": _OPTIONAL_LABEL,
            "provider": {"$ref": "#/components/schemas/Preferences"},
        },
    },
    "SessionUsage": {
        "type": "object",
        "description": "Null means that no request reported the quantity.",
        "required": ["session_id", "counted_since", "is_complete", *_SUMS["required"], "models"],
        "properties": {
            "object": {"const": "session.usage"},
            "session_id": {"type": "string"},
            "counted_since": {"type": "string", "format": "date-time"},
            "is_complete": {
                "type": "boolean",
                "description": "False if a stored file of records cannot be read.",
            },
            "first_at": {"type": "string", "format": "date-time"},
            "last_at": {"type": "string", "format": "date-time"},
            **_SUMS["properties"],
            "models": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["model", *_SUMS["required"]],
                    "properties": {"model": {"type": "string"}, **_SUMS["properties"]},
                },
            },
        },
    },
    "Embeddings": {
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {"type": "array", "items": {"type": "object", "required": ["embedding"]}},
            "usage": {"type": "object"},
        },
    },
    "MessagesRequest": {
        "type": "object",
        "description": "Anthropic's.",
        "required": ["messages"],
        "properties": {
            "model": {
                **_LABEL,
                "description": "A model of the catalog, its name at Anthropic, or `auto`.",
                "default": "auto",
            },
            "messages": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["role", "content"],
                    "properties": {
                        "role": {"enum": ["user", "assistant"]},
                        "content": {"oneOf": [{"type": "string"}, _OBJECTS]},
                    },
                },
            },
            "max_tokens": {"description": "An integer, which is the provider's to judge."},
        },
    },
    "Decision": {
        "type": "object",
        "required": [field.name for field in fields(Decision)],
        "properties": {
            "model": _LABEL,
            "provider": _LABEL,
            "fallbacks": {"type": "array", "items": _LABEL},
            "propensity": {"type": "number"},
            "candidates": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Feedback": {
        "type": "object",
        "required": ["request_id", "value"],
        "additionalProperties": False,
        "properties": {
            "request_id": {
                "type": "string",
                "format": "uuid",
                "description": "The `x-request-id` of an answer: a UUIDv7, whose moment has been.",
            },
            "metric": {
                "type": "string",
                "minLength": 1,
                "maxLength": 64,
                "pattern": _PRINTABLE,
                "default": "quality",
            },
            "value": {"type": "number", "minimum": 0, "maximum": 1},
            "source": {"enum": list(get_args(FeedbackSource)), "default": "user"},
            "comment": {"type": ["string", "null"], "maxLength": MAX_COMMENT_LENGTH},
        },
    },
    "NewKey": {
        "type": "object",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {
            "name": _LABEL,
            "scopes": {"type": "array", "minItems": 1, "items": {"enum": list(get_args(Scope))}},
            "models": {**_NAMES, "minItems": 1},
            "organization_id": _OPTIONAL_LABEL,
            "user_id": _OPTIONAL_LABEL,
            "expires_at": {"type": ["string", "null"], "format": "date-time"},
        },
    },
    "Rotation": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"grace_s": {"type": "number", "minimum": 0, "maximum": 31_536_000}},
    },
    "DocumentChange": {
        "type": "object",
        "required": ["content"],
        "additionalProperties": False,
        "properties": {
            "content": {
                "type": ["string", "null"],
                "description": "The text of the document; null removes it.",
            }
        },
    },
    "Models": {
        "type": "object",
        "description": "OpenAI's list, or Anthropic's for a client that sends `anthropic-version`.",
        "required": ["data"],
        "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"type": "object"}}},
    },
    "Model": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                },
            }
        },
    },
    "AnthropicError": {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            },
            "request_id": {"type": "string"},
        },
    },
}
HEADER_SCHEMAS: dict[str, dict[str, Any]] = {
    "x-intellirouter-task": _LABEL,
    "x-intellirouter-policy": _LABEL,
    "x-session-id": _LABEL,
    "openai-organization": _LABEL,
    "x-intellirouter-tags": {
        "type": "string",
        "description": "`team=search, feature=faq`",
        "pattern": "^$|^[^=, ][^=,]*=[^,]*(,[^=, ][^=,]*=[^,]*)*$",
        "maxLength": 200,
    },
    "x-intellirouter-attempts": {"type": "integer", "minimum": 1},
    "x-intellirouter-overhead-ms": {"type": "number", "minimum": 0},
    "x-intellirouter-cost-usd": {"type": "number", "minimum": 0},
    "retry-after": {"type": "integer", "minimum": 1},
}
"""Schemas of headers and path parameters that do not accept any text."""
