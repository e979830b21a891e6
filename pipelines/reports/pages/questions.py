"""The question and the charts of a report, from `sql/reports/<name>.yaml`."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict

from pipelines.warehouse import sqlfiles

Mark = Literal["bar", "column", "line", "points", "interval", "scatter"]
Columns = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class Chart(BaseModel):
    """A chart: the columns of the answer on its axes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mark: Mark
    """`bar` lies, `column` rises over time. `points` and `interval` have a line of their own for each row."""
    x: Columns
    y: Columns
    color: str | None = None
    """Column whose values get a colour each."""
    low: str | None = None
    high: str | None = None
    """Ends of an interval."""
    label: str | None = None
    """Column that names a point of a scatter, with its colour."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns whose values are drawn."""
        return self.x if self.mark in ("bar", "points", "interval") else self.y

    @property
    def columns(self) -> frozenset[str]:
        """Every column that it draws."""
        optional = {name for name in (self.color, self.low, self.high, self.label) if name is not None}
        return frozenset(self.x) | frozenset(self.y) | optional


class Question(BaseModel):
    """A report as a person asks for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    """The header over its figures."""
    place: int
    """Where it comes on a page of all reports: the smallest first."""
    charts: tuple[Chart, ...]
    keep: tuple[str, ...]
    """Columns that stay in a narrow terminal, the most important first."""
    nothing: str | None = None
    """The sentence for no rows although there are requests: what this means, or what to do."""
    window: str | None = None
    """Its period, as `--since`, if that of other reports is too short to answer it."""
    has_totals: bool = True
    """Whether its rows share nothing, so that their sum is the whole."""
    is_by_organization: bool = True
    """Whether one organisation has figures of its own. Otherwise it does not get to see the report."""
    is_by_environment: bool = True
    """Whether one environment has figures of its own."""


@cache
def question_of(name: str) -> Question:
    """The question of the report `name`, as on the command line."""
    path = sqlfiles.folder() / "reports" / f"{name.replace('-', '_')}.yaml"
    return Question.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
