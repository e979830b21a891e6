"""A data folder whose warehouse is mirrored, and both sides as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipelines import flow
from pipelines.copies.mirror import checked, mirror
from pipelines.reports.reports import opened
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.copies.mirror import MirrorResult

Rows = list[tuple[Any, ...]]


class Mirrored:
    """A data folder and its mirror."""

    def __init__(self, home: Path, url: str, **settings: str) -> None:
        self.url = url
        # Each database has readers of its own: a role belongs to the whole server.
        reader = f"reader_{url.rpartition('/')[2]}"
        self.settings = Settings.load({"MIRROR_URL": url, "MIRROR_READER": reader, **settings}, home=home)

    def refresh(self) -> None:
        """Load, fold and publish."""
        with Warehouse(self.settings) as warehouse:
            flow.run_refresh(warehouse)

    def mirror(self, **options: Any) -> MirrorResult:
        """Bring the copy up to date."""
        return checked(mirror(self.settings, **options))

    def ask(
        self, sql: str, *values: Any, path: str = "analytics, pg_catalog", url: str | None = None
    ) -> Rows:
        """Rows of a query on the copy, as a reader asks it."""
        import psycopg

        with psycopg.connect(
            url or self.url,
            options=f"-c search_path={path.replace(' ', '')} -c timezone=UTC",
            autocommit=True,
        ) as connection:
            cursor = psycopg.RawCursor(connection)
            cursor.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def ask_warehouse(self, sql: str) -> Rows:
        """Rows of a query on the published warehouse."""
        with opened(self.settings) as connection:
            return connection.execute(sql).fetchall()

    def differences(self) -> dict[str, tuple[Rows, Rows]]:
        """By table: what the warehouse and the copy hold, where their counts or exact sums are not equal."""
        import psycopg

        found = {}
        totals = self.totals_of_tables()
        options = "-c search_path=analytics -c timezone=UTC"
        with opened(self.settings) as warehouse, psycopg.connect(self.url, options=options) as copy:
            for table, sums in totals.items():
                query = f"select count(*), {', '.join(sums)} from {table}"  # noqa: S608
                here, there = warehouse.execute(query).fetchall(), copy.execute(query.encode()).fetchall()
                if [tuple(map(_plain, row)) for row in here] != [tuple(map(_plain, row)) for row in there]:
                    found[table] = (here, there)
        return found

    def totals_of_tables(self) -> dict[str, list[str]]:
        """By table: for each column its known rows, and its sum if it is exact."""
        columns = self.ask_warehouse(
            "select table_name, column_name, data_type from duckdb_columns()"
            " where not internal and schema_name = 'main'"
            " and table_name <> 'request_documents' and table_name not like '%\\_rows' escape '\\'"
            " order by all"
        )
        totals: dict[str, list[str]] = {}
        for table, column, kind in columns:
            items = totals.setdefault(table, [])
            items.append(f'count("{column}")')
            if kind.startswith("DECIMAL") or kind in ("BIGINT", "INTEGER"):
                items.append(f'sum("{column}")')
        return totals


def _plain(value: Any) -> Any:
    return None if value is None else value + 0


@pytest.fixture
def mirrored(tmp_path: Path, postgres_url: str) -> Mirrored:
    """An empty data folder with a mirror in an empty database."""
    return Mirrored(tmp_path / "data", postgres_url)


@pytest.fixture
def mirrored_with(tmp_path: Path, postgres_url: str) -> Callable[..., Mirrored]:
    """The same with other settings, by their variables."""
    return lambda **settings: Mirrored(tmp_path / "data", postgres_url, **settings)
