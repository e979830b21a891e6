"""Fixtures of the crash tests: the interposer's library, which needs a C compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import preload

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def library() -> Path:
    """The compiled interposer."""
    try:
        return preload.compiled()
    except RuntimeError as error:
        pytest.skip(str(error))  # without a C compiler there is no interposer; the error says so
