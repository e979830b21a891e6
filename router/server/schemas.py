"""JSON schemas of what the endpoints take and give, as far as the shim itself looks at it."""

from __future__ import annotations

from typing import Any

_LABEL: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
_TOKENS: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}

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
            "user": _LABEL,
            "provider": {"type": "object", "description": "Wishes for this request, as OpenRouter's."},
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
            "user": _LABEL,
            "provider": {"type": "object", "description": "Wishes for this request, as OpenRouter's."},
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
            "user": _LABEL,
            "provider": {"type": "object", "description": "Wishes for this request, as OpenRouter's."},
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
        "required": ["model", "messages"],
        "properties": {
            "model": {**_LABEL, "description": "A model of the catalog, its name at Anthropic, or `auto`."},
            "messages": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["role", "content"],
                    "properties": {"role": {"enum": ["user", "assistant"]}},
                },
            },
            "max_tokens": {"type": "integer", "minimum": 1},
        },
    },
    "Decision": {
        "type": "object",
        "required": ["request_id", "model", "provider", "fallbacks", "policy_id", "reason", "candidates"],
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
            "request_id": {"type": "string", "description": "The `x-request-id` of an answer."},
            "metric": {"type": "string", "default": "quality"},
            "value": {"type": "number", "minimum": 0, "maximum": 1},
            "source": {"enum": ["user", "judge", "program"], "default": "user"},
            "comment": {"type": ["string", "null"]},
        },
    },
    "Models": {
        "type": "object",
        "required": ["object", "data"],
        "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"type": "object"}}},
    },
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
}
