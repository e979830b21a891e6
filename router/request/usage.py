"""The files of `GET /v1/usage`: the pipelines write one for each organisation, and the router reads it.

usage/<SHA-256 of the organisation's name>.json     and usage/none.json for requests without one
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = ("day", "model", "task", "user")
NO_ORGANIZATION = "none"
USAGE_DAYS = 92
"""Days that a file covers, if the raw rows are kept that long."""


def usage_file(home: Path, organization: str | None) -> Path:
    """The file of an organisation. Its name cannot leave the folder."""
    name = NO_ORGANIZATION if organization is None else hashlib.sha256(organization.encode()).hexdigest()
    return home / "usage" / f"{name}.json"
