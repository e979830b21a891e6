"""A network of the tests' own: hosts as Linux network namespaces, and services that can be cut off.

Each service has an address of its own on a bridge. `cut` takes the address away, so that packets to it are
lost without an answer, as they are when a cable is pulled. Connections that were open hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

SUBNET = "10.213.77"
BRIDGE = "irouter0"
FIRST_SERVICE, FIRST_HOST = 2, 100
ALONE = 32
"""Bits of a service's address: it goes without the others."""
_CHUNK = 1 << 16


class Network:
    """Enter it: a bridge in this namespace. `add_service` and `add_host` return addresses."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}
        self._services: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    @staticmethod
    def missing() -> str | None:
        """Why there can be none; None when there can."""
        if shutil.which("ip") is None:
            return "`ip` is not installed (apt-get install iproute2)"
        if os.geteuid() != 0:
            return "only root may make network namespaces"
        try:
            with Network() as network:
                network.add_host("probe")
        except subprocess.CalledProcessError as error:
            return f"this machine makes no networks of its own ({error.stderr.strip()})"
        return None

    def add_service(self, name: str, port: int) -> str:
        """The address of a service that listens on a port of 127.0.0.1. It has the same port there."""
        address = f"{SUBNET}.{FIRST_SERVICE + len(self._services)}"
        self._services[name] = address
        _ip("addr", "add", f"{address}/{ALONE}", "dev", BRIDGE)
        relayed = asyncio.run_coroutine_threadsafe(_relay(address, port), self._loop)
        relayed.result(timeout=10)
        return address

    def add_host(self, name: str) -> str:
        """The address of a new host. Start its programs with `command`."""
        number = len(self._hosts)
        address, inside = f"{SUBNET}.{FIRST_HOST + number}", f"irouter-{name}"
        outer, inner = f"irouter-o{number}", f"irouter-i{number}"
        subprocess.run(["ip", "netns", "del", inside], check=False, capture_output=True)
        _ip("netns", "add", inside)
        self._hosts[name] = inside
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", inside)
        _ip("link", "set", outer, "master", BRIDGE, "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "set", inner, "up"),
            ("addr", "add", f"{address}/24", "dev", inner),
        ):
            _ip("-n", inside, *words)
        return address

    def command(self, host: str, *words: str) -> list[str]:
        """The command that runs a program on a host."""
        return ["ip", "netns", "exec", self._hosts[host], *words]

    @contextlib.contextmanager
    def cut(self, service: str) -> Iterator[None]:
        """A service is away for all hosts."""
        address = self._services[service]
        _ip("addr", "del", f"{address}/{ALONE}", "dev", BRIDGE)
        try:
            yield
        finally:
            _ip("addr", "add", f"{address}/{ALONE}", "dev", BRIDGE)

    def __enter__(self) -> Self:
        # What a killed run left behind.
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{SUBNET}.1/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for inside in self._hosts.values():
            _ip("netns", "del", inside)
        _ip("link", "del", BRIDGE)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


async def _relay(address: str, port: int) -> None:
    """Forward every connection to the same port of 127.0.0.1."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    await asyncio.start_server(serve, address, port)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(_CHUNK):
            writer.write(block)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
