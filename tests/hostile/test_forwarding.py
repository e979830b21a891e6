"""Nothing that a client, or a provider, sends makes the shim call anyone but the catalog's providers."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml

from router.catalog.catalog import Catalog
from router.errors import ConfigError
from tests.crash.reporting import show
from tests.factories import write_catalog
from tests.hostile.target import BODY, CHAT, Target, ask, request, shim, target, trap
from tests.router.providers.scripted import ScriptedServer, completion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.router.providers.scripted import Exchange

URLS = [
    "http://127.0.0.1:{port}/a.png",
    "http://127.1:{port}/",
    "http://0:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://LOCALHOST:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://api.openai.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@api.openai.com/",
    "http://127.0.0.1:{port}\\@api.openai.com/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/",
    "http://127.0.0.1.nip.io:{port}/",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "//127.0.0.1:{port}/",
    "file:///etc/passwd",
    "file://127.0.0.1:{port}/etc/passwd",
    "gopher://127.0.0.1:{port}/_GET%20/",
    "dict://127.0.0.1:{port}/info",
    "ftp://127.0.0.1:{port}/",
    "jar:http://127.0.0.1:{port}!/",
    "data:text/html;base64,PHNjcmlwdD4=",
]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Lines of the table."""
    lines: list[str] = []
    yield lines
    show("\n".join(["", "| hostile address | answer | what was called |", "| --- | --- | --- |", *lines]))


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A trap for whoever calls an address of the hostile requests."""
    with trap() as (port, caught):
        yield port, caught
        time.sleep(0.1)  # what was sent at the last moment is heard
    assert caught == []


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> Iterator[Target]:
    """One shim, which outlives all that is done to it."""
    with target(tmp_path_factory.mktemp("forwarding")) as one:
        yield one


@pytest.fixture
def port(victim: Target, listener: tuple[int, list[bytes]]) -> Iterator[int]:
    """The port of the trap; after the test nobody has called it, and the shim serves without complaint."""
    port, caught = listener
    victim.seen.clear()
    yield port
    assert victim.is_alive()
    assert caught == []
    assert victim.complaints() == []


@pytest.mark.parametrize("form", URLS)
def test_an_image_is_passed_on_and_never_fetched(
    victim: Target, port: int, rows: list[str], form: str
) -> None:
    """The provider gets the URL as it was written, and is the only one who is called."""
    url = form.format(port=port)
    content = [{"type": "image_url", "image_url": {"url": url}}]
    answer = ask(victim.url, {"messages": [{"role": "user", "content": content}]})
    assert answer.status_code == 200
    ((_, sent),) = victim.seen
    assert json.loads(sent)["messages"][0]["content"] == content
    rows.append(f"| image `{form}` | 200 | its provider, with the text |")


@pytest.mark.parametrize("form", URLS)
def test_an_image_in_anthropics_shape_is_never_fetched(
    victim: Target, port: int, rows: list[str], form: str
) -> None:
    """Translating it does not look at what it names."""
    url = form.format(port=port)
    image = {"type": "image", "source": {"type": "url", "url": url}}
    body = {"model": "auto", "max_tokens": 5, "messages": [{"role": "user", "content": [image]}]}
    answer = ask(victim.url, body, "/v1/messages")
    assert answer.status_code in (200, 400)
    assert [url in json.dumps(json.loads(sent), ensure_ascii=False).replace("\\\\", "\\")
            for _, sent in victim.seen] == [True] * (answer.status_code == 200)  # fmt: skip
    rows.append(f"| Anthropic's image `{form}` | {answer.status_code} | its provider, if anyone |")


@pytest.mark.parametrize(
    "line",
    [
        "POST http://127.0.0.1:{port}/v1/chat/completions HTTP/1.1",
        "POST http://evil.example/v1/chat/completions HTTP/1.1",
        "POST http://user:password@127.0.0.1:{port}/v1/chat/completions HTTP/1.1",
        "POST //127.0.0.1:{port}/v1/chat/completions HTTP/1.1",
        "POST https://127.0.0.1:{port} HTTP/1.1",
        "CONNECT 127.0.0.1:{port} HTTP/1.1",
        "POST /v1/chat/completions?base_url=http://127.0.0.1:{port} HTTP/1.1",
        "POST /v1/chat/completions#@127.0.0.1:{port} HTTP/1.1",
    ],
)
def test_the_shim_is_no_proxy(victim: Target, port: int, rows: list[str], line: str) -> None:
    """Of an absolute request target the path counts, and nothing else."""
    _, _, rest = request(CHAT, BODY).partition(b"\r\n")
    answer = victim.send(line.format(port=port).encode() + b"\r\n" + rest)
    assert answer.status in (200, 400, 404)
    assert [sent["host"] for sent, _ in victim.seen] == [provider_host(victim)] * (answer.status == 200)
    rows.append(f"| `{line.removesuffix(' HTTP/1.1')}` | {answer.status} | its provider, if anyone |")


HEADERS = [
    "host", "x-forwarded-host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-prefix",
    "forwarded", "via", "x-real-ip", "x-original-url", "x-rewrite-url", "x-http-method-override",
    "referer", "x-base-url", "api-base", "openai-base-url", "x-portkey-custom-host", "x-goog-api-key",
    "proxy", "proxy-authorization", "cookie", "authorization", "x-api-key", "traceparent", "tracestate",
    "baggage", "x-request-id", "idempotency-key", "openai-beta", "openai-project", "upgrade", "te",
    "trailer", "expect",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_goes_nowhere(victim: Target, port: int, rows: list[str], header: str) -> None:
    """Neither where a call goes nor what it carries is a header's to say."""
    value = f"http://127.0.0.1:{port}/evil".encode()
    content = request(CHAT, BODY, header.encode() + b": " + value)
    answer = victim.send(content.replace(b"host: shim\r\n", b"", header == "host"))
    assert answer.status == 200
    assert len(victim.seen) == 1
    assert value not in answer.head
    assert not [sent for sent, content in victim.seen if f"{port}/evil" in repr((sent, content))]
    assert {sent["host"] for sent, _ in victim.seen} <= {provider_host(victim)}
    rows.append(f"| header `{header}` with a URL | {answer.status} | its provider, without it |")


def provider_host(victim: Target) -> str:
    """As the catalog says."""
    base_url = yaml.safe_load((victim.home / "catalog.yaml").read_text())["providers"]["fake"]["base_url"]
    return str(base_url).removeprefix("http://").removesuffix("/v1")


class Scripted:
    """A provider that answers what the test says, and a shim over it."""

    def __init__(self, folder: Path) -> None:
        self.answer = b""
        self._folder = folder

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Run both."""

        async def behave(exchange: Exchange) -> None:
            await exchange.send(self.answer)

        with ScriptedServer(behave) as server:
            write_catalog(self._folder / "data", ["small"], base_url=server.url)
            settings = {"MAX_RETRIES": "0", "HEALTH_MAX_EJECTED_SHARE": "0"}
            with shim(self._folder / "data", self._folder / "log", **settings) as self.url:
                yield

    def ask(self, status: str, *lines: str, body: bytes = b"") -> httpx.Response:
        """A client's view of the provider's answer."""
        length = f"content-length: {len(body)}"
        head = "\r\n".join([f"HTTP/1.1 {status}", length, *lines])
        self.answer = head.encode("latin-1") + b"\r\n\r\n" + body
        return ask(self.url, json.loads(BODY))


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """One provider whose answers the tests choose."""
    one = Scripted(tmp_path_factory.mktemp("scripted"))
    with one.serve():
        yield one


REDIRECTS = [
    "300 Choices",
    "301 Moved",
    "302 Found",
    "303 See Other",
    "305 Use Proxy",
    "307 There",
    "308 There",
]


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_providers_redirect_is_not_followed(
    scripted: Scripted, listener: tuple[int, list[bytes]], rows: list[str], status: str
) -> None:
    """A provider cannot make the shim call an address of its choice: the call failed."""
    port, caught = listener
    there = f"http://127.0.0.1:{port}/"
    answer = scripted.ask(
        status, f"location: {there}", f"refresh: 0; url={there}", f"content-location: {there}"
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_response")
    assert str(port) not in answer.text
    assert scripted.ask("200 OK", body=completion()).status_code == 200
    assert caught == []
    rows.append(f"| a provider's redirect {status} | 502 | nobody else |")


def test_a_providers_headers_stay_its_own(scripted: Scripted, rows: list[str]) -> None:
    """No header of a provider's reaches the client: neither cookies nor keys nor a second response."""
    lines = [
        "set-cookie: session=evil",
        "x-evil: 1",
        "authorization: Bearer leaked",
        "x-request-id: theirs",
        "x-intellirouter-model: theirs",
        "access-control-allow-origin: *",
        'alt-svc: h3="evil.example:443"',
        "strict-transport-security: max-age=99999999",
        "content-type: application/json\x85evil",
        "x-split: a%0d%0ax-evil: 1",
        "retry-after: 99999999999999999999",
    ]
    answer = scripted.ask("200 OK", *lines, body=completion())
    names = {name for name in answer.headers if not name.startswith("x-intellirouter-")}
    assert names == {"content-length", "content-type", "x-request-id"}
    told = answer.headers["content-type"], answer.headers["x-intellirouter-model"]
    assert told == ("application/json", "small")
    assert answer.headers["x-request-id"] != "theirs"
    rows.append("| a provider's headers | 200 | none is passed on |")


@pytest.mark.parametrize(
    "wait", ["1e308", "inf", "nan", "-1", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "\x85", "0x10"]
)
def test_a_providers_wait_is_bounded(scripted: Scripted, rows: list[str], wait: str) -> None:
    """Whatever a provider asks for, the client is told a number of seconds of at most a day."""
    answer = scripted.ask("429 Slow Down", f"retry-after: {wait}")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400
    rows.append(
        f"| a provider's `retry-after: {wait[:30]!r}` | 429, {answer.headers['retry-after']} s | nobody |"
    )


@pytest.mark.parametrize(
    "base_url",
    [
        "http://user@127.0.0.1/v1",
        "http://user:password@127.0.0.1/v1",
        "http://api.openai.com@127.0.0.1/v1",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://127.0.0.1/",
        "javascript:alert(1)",
        "//127.0.0.1/v1",
        "127.0.0.1/v1",
        "http://",
        "http:///v1",
        "http://a b/v1",
        "http://a\r\nx-evil: 1/v1",
        "http://a\x00b/v1",
        "http://127.0.0.1/v1?key=secret",
        "http://127.0.0.1/v1#fragment",
        "http://127.0.0.1\\@evil.example/v1",
        "http://127.0.0.1:99999/v1",
        "http://127.0.0.1:x/v1",
        "http://[::1/v1",
        "",
    ],
)
def test_a_base_url_that_says_more_than_an_address_is_refused(
    tmp_path: Path, rows: list[str], base_url: str
) -> None:
    """It is the operator's to name any machine, plainly; what may hold a secret is not repeated."""
    path = write_catalog(tmp_path, ["small"], base_url=base_url)
    with pytest.raises(ConfigError) as caught:
        Catalog.load(path)
    assert "base_url" in str(caught.value)
    assert len(base_url) <= len("https://") or base_url not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "user:password" not in str(caught.value)
    rows.append(f"| base_url `{base_url!r}` in catalog.yaml | refused | nobody |")
