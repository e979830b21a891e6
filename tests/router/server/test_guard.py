"""Hostile and careless requests are refused cleanly, and the shim goes on serving."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from router import Router
from router.errors import OverloadedError
from router.server import protocol
from router.server.guard import MAX_HEADER_BYTES, MAX_HEADERS, MAX_JSON_DEPTH, InFlight
from tests.factories import write_catalog
from tests.router.keys.test_keys import ENVIRONMENT
from tests.shims import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]
BODY: dict[str, Any] = {"messages": MESSAGES}


class _Echo(BaseHTTPRequestHandler):
    """A provider that keeps what it is sent."""

    seen: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, content))
        answer = json.dumps({"choices": [{"message": {"role": "assistant", "content": "ok"}}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def seen() -> list[tuple[str, dict[str, str], bytes]]:
    """What reached the provider in this test: path, headers, body."""
    _Echo.seen.clear()
    return _Echo.seen


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One shim, which outlives all that is done to it, over a provider that keeps what it is sent."""
    home = tmp_path_factory.mktemp("home")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        write_catalog(home, ["small"], base_url=f"http://127.0.0.1:{provider.server_port}/v1")
        router = Router.open(home=home, max_body_bytes=100_000, body_timeout_s=0.3, max_in_flight=2)
        with serving(router) as url:
            yield url
        provider.shutdown()


def post(url: str, path: str = "/v1/chat/completions", **request: Any) -> httpx.Response:
    """One request."""
    return httpx.post(url + path, timeout=10, **(request or {"json": BODY}))


def raw(url: str, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What comes back for bytes on a socket, until the shim closes it."""
    host, port = url.removeprefix("http://").split(":")
    answer = b""
    with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
            while block := connection.recv(65_536):
                answer += block
        except (ConnectionResetError, BrokenPipeError):
            pass  # it was refused while it still sent
    return answer


def nested(depth: int, opening: str = "[") -> bytes:
    """A body whose content nests so deep."""
    closing_ = "]" if opening == "[" else "0}"
    opener = "[" if opening == "[" else '{"a":'
    inner = opener * depth + closing_[:-1] + closing_[-1] * depth
    return f'{{"messages": [{{"role": "user", "content": "hi"}}], "metadata": {inner}}}'.encode()


BAD_BODIES = [
    (b"", "not valid JSON"),
    (b"{" * 100_000, "not valid JSON"),
    (nested(50_000)[:90_000], "not valid JSON"),
    (nested(MAX_JSON_DEPTH), "deeper than"),
    (nested(MAX_JSON_DEPTH, "{"), "deeper than"),
    (nested(900), "deeper than"),
    (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', "not valid JSON"),
    (b'{"messages": [{"role": "user", "content": "\xc0\x80"}]}', "not valid JSON"),
    (b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', "not valid JSON"),
    (rb'{"messages": [{"role": "user", "content": "\ud800"}]}', "not valid JSON"),
    (b'{"messages": [{"role": "user", "content": "\x00"}]}', "not valid JSON"),
    (b'\xef\xbb\xbf{"messages": []}', "not valid JSON"),
    (b'{"messages": [{"role": "user", "content": NaN}]}', "not valid JSON"),
    (b'{"messages": [{"role": "user", "content": "x"}]} {}', "not valid JSON"),
    (b"null", "must be a JSON object"),
    (b'"x"', "must be a JSON object"),
    (b'{"messages": []}', "non-empty list"),
    (b'{"messages": {"role": "user"}}', "non-empty list"),
    (b'{"messages": [[]]}', "must be an object with a `role`"),
    (b'{"messages": [{"role": 1}]}', "must be an object with a `role`"),
    (b'{"messages": [{"role": "user"}], "user": {"a": 1}}', "`user_id` must be a text"),
    (b'{"messages": [{"role": "user"}], "provider": []}', "`provider` must be an object"),
    (rb'{"messages": [{"role": "user"}], "user": "a\u0000b"}', "`user` holds a control character"),
    (rb'{"messages": [{"role": "user"}], "user": "a\r\nx-evil: 1"}', "`user` holds a control character"),
    (rb'{"messages": [{"role": "user"}], "model": "a\u001b[31m"}', "`model` holds a control character"),
]


@pytest.mark.parametrize(("content", "message"), BAD_BODIES, ids=range(len(BAD_BODIES)))
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_a_hostile_body_is_a_bad_request(
    url: str, seen: list[Any], path: str, content: bytes, message: str
) -> None:
    """400 that names what is wrong; the provider hears nothing, and the next request is served."""
    response = post(url, path, content=content)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert message in response.json()["error"]["message"]
    assert seen == []
    assert post(url).status_code == 200


def test_what_is_deep_and_not_too_deep_is_served(url: str, seen: list[Any]) -> None:
    """The bound is where it is said to be, and many containers side by side are not deep."""
    assert post(url, content=nested(MAX_JSON_DEPTH - 1)).status_code == 200
    wide = {**BODY, "metadata": [[{}] for _ in range(5000)]}
    assert post(url, json=wide).status_code == 200
    assert json.loads(seen[1][2])["metadata"] == wide["metadata"]


def test_of_duplicate_members_the_last_counts_and_alone_goes_on(url: str, seen: list[Any]) -> None:
    """What was checked is what is sent: no two readers of one body can differ."""
    content = b'{"model": "none", "model": "auto", "n": 1, "messages": "x", "n": 2, "messages": %b}'
    assert post(url, content=content % json.dumps(MESSAGES).encode()).status_code == 200
    sent = seen[0][2]
    assert (sent.count(b'"messages"'), sent.count(b'"n"'), sent.count(b'"model"')) == (1, 1, 1)
    assert json.loads(sent) == {"model": "small", "messages": MESSAGES, "n": 2}


def test_a_nul_in_a_prompt_is_a_prompt(url: str, seen: list[Any]) -> None:
    """Content is the provider's to judge; it arrives as it was."""
    odd = [{"role": "user", "content": "a\x00b\r\n\u2028\U0001f600"}]
    assert post(url, json={"messages": odd}).status_code == 200
    assert json.loads(seen[0][2])["messages"] == odd


FORMS = [
    "http://169.254.169.254/latest/meta-data",
    "http://127.1:{port}/",
    "http://0x7f000001:{port}/",
    "http://2130706433:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@api.openai.com/",
    "//127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
]
MEMBERS = [
    "base_url",
    "api_base",
    "api_url",
    "url",
    "endpoint",
    "host",
    "proxy",
    "api_key",
    "organization",
    "extra_body",
]


@pytest.mark.parametrize("form", FORMS)
def test_no_member_or_header_changes_where_a_request_goes(url: str, seen: list[Any], form: str) -> None:
    """Base URLs come from the catalog alone, and so does the key: neither body nor headers reach them."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        target = form.format(port=trap.getsockname()[1])
        body = {**BODY, **dict.fromkeys(MEMBERS, target)}
        names = (
            "x-base-url",
            "x-portkey-custom-host",
            "x-forwarded-host",
            "x-original-url",
            "x-target-url",
            "referer",
        )
        headers = {**dict.fromkeys(names, target), "host": "evil.example", "authorization": "Bearer stolen"}
        assert post(url, json=body, headers=headers).status_code == 200
        for wrong in (
            {"model": target},
            {"provider": {"only": [target]}},
            {"provider": {"base_url": target}},
        ):
            assert post(url, json={**BODY, **wrong}).status_code in (400, 404)
        with pytest.raises(TimeoutError):
            trap.accept()
    ((path, sent, _),) = seen
    assert path == "/v1/chat/completions"
    assert sent["host"].startswith("127.0.0.1:")
    assert {"authorization", "referer", "x-base-url", "x-forwarded-host"}.isdisjoint(sent)


@pytest.mark.parametrize("header", ["x-session-id", "x-intellirouter-tags", "openai-organization"])
def test_a_header_cannot_be_injected(url: str, seen: list[Any], header: str) -> None:
    """Line ends within a value are no HTTP, or begin a header of their own, which goes nowhere."""
    content = json.dumps(BODY).encode()
    start = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    length = b"content-length: %d\r\n\r\n" % len(content)
    for value in (b"a=b\rx-evil: 1", b"a=b\x00c", b"a=b\nx-evil: 1"):
        answer = raw(url, start + header.encode() + b": " + value + b"\r\n" + length + content)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 200"))
        assert b"x-evil" not in answer.lower()
    assert all("x-evil" not in sent for _, sent, _ in seen)
    assert post(url).status_code == 200


def test_control_characters_in_a_header_are_refused(url: str) -> None:
    """Labels are read by people: no escape sequence gets into reports."""
    content = json.dumps(BODY).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-session-id: a\xc2\x85b\r\n"
    )
    answer = raw(url, head + b"content-length: %d\r\n\r\n" % len(content) + content)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"`x-session-id` holds a control character" in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({f"x-{number}": "1" for number in range(MAX_HEADERS - 10)}, 200),
        ({f"x-{number}": "1" for number in range(MAX_HEADERS)}, 431),
        ({"x-large": "a" * (MAX_HEADER_BYTES - 1000)}, 200),
        ({"x-large": "a" * MAX_HEADER_BYTES}, 431),
    ],
    ids=["many", "too-many", "large", "too-large"],
)
def test_headers_are_bounded(url: str, headers: dict[str, str], status: int) -> None:
    """Count and size have a limit each, and what is below them is served."""
    response = post(url, json=BODY, headers=headers)
    assert response.status_code == status
    if status == 431:
        assert response.json()["error"]["code"] == "headers_too_large"


def test_a_head_without_an_end_is_cut(url: str) -> None:
    """The shim does not keep what never becomes a request."""
    answer = raw(url, b"GET / HTTP/1.1\r\nx-long: ", *[b"a" * 65_536] * 8)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert post(url).status_code == 200


def test_a_slow_head_is_cut(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing, or never ends its head, is closed."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)
    assert raw(url) == b""
    assert raw(url, b"GET /livez HT").startswith(b"HTTP/1.1 408")
    assert post(url).status_code == 200


def test_a_slow_body_is_cut(url: str) -> None:
    """408 in the API's shape, and the connection is closed on what may still drip."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{"
    answer = raw(url, head)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"BODY_TIMEOUT_S" in answer
    drips = raw(url, head, *[b" "] * 10, pause_s=0.1)
    assert drips == b"" or drips.startswith(b"HTTP/1.1 408")
    assert post(url).status_code == 200


def test_a_body_that_drips_after_its_refusal_is_cut(url: str) -> None:
    """One answer, and nothing behind it that could be taken for the next request's."""
    answer = raw(url, b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 404")


def test_a_body_that_is_announced_too_large_is_not_waited_for(url: str) -> None:
    """The refusal comes before the first byte of it."""
    for length in (b"100001", b"9" * 18, b"9" * 19, b"9" * 4000):
        answer = raw(url, b"POST /v1/route HTTP/1.1\r\nhost: x\r\ncontent-length: " + length + b"\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_chunked_body_is_bounded_too(url: str) -> None:
    """What announces no length is counted as it comes."""
    assert post(url, content=iter([b"a" * 60_000, b"b" * 60_000])).status_code == 413


@pytest.mark.parametrize(
    "request_",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/route HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"GET /livez HTTP/1.1\r\nbad header: 1\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_the_apis_shape(url: str, request_: bytes) -> None:
    """Smuggling forms end the connection."""
    head, _, content = raw(url, request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(content)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1/health?", "localhost#", "a b", "[::1", ""])
def test_the_host_header_decides_nothing(url: str, host: str) -> None:
    """Paths are the request line's, with or without a slash at their end. No redirect follows the header."""
    answers = [raw(url, f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
               for path in ("/livez", "/livez/", "/v1/models/")]  # fmt: skip
    assert [answer.split(b" ")[1] for answer in answers] == [b"200", b"200", b"200"]
    assert all(b"location" not in answer.lower() for answer in answers)


def test_a_client_that_leaves_is_no_crash(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A body that ends with the connection leaves no traceback."""
    host, port = url.removeprefix("http://").split(":")
    for _ in range(3):
        with closing(socket.create_connection((host, int(port)))) as connection:
            connection.sendall(b"POST /v1/route HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
    assert post(url).status_code == 200
    assert caplog.text == ""


def test_one_request_too_many_is_told_to_come_back(tmp_path: Path, fake_url: str) -> None:
    """503 with Retry-After over MAX_IN_FLIGHT; health and metrics still answer, and slots come free."""
    write_catalog(tmp_path, ["slow", "small"], base_url=fake_url)
    router = Router.open(home=tmp_path, max_in_flight=2, request_timeout_s=1.5)
    with serving(router) as url, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(post, url, json={**BODY, "model": "slow"}) for _ in range(2)]
        while httpx.get(f"{url}/health").json()["in_flight"] < 2:
            time.sleep(0.01)
        refused = post(url)
        assert "intellirouter_in_flight 2" in httpx.get(f"{url}/metrics").text
        assert {done.result().status_code for done in waiting} == {504}
        assert post(url, json={**BODY, "model": "small"}).status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"]["code"] == "overloaded"


def test_a_slot_is_given_back_whatever_happens() -> None:
    """Errors and cancellations do not use up the bound."""
    slots = InFlight(1)
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error), slots:
            raise error
    with slots, pytest.raises(OverloadedError), slots:
        pass
    assert slots.count == 0


@pytest.mark.slow
def test_a_stopping_shim_finishes_what_it_began(tmp_path: Path) -> None:
    """SIGTERM lets a running request end; one that outlasts DRAIN_TIMEOUT_S is cut, and both are recorded."""
    from router.journal.manifests import Manifest
    from router.providers.fake import FakeProvider

    script = {
        "models": {
            "slow": {"answer": "late", "latency_ms": 1500},
            "endless": {"answer": "x", "latency_ms": 60_000},
        }
    }
    with FakeProvider(script) as base_url:
        for model, drain, status in (("slow", "30", 200), ("endless", "1", None)):
            home = tmp_path / model
            write_catalog(home, [model], base_url=base_url)
            command = [sys.executable, "-m", "router.cli", "serve", "--home", str(home), "--port", "0"]
            environment = {**ENVIRONMENT, "DRAIN_TIMEOUT_S": drain}
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
                assert process.stdout is not None
                url = process.stdout.readline().split()[-1]
                with ThreadPoolExecutor(1) as pool:
                    answer = pool.submit(post, url)
                    while httpx.get(f"{url}/health").json()["in_flight"] < 1:
                        time.sleep(0.01)
                    process.send_signal(SIGTERM)
                    if status is None:
                        with pytest.raises(httpx.HTTPError):
                            answer.result().raise_for_status()
                    else:
                        assert answer.result().status_code == status
                assert process.wait(timeout=30) == 0
            (manifest,) = (home / "lake" / "request_analytics").rglob("*.json")
            assert Manifest.read(manifest).rows == 1
