"""Folds records on a Spark Connect server: Sail or Apache Spark, at the address of SPARK_REMOTE.

The server reads the linked segments by a list of their names: in the data folder, or as objects of the store
that hosts share their lake through (SPARK_LAKE_URL), with credentials of its own. Rows that only the build
database has (small segments, removed shares) go to it over the connection. Before a statement runs, the
server counts the rows of each list of files: a server that does not see a file would leave out its rows
without an error.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import warnings
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.errors import EngineError
from pipelines.rollups.tables import HOURLY, MOMENTS
from pipelines.warehouse import linked_views, sqlfiles
from pipelines.warehouse.columns import contract_columns
from router.errors import ConfigError
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession

    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings

PORT = 15002
"""The port of an address without one."""
REACH_S = 10.0
"""The server must accept a connection within this time."""
MESSAGE_BYTES = 16 << 20
"""Rows go to the server in messages of about this size. Servers refuse those of some 128 MB."""
RETRIES = 4
"""A call that the server does not answer is tried again so often. The default of the client takes minutes."""
CONFIGURATION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # a number that its type cannot hold is an error
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",  # a product of decimals keeps its digits
}
KEPT = "Hours still to be folded keep their rollups"
"""The end of an error: hours before them may have been folded."""
_NO_ADDRESS = f"SPARK_REMOTE must be an address such as `sc://localhost:{PORT}`"
ROW_MOMENTS = {"request_analytics": "timestamp", "feedback": "request_hour"}
"""The column by which the rows of a table belong to hours."""


def address(settings: Settings) -> str:
    """The server's address, with its token. ConfigError without one, or without the extra `spark`."""
    if settings.spark_remote is None:
        raise ConfigError(
            "ENGINE=spark needs SPARK_REMOTE, the address of a Spark Connect server, such as"
            f" `sc://localhost:{PORT}`"
        )
    try:
        _import_client()
        import sqlglot  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"ENGINE=spark needs `pyspark-client` and `sqlglot` ({error}): pip install 'intellirouter[spark]'"
        ) from None
    return settings.spark_remote.get_secret_value()


def _import_client() -> None:
    """Import the client, which takes a program without a file (`python -c`) for its doctests, and ends it."""
    main = sys.modules["__main__"]
    is_without_file = not hasattr(main, "__file__")
    if is_without_file:
        main.__file__ = "<string>"
    try:
        import pyspark.sql.connect.session  # noqa: F401
    finally:
        if is_without_file:
            del main.__file__


@contextlib.contextmanager
def connected(settings: Settings) -> Iterator[Spark]:
    """A session on the server, which ends with the context."""
    remote = address(settings)
    server = reach(remote)
    from pyspark.errors import PySparkValueError
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession

    with _explained(server, "opened no session"):
        try:
            session = SparkSession.builder.remote(remote).create()
        except PySparkValueError as error:  # its text can hold the address's token
            raise ConfigError(f"{_NO_ADDRESS}: {error.getCondition()}") from None
    try:
        with _explained(server, "opened no session"):
            session.client.set_retry_policies([DefaultPolicy(max_retries=RETRIES)])
            for name, value in CONFIGURATION.items():
                session.conf.set(name, value)
        yield Spark(session, server)
    finally:
        # A server that is gone drops the session by itself.
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
            session.stop()


class Spark:
    """One session on a Spark Connect server."""

    def __init__(self, session: SparkSession, server: str) -> None:
        self._session = session
        self._server = server

    @contextlib.contextmanager
    def folded(
        self, warehouse: Warehouse, start: datetime, end: datetime
    ) -> Iterator[Callable[[str], object]]:
        """Fetch the rows of every rollup before the caller's transaction begins."""
        yield partial(_insert, warehouse, self._fold(warehouse, start, end))

    def _fold(self, warehouse: Warehouse, start: datetime, end: datetime) -> dict[str, Any]:
        from pipelines.rollups import spark_sql

        statements = {table: sqlfiles.load(f"rollups/{table}").text for table in HOURLY}
        mentioned = set[str]().union(*map(spark_sql.names_in, statements.values()))
        decimals = set[str]()
        for dataset in ROW_MOMENTS:
            decimals |= self._show_records(warehouse, dataset, mentioned, start, end)
        for table in HOURLY:
            decimals |= self._show_share(warehouse, table, start, end)
        return {
            table: self._arrow(
                spark_sql.translated(text, {"start": start, "end": end, **HOURLY[table]}, decimals=decimals),
                f"refused the rollup `{table}`",
            )
            for table, text in statements.items()
        }

    def _show_records(
        self, warehouse: Warehouse, dataset: str, mentioned: set[str], start: datetime, end: datetime
    ) -> set[str]:
        """Make the view of a dataset: rows of the table, and those of the files. Returns its decimals."""
        from pipelines.rollups import spark_sql

        known = {name: kind for name, kind, _ in contract_columns(DATASETS[dataset])}
        columns = [name for name in (*known, *linked_views.ADDED[dataset]) if name in mentioned]
        table = linked_views.rows_table(dataset)
        shown = self._send_rows(warehouse, table, ROW_MOMENTS[dataset], columns, start, end)
        for version, files in _linked(warehouse, dataset, start, end).items():
            texts = linked_views.expressions(dataset, version)
            converted = [spark_sql.column(name, texts.get(name, "null")) for name in columns]
            found = self._read(warehouse.settings, list(files), sum(files.values()))
            shown = shown.unionAll(found.alias("source").selectExpr(*converted))
        self._name(dataset, shown)
        return {name for name, kind in known.items() if kind.startswith("DECIMAL")}

    def _show_share(self, warehouse: Warehouse, table: str, start: datetime, end: datetime) -> set[str]:
        """Make the view of the removed rows' share in a rollup. Returns its decimals."""
        columns = linked_views.columns_of(warehouse.connection, table)
        shown = self._send_rows(warehouse, f"pipeline.removed_{table}", MOMENTS[table], columns, start, end)
        self._name(f"removed_{table}", shown)
        kinds = warehouse.connection.table(table)
        return {
            name
            for name, kind in zip(kinds.columns, kinds.types, strict=True)
            if str(kind).startswith("DECIMAL")
        }

    def _send_rows(
        self,
        warehouse: Warehouse,
        table: str,
        moment: str,
        columns: Sequence[str],
        start: datetime,
        end: datetime,
    ) -> DataFrame:
        """Rows that only the build database has, as a view of each message: a plan holds no row then."""
        from pyspark.sql.pandas.types import from_arrow_schema

        chosen = sqlfiles.load("load/rows_between", table=table, moment=moment, columns=tuple(columns))
        rows = warehouse.arrow(chosen, start=start, end=end)
        schema = from_arrow_schema(rows.schema, prefer_timestamp_ntz=False)
        each = max(1, rows.num_rows * MESSAGE_BYTES // max(1, rows.nbytes))
        shown = self._session.createDataFrame([], schema)
        with _explained(self._server, f"took no rows of `{table}`"):
            for number, at in enumerate(range(0, rows.num_rows, each)):
                view = f"sent_{table.replace('.', '_')}_{number}"
                part = self._session.createDataFrame(rows.slice(at, each), schema)
                part.createOrReplaceTempView(view)
                shown = shown.unionAll(self._session.table(view))
        return shown

    def _read(self, settings: Settings, files: Sequence[str], rows: int) -> DataFrame:
        """The rows of files, once the server has found all of them."""
        place, remedy = "the data folder", "let it read this folder at the same path"
        if settings.spark_lake_url is not None:
            place = f"`{settings.spark_lake_url}` (SPARK_LAKE_URL)"
            remedy = "run `intellirouter sync`, which puts new segments there"
        failure = f"cannot read files of {place}. If one is missing, {remedy}. It says"
        with _explained(self._server, failure):
            found = self._session.read.parquet(*files)
            count = found.count()
        if count != rows:
            raise EngineError(
                f"the server at `{self._server}` (SPARK_REMOTE) finds {count:,} of {rows:,} rows in"
                f" {len(files)} files of {place} such as `{files[0]}`: {remedy}, or run again with"
                f" ENGINE=duckdb. {KEPT}"
            )
        return found

    def _name(self, view: str, rows: DataFrame) -> None:
        with _explained(self._server, f"refused the view `{view}`"):
            rows.createOrReplaceTempView(view)

    def _arrow(self, query: str, failure: str) -> Any:
        with _explained(self._server, failure):
            return self._session.sql(query).toArrow()


def _insert(warehouse: Warehouse, found: Mapping[str, Any], table: str) -> None:
    connection = warehouse.connection
    connection.register("found", found[table])
    try:
        warehouse.run(sqlfiles.load("tables/take_found", table=table))
    finally:
        connection.unregister("found")


def _linked(warehouse: Warehouse, dataset: str, start: datetime, end: datetime) -> dict[int, dict[str, int]]:
    """The addresses of files with rows of these hours, and their rows, by schema version."""
    settings = warehouse.settings
    files: dict[int, dict[str, int]] = defaultdict(dict)
    listed = warehouse.run("load/linked_places", dataset=dataset, start=start, end=end).fetchall()
    for name, version, rows, path in listed:
        if settings.spark_lake_url is None:
            address = _address(linked_views.path_of(settings, dataset, name))
        else:
            address = f"{settings.spark_lake_url.rstrip('/')}/{settings.lake.name}/{path}"
        files[version][address] = rows
    return files


def _address(path: Path) -> str:
    """A file as the server takes it. Sail needs escapes for what would be a pattern, and Spark takes none."""
    return path.as_uri() if set("*?[]{}%") & set(str(path)) else f"file://{path}"


def reach(remote: str) -> str:
    """The server's host and port, once it accepts a connection."""
    try:
        parts = urlsplit(remote)
        scheme, host, port = parts.scheme, parts.hostname, parts.port or PORT
    except ValueError:
        scheme, host, port = "", None, PORT
    if scheme != "sc" or host is None:
        raise ConfigError(_NO_ADDRESS)
    try:
        with socket.create_connection((host, port), timeout=REACH_S):
            return f"{host}:{port}"
    except OSError as error:
        raise EngineError(
            f"the Spark Connect server at `{host}:{port}` (SPARK_REMOTE) cannot be reached:"
            f" {error.strerror or error}. Start it, or run again with ENGINE=duckdb. {KEPT}"
        ) from error


@contextlib.contextmanager
def _explained(server: str, failure: str) -> Iterator[None]:
    """Turn an error of the server, or of a call that it did not answer, into one line."""
    import grpc
    from pyspark.errors import PySparkException

    try:
        with warnings.catch_warnings(action="ignore"):  # of retries that did not help
            yield
    except (PySparkException, grpc.RpcError) as error:
        call = error if isinstance(error, grpc.Call) else error.__context__
        text = call.details() or "" if isinstance(call, grpc.Call) else str(error)
        lines = (line.strip(" .:") for line in text.splitlines())
        reason = next(filter(None, lines), type(error).__name__)
        raise EngineError(
            f"the Spark Connect server at `{server}` (SPARK_REMOTE) {failure}: {reason[:300]}. See its log,"
            f" or run again with ENGINE=duckdb. {KEPT}"
        ) from error
