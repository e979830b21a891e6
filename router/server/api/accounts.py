"""`GET /v1/usage`, sessions, `GET /v1/budgets` and `GET /reports`: the caller's own use and money.

A key that belongs to an organisation sees that organisation. A key without one, or a caller on this
machine without a key, names it with `openai-organization`, as its requests do.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import RequestError
from router.limits.counters import Subjects
from router.request.usage import GROUPS, USAGE_COLUMNS, USAGE_INDEX, reports_folder, usage_folder
from router.server.errors import error_body
from router.server.http import HttpResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from router.server.http import HttpRequest
    from router.server.shim import Shim

HTML = "text/html; charset=utf-8"
CLOSED = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
    "cache-control": "private, no-cache",
}
"""A page runs nothing, and no cache between the caller and the router keeps it."""
SUMS = ("requests", "successes", "tokens_input", "tokens_output")


async def budgets(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/budgets`: live, with the requests in flight."""
    caller = http.caller
    user = caller.user_id or http.query.get("user")
    subjects = Subjects(caller.key_id, user, _organization(http))
    found = await shim.router.budgets(subjects)
    return json_response({"object": "list", "data": [balance.facts() for balance in found]})


async def usage(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/usage`: from the files that the pipelines published last."""
    since, until = _day(http, "from"), _day(http, "to")
    groups = [part.strip() for part in http.query.get("by", ",".join(GROUPS)).split(",")]
    for group in groups:
        if group not in GROUPS:
            raise RequestError(f"`by` takes {', '.join(GROUPS)}, got `{group:.40}`", param="by")
    folder = usage_folder(shim.router.settings.home, _organization(http))
    facts, data = await asyncio.to_thread(_published, folder, groups, since, until)
    return json_response({"object": "list", "organization_id": _organization(http), **facts, "data": data})


async def session_usage(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/sessions/{session}/usage`: from the records, so that the last reply counts.

    A session belongs to the key and the organisation of its requests. To others it does not exist.
    """
    session_id, organization = http.parameters["session"], _organization(http)
    found = await shim.session_usage.find(session_id, http.caller.key_id, organization)
    if found is None:
        hours = shim.router.settings.session_usage_hours
        message = (
            f"no request of session `{session_id:.80}` is recorded for this key and organisation in the last"
            f" {hours} hours: send the key, and `openai-organization`, that the requests were sent with"
        )
        return json_response(error_body(404, message, code="session_not_found", param="session"), status=404)
    return json_response({"object": "session.usage", "session_id": session_id, **found})


async def report(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /reports` and `GET /reports/{id}`: the pages that the pipelines published last."""
    name = http.parameters.get("id", "index")
    folder = reports_folder(shim.router.settings.home, _organization(http))
    if re.fullmatch(r"[a-z][a-z-]{0,63}", name):
        try:
            page = await asyncio.to_thread((folder / f"{name}.html").read_bytes)
            return HttpResponse(page, media_type=HTML, headers=CLOSED)
        except FileNotFoundError:
            pass
    message = (
        f"no report `{name:.64}` is published for your organisation: set REPORTS=true where the pipelines"
        " run, or run `intellirouter publish-reports`. `GET /reports` lists those there are"
    )
    return json_response(error_body(404, message, code="report_not_found", param="id"), status=404)


def _organization(http: HttpRequest) -> str | None:
    return http.caller.organization_id or http.headers.text("openai-organization") or None


def _published(
    folder: Path, groups: list[str], since: date | None, until: date | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The published facts, and the rows of the days. Without files nothing is known yet."""
    index: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        index = orjson.loads((folder / USAGE_INDEX).read_bytes())
    facts = {name: index.get(name) for name in ("published_at", "since", "as_of", "savings")}
    return facts, _summed(_rows(folder, index.get("days", ()), since, until), groups)


def _rows(
    folder: Path, days: Iterable[str], since: date | None, until: date | None
) -> Iterator[dict[str, Any]]:
    """The rows of the days that were asked for."""
    for text in days:
        day = date.fromisoformat(text)
        if (since is not None and day < since) or (until is not None and day > until):
            continue
        try:
            parts = orjson.loads((folder / f"{text}.json").read_bytes())
        except FileNotFoundError:
            continue  # retention or an erasure removed the day since we read the index
        for model, task, users in parts:
            named = {"day": text, "model": model, "task": task}
            yield from ({**named, **dict(zip(USAGE_COLUMNS, row, strict=True))} for row in users)


def _summed(rows: Iterable[dict[str, Any]], groups: list[str]) -> list[dict[str, Any]]:
    """The rows, added up over the groups that were not asked for."""
    found: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(
        lambda: {**dict.fromkeys(SUMS, 0), "requests_with_cost": 0, "cost_usd": Decimal(0)}
    )
    for row in rows:
        total = found[tuple(row[name] for name in groups)]
        for name in (*SUMS, "requests_with_cost"):
            total[name] += row[name]
        if row["cost_usd"] is not None:
            total["cost_usd"] += Decimal(row["cost_usd"])
    data = []
    for key in sorted(found, key=lambda key: tuple((part is None, part or "") for part in key)):
        total = found[key]
        cost = total["cost_usd"] if total["requests_with_cost"] else None
        data.append({**dict(zip(groups, key, strict=True)), **total, "cost_usd": cost})
    return data


def _day(http: HttpRequest, name: str) -> date | None:
    text = http.query.get(name)
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise RequestError(f"`{name}` must be a day, as 2026-11-30, got `{text:.40}`", param=name) from None
