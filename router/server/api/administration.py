"""`/admin/v1`: keys and configuration over HTTP. Each change is an event of the audit trail.

A caller without a key administers nothing, wherever it comes from. A key can give only rights that it has
itself, and a key of an organisation sees and makes only keys of that organisation.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

from router.configuration.changing import apply
from router.configuration.documents import EDITED, digest_of
from router.configuration.opening import open_source
from router.errors import (
    ConfigConflictError,
    ConfigError,
    ForbiddenError,
    IntelliRouterError,
    RequestError,
    nearest,
)
from router.keys import changes
from router.keys.keys import Scope, now
from router.keys.opening import open_key_store
from router.server.http import json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.configuration.source import Version
    from router.keys.keys import Caller, KeyEntry, KeyStore
    from router.server.http import HttpRequest, HttpResponse
    from router.server.shim import Shim

KEYS_PATH = "/admin/v1/keys"
CONFIG_PATH = "/admin/v1/config/{document}"
DEFAULT_SCOPES: tuple[Scope, ...] = ("route", "feedback")
NONE_YET = '"none"'
"""The `etag` of a document that does not exist."""
_KEY_MEMBERS = ("name", "scopes", "models", "organization_id", "user_id", "expires_at")
MAX_GRACE_S = 365 * 86_400


class NotFoundError(RequestError):
    """There is no such key or document for this caller."""

    code = "not_found"
    http_status = 404


class PreconditionError(RequestError):
    """The document is not the one that the change was made from."""

    code = "precondition_failed"
    http_status = 412


class PreconditionMissingError(RequestError):
    """The change does not say which document it was made from."""

    code = "precondition_required"
    http_status = 428


async def list_keys(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /admin/v1/keys`."""
    entries = await _with_keys(shim, lambda store: store.read().keys)
    data = [_shown(entry) for entry in entries if _is_of(entry, http.caller)]
    return json_response({"object": "list", "data": data})


async def create_key(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`POST /admin/v1/keys`. The answer holds the token, this once."""
    body, caller = http.body, http.caller
    _check_members(body, _KEY_MEMBERS)
    organization = _label(body, "organization_id") or caller.organization_id
    if caller.organization_id not in (None, organization):
        raise ForbiddenError(
            f"key `{caller.key_id}` makes keys of organization `{caller.organization_id}` only"
        )
    name = _label(body, "name")
    if name is None:
        raise RequestError("`name` is missing: say what the key is for", param="name")
    scopes = _scopes(body, caller)
    models = _models(body, caller, shim)
    expires_at = _moment(body)

    def create(store: KeyStore) -> tuple[KeyEntry, str]:
        return changes.create(
            store,
            name=name,
            scopes=scopes,
            models=models,
            organization_id=organization,
            user_id=_label(body, "user_id"),
            expires_at=expires_at,
            actor=_actor(caller),
        )

    entry, token = await _with_keys(shim, create)
    return json_response({**_shown(entry), "token": token}, status=201)


async def rotate_key(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`POST /admin/v1/keys/{id}/rotate`. The answer holds the new token, this once."""
    _check_members(http.body, ("grace_s",))
    grace_s = http.body.get("grace_s", 86_400)
    if isinstance(grace_s, bool) or not isinstance(grace_s, int | float) or not 0 <= grace_s <= MAX_GRACE_S:
        raise RequestError(f"`grace_s` must be 0 to {MAX_GRACE_S} seconds", param="grace_s")
    key_id = await _own_key(shim, http)

    def rotate(store: KeyStore) -> tuple[KeyEntry, str]:
        return changes.rotate(store, key_id, grace=timedelta(seconds=grace_s), actor=_actor(http.caller))

    entry, token = await _with_keys(shim, rotate)
    return json_response({**_shown(entry), "token": token})


async def revoke_key(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`POST /admin/v1/keys/{id}/revoke`."""
    key_id = await _own_key(shim, http)
    entry = await _with_keys(shim, lambda store: changes.revoke(store, key_id, actor=_actor(http.caller)))
    return json_response(_shown(entry))


async def get_document(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /admin/v1/config/{document}`."""
    name = _document(http)

    def read() -> tuple[bytes | None, Version | None]:
        with closing(open_source(shim.router.settings)) as source:
            return source.read().get(name), source.newest()

    content, version = await _changed(read)
    return _as_answer(name, content, version)


async def put_document(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`PUT /admin/v1/config/{document}`, with the `etag` of the document that was changed in `if-match`."""
    name, expected = _document(http), http.headers.get("if-match")
    if expected is None:
        raise PreconditionMissingError(
            "the header `if-match` is missing: send the `etag` of the document that you changed"
        )
    _check_members(http.body, ("content",))
    text = http.body.get("content")
    if text is not None and not isinstance(text, str):
        raise RequestError(
            "`content` must be the text of the document, or null to remove it", param="content"
        )
    if "content" not in http.body:
        raise RequestError("`content` is missing: send the text, or null to remove it", param="content")
    try:
        wanted = None if text is None else text.encode()
    except UnicodeEncodeError:
        raise RequestError("`content` is not UTF-8", param="content") from None
    settings = shim.router.settings

    def put() -> tuple[bytes | None, Version | None]:
        with closing(open_source(settings)) as source:
            newest = source.newest()
            if _etag(source.read().get(name)) != expected:
                raise PreconditionError(
                    f"`{name}` is no longer the one of `if-match`: read it, and change it again"
                )
            try:
                version = apply(
                    source,
                    settings,
                    {name: wanted},
                    expected=None if newest is None else newest.number,
                    author=_actor(http.caller),
                )
            except ConfigConflictError as error:
                raise PreconditionError(f"{error}") from error
            return wanted, version

    content, version = await _changed(put)
    await asyncio.to_thread(_refresh, shim)
    return _as_answer(name, content, version)


def _refresh(shim: Shim) -> None:
    """Take the change now. If something else cannot be used, `/health` says so."""
    try:
        shim.router.refresh()
    except (IntelliRouterError, OSError):
        return


async def _changed(change: Callable[[], Any]) -> Any:
    """Run a change outside of the event loop. A refusal of its content is the caller's to mend."""
    try:
        return await asyncio.to_thread(change)
    except IntelliRouterError as error:
        if isinstance(error, ConfigError):
            raise RequestError(str(error)) from error
        raise


async def _with_keys(shim: Shim, work: Callable[[KeyStore], Any]) -> Any:
    """Work on the keys, in the file or in the database."""

    def run() -> Any:
        with closing(open_key_store(shim.router.settings)) as store:
            return work(store)

    return await _changed(run)


def _as_answer(name: str, content: bytes | None, version: Version | None) -> HttpResponse:
    shown = {
        "object": "document",
        "document": name,
        "content": None if content is None else content.decode("utf-8", errors="replace"),
        "version": None if version is None else version.number,
        "config_hash": None if version is None else version.config_hash,
    }
    return json_response(shown, headers={"etag": _etag(content)})


def _etag(content: bytes | None) -> str:
    return NONE_YET if content is None else f'"{digest_of(content)}"'


def _document(http: HttpRequest) -> str:
    name = http.parameters["document"]
    found = next((known for known in EDITED if name in (known, known.removesuffix(".yaml"))), None)
    if found is None:
        raise NotFoundError(
            f"there is no document `{name:.80}`: {nearest(name[:80], EDITED)}", param="document"
        )
    return found


async def _own_key(shim: Shim, http: HttpRequest) -> str:
    """The id in the path, if the caller may change that key."""
    key_id = http.parameters["id"]
    entries = await _with_keys(shim, lambda store: store.read().keys)
    for entry in entries:
        if entry.id == key_id and _is_of(entry, http.caller):
            _require_all(entry.scopes, http.caller)
            return key_id
    raise NotFoundError(f"no key `{key_id:.80}`: `GET {KEYS_PATH}` lists them", param="id")


def _is_of(entry: KeyEntry, caller: Caller) -> bool:
    return caller.organization_id in (None, entry.organization_id)


def _require_all(scopes: Sequence[Scope], caller: Caller) -> None:
    """A key gives and changes no right that it lacks."""
    if "admin" in caller.scopes:
        return
    lacking = sorted(set(scopes) - caller.scopes)
    if lacking:
        raise ForbiddenError(
            f"key `{caller.key_id}` lacks the scope `{lacking[0]}`, so it cannot give or change it"
        )


def _scopes(body: dict[str, Any], caller: Caller) -> tuple[Scope, ...]:
    given = body.get("scopes", list(DEFAULT_SCOPES))
    known: tuple[Scope, ...] = get_args(Scope)
    if not isinstance(given, list) or not given:
        raise RequestError(f"`scopes` must be a list of some of {', '.join(known)}", param="scopes")
    for scope in given:
        if scope not in known:
            raise RequestError(
                f"unknown scope `{scope!r:.80}`: {nearest(str(scope)[:80], known)}", param="scopes"
            )
    scopes = tuple(scope for scope in known if scope in given)
    _require_all(scopes, caller)
    return scopes


def _models(body: dict[str, Any], caller: Caller, shim: Shim) -> tuple[str, ...] | None:
    given = body.get("models")
    if given is None:
        return None if caller.models is None else tuple(sorted(caller.models))
    known = shim.router.catalog.models
    if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
        raise RequestError("`models` must be a list of models, or null for any", param="models")
    for name in given:
        if name not in known:
            raise RequestError(f"unknown model `{name:.80}`: {nearest(name[:80], known)}", param="models")
        caller.require_model(name)
    return tuple(given)


def _moment(body: dict[str, Any]) -> datetime | None:
    given = body.get("expires_at")
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise RequestError(
            "`expires_at` must be a moment, as 2027-01-31T00:00:00Z", param="expires_at"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now():
        raise RequestError("`expires_at` is in the past", param="expires_at")
    return moment


def _label(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise RequestError(f"`{name}` must be 1 to 255 printable characters", param=name)
    return value


def _check_members(body: dict[str, Any], known: Sequence[str]) -> None:
    if unknown := sorted(body.keys() - set(known)):
        raise RequestError(
            f"unknown member `{unknown[0]:.80}`: {nearest(unknown[0][:80], known)}", param=unknown[0]
        )


def _actor(caller: Caller) -> str:
    return f"key {caller.key_id}"


def _shown(entry: KeyEntry) -> dict[str, Any]:
    """A key without its secrets."""
    shown = entry.model_dump(mode="json", exclude={"secrets"})
    return {"object": "key", **shown, "state": entry.state(now())}
