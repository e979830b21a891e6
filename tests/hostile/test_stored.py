"""What is accepted is stored as it was sent: no label and no comment changes on its way to the warehouse."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import httpx
import pyarrow.parquet as pq
import pytest

from pipelines.refresh import refresh
from router.config import Settings
from router.journal.manifests import Manifest
from router.settings.printing import FORMULA
from tests.hostile.target import CHAT, Target, target

if TYPE_CHECKING:
    from pathlib import Path

LABELS = [
    "'; drop table request_analytics; --",
    "' or '1'='1",
    "\"; select * from read_text('/etc/passwd'); --",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example","x")',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "$(id) `id`",
    "%s%n%x",
    "%00%0d%0a",
    r"\x00 \N \u0000",
    "../../../etc/passwd",
    "C:\\windows\\system32",
    "<script>alert(1)</script>",
    "a;b|c\"d'e`f",
    "NULL",
    "null",
    "None",
    "NaN",
    "true",
    "0",
    "-0",
    "1e10",
    "0x10",
    "9" * 255,
    "2026-01-01",
    "*",
    "auto",
    "__proto__",
    "Łódź",
    "日本語",
    "\U0001d4ca\U0001d4c3\U0001d4be\U0010ffff",
    "é",
    "e\u0301",  # another id than the line before, though it looks alike
    "\ufb01",
    "👩\u200d👩\u200d👧",
    "\u202eevil",
    "a\u2028b\u2029c",
    "\ufeffa",
    "\ufffd",
    "\u00a0a\u00a0",
    "a" * 255,
    "語" * 255,
]
IN_JSON_ALONE = [" leading", "trailing ", " ", "a,b=c"]
"""What a header cannot carry, or what has a meaning in `x-intellirouter-tags`."""
COMMENTS = [*LABELS, *IN_JSON_ALONE, "a\x00b", "line\r\nline\ttab\x1b[31m", "", "x" * 10_000]


@pytest.fixture(scope="module")
def sent(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, dict[str, Any]], dict[str, str]]:
    """(data folder, labels by request id, comment by request id) of a shim that has stopped."""
    labels, comments = {}, {}
    with target(tmp_path_factory.mktemp("stored")) as victim, httpx.Client(base_url=victim.url) as client:
        for label in [*LABELS, *IN_JSON_ALONE]:
            headers = {} if label in IN_JSON_ALONE else _headers(label)
            labels[_ask(client, label, headers)] = {"user_id": label, "in_headers": bool(headers)}
        for comment in COMMENTS:
            request_id = _ask(client, "critic", {})
            judgement = {"request_id": request_id, "value": 1, "comment": comment}
            assert client.post("/v1/feedback", json=judgement).status_code == 201
            comments[request_id] = comment
        _check(victim)
    return victim.home, labels, comments


def _headers(label: str) -> dict[bytes, bytes]:
    text = label.encode()
    return {
        b"x-session-id": text,
        b"openai-organization": text,
        b"x-intellirouter-tags": b"label=" + label.replace(",", ";").encode(),
    }


def _ask(client: httpx.Client, user: str, headers: dict[bytes, bytes]) -> str:
    body = {"messages": [{"role": "user", "content": "hi"}], "user": user}
    answer = client.post(CHAT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def _check(victim: Target) -> None:
    assert [json.loads(content)["user"] for _, content in victim.seen][: len(LABELS)] == LABELS
    assert victim.is_alive()
    assert victim.complaints() == []


def _rows(home: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Rows of the sealed segments that manifests vouch for, by request id."""
    rows = {}
    for path in (home / "lake" / dataset).rglob("*.json"):
        name = path.with_name(path.name.removeprefix("_")).with_suffix(".parquet")
        assert Manifest.read(path).rows == pq.ParquetFile(name).metadata.num_rows
        for row in pq.ParquetFile(name).read().to_pylist():
            rows[str(row.get("request_id") or row["id"])] = row
    return rows


def _differences(rows: dict[str, dict[str, Any]], labels: dict[str, dict[str, Any]]) -> list[Any]:
    """Labels that are stored otherwise than they were sent."""
    wrong: list[Any] = []
    for request_id, label in labels.items():
        row, text = rows[request_id], label["user_id"]
        in_headers = text if label["in_headers"] else None
        tags = {"label": text.replace(",", ";")} if label["in_headers"] else {}
        expected = text, in_headers, in_headers, tags
        kept = row["tags"]
        if isinstance(kept, list):  # in the lake pairs, in the warehouse a map
            kept = {tag["key"]: tag["value"] for tag in kept}
        stored = row["user_id"], row["session_id"], row["organization_id"], kept
        if stored != expected:
            wrong.append((stored, expected))
    return wrong


Sent = tuple["Path", dict[str, dict[str, Any]], dict[str, str]]


def test_labels_are_in_the_lake_as_they_were_sent(sent: Sent) -> None:
    """User, session, organisation and tags of each record; texts that look alike stay apart."""
    home, labels, _ = sent
    assert _differences(_rows(home, "request_analytics"), labels) == []


def test_comments_are_in_the_lake_as_they_were_sent(sent: Sent) -> None:
    """Also with NUL, line ends and escape sequences: a comment is somebody's text."""
    home, _, comments = sent
    stored = {request_id: row["comment"] for request_id, row in _rows(home, "feedback").items()}
    assert stored == comments


@pytest.mark.slow
def test_the_warehouse_says_the_same(sent: Sent) -> None:
    """Loading and rolling up run no text, change none, and the CSV that is exported holds them all."""
    home, labels, comments = sent
    settings = Settings.load({}, home=home)
    with dg.DagsterInstance.ephemeral() as instance:
        assert refresh(settings, instance=instance).error is None
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
        found = connection.execute("from request_analytics")
        names = [column[0] for column in found.description]
        rows = {str(row[names.index("id")]): dict(zip(names, row, strict=True)) for row in found.fetchall()}
        assert _differences(rows, labels) == []
        told = connection.execute("select request_id, comment from feedback").fetchall()
        assert {str(request_id): comment for request_id, comment in told} == comments
    command = [sys.executable, "-m", "router.cli", "sql", "--home", str(home), "--format", "csv",
               "select user_id from request_analytics where user_id != 'critic'"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=True)
    users = [row["user_id"] for row in csv.DictReader(io.StringIO(done.stdout.decode(), newline=""))]
    # A spreadsheet must not run a name as a formula, so that the file has an apostrophe before it.
    named = [label["user_id"] for label in labels.values()]
    assert sorted(users) == sorted(f"'{name}" if name.startswith(FORMULA) else name for name in named)
