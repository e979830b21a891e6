"""A provider for development, tests and replays: a real HTTP server on loopback.

    python -m router.providers.fake --script script.json

`script` says how models behave, `table` holds recorded outcomes, `answers` computes the reply,
`server` speaks OpenAI's HTTP, `process` runs it as a child process.
"""

from __future__ import annotations

from router.providers.fake.process import ChildProcess, FakeProvider, ProcessError

__all__ = ["ChildProcess", "FakeProvider", "ProcessError"]
