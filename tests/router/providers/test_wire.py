"""The response reader beside h11: they take the same bytes, and refuse the same."""

from __future__ import annotations

from collections import deque

import h11
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.providers.http.wire import MAX_HEAD_BYTES, MAX_LINE_BYTES, ResponseReader

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "until close": b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nall that follows",
    "old until close": b"HTTP/1.0 200 OK\r\n\r\nall that follows",
    "old with length": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
    "closing": b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nok",
    "chunked": CHUNKED + b"5\r\nhello\r\nA; name=value\r\n0123456789\r\n0\r\n\r\n",
    "chunked, trailers": CHUNKED + b"1 \r\nx\r\n0\r\nExpires: never\r\nX-Sum: 1\r\n\r\n",
    "chunked and length": CHUNKED[:-2] + b"Content-Length: 3\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "informational": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: one\r\n  two\r\n\tthree\r\nContent-Length: 2\r\n\r\nok",
    "odd values": b"HTTP/1.1 200 \xe9\r\nX-A:\r\nX-B: \x01 \xff\t \r\nContent-Length: 2, 2\r\n\r\nok",
    "excess": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
    "excess after chunks": CHUNKED + b"0\r\n\r\nHTTP/1.1 200 OK\r\n",
    # what is refused, or ends too early
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
    "half a chunk": CHUNKED + b"5\r\nhel",
    "no last chunk": CHUNKED + b"2\r\nok\r\n",
    "no end of trailers": CHUNKED + b"0\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
    "blank first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "bad status": b"HTTP/1.1 20 OK\r\n\r\n",
    "bad version": b"HTTP/11 200 OK\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nX-A\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n",
    "zero byte": b"HTTP/1.1 200 OK\r\nX-A: \x00\r\n\r\n",
    "bare carriage return": b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\n\r\n",
    "folded first": b"HTTP/1.1 200 OK\r\n X-A: 1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "other encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "bad chunk size": CHUNKED + b"x\r\n",
    "negative chunk size": CHUNKED + b"-1\r\n",
    "chunk size without carriage return": CHUNKED + b"2\nok\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"2\r\nokay\r\n0\r\n\r\n",
    "bad trailer": CHUNKED + b"0\r\nno colon\r\n\r\n",
}
Seen = tuple[int, bytes, list[tuple[bytes, bytes]], bytes, bool] | None


def ours(parts: list[bytes], method: bytes = b"POST") -> Seen:
    """(status, reason, headers, body, whether the connection may be used again); None: refused."""
    reader, body = ResponseReader(method), b""
    try:
        for part in parts:
            body += b"".join(reader.feed(part))
        if not reader.is_complete:
            reader.end()
    except httpx.RemoteProtocolError:
        return None
    assert reader.head is not None
    headers = [(name.lower(), value) for name, value in reader.head.headers]
    return reader.head.status_code, reader.head.reason, headers, body, reader.may_be_reused


def theirs(content: bytes, method: bytes = b"POST") -> Seen:
    """The same of h11."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    head, body, is_ended, is_closed = None, b"", False, False
    try:
        connection.receive_data(content)
        while not is_ended:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(b"")  # the server closes
                is_closed = True
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                is_ended = True
            elif isinstance(event, h11.ConnectionClosed):
                return None
            elif event is h11.PAUSED:
                return None  # another protocol
    except h11.RemoteProtocolError:
        return None
    assert head is not None
    may_be_reused = connection.their_state is h11.DONE and not (connection.trailing_data[0] or is_closed)
    return head.status_code, head.reason, list(head.headers), body, may_be_reused


def _normal(seen: Seen) -> Seen:
    """h11 writes one content-length where the server sent it twice."""
    if seen is None:
        return None
    headers = [
        (name, value.split(b",")[0]) if name == b"content-length" else (name, value)
        for name, value in seen[2]
    ]
    return (*seen[:2], headers, *seen[3:])


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
def test_a_response_is_read_as_h11_reads_it_wherever_it_is_split(name: str, method: bytes) -> None:
    """Status, headers, body, reuse and refusal are h11's, in one piece, in two and byte by byte."""
    content = RESPONSES[name]
    expected = _normal(theirs(content, method))
    splits = [[content], [content[at : at + 1] for at in range(len(content))]]
    splits += [[content[:at], content[at:]] for at in range(1, len(content))]
    for parts in splits:
        assert expected == _normal(ours(parts, method)), parts


def test_the_battery_holds_both_kinds() -> None:
    """About half of the responses are taken and half refused, so that the comparison says something."""
    taken = sum(theirs(content) is not None for content in RESPONSES.values())
    assert (taken, len(RESPONSES)) == (18, 41)


LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.1 100 C\r\n\r\n", b"Content-Length: 3", b"Transfer-Encoding: chunked"]
LINES += [b"Connection: close", b"\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"hello"]
BYTES = [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"0", b"5", b"a", b"\x00", b"\xff", b";"]
FRAGMENTS = st.sampled_from(LINES + BYTES)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED]),
    st.lists(FRAGMENTS, max_size=12),
    st.integers(0, 99),
)
def test_any_bytes_are_read_as_h11_reads_them(start: bytes, fragments: list[bytes], at: int) -> None:
    """Whatever is put together from a response's pieces, both take it alike or both refuse it."""
    content = start + b"".join(fragments)
    assert _normal(theirs(content)) == _normal(ours([content[:at], content[at:]])), content


@pytest.mark.parametrize(
    ("start", "filling"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (CHUNKED, b"0"),
        (CHUNKED + b"1;", b"a"),
        (CHUNKED + b"0\r\n", b"X-A: 1\r\n"),
    ],
    ids=["headers", "one header", "chunk size", "chunk extension", "trailers"],
)
def test_what_is_not_body_is_bounded(start: bytes, filling: bytes) -> None:
    """A server that never comes to the body is refused before it has sent much."""
    reader = ResponseReader(b"POST")
    reader.feed(start)
    most = (MAX_HEAD_BYTES + MAX_LINE_BYTES) // len(filling)
    with pytest.raises(httpx.RemoteProtocolError):
        deque((reader.feed(filling) for _ in range(most)), maxlen=0)
