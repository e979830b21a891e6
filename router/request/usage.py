"""The files of `GET /v1/usage` and `GET /reports`: the pipelines write each organisation its own.

    usage/<SHA-256 of the organisation's name>/     and usage/none/ for requests without one
        2026-10-01.json                             a day: model, task, and USAGE_COLUMNS of each user
        index.json                                  the days, and figures over all of them; written last
    reports/<SHA-256 of the organisation's name>/   the pages: index.html, and one for each report

A day has a file of its own, so that new requests cost the writing of their days only.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = ("day", "model", "task", "user")
NO_ORGANIZATION = "none"
USAGE_DAYS = 92
"""Days that the files cover, if the raw rows are kept that long."""
USAGE_INDEX = "index.json"
USAGE_COLUMNS = (
    "user",
    "requests",
    "successes",
    "tokens_input",
    "tokens_output",
    "requests_with_cost",
    "cost_usd",
)
"""The values of a user, in order. Dollars are a text, or null if no cost is known."""


def usage_root(home: Path) -> Path:
    """The folder with a folder for each organisation."""
    return home / "usage"


def usage_folder(home: Path, organization: str | None) -> Path:
    """The folder of an organisation. Its name cannot leave the folder of all."""
    return usage_root(home) / _name(organization)


def reports_folder(home: Path, organization: str | None) -> Path:
    """The folder of an organisation's pages. Its name cannot leave the folder of all pages."""
    return home / "reports" / _name(organization)


def _name(organization: str | None) -> str:
    return NO_ORGANIZATION if organization is None else hashlib.sha256(organization.encode()).hexdigest()
