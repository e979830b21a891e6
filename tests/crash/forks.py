"""Child processes that start in milliseconds: forked from a server that has imported everything.

The server runs with the interposer preloaded, and never opens a database itself.
"""

from __future__ import annotations

import multiprocessing
import os
from functools import lru_cache
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.crash import preload

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, ForkServerProcess
    from pathlib import Path

PRELOADED = ["pytest", "pyarrow.parquet", "pyarrow.json", "pyarrow.compute", "duckdb"]
PRELOADED += [f"tests.crash.{name}" for name in ("operations", "recovery", "workers", "power")]
END_S = 5.0
"""How long a child that has answered may take to end."""
KILLED = (-9, 255)
"""255: `multiprocessing` polls all children when it starts one, and the first poll takes the code."""


@lru_cache
def context() -> ForkServerContext:
    """The fork server's context, the server started with the interposer in it."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    with mock.patch.dict(os.environ, {preload.LIBRARY_VARIABLE: str(preload.compiled())}):
        forkserver.ensure_running()
    return made


def start(function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Run `function` in a new child."""
    process = context().Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def call(function: Callable[..., Any], *arguments: Any, timeout_s: float = 120.0) -> Any:
    """What `function` returns in a child of its own; RuntimeError when it fails or dies."""
    receiver, sender = context().Pipe(duplex=False)
    process = start(_answer, sender, function, *arguments)
    sender.close()
    try:
        if not receiver.poll(timeout_s):
            raise RuntimeError(f"`{function.__name__}` gave no answer within {timeout_s:.0f} s")
        is_good, answer = receiver.recv()
    except EOFError:
        raise RuntimeError(f"`{function.__name__}` died without an answer") from None
    finally:
        receiver.close()
        _end(process)
    if not is_good:
        raise RuntimeError(f"`{function.__name__}` failed: {answer}")
    return answer


def run_to_death(
    control: Path, function: Callable[..., None], *arguments: Any, timeout_s: float = 60.0
) -> bool:
    """Run `function` under the interposer; whether it was killed. RuntimeError when it raised."""
    process = start(_interposed, control, function, *arguments)
    process.join(timeout_s)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise RuntimeError(f"`{function.__name__}` neither ended nor was killed within {timeout_s:.0f} s")
    code = process.exitcode
    process.close()
    if code not in (0, *KILLED):
        raise RuntimeError(f"`{function.__name__}` ended with exit code {code}")
    return code != 0


def _end(process: ForkServerProcess) -> None:
    process.join(END_S)
    if process.is_alive():  # asked first: the number of an ended process may be another one's by now
        process.kill()
        process.join()
    process.close()


def _answer(sender: Connection, function: Callable[..., Any], *arguments: Any) -> None:
    try:
        sender.send((True, function(*arguments)))
    except BaseException as error:  # told to the parent, whatever it is
        import traceback

        sender.send((False, "".join(traceback.format_exception(error))))


def _interposed(control: Path, function: Callable[..., None], *arguments: Any) -> None:
    preload.use(control)
    function(*arguments)
