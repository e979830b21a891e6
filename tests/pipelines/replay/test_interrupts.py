"""Signals during a replay."""

from __future__ import annotations

import os
import signal

import pytest

from pipelines.replay.run import _interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_library_drops_still_interrupts(number: signal.Signals) -> None:
    """Once, at the next check."""
    with _interruptible() as check:
        check()
        before = signal.signal(number, lambda *_: None)
        try:
            os.kill(os.getpid(), number)
        finally:
            signal.signal(number, before)
        with pytest.raises(KeyboardInterrupt):
            check()
        check()
