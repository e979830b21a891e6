"""The columns of the warehouse as PostgreSQL holds them: types, staging, and texts that it refuses.

DuckDB hands over Arrow batches whose types PostgreSQL's COPY takes. Texts become uuid, jsonb and inet by a
cast from the staging table.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.warehouse.sqlfiles import quoted_name

if TYPE_CHECKING:
    from pipelines.warehouse.descriptions import Column

UUIDS = frozenset({"request_id", "feedback_id"})
"""Columns that name a record of the contract, in any table."""
ADDRESSES = frozenset({"ip_address"})
TOKENS = "tokens_"
"""Counts of tokens are numeric: PostgreSQL divides integers to integers, DuckDB does not."""
REPLACEMENT = "\ufffd"
"""Takes the place of a character that PostgreSQL cannot hold: NUL, or half of a surrogate pair."""
_PLAIN = {
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "TIMESTAMP": "timestamp without time zone",
    "BLOB": "bytea",
}
"""Types that cross unchanged."""
_WHOLE = {"TINYINT": "smallint", "UTINYINT": "smallint", "USMALLINT": "integer", "UINTEGER": "bigint"}
_WIDE = {"UBIGINT": "decimal(20, 0)", "HUGEINT": "decimal(38, 0)", "UHUGEINT": "decimal(38, 0)"}
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL
)
_REFUSED_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A column of a copy."""

    name: str
    kind: str
    """PostgreSQL's type."""
    staged: str
    """The type in the staging table."""
    expression: str
    """The column in DuckDB, as the staging table takes it."""
    is_required: bool
    mended: Literal["json", "address"] | None = None
    """How texts are changed before they are staged."""

    @property
    def quoted(self) -> str:
        return quoted_name(self.name)

    @property
    def definition(self) -> str:
        """The column in `create table`."""
        return f"{self.quoted} {self.kind}{' not null' if self.is_required else ''}"

    @property
    def value(self) -> str:
        """The staged column in the copy's type."""
        return self.quoted if self.staged == self.kind else f"cast({self.quoted} as {self.kind})"


def copied(column: Column) -> Copied:
    """The copy of a warehouse's column."""
    source, name = column.kind, quoted_name(column.name)
    kind, staged, expression, mended = "text", "text", f"cast({name} as varchar)", None
    if column.name in UUIDS or (column.name == "id" and (column.description or "").startswith("UUID")):
        kind = "uuid"
    elif column.name in ADDRESSES and source == "VARCHAR":
        kind, mended = "inet", "address"
    elif source == "JSON" or source.endswith("]") or source.startswith(("STRUCT", "MAP", "UNION")):
        kind, mended = "jsonb", "json"
        expression = f"cast(to_json({name}) as varchar)" if source != "JSON" else expression
    elif source.startswith("DECIMAL"):
        kind, staged, expression = "numeric", "numeric", name
    elif source in _WIDE:
        kind, staged, expression = "numeric", "numeric", f"cast({name} as {_WIDE[source]})"
    elif source in _WHOLE:
        kind, expression = _WHOLE[source], f"cast({name} as {_WHOLE[source]})"
        staged = kind
    elif source in _PLAIN and source != "VARCHAR":
        kind, staged, expression = _PLAIN[source], _PLAIN[source], name
    if kind == "text":
        expression = f"replace({expression}, chr(0), '{REPLACEMENT}')"
    if column.name.startswith(TOKENS) and kind in ("bigint", "integer"):
        kind = "numeric"
    return Copied(
        name=column.name,
        kind=kind,
        staged=staged,
        expression=f"{expression} as {name}",
        is_required=not column.is_nullable,
        mended=mended,  # type: ignore[arg-type]
    )


def mend(batch: pa.RecordBatch, columns: tuple[Copied, ...]) -> pa.RecordBatch:
    """Replace the texts that jsonb or inet would refuse."""
    for at, column in enumerate(columns):
        if column.mended is not None:
            mending = mended_json if column.mended == "json" else mended_addresses
            batch = batch.set_column(at, batch.schema.field(at), mending(batch.column(at)))
    return batch


def mended_json(texts: Any) -> Any:
    """JSON whose escapes are all characters that PostgreSQL can hold."""
    suspicious = pc.fill_null(pc.match_substring_regex(texts, _REFUSED_ESCAPE.pattern), fill_value=False)
    if not pc.any(suspicious).as_py():
        return texts
    replaced = [_with_held_escapes(text) for text in texts.filter(suspicious).to_pylist()]
    return pc.replace_with_mask(texts, suspicious, pa.array(replaced, texts.type))


def _with_held_escapes(text: str) -> str:
    def held(match: re.Match[str]) -> str:
        return "\\ufffd" if len(match[0]) == 6 and _REFUSED_ESCAPE.fullmatch(match[0]) else match[0]

    return _ESCAPE.sub(held, text)


def mended_addresses(texts: Any) -> Any:
    """Addresses without the zone of a link-local one. Any other text becomes NULL."""
    distinct = pc.unique(texts).to_pylist()
    known = {text: _address(text) for text in distinct if text is not None}
    if all(text == address for text, address in known.items()):
        return texts
    return pa.array([None if text is None else known[text] for text in texts.to_pylist()], texts.type)


def _address(text: str) -> str | None:
    try:
        ipaddress.ip_interface(text.partition("%")[0])
    except ValueError:
        return None
    return text.partition("%")[0]
