"""The client over real sockets, compared with httpx's own transport where they must agree."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import zlib
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from router.providers.http import client as clients
from router.providers.http.client import MAX_DECODED_PART_BYTES, Client
from router.providers.http.pool import Pool
from tests.router.providers.scripted import Exchange, ScriptedServer
from tests.router.providers.test_wire import RESPONSES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from router.providers.http.client import Reply
    from router.providers.http.pool import Connection
    from tests.router.providers.scripted import Behaviour


OWN_HEADERS = ("content-length", "host")
"""Headers that our client writes itself."""


class Transport(httpx.AsyncBaseTransport):
    """Our client under httpx's: what it sends and reads is compared through one interface."""

    def __init__(self, **options: Any) -> None:
        self._client = Client(**options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See AsyncBaseTransport."""
        headers = {name: value for name, value in request.headers.items() if name not in OWN_HEADERS}
        method, content = request.method.encode(), await request.aread()
        reply = await self._client.request(method, str(request.url), headers=headers, content=content)
        extensions = {"reason_phrase": reply.head.reason}
        return httpx.Response(
            reply.status_code, headers=reply.headers, stream=_Body(reply), extensions=extensions
        )

    async def aclose(self) -> None:
        """See AsyncBaseTransport."""
        await self._client.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while part := await self._reply.read():
                yield part
        finally:
            self._reply.close()

    async def aclose(self) -> None:
        self._reply.close()


@asynccontextmanager
async def client(
    transport: httpx.AsyncBaseTransport | None = None, **arguments: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """httpx over our transport, or over the one that is given."""
    transport = transport or Transport(max_connections=10)
    arguments = {"timeout": 5, **arguments}
    async with httpx.AsyncClient(transport=transport, trust_env=False, **arguments) as opened:
        yield opened


async def seen(transport: httpx.AsyncBaseTransport, url: str, **arguments: Any) -> Any:
    """(status, reason, headers, body) of a call, or the type of its error."""
    headers = arguments.pop("headers", {})
    async with client(transport, **arguments) as caller:
        try:
            response = await caller.post(url, content=b"{}", headers=headers)
        except httpx.TransportError as error:
            return type(error)
        # h11 writes a length once that the server sent twice
        headers = [(name, value.split(b",")[0]) for name, value in response.headers.raw]
        return response.status_code, response.reason_phrase, headers, response.content


def compare(url: str, **arguments: Any) -> Any:
    """What httpx's transport makes of a call, when ours makes the same of it."""
    theirs = asyncio.run(seen(httpx.AsyncHTTPTransport(trust_env=False), url, **arguments))
    ours = asyncio.run(seen(Transport(max_connections=2), url, **arguments))
    assert theirs == ours
    return ours


def sending(content: bytes, *, is_dripping: bool = False) -> Behaviour:
    """Sends the bytes, whole or one by one, and closes as servers do."""

    async def behave(exchange: Exchange) -> None:
        for at in range(len(content) if is_dripping else 1):
            await exchange.send(content[at : at + 1] if is_dripping else content)
            await asyncio.sleep(0)
        exchange.writer.close()

    return behave


@pytest.mark.parametrize("is_dripping", [False, True], ids=["whole", "dripping"])
@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_what_httpx_makes_of_it(name: str, is_dripping: bool) -> None:
    """Status, reason, headers in their order and spelling, body, and errors by type."""
    with ScriptedServer(sending(RESPONSES[name], is_dripping=is_dripping)) as server:
        compare(server.url)


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _reset_in_body(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    await asyncio.sleep(0.05)
    exchange.reset()


async def _say_nothing(exchange: Exchange) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("behaviour", "arguments", "expected"),
    [
        (_reset, {}, httpx.ReadError),
        (_reset_in_body, {}, httpx.ReadError),
        (_say_nothing, {"headers": {"x": "a\r\nb: c"}}, httpx.LocalProtocolError),
        (_say_nothing, {"headers": {"x": "a\nb: c"}}, httpx.LocalProtocolError),
        (_say_nothing, {"headers": {"x": "a\rb: c"}}, httpx.LocalProtocolError),
        (_say_nothing, {"headers": {"x": "a\0"}}, httpx.LocalProtocolError),
    ],
    ids=["reset", "reset in the body", "line break", "line feed", "carriage return", "zero byte"],
)
def test_a_broken_call_raises_httpx_s_own_error(
    behaviour: Behaviour, arguments: dict[str, Any], expected: type[Exception]
) -> None:
    """Whoever catches httpx's exceptions need not know which transport it is."""
    with ScriptedServer(behaviour) as server:
        assert expected is compare(server.url, **arguments)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:{closed}/v1", httpx.ConnectError),
        ("http://127.0.0.1:{full}/v1", httpx.ConnectTimeout),
        ("https://127.0.0.1:{plain}/v1", httpx.ConnectTimeout),
        ("http://no-such-host.invalid/v1", httpx.ConnectError),
        ("ftp://127.0.0.1/v1", httpx.UnsupportedProtocol),
    ],
)
def test_an_unreachable_server_raises_httpx_s_own_error(
    url: str, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, swallowed, without TLS, unknown, of another protocol."""
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as closed, socket.socket() as full, ScriptedServer(_say_nothing) as plain:
        closed.bind(("127.0.0.1", 0))
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        clogs = [socket.socket() for _ in range(3)]
        for clog in clogs:
            clog.setblocking(False)
            clog.connect_ex(full.getsockname())
        ports = {"closed": closed.getsockname()[1], "full": full.getsockname()[1], "plain": plain.port}
        try:
            assert expected is compare(url.format(**ports), timeout=httpx.Timeout(5, connect=0.3))
        finally:
            for clog in clogs:
                clog.close()


async def _answer(exchange: Exchange) -> None:
    await exchange.answer("200 OK", b"answer %d" % exchange.number)


@pytest.mark.smoke
def test_connections_are_kept_and_used_again() -> None:
    """One after the other, requests share a connection, and each gets its own answer."""

    async def run(url: str) -> list[bytes]:
        async with client() as caller:
            return [(await caller.post(url, content=b"{}")).content for _ in range(5)]

    with ScriptedServer(_answer) as server:
        assert [b"answer %d" % number for number in range(5)] == asyncio.run(run(server.url))
        assert server.connections == 1


async def _answer_late(exchange: Exchange) -> None:
    await asyncio.sleep(0.02)
    await exchange.answer("200 OK", exchange.body)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_many_requests_share_the_connections_that_are_allowed(loop: str) -> None:
    """200 at once over 10 connections: never more are open, and every answer is its request's."""

    async def run(url: str) -> list[bytes]:
        async with client(timeout=None) as caller:
            calls = (caller.post(url, content=b"%d" % number) for number in range(200))
            return [response.content for response in await asyncio.gather(*calls)]

    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with ScriptedServer(_answer_late) as server, asyncio.Runner(loop_factory=factory) as runner:
        assert [b"%d" % number for number in range(200)] == runner.run(run(server.url))
        assert server.most_open == server.connections == 10


def test_requests_given_up_leave_the_connections_to_others() -> None:
    """Cancelled while they wait or while they are answered, they take no place with them."""

    async def run(url: str) -> int:
        async with client(Transport(max_connections=3), timeout=None) as caller:
            for _ in range(5):
                calls = [asyncio.create_task(caller.post(url, content=b"x")) for _ in range(12)]
                await asyncio.sleep(0.01)
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
            responses = await asyncio.gather(*(caller.post(url, content=b"y") for _ in range(6)))
            return sum(response.status_code == 200 for response in responses)

    with ScriptedServer(_answer_late) as server:
        assert asyncio.run(asyncio.wait_for(run(server.url), 10)) == 6


def test_a_place_handed_to_a_request_that_is_given_up_goes_on_to_the_next() -> None:
    """Cancelled in the very moment its turn came, a request loses no place to the pool."""

    async def run(port: int) -> None:
        async def borrow() -> Connection:
            return await pool.borrow(1)

        pool = Pool("127.0.0.1", port, None, max_connections=1, idle_expiry_s=30)
        first = await borrow()
        second = asyncio.create_task(borrow())
        await asyncio.sleep(0)
        pool.drop(first)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert (await asyncio.wait_for(borrow(), 1)).is_open
        await pool.aclose()

    with ScriptedServer(_answer) as server:
        asyncio.run(run(server.port))


def test_a_cancelled_request_closes_its_connection() -> None:
    """The provider learns at once that nobody waits for the rest."""

    async def run(server: ScriptedServer) -> None:
        async with client() as caller:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(caller.post(server.url, content=b"x"), 0.1)
            for _ in range(100):
                if server.open == 0:
                    return
                await asyncio.sleep(0.02)

    async def wait_for_end(exchange: Exchange) -> None:
        await exchange.reader.read()
        raise ConnectionError

    with ScriptedServer(wait_for_end) as server:
        asyncio.run(run(server))
        assert server.open == 0


def _closing_instead_of_answer(number: int, *, after_s: float = 0.0, saying: bytes = b"") -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        if exchange.number == number:
            await asyncio.sleep(after_s)
            await exchange.send(saying)
            exchange.writer.close()
        else:
            await _answer(exchange)

    return behave


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (_closing_instead_of_answer(1), [b"answer 0", b"answer 2"]),
        (_closing_instead_of_answer(0), [httpx.RemoteProtocolError, b"answer 1"]),
        (_closing_instead_of_answer(1, after_s=0.3), [b"answer 0", httpx.RemoteProtocolError]),
        (_closing_instead_of_answer(1, saying=b"HTTP/1.1"), [b"answer 0", httpx.RemoteProtocolError]),
    ],
    ids=["stale", "new", "at work", "answering"],
)
def test_only_a_connection_that_had_gone_stale_is_replaced(
    behaviour: Behaviour, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is sent again only where the server had closed before it can have read it."""
    monkeypatch.setattr(clients, "STALE_WITHIN_S", 0.15)

    async def run(url: str) -> list[Any]:
        results: list[Any] = []
        async with client() as caller:
            for _ in range(2):
                try:
                    results.append((await caller.post(url, content=b"x")).content)
                except httpx.TransportError as error:
                    results.append(type(error))
        return results

    with ScriptedServer(behaviour) as server:
        assert expected == asyncio.run(run(server.url))


def test_an_idle_connection_expires_and_its_place_is_free() -> None:
    """The server sees it close by itself; the next request opens another."""

    async def run(server: ScriptedServer) -> None:
        async with client(Transport(max_connections=1, idle_expiry_s=0.05)) as caller:
            await caller.post(server.url, content=b"x")
            for _ in range(100):
                if server.open == 0:
                    break
                await asyncio.sleep(0.02)
            assert server.open == 0
            await caller.post(server.url, content=b"x")

    with ScriptedServer(_answer) as server:
        asyncio.run(run(server))
        assert server.connections == 2


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
def test_what_a_server_sends_unasked_is_nobody_s_answer(delay_s: float) -> None:
    """A second response, with the first or later, ends the connection and never reaches a request."""

    async def behave(exchange: Exchange) -> None:
        responses = [
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            for body in (b"answer %d" % exchange.number, b"forged")
        ]
        if delay_s == 0:  # in one write: apart, the second could look like the answer to the next request
            responses = [b"".join(responses)]
        for response in responses:
            await exchange.send(response)
            await asyncio.sleep(delay_s)

    async def run(url: str) -> list[bytes]:
        results = []
        async with client() as caller:
            for _ in range(3):
                results.append((await caller.post(url, content=b"x")).content)
                await asyncio.sleep(2 * delay_s)
        return results

    with ScriptedServer(behave) as server:
        assert asyncio.run(run(server.url)) == [b"answer 0", b"answer 1", b"answer 2"]
        assert server.connections == 3


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_a_compressed_body_is_read_in_bounded_parts(encoding: str) -> None:
    """It was not asked for, and is read all the same: no part is large, whatever it inflates to."""
    plain = b"0123456789" * 400_000
    packed = zlib.compress(plain) if encoding == "deflate" else gzip.compress(plain)

    async def behave(exchange: Exchange) -> None:
        await exchange.answer("200 OK", packed, content_encoding=encoding)

    async def run(url: str) -> tuple[list[bytes], httpx.Headers]:
        async with client() as caller, caller.stream("POST", url) as response:
            return [part async for part in response.aiter_bytes()], response.headers

    with ScriptedServer(behave) as server:
        parts, headers = asyncio.run(run(server.url))
    assert plain == b"".join(parts)
    assert max(map(len, parts)) <= MAX_DECODED_PART_BYTES
    assert {"content-encoding", "content-length"}.isdisjoint(headers)


@pytest.mark.parametrize(("encoding", "body"), [("gzip", b"not gzip"), ("br", b"x"), ("gzip, gzip", b"x")])
def test_what_cannot_be_decompressed_is_an_error(encoding: str, body: bytes) -> None:
    """Rather than a body of bytes that mean something else."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer("200 OK", body, content_encoding=encoding)

    async def run(url: str) -> None:
        async with client() as caller:
            with pytest.raises(httpx.DecodingError):
                await caller.post(url)

    with ScriptedServer(behave) as server:
        asyncio.run(run(server.url))


def test_a_body_that_nobody_reads_is_not_gathered() -> None:
    """The server is made to wait: of 100 MB it gets rid of a few."""
    sent = 0

    async def behave(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            await exchange.send(b"x" * 100_000)
            sent += 100_000

    async def run(url: str) -> None:
        async with client() as caller, caller.stream("POST", url):
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.2)

    with ScriptedServer(behave) as server:
        asyncio.run(run(server.url))
    assert 0 < sent < 20_000_000


def test_an_answer_before_the_end_of_the_request_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that comes while the body is still being sent is the answer; its connection ends."""
    monkeypatch.setattr(clients, "STALE_WITHIN_S", 0.0)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)

    async def run() -> list[int]:
        async with serving(refuse) as port, client() as caller:
            url = f"http://127.0.0.1:{port}/"
            return [(await caller.post(url, content=b"x" * 30_000_000)).status_code for _ in range(2)]

    assert asyncio.run(run()) == [413, 413]


@asynccontextmanager
async def serving(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """The port of a server in the same event loop; it outlives its connections."""
    tasks: set[asyncio.Task[Any] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, tasks))
    await asyncio.sleep(0.05)  # handshakes that failed have no task


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of `localhost` that signs itself, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the test's certificate, is not installed")
    return certificate, key


@pytest.mark.parametrize(
    ("host", "is_trusted", "expected"),
    [
        ("localhost", True, 200),
        ("localhost", False, httpx.ConnectError),
        ("127.0.0.1", True, httpx.ConnectError),
    ],
    ids=["trusted", "unknown authority", "another name"],
)
def test_certificates_are_checked(
    certificate: tuple[Path, Path], host: str, is_trusted: bool, expected: Any
) -> None:
    """TLS needs a known authority and the host's own name; connections are kept as without TLS."""
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=certificate[0])
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while not reader.at_eof():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def run() -> Any:
        transport = Transport(max_connections=2, tls=trusting if is_trusted else None)
        async with serving(answer, own) as port, client(transport) as caller:
            url = f"https://{host}:{port}/"
            try:
                return {(await caller.get(url)).status_code for _ in range(3)}.pop()
            except httpx.TransportError as error:
                return type(error)

    assert expected == asyncio.run(run())
    assert connections == (1 if expected == 200 else 0)
