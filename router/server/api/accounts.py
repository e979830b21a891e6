"""`GET /v1/usage` and `GET /v1/budgets`: the caller's own use and money.

A key that belongs to an organisation sees that organisation. A key without one, or a caller on this
machine without a key, names it with `openai-organization`, as its requests do.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from router.errors import RequestError
from router.limits.counters import Subjects
from router.request.usage import GROUPS, usage_file
from router.server.http import json_response

if TYPE_CHECKING:
    from pathlib import Path

    from router.server.http import HttpRequest, HttpResponse
    from router.server.shim import Shim

SUMS = ("requests", "successes", "tokens_input", "tokens_output")


async def budgets(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/budgets`: live, with the requests in flight."""
    caller = http.caller
    user = caller.user_id or http.query.get("user")
    subjects = Subjects(caller.key_id, user, _organization(http))
    found = await shim.router.budgets(subjects)
    return json_response({"object": "list", "data": [balance.facts() for balance in found]})


async def usage(shim: Shim, http: HttpRequest) -> HttpResponse:
    """`GET /v1/usage`: from the file that the pipelines published last."""
    since, until = _day(http, "from"), _day(http, "to")
    groups = [part.strip() for part in http.query.get("by", ",".join(GROUPS)).split(",")]
    for group in groups:
        if group not in GROUPS:
            raise RequestError(f"`by` takes {', '.join(GROUPS)}, got `{group:.40}`", param="by")
    path = usage_file(shim.router.settings.home, _organization(http))
    published = await asyncio.to_thread(_read, path)
    data = _summed(published["rows"], groups, since, until)
    facts = {name: published[name] for name in ("published_at", "since", "as_of")}
    facts["savings"] = published.get("savings")  # None: no baseline, or a file of an earlier release
    return json_response({"object": "list", "organization_id": _organization(http), **facts, "data": data})


def _organization(http: HttpRequest) -> str | None:
    return http.caller.organization_id or http.headers.text("openai-organization") or None


def _read(path: Path) -> dict[str, Any]:
    """The file's content. Without a file nothing is known yet."""
    try:
        content: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {"published_at": None, "since": None, "as_of": None, "rows": []}
    return content


def _summed(
    rows: list[dict[str, Any]], groups: list[str], since: date | None, until: date | None
) -> list[dict[str, Any]]:
    """The rows of the days, added up over the groups that were not asked for."""
    found: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(
        lambda: {**dict.fromkeys(SUMS, 0), "requests_with_cost": 0, "cost_usd": Decimal(0)}
    )
    for row in rows:
        day = date.fromisoformat(row["day"])
        if (since is not None and day < since) or (until is not None and day > until):
            continue
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
