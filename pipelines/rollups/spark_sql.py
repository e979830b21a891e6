"""Writes a rollup's statement, which DuckDB runs as it is, in the SQL of Spark.

sqlglot translates the syntax. The rules here are for what has another name in Spark, and for sums of
integers, which wrap around without an error on some engines. A statement may use only syntax whose results
were compared, digit by digit: anything else is refused before an engine sees it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pipelines.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

INSERT = re.compile(r"^insert into [a-z_.]+ \([^)]*\)\n", re.MULTILINE)
"""The head of a rollup's statement. An engine runs the query below it."""
COMPARED = frozenset(
    {
        *("And", "EQ", "GT", "GTE", "In", "Is", "LT", "Not", "NullSafeEQ", "Or", "Paren"),
        *("Add", "Div", "Mod", "Mul", "Sub"),
        *("Boolean", "Literal", "Null", "Placeholder"),
        *(
            "Alias",
            "Column",
            "CTE",
            "From",
            "Group",
            "Identifier",
            "Join",
            "Order",
            "Ordered",
            "Select",
            "Star",
        ),
        *("Table", "TableAlias", "Union", "Var", "Where", "With"),
        *("Case", "Cast", "DataType", "DataTypeParam", "If", "PropertyEQ", "Struct", "Tuple"),
        *("ArgMax", "Count", "Filter", "Max", "Min", "Sum"),
        *("IgnoreNulls", "LastValue", "RowNumber", "Window", "WindowSpec"),
        *("Array", "ArrayPosition", "Explode"),
        *("Ceil", "Coalesce", "Greatest", "Least", "Ln", "Round"),
        *("Like", "MD5", "RegexpLike", "StrPosition", "Substring"),
        *("DateBin", "Interval", "TimestampTrunc"),
    }
)
"""Syntax, by sqlglot's names, that gives the same results on DuckDB and Spark, through the rules below."""
TYPES = frozenset({"BIGINT", "BOOLEAN", "DECIMAL", "DOUBLE", "INT", "TIMESTAMPTZ", "TEXT"})
"""Types that a statement may cast to."""
_WIDTH = {"MINUTE": 60 * 10**6, "MINUTES": 60 * 10**6, "HOUR": 3600 * 10**6}
"""Microseconds of the units of time buckets."""


def query_of(text: str) -> str:
    """The query of a rollup's statement, without its header and the table it inserts into."""
    head = INSERT.search(text)
    return text[head.end() :] if head else text


def names_in(text: str) -> set[str]:
    """Names of the columns that a query mentions."""
    return {column.name for column in _parsed(text).find_all(exp.Column)}


def translated(text: str, parameters: Mapping[str, Any], *, decimals: Collection[str]) -> str:
    """A query in Spark's SQL, with its parameters filled in.

    `decimals` names the columns of its sources that are of this type. EngineError names syntax that was not
    compared between the engines.
    """
    tree = _parsed(text)
    check(tree)
    return tree.transform(_rule, parameters, frozenset(decimals)).sql("spark", comments=False)


def column(name: str, text: str) -> str:
    """An expression of one column in Spark's SQL, with a name."""
    tree = _parsed(text)
    check(tree)
    return exp.alias_(tree.transform(_rule, {}, frozenset()), name).sql("spark")


def check(tree: exp.Expr) -> None:
    """EngineError if a query uses anything that was not compared."""
    for node in tree.walk():
        name = type(node).__name__
        is_known = name in COMPARED
        if isinstance(node, exp.Anonymous):
            name, is_known = node.name, node.name.lower() == "uuid_extract_timestamp"
        elif isinstance(node, exp.Union) and (node.args.get("by_name") or node.args.get("distinct")):
            name, is_known = "a union by name, or of distinct rows", False
        elif isinstance(node, exp.Group) and (unnamed := set(node.args) - {"expressions"}) & _set(node):
            name, is_known = f"group by {', '.join(sorted(unnamed & _set(node)))}", False
        elif isinstance(node, exp.Join) and (node.method or node.kind not in ("", "CROSS", "INNER")):
            name, is_known = f"a join {node.method or node.kind}", False
        elif isinstance(node, exp.Star) and any(node.args.values()):
            name, is_known = "a star with exceptions", False
        elif isinstance(node, exp.DataType) and node.this.value not in TYPES | {"UUID"}:
            name, is_known = f"the type {node.this.value}", False
        elif isinstance(node, exp.Literal) and _is_loose_decimal(node):
            name, is_known = "a decimal among doubles", False
        if not is_known:
            raise EngineError(
                f"`{node.sql('duckdb')[:80]}` uses {name}, whose results on Spark were not compared with"
                " DuckDB's: write it another way, or add it to the parity tests and to COMPARED"
            )


def _set(node: exp.Expr) -> set[str]:
    return {name for name, value in node.args.items() if value}


def _parsed(text: str) -> exp.Expr:
    try:
        return sqlglot.parse_one(query_of(text), read="duckdb")
    except SqlglotError as error:
        raise EngineError(f"a statement cannot be translated: {str(error).splitlines()[0]}") from None


def _rule(node: exp.Expr, parameters: Mapping[str, Any], decimals: frozenset[str]) -> exp.Expr:
    if isinstance(node, exp.Placeholder):
        return _literal(parameters[node.name])
    if isinstance(node, exp.Table) and node.db:
        return exp.to_table(node.name, alias=node.alias or None)
    if isinstance(node, exp.DateBin):
        return _bucket(node)
    if isinstance(node, exp.Anonymous):
        return _moment_of_id(node.expressions[0].this)
    if isinstance(node, exp.Sum) and not _is_decimal(node.this, decimals):
        return exp.Sum(this=exp.cast(node.this.copy(), "decimal(38, 0)"))
    return node


def _literal(value: Any) -> exp.Expr:
    if isinstance(value, datetime):
        return exp.cast(
            exp.Literal.string(f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00"), "timestamptz"
        )
    if isinstance(value, float):  # without the cast, it would be a decimal
        return exp.cast(exp.Literal.string(repr(value)), "double")
    return exp.Literal.number(value)


def _bucket(node: exp.DateBin) -> exp.Expr:
    """Time buckets begin at a multiple of their width since 1970."""
    interval = node.this
    width = int(interval.this.name) * _WIDTH[interval.unit.name.upper()]
    micros = exp.func("unix_micros", node.expression.copy())
    left = exp.func("pmod", micros.copy(), exp.Literal.number(width))
    return exp.func("timestamp_micros", exp.Sub(this=micros, expression=left))


def _moment_of_id(text: exp.Expr) -> exp.Expr:
    """The moment in a UUIDv7: its first twelve hexadecimal digits are milliseconds since 1970."""
    digits = exp.func(
        "concat",
        exp.func("substr", text.copy(), exp.Literal.number(1), exp.Literal.number(8)),
        exp.func("substr", text.copy(), exp.Literal.number(10), exp.Literal.number(4)),
    )
    number = exp.func("conv", digits, exp.Literal.number(16), exp.Literal.number(10))
    return exp.func("timestamp_millis", exp.cast(number, "bigint"))


def _is_loose_decimal(literal: exp.Literal) -> bool:
    """Whether a number such as 0.5 multiplies no decimal. Among doubles it makes some engines round."""
    if literal.is_string or literal.is_int or "e" in literal.name.lower():
        return False
    cast = literal.find_ancestor(exp.Cast)
    return not (isinstance(literal.parent, exp.Mul) and cast is not None and cast.to.this.value == "DECIMAL")


def _is_decimal(value: exp.Expr, decimals: frozenset[str]) -> bool:
    casts = (cast.to.this.value == "DECIMAL" for cast in value.find_all(exp.Cast))
    return any(casts) or any(column.name in decimals for column in value.find_all(exp.Column))
