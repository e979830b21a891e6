"""Any other file, by a mapping: `--columns day=Date,model=Model,input=Prompt,output=Completion,cost=Cost`.

A file has one row for each kind of token (`kind`, `tokens`, `cost`), or one row with a column for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from pipelines.errors import ReconciliationError
from pipelines.reconciliation.bills import TOKEN_KINDS, BillLine, Kind
from pipelines.reconciliation.exports.focus import kind_of
from pipelines.reconciliation.exports.values import text
from router.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.reconciliation.exports.files import Row
    from pipelines.reconciliation.exports.values import Reading

COSTS: dict[str, Kind] = {f"cost_{kind}": kind for kind in (*TOKEN_KINDS, "tools")}
NAMES = (
    *("day", "model", "tier", "kind", "tokens", "cost", "currency", "request_id", "requests"),
    *TOKEN_KINDS,
    *COSTS,
)
"""The names of a mapping. `day` is a date or a moment; `cost` is the whole cost of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column holds what."""

    of: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Columns:
        """ReconciliationError for a name that is not known, or a mapping without `day` or figures."""
        of: dict[str, str] = {}
        for part in filter(str.strip, text.split(",")):
            name, equals, column = (piece.strip() for piece in part.partition("="))
            if not equals or not column:
                raise ReconciliationError(f"`{part}` of --columns is no `name=column`: write `model=Model`")
            if name not in NAMES:
                raise ReconciliationError(f"--columns knows no `{name}`: {nearest(name, NAMES)}")
            of[name] = column.lower().replace(" ", "_")
        if "day" not in of or not of.keys() & {"tokens", "cost", *TOKEN_KINDS, *COSTS}:
            raise ReconciliationError(
                "--columns needs `day` and a figure such as `cost`, `input` or `tokens`: write"
                " `--columns day=Date,model=Model,cost=Amount`"
            )
        return cls(of=of)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of tokens that the file separates."""
        named = {kind for kind in TOKEN_KINDS if kind in self.of or f"cost_{kind}" in self.of}
        return frozenset(TOKEN_KINDS if "kind" in self.of else named | {"input", "output"})

    def require(self, names: set[str], reading: Reading) -> None:
        """ReconciliationError for a column that the file does not have."""
        for name, column in self.of.items():
            if column not in names:
                raise ReconciliationError(
                    f"`{reading.path}` has no column `{column}` for `{name}`: {nearest(column, names)}"
                )

    def lines(self, row: Row, reading: Reading) -> Iterator[BillLine]:
        """The lines of a row."""
        row = {name: row.get(column) for name, column in self.of.items()}
        day = reading.day(row["day"])
        model, tier, request_id = text(row, "model"), text(row, "tier"), text(row, "request_id")
        requests = reading.count(row.get("requests"))
        usd = reading.usd(row.get("cost"), currency=row.get("currency"))
        if usd is not None and usd < 0:
            yield BillLine(day, model, tier, "credits", usd=usd, request_id=request_id)
            return
        if "kind" in self.of or "tokens" in self.of:
            said = (text(row, "kind") or "").lower()
            kind: Kind = said if said in get_args(Kind) else kind_of(said)  # type: ignore[assignment]
            tokens = reading.count(row.get("tokens"))
            yield BillLine(day, model, tier, kind, tokens, usd, request_id, requests)
            return
        for kind in TOKEN_KINDS:
            tokens = reading.count(row.get(kind))
            part = reading.usd(row.get(f"cost_{kind}"), currency=row.get("currency"))
            if tokens is not None or part is not None:
                yield BillLine(day, model, tier, kind, tokens, part, request_id, requests)
                requests = None
        part = reading.usd(row.get("cost_tools"), currency=row.get("currency"))
        if part is not None:
            yield BillLine(day, model, tier, "tools", None, part, request_id)
        has_parts = any(name in self.of for name in COSTS)
        if usd is not None and not has_parts:
            yield BillLine(day, model, tier, "total", None, usd, request_id, requests)
