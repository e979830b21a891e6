"""The error of any provider: the sentence that says why, its code, its member and its status.

| server | body |
| --- | --- |
| OpenAI, Azure, Groq, DeepSeek | `{"error": {"message", "type", "param", "code"}}` |
| Anthropic | `{"type": "error", "error": {"type", "message"}}` |
| Gemini | `[{"error": {"code": 400, "message", "status"}}]`, also without the list |
| OpenRouter | `{"error": {"code": 402, "message", "metadata": {"raw"}}}` |
| vLLM, SGLang | `{"object": "error", "message", "type", "param", "code": 400}` |
| Mistral | `{"object": "error", "message": {"detail": [{"msg", "loc"}]}, "type"}` |
| FastAPI | `{"detail": [{"msg", "loc"}]}`, or with a text |
| Cohere, Cerebras, DashScope | `{"message", "code"}` |
| Bedrock | `{"message", "__type"}` |
| Ollama, TGI | `{"error": "…", "error_type"}` |
| MiniMax | `{"base_resp": {"status_code", "status_msg"}}` |
| Cloudflare, others | `{"errors": [{"message", "code"}]}` |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from router.providers.reading.texts import NotJsonError, clean, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH = 4
"""Levels of objects in objects that are searched for the sentence."""
SENTENCES = ("message", "msg", "error_message", "error_msg", "status_msg", "errorMessage", "Message",
             "detail", "details", "title", "description", "reason")  # fmt: skip
CODES = ("code", "error_code", "errorCode", "__type", "status", "type", "error_type", "Code", "status_code")
MAX_TEXT = 300
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_PARAM = re.compile(r"[A-Za-z_][\w.\[\]-]{0,99}")
_SPACE = re.compile(r"[\x00-\x20\x7f-\x9f]+")
_HTML = re.compile(r"<[a-zA-Z!/]")

STATUSES: Mapping[str, int] = {
    **dict.fromkeys(
        ("invalid_request_error", "invalid_argument", "failed_precondition", "out_of_range", "bad_request",
         "badrequesterror", "bad_request_error", "validationexception", "validation_error",
         "invalid_request", "context_length_exceeded", "string_above_max_length", "unsupported_value",
         "unsupported_parameter", "content_filter", "invalidparameter", "model_decommissioned"),
        400,
    ),
    **dict.fromkeys(
        ("authentication_error", "unauthenticated", "invalid_api_key", "unrecognizedclientexception"), 401
    ),
    **dict.fromkeys(("billing_error", "insufficient_credits", "payment_required", "arrearage"), 402),
    **dict.fromkeys(("permission_error", "permission_denied", "accessdeniedexception"), 403),
    **dict.fromkeys(
        ("not_found_error", "not_found", "notfounderror", "model_not_found", "resourcenotfoundexception"), 404
    ),
    **dict.fromkeys(("request_too_large", "payload_too_large"), 413),
    **dict.fromkeys(
        ("insufficient_quota", "rate_limit_exceeded", "rate_limit_error", "rate_limited",
         "resource_exhausted", "throttlingexception", "toomanyrequestsexception", "too_many_requests",
         "throttling", "servicequotaexceededexception", "quota_exceeded"),
        429,
    ),
    **dict.fromkeys(
        ("api_error", "server_error", "internal", "internal_error", "internalservererror",
         "internal_server_error", "internalserverexception", "modelerrorexception",
         "modelstreamerrorexception"),
        500,
    ),
    **dict.fromkeys(
        ("unavailable", "serviceunavailableexception", "service_unavailable", "modelnotreadyexception"), 503
    ),
    **dict.fromkeys(
        ("timeout_error", "deadline_exceeded", "modeltimeoutexception", "vector_store_timeout"), 504
    ),
    **dict.fromkeys(("overloaded_error", "overloaded", "engine_overloaded_error"), 529),
}  # fmt: skip
"""The HTTP status that an error's code means, for errors that come under status 200. Lower case."""
_BAD_REQUEST = re.compile(
    r"(?:invalid|image|unsupported_image|empty_image)_|context_length|failed_to_download|\w+_policy"
)
"""Other codes of errors in the request."""
USED_UP = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "insufficient_credits", "quota_exceeded",
     "insufficient_user_quota", "arrearage", "exceeded_current_quota_error", "billing_not_active",
     "servicequotaexceededexception"}
)  # fmt: skip
"""Codes of a quota that is used up: asking again does not help until the bill is paid."""
FILTERED = frozenset(
    {"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed",
     "datainspectionfailed", "moderation_blocked", "content_filtered", "sensitive", "safety",
     "prohibited_content", "contentfilter", "cyber_policy_violation", "bio_policy_violation", "1301",
     "content_moderation", "input_moderation", "blocked_by_content_filter", "policy_violation"}
)  # fmt: skip
"""Codes of a content filter."""
GONE = frozenset(
    {"model_not_found", "model_decommissioned", "modelnotfound", "model_not_exist", "invalid_model",
     "deploymentnotfound", "model_deprecated", "model_retired", "not_found_model", "model_not_available",
     "unknown_model", "model_not_supported", "model_terms_required"}
)  # fmt: skip
"""Codes of a model that the provider does not have, or has no more."""
_GONE_TEXT = re.compile(
    r"\bmodel\b.{0,120}?\b(?:decommissioned|has been (?:retired|removed|shut ?down|discontinued|deprecated)"
    r"|(?:does not|doesn't) exist|is not a valid model|no longer (?:available|supported))"
    r"|\b(?:not a valid model id|no endpoints found for|unknown model)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error, as a provider says it. None: it does not say."""

    message: str | None = None
    code: str | None = None
    """The provider's own name of the failure, an identifier. Any other text could quote the request."""
    kind: str | None = None
    """OpenAI's and Anthropic's `type`, an identifier."""
    param: str | None = None
    status: int | None = None
    """The HTTP status that the body names, or that its code means."""
    names: frozenset[str] = frozenset()
    """All codes of the error in lower case, the inner ones too."""
    is_moderated: bool = False
    """Whether it reports the result of a moderation (OpenRouter)."""

    @property
    def name(self) -> str | None:
        """The code, else the type."""
        return self.code or self.kind

    @property
    def is_used_up(self) -> bool:
        """Whether a quota is used up."""
        return bool(self.names & USED_UP)

    @property
    def is_filtered(self) -> bool:
        """Whether a content filter refuses the request."""
        return self.is_moderated or bool(self.names & FILTERED)

    @property
    def is_gone(self) -> bool:
        """Whether the provider does not have the model."""
        return bool(self.names & GONE) or _GONE_TEXT.search(self.message or "") is not None


def refusal_of(raw: bytes) -> Refusal:
    """The error in the body of a reply that is not a success."""
    try:
        body = clean(loads(raw).value)
    except NotJsonError:
        return Refusal(message=_plain(raw))
    return said_by(body)


def said_by(body: object) -> Refusal:
    """The error that an object reports, in any of the shapes above."""
    if isinstance(body, list):
        body = next((item for item in body if isinstance(item, dict)), None) or {"message": _sentence(body)}
    if isinstance(body, str):
        return Refusal(message=_line(body))
    if not isinstance(body, dict):
        return Refusal()
    inner = next((body[name] for name in ("error", "errors", "base_resp", "Error") if body.get(name)), None)
    if isinstance(inner, list):
        inner = next(iter(inner), None)
    told = _told(inner if isinstance(inner, dict) else body)
    outer = _told(body) if isinstance(inner, dict) else told
    if isinstance(inner, str):
        # `{"error": "Bad Request", "message": "why"}` is Spring's: the longer text says more.
        message = max((inner, _sentence(body) or ""), key=len)
        told = replace(told, message=_line(message))
    return replace(
        told,
        message=told.message or outer.message,
        code=told.code or outer.code,
        param=told.param or outer.param,
        status=told.status or outer.status,
        names=told.names | outer.names,
    )


def first_object(value: object) -> Mapping[str, Any]:
    """The object, or the first one of a list (Gemini's errors are lists); empty if there is none."""
    if isinstance(value, list):
        value = next(iter(value), None)
    return value if isinstance(value, dict) else {}


def is_refusal(body: Mapping[str, Any]) -> bool:
    """Whether an object under status 200, without choices and usage, reports an error."""
    if body.get("error") or body.get("errors") or body.get("Error"):
        return True
    if (
        body.get("object") == "error"
        or body.get("type") == "error"
        or body.get("status") in ("error", "failed")
    ):
        return True
    base = body.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return True
    if any(name in body for name in ("message", "msg", "detail", "error_message", "error_msg", "error_code")):
        return True
    return any(_is_status(body.get(name)) for name in ("code", "status", "status_code", "statusCode"))


def _told(said: Mapping[str, Any]) -> Refusal:
    inner = [said.get(name) for name in ("innererror", "inner_error", "metadata")]
    holders = [said, *(item for item in inner if isinstance(item, dict))]
    named = [code for holder in holders for name in CODES if (code := _code(holder.get(name))) is not None]
    own = [code for name in CODES if name != "type" and (code := _code(said.get(name))) is not None]
    kind = _code(said.get("type"))
    numbered = {str(holder.get("code")) for holder in holders}
    names = frozenset(name.lower() for name in named) | {code for code in numbered if code.isdecimal()}
    numbers = [said.get(name) for name in ("code", "status_code", "statusCode", "status", "http_code")]
    status = next((int(str(number)) for number in numbers if _is_status(number)), None)
    if status is None:
        status = next((STATUSES[name.lower()] for name in named if name.lower() in STATUSES), None)
    if status is None and any(_BAD_REQUEST.match(name) for name in named):
        status = 400
    param = said.get("param")
    if not isinstance(param, str):
        param = _place(said.get("detail")) or _place(said.get("message"))
    metadata = said.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return Refusal(
        message=_with_cause(_sentence(said), metadata),
        code=next(iter(own), None),
        kind=kind,
        param=param if isinstance(param, str) and _PARAM.fullmatch(param) else None,
        status=status,
        names=names,
        is_moderated=bool(metadata.get("reasons")) and "flagged_input" in metadata,
    )


def _with_cause(message: str | None, metadata: Mapping[str, Any]) -> str | None:
    """OpenRouter's sentence with the one of the provider behind it, which says why."""
    raw = metadata.get("raw")
    if isinstance(raw, str) and raw:
        try:
            cause = said_by(loads(raw.encode(errors="replace")).value).message
        except NotJsonError:
            cause = _line(raw)
    else:
        cause = _sentence(raw) if raw else None
    if cause and message and cause not in message:
        return f"{message}: {cause}"
    return message or cause


def _sentence(said: object, depth: int = 0) -> str | None:
    """The text that says why, from any level of `said`."""
    if isinstance(said, str):
        return _line(said)
    if depth >= MAX_DEPTH:
        return None
    if isinstance(said, list):
        texts = [text for item in said[:5] if (text := _sentence(item, depth + 1))]
        return "; ".join(texts) or None
    if isinstance(said, dict):
        place = _place(said)
        for name in SENTENCES:
            if (text := _sentence(said.get(name), depth + 1)) is not None:
                return f"{place}: {text}" if place and name == "msg" else text
        for name in ("error", "errors"):
            if said.get(name) and (text := _sentence(said[name], depth + 1)) is not None:
                return text
    return None


def _place(said: object) -> str | None:
    """The member that FastAPI names: `["body", "messages", 0]` as `messages.0`."""
    if isinstance(said, dict) and isinstance(said.get("detail"), list):
        said = said["detail"]
    if isinstance(said, list):
        said = next(iter(said), None)
    where = said.get("loc") if isinstance(said, dict) else None
    if not isinstance(where, list):
        return None
    parts = [str(part) for part in where if isinstance(part, str | int)]
    return ".".join(parts[1:] if parts[:1] == ["body"] else parts) or None


def _line(text: str) -> str | None:
    """One line of printable text, or None if there is nothing in it."""
    return _SPACE.sub(" ", text).strip() or None


def _plain(raw: bytes) -> str | None:
    """The text of a body that is not JSON. A page of HTML says nothing to the client."""
    text = raw[: 4 * MAX_TEXT].decode(errors="replace")
    if text.lstrip()[:1] in ("{", "["):
        return None  # broken JSON, which could hold anything
    return None if _HTML.search(text) or "\ufffd" in text else _line(text)


def _code(value: object) -> str | None:
    # Amazon writes `com.amazonaws…#ValidationException`, and a suffix behind a colon.
    if not isinstance(value, str):
        return None
    value = value.rpartition("#")[2].partition(":")[0]
    return value if _IDENTIFIER.fullmatch(value) else None


def _is_status(value: object) -> bool:
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return type(value) is int and 400 <= value < 600


def is_error_event(raw: bytes) -> bool:
    """Whether a server-sent event is named as an error (`event: error`)."""
    if raw.startswith(b"data:"):
        return False
    names = [line[6:].strip().lower() for line in raw.split(b"\n") if line.startswith(b"event:")]
    return b"error" in names or b"exception" in names
