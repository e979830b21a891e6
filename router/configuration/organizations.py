"""`organizations.yaml`: the organisations that use the router, and their terms.

    organizations:
      - id: acme
        name: Acme Corporation
        time_zone: Europe/Vienna       # of its days; REPORT_TIMEZONE where it is left out
        contact: ai-costs@acme.example
        mark_up: 0.15                  # added to the cost of each request
      - {id: globex, discount: 0.1}    # or a contracted discount

The file describes organisations, and does not admit them: a name that it lacks is served all the same.
`router.configuration.unlisted` finds such names in the other documents, the keys and the records.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator, model_validator

from router.documents import Entry, parse_yaml
from router.settings.time_zones import known_zone

if TYPE_CHECKING:
    from pathlib import Path

Text = Annotated[str, Field(min_length=1, max_length=255)]


class Organization(Entry):
    """One organisation. None: not stated."""

    id: Text
    """The `organization_id` of keys and records."""
    name: Text | None = None
    """For people, on bills and in reports."""
    time_zone: str = "UTC"
    """Where its days and months begin and end: a name of the IANA database, such as `Europe/Vienna`."""
    contact: Text | None = None
    """Where to reach the people who pay: an address, or the name of a team."""
    mark_up: Annotated[Decimal, Field(ge=0, le=100, max_digits=12, decimal_places=9)] | None = None
    """The share of the cost that is added on a bill: 0.15 for 15%."""
    discount: Annotated[Decimal, Field(ge=0, le=1, max_digits=12, decimal_places=9)] | None = None
    """The share of the cost that is taken off a bill, by contract."""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        return known_zone(value)

    @model_validator(mode="after")
    def _has_one_term(self) -> Organization:
        if self.mark_up is not None and self.discount is not None:
            raise ValueError(f"organization `{self.id}` has a mark_up and a discount: keep one of them")
        return self


class OrganizationsFile(Entry):
    """The whole of `organizations.yaml`."""

    organizations: tuple[Organization, ...] = ()
    """The organisations."""

    @model_validator(mode="after")
    def _no_two_alike(self) -> OrganizationsFile:
        twice = [name for name, count in Counter(item.id for item in self.organizations).items() if count > 1]
        if twice:
            raise ValueError(f"two organizations have the id `{twice[0]}`: keep one of them")
        return self

    @classmethod
    def parse(cls, content: bytes | None, path: Path) -> OrganizationsFile:
        """The organisations of a file's content, if any. ConfigError names the fault and its place."""
        return cls() if content is None else parse_yaml(content, cls, path)

    @classmethod
    def load(cls, path: Path) -> OrganizationsFile:
        """The organisations of a file, which may be missing. ConfigError names the fault and its place."""
        return cls.parse(path.read_bytes() if path.exists() else None, path)
