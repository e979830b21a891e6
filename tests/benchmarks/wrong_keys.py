"""Wrong keys in a row against `intellirouter serve`, with a good caller at the same time.

    python tests/benchmarks/wrong_keys.py [--keys 10000] [--smoke]

A good caller sends one request after the other. It is measured alone and during the attack, in turns, so
that a change of the machine's speed falls on both. Then the counts, the bytes and a search for tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import secrets
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq

from router.keys.changes import create
from router.providers.fake import FakeProvider
from router.providers.fake.process import ChildProcess

CATALOG = """\
providers: {{fake: {{kind: openai, base_url: "{url}"}}}}
models: [{{id: small, provider: fake}}]
"""
BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
MODEL = {"answer": "hello", "tokens_input": 10, "tokens_output": 5}
CONNECTIONS = 32
ROUNDS = 5


class GoodCaller(threading.Thread):
    """Sends one request after the other, and notes the moment of each answer."""

    def __init__(self, port: int, token: str) -> None:
        super().__init__(daemon=True)
        self.moments: list[float] = []
        self.is_done = False
        self._port, self._token = port, token

    def run(self) -> None:
        """Until `is_done`."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        while not self.is_done:
            connection.request("POST", "/v1/chat/completions", BODY, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            self.moments.append(time.perf_counter())

    def rate(self, start: float, end: float) -> float:
        """Answers in a second between two moments."""
        return sum(start <= moment < end for moment in self.moments) / (end - start)


async def attack(port: int, tokens: list[str]) -> None:
    """Show each token once, over a few connections that stay open."""
    waiting = list(tokens)

    async def attacker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            token = waiting.pop()
            head = f"GET /v1/models HTTP/1.1\r\nhost: shim\r\nauthorization: Bearer {token}\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 401 " in answer, answer
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(attacker() for _ in range(CONNECTIONS)))


def main() -> None:
    """Print the ratio, the counts, the bytes and the number of files with a token."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--smoke", action="store_true", help="200 keys")
    arguments = parser.parse_args()
    count = 200 if arguments.smoke else arguments.keys
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeProvider({"models": {"small": MODEL}}) as url,
    ):
        home = Path(folder)
        (home / "catalog.yaml").write_text(CATALOG.format(url=url))
        _, good = create(home / "keys.json", name="good", scopes=("route",))
        command = [sys.executable, "-m", "router.cli", "serve", "--port", "0", "--home", folder]
        tokens = [f"ir_{secrets.token_urlsafe(32)}" for _ in range(count)]
        quiet, busy = [], []
        with ChildProcess(command, ready="intellirouter listening on ", log_file=home / "log") as shim:
            port = int(shim.url.rpartition(":")[2])
            caller = GoodCaller(port, good)
            caller.start()
            time.sleep(1)
            part = -(-count // ROUNDS)
            for start in range(0, count, part):
                began = time.perf_counter()
                time.sleep(0.5 if arguments.smoke else 5)
                attacked = time.perf_counter()
                asyncio.run(attack(port, tokens[start : start + part]))
                ended = time.perf_counter()
                quiet.append(caller.rate(began, attacked))
                busy.append(caller.rate(attacked, ended))
                print(
                    f"good answers/s: {quiet[-1]:.0f} alone, {busy[-1]:.0f} with"
                    f" {part / (ended - attacked):.0f} wrong keys/s"
                )
            caller.is_done = True
            caller.join()
        events = list((home / "lake" / "security_events").rglob("*.parquet"))
        rows = [row for path in events for row in pq.read_table(path).to_pylist()]
        size = sum(path.stat().st_size for path in (home / "lake" / "security_events").rglob("*"))
        contents = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
        with_token = [
            path for path, content in contents.items() if any(token.encode() in content for token in tokens)
        ]
        print(f"good rate under attack: {sum(busy) / sum(quiet):.3f} of the quiet rate")
        print(f"refusals counted: {sum(row['refusals'] for row in rows)} of {count}, in {len(rows)} events")
        print(f"bytes of security events: {size}; files with a token: {len(with_token)}")


if __name__ == "__main__":
    main()
