"""The list of hostile requests that are refused: cleanly, without a call, and the shim lives on.

`pytest tests/hostile -rP` prints the table.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from router.server.guard import MAX_HEADER_BYTES, MAX_HEADERS
from tests.crash.reporting import show
from tests.hostile.target import BODY, CHAT, Target, request, target

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BODY_BYTES = 1_000_000


@dataclass(frozen=True)
class Attack:
    """Bytes, and the status they get; None: the connection may be closed without a word."""

    name: str
    content: bytes
    statuses: tuple[int | None, ...] = (400,)
    says: str = ""
    """A part of the error's message."""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Lines of the table."""
    lines: list[str] = []
    yield lines
    show("\n".join(["", "| hostile request | answer | says |", "| --- | --- | --- |", *lines]))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> Iterator[Target]:
    """One shim, which outlives all that is done to it."""
    settings = {"MAX_BODY_BYTES": str(MAX_BODY_BYTES), "BODY_TIMEOUT_S": "0.5"}
    with target(tmp_path_factory.mktemp("refused"), **settings) as one:
        yield one


def head(*lines: bytes, start: bytes = b"POST /v1/chat/completions HTTP/1.1", body: bytes = b"") -> bytes:
    """A request of the lines and nothing else."""
    return b"\r\n".join([start, b"host: shim", *lines]) + b"\r\n\r\n" + body


def body(content: bytes, *, says: str = "", path: str = CHAT) -> tuple[bytes, tuple[int, ...], str]:
    """A body that is a bad request."""
    return request(path, content), (400,), says


def chat(**members: object) -> bytes:
    """A good body with more members."""
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], **members}).encode()


def nested(depth: int) -> bytes:
    return b'{"messages": [{"role": "user", "content": "hi"}], "x": ' + b"[" * depth + b"]" * depth + b"}"


CHUNKED = b"transfer-encoding: chunked"
LENGTH = b"content-length: %d" % len(BODY)
SMUGGLING = {
    "both lengths, chunked last": head(b"content-length: 5", CHUNKED, body=b"0\r\n\r\n"),
    "both lengths, chunked first": head(CHUNKED, b"content-length: 5", body=b"0\r\n\r\n"),
    "two different lengths": head(b"content-length: 5", b"content-length: 6", body=b"{}   "),
    "two lengths in one header": head(b"content-length: 5, 5", body=b"{}   "),
    "length with a sign": head(b"content-length: +5", body=b"{}   "),
    "negative length": head(b"content-length: -1"),
    "length in hex": head(b"content-length: 0x5", body=b"{}   "),
    "length with a fraction": head(b"content-length: 5.0", body=b"{}   "),
    "length past 64 bits": head(b"content-length: 18446744073709551616"),
    "chunk size that is none": head(CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "negative chunk size": head(CHUNKED, body=b"-2\r\n{}\r\n0\r\n\r\n"),
    "chunk size with 0x": head(CHUNKED, body=b"0x2\r\n{}\r\n0\r\n\r\n"),
    "chunk size past 64 bits": head(CHUNKED, body=b"10000000000000000\r\n{}\r\n0\r\n\r\n"),
    "chunk longer than its size": head(CHUNKED, body=b"1\r\n{}\r\n0\r\n\r\n"),
    "chunk size without a line end": head(CHUNKED, body=b"2\n{}\n0\n\n"),
    "transfer-encoding: chunked, identity": head(b"transfer-encoding: chunked, identity", body=b"0\r\n\r\n"),
    "transfer-encoding: xchunked": head(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
    "transfer-encoding: gzip": head(b"transfer-encoding: gzip", body=b"0\r\n\r\n"),
    "transfer-encoding twice": head(CHUNKED, b"transfer-encoding: identity", body=b"0\r\n\r\n"),
    "space before the colon": head(b"transfer-encoding : chunked", body=b"0\r\n\r\n"),
    "space in a name": head(b"bad header: 1"),
    "empty name": head(b": 1"),
    "folded line": head(b"x-a: 1\r\n content-length: 5", LENGTH, body=BODY),
    "line that is no header": head(b"hello"),
    "NUL in a name": head(b"x-\x00a: 1"),
    "NUL in a value": head(b"x-a: b\x00c", LENGTH, body=BODY),
    "bare CR in a value": head(b"x-a: b\rc: d", LENGTH, body=BODY),
    "bare LF as line end": b"POST /v1/chat/completions HTTP/1.1\nhost: shim\n\n",
    "control character in a value": head(b"x-a: b\x01c", LENGTH, body=BODY),
}
REQUEST_LINES = {
    "garbage": b"GARBAGE\r\n\r\n",
    "TLS to a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "HTTP/9.9": head(start=b"GET /livez HTTP/9.9"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": head(start=b"HACK /livez HTTP/1.1"),
    "NUL in the path": head(start=b"GET /liv\x00ez HTTP/1.1"),
    "space in the path": head(start=b"GET /liv ez HTTP/1.1"),
    "CONNECT": head(start=b"CONNECT 169.254.169.254:80 HTTP/1.1"),
    "path with raw UTF-8": head(start="GET /v1/decisions/é HTTP/1.1".encode()),
}
HEADERS_ATTACKS = {
    "too many": (
        request(CHAT, BODY, *[b"x-%d: 1" % n for n in range(MAX_HEADERS)]),
        (431,),
        "headers are more",
    ),
    "too large": (request(CHAT, BODY, b"x-a: " + b"a" * MAX_HEADER_BYTES), (431,), "bytes of headers"),
    "10 MB": (request(CHAT, BODY, b"x-a: " + b"a" * 10_000_000), (431, None), ""),
    "path of 1 MB": (request("/" + "a" * 1_000_000, None, method="GET"), (431, 404, None), ""),
    **{
        f"{name}: {label}": (request(CHAT, BODY, name.encode() + b": " + value), (400,), "control character")
        for name in ("x-session-id", "openai-organization", "x-intellirouter-task", "x-intellirouter-policy")
        for label, value in {"C1 control": b"a\xc2\x9bb", "tab": b"a\tb"}.items()
    },
    "tags with a control": (
        request(CHAT, BODY, b"x-intellirouter-tags: a=\xc2\x9b31m"),
        (400,),
        "control character",
    ),
    "tags without a value": (request(CHAT, BODY, b"x-intellirouter-tags: a"), (400,), "key=value"),
    "33 tags": (
        request(CHAT, BODY, b"x-intellirouter-tags: " + b",".join(b"t%d=1" % n for n in range(33))),
        (400,),
        "32 tags",
    ),
    "session id of 256 characters": (request(CHAT, BODY, b"x-session-id: " + b"a" * 256), (400,), "1 to 255"),
    "tag of 256 characters": (request(CHAT, BODY, b"x-intellirouter-tags: a=" + b"b" * 256), (400,), "255"),
    "empty session id": (request(CHAT, BODY, b"x-session-id: "), (400,), "1 to 255"),
    "unknown task": (
        request(CHAT, BODY, b"x-intellirouter-task: '; drop table t; --"),
        (400,),
        "unknown task",
    ),
    "unknown policy": (
        request(CHAT, BODY, b"x-intellirouter-policy: ../../etc/passwd"),
        (400,),
        "unknown policy",
    ),
    "session id that is no UTF-8": (request(CHAT, BODY, b"x-session-id: a\xff\xfeb"), (400,), "UTF-8"),
}
BODIES = {
    "empty": body(b"", says="not valid JSON"),
    "no length at all": (request(CHAT, None), (400,), "not valid JSON"),
    "100,000 brackets": body(nested(100_000), says="not valid JSON"),
    "101 levels": body(nested(101), says="deeper"),
    "100,000 objects": body(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, says="not valid JSON"),
    "NaN": body(b'{"messages": [{"role": "user", "content": NaN}]}', says="not valid JSON"),
    "Infinity": body(b'{"temperature": Infinity, "messages": []}', says="not valid JSON"),
    "number past every float": body(b'{"temperature": 1e400, "messages": []}', says="not valid JSON"),
    "bad UTF-8": body(b'{"messages": [{"role": "user", "content": "\xff"}]}', says="not valid JSON"),
    "overlong UTF-8": body(b'{"messages": [{"role": "user", "content": "\xc0\xaf"}]}', says="not valid JSON"),
    "lone surrogate": body(rb'{"messages": [{"role": "user", "content": "\ud800"}]}', says="not valid JSON"),
    "UTF-16": body(BODY.decode().encode("utf-16"), says="not valid JSON"),
    "byte order mark": body(b"\xef\xbb\xbf" + BODY, says="not valid JSON"),
    "comment": body(b"/* */" + BODY, says="not valid JSON"),
    "trailing comma": body(b'{"messages": [],}', says="not valid JSON"),
    "two documents": body(BODY + BODY, says="not valid JSON"),
    "form": body(b"messages=hi", says="not valid JSON"),
    "list": body(b"[]", says="must be a JSON object"),
    "null": body(b"null", says="must be a JSON object"),
    "NUL in the JSON": body(b'{"messages": []\x00}', says="not valid JSON"),
    "messages: text": body(chat(messages="hi"), says="non-empty list"),
    "messages: empty": body(chat(messages=[]), says="non-empty list"),
    "role: number": body(chat(messages=[{"role": 1}]), says="`role`"),
    "model: null": body(chat(model=None), says="`model` must be a text"),
    "model: false": body(chat(model=False), says="`model` must be a text"),
    "count_tokens, model: null": body(
        chat(model=None, max_tokens=1), path="/v1/messages/count_tokens", says="`model` must be a text"
    ),
    "embeddings, model: null": body(
        b'{"input": "a", "model": null}', path="/v1/embeddings", says="`model` must be a text"
    ),
    "responses, model: null": body(
        b'{"input": "a", "model": null}', path="/v1/responses", says="`model` must be a text"
    ),
    "user: list": body(chat(user=["a"]), says="`user_id` must be a text"),
    "user: 256 characters": body(chat(user="a" * 256), says="1 to 255"),
    "user with a NUL": body(chat(user="a\x00b"), says="control character"),
    "user with CR and LF": body(chat(user="a\r\nx-evil: 1"), says="control character"),
    "model with an escape": body(chat(model="a\x1b[31m"), says="control character"),
    "provider: base_url": body(chat(provider={"base_url": "http://127.1/"}), says="unknown member"),
    "provider: infinite price": body(chat(provider={"max_price": {"prompt": "inf"}}), says="max_price"),
    "provider: price of a sign": body(chat(provider={"max_price": {"prompt": "-1"}}), says="max_price"),
    "provider: min_quality NaN": body(chat(provider={"min_quality": "NaN"}), says="min_quality"),
    "gzip": (
        request(CHAT, gzip.compress(BODY), b"content-encoding: gzip"),
        (415,),
        "content-encoding `gzip`",
    ),
    "zstd": (request(CHAT, BODY, b"content-encoding: zstd"), (415,), "content-encoding `zstd`"),
    "gzip bomb": (
        request(CHAT, gzip.compress(b" " * 50_000_000), b"content-encoding: gzip"),
        (415,),
        "content-encoding",
    ),
    "over the limit": (request(CHAT, chat(x="a" * MAX_BODY_BYTES)), (413,), "MAX_BODY_BYTES"),
    "announced over the limit": (head(b"content-length: 999999999"), (413,), "MAX_BODY_BYTES"),
    "chunked over the limit": (
        head(CHUNKED, body=b"%x\r\n" % (2 * MAX_BODY_BYTES) + b"a" * 2 * MAX_BODY_BYTES + b"\r\n0\r\n\r\n"),
        (413, None),
        "",
    ),
    "that never comes": (head(b"content-length: 50", body=b"{"), (408,), "BODY_TIMEOUT_S"),
    "feedback: huge value": body(b'{"request_id": "x", "value": 1e308}', path="/v1/feedback"),
    "feedback: id in braces": body(
        b'{"request_id": "{01890000-0000-7000-8000-000000000000}", "value": 1}',
        path="/v1/feedback",
        says="request id",
    ),
    "feedback: id as a URN": body(
        b'{"request_id": "urn:uuid:01890000-0000-7000-8000-000000000000", "value": 1}',
        path="/v1/feedback",
        says="request id",
    ),
    "feedback: metric with an escape": body(
        b'{"request_id": "01890000-0000-7000-8000-000000000000", "value": 1, "metric": "a\\u001b[2J"}',
        path="/v1/feedback",
        says="control character",
    ),
    "messages: content of a wrong kind": body(
        b'{"model": "auto", "max_tokens": 5, "messages": [{"role": "user", "content": 5}]}',
        path="/v1/messages",
    ),
}
MODELS = [
    "../../etc/passwd", "small\x00", "small\r\nx-evil: 1", "' or 1=1 --", "=cmd|' /C calc'!A0",
    "http://127.0.0.1/", "a" * 256, "${jndi:ldap://127.0.0.1/a}", "{{7*7}}",
    "\U0001d4c8\U0001d4c2\U0001d4b6\U0001d4c1\U0001d4c1", "small ", "SMALL", "*",
]  # fmt: skip
PATHS = [
    "/v1/../v1/chat/completions", "/v1/%2e%2e/v1/chat/completions", "/v1/chat/completions%00",
    "/v1/chat%2fcompletionsx", "/v1/chat/completions;a=b", "/V1/CHAT/COMPLETIONS",
    "/v1/chat/completions%0d%0ax-evil:1", "/%ff%fe", "/..%c0%af..%c0%afetc/passwd", "/etc/passwd",
    "/%2fevil.example", "/\\evil.example", "/.git/config",
]  # fmt: skip
DECISIONS = [
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%0d%0ax-evil:1",
    "'%20or%201=1--",
    "a" * 10_000,
    "%F0%9F%92%A3",
    "%ff",
]
ATTACKS = [
    *(Attack(f"smuggling: {name}", content) for name, content in SMUGGLING.items()),
    *(Attack(f"request line: {name}", content, (400, 404, 405)) for name, content in REQUEST_LINES.items()),
    *(Attack(f"headers: {name}", *rest) for name, rest in HEADERS_ATTACKS.items()),
    *(Attack(f"body: {name}", *rest) for name, rest in BODIES.items()),
    *(Attack(f"model: {name!r:.40}", request(CHAT, chat(model=name)), (400, 404)) for name in MODELS),
    *(Attack(f"path: {path}", request(path), (404,), "not served here") for path in PATHS),
    *(
        Attack(f"decision: {name:.40}", request(f"/v1/decisions/{name}", None, method="GET"), (404,))
        for name in DECISIONS
    ),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_request_is_refused(victim: Target, rows: list[str], attack: Attack) -> None:
    """An answer in the API's shape, or a closed connection; no call, no complaint, and the next is served."""
    victim.seen.clear()
    answer = victim.send(attack.content)
    told = answer.message if answer.status is not None else "(closed)"
    rows.append(f"| {attack.name} | {answer.status or 'closed'} | {told:.90} |")
    assert answer.status in attack.statuses, told
    assert attack.says in told
    assert answer.body.count(b"HTTP/1.1") == 0
    assert b"x-evil" not in answer.head.lower()
    assert victim.seen == []
    assert victim.is_alive()
    assert victim.complaints() == []
