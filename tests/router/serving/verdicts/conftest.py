"""One world for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.replaying import World, replaying

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A shim before a provider that replays the test's answers."""
    with replaying(tmp_path_factory.mktemp("world")) as opened:
        yield opened
