"""Translate requests for embeddings to Gemini's batchEmbedContents, and its vectors back.

Source: Google's API reference (embeddings).
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

from router.translate.gemini.answers import chat_usage
from router.translate.gemini.requests import API, GOOGLE
from router.translate.members import items, only, optional, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.translate.members import LeftOut

OWN = {"task_type": "taskType", "title": "title"}
"""Members of `google` for embeddings."""
FORMATS = ("float", "base64")


def batch_request(body: Mapping[str, Any], left: LeftOut, *, name: str) -> dict[str, Any]:
    """Translate a request for embeddings. RequestError names a member that Gemini lacks."""
    given = {key: value for key, value in body.items() if value is not None and key != "model"}
    texts = given.pop("input", None)
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        refuse("input", f"must be texts, because {API} takes no token numbers")
    options = {}
    if "dimensions" in given:
        options["outputDimensionality"] = given.pop("dimensions")
    wanted = given.pop("encoding_format", "float")
    if wanted not in FORMATS:
        refuse("encoding_format", f"is `{wanted!s:.40}`; use one of {', '.join(FORMATS)}")
    if given.pop("user", None):
        left.hint("user")
    own = {**optional(optional(given.pop("extra_body", None), "extra_body").get(GOOGLE), GOOGLE)}
    own |= optional(given.pop(GOOGLE, None), GOOGLE)
    only(own, OWN, GOOGLE, api=API)
    only(given, (), "", api=API)
    options |= {OWN[key]: value for key, value in own.items()}
    return {
        "requests": [
            {"model": f"models/{name}", "content": {"parts": [{"text": text}]}, **options} for text in texts
        ]
    }


def vectors_of(answer: Mapping[str, Any], *, model: str, is_base64: bool) -> dict[str, Any]:
    """OpenAI's list of embeddings. RequestError if the answer is malformed."""
    made: dict[str, Any] = {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": place, "embedding": _vector(row.get("values"), is_base64)}
            for place, row in enumerate(items(answer.get("embeddings"), "embeddings"))
        ],
    }
    counted = chat_usage(answer)
    if counted is not None:
        made["usage"] = {**counted, "total_tokens": counted["prompt_tokens"]}
        made["usage"].pop("completion_tokens")
    return made


def _vector(values: Any, is_base64: bool) -> list[float] | str:
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        refuse("values", "must be numbers")
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode() if is_base64 else values
