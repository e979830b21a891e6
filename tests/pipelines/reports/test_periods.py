"""Days and months of time zones, as the moments that bound them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pytest

from pipelines.errors import QueryError
from pipelines.reports import periods
from router.config import Settings

BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
NOW = datetime(2026, 11, 20, 12, 7, 30, tzinfo=UTC)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Africa/Cairo", "2026-04-24", 23),  # the clock skips midnight itself
        ("Asia/Kolkata", "2026-10-25", 24),
    ],
)
def test_a_day_with_a_change_of_time_has_its_own_length(zone: str, day: str, hours: float) -> None:
    """Days are bounded by local midnights, and not by 24 hours."""
    found = periods.day(ZoneInfo(zone), day)
    assert found.until - found.since == timedelta(hours=hours)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide", "Europe/Berlin"])
def test_the_days_of_a_month_add_up_to_it(zone: str) -> None:
    """Each day ends where the next one starts, on the grid of the rollups."""
    for text in ("2026-02", "2026-10", "2026-12"):
        month = periods.month(ZoneInfo(zone), text)
        days = list(month.days())
        assert [days[0].since, days[-1].until] == [month.since, month.until]
        assert all(first.until == second.since for first, second in itertools.pairwise(days))
        assert all(periods.on_grid(day.since) == day.since for day in days)


@pytest.mark.parametrize("zone", ["Africa/Cairo", "America/New_York", "Asia/Kathmandu", "Europe/Berlin"])
def test_sql_gives_each_moment_the_same_date(zone: str) -> None:
    """DuckDB's database of zones and Python's agree over a year, on every bound and just before it."""
    year = periods.Period(
        since=periods.month(ZoneInfo(zone), "2026-01").since,
        until=periods.month(ZoneInfo(zone), "2026-12").until,
        zone=ZoneInfo(zone),
    )
    moments = [moment for day in year.days() for moment in (day.since, day.until - timedelta(seconds=1))]
    local = duckdb.execute(
        "select cast(timezone($zone, moment) as date) from (select unnest($moments) as moment)",
        {"zone": zone, "moments": moments},
    ).fetchall()
    assert [day for (day,) in local] == [moment.astimezone(year.zone).date() for moment in moments]


def test_a_day_given_as_the_end_is_in_the_period() -> None:
    """`--since 2026-11-01 --until 2026-11-07` are seven days."""
    week = periods.between(KOLKATA, "2026-11-01", "2026-11-07")
    assert week.since == datetime(2026, 10, 31, 18, 30, tzinfo=UTC)
    assert week.until == datetime(2026, 11, 7, 18, 30, tzinfo=UTC)
    assert str(week) == "2026-11-01 00:00 to 2026-11-08 00:00 Asia/Kolkata"
    assert periods.between(KOLKATA, "2026-11", "2026-11") == periods.month(KOLKATA, "2026-11")


def test_a_moment_without_an_offset_is_local() -> None:
    """An offset is honoured, and none means the zone's own clock."""
    half = periods.between(BERLIN, "2026-11-20T09:30", "2026-11-20T09:30:00Z")
    assert half.since == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    assert half.until == datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def test_ages_start_with_a_quarter_of_an_hour() -> None:
    """Both bounds of two neighbouring periods are the same moment, so that no request counts twice."""
    older, recent = (periods.between(BERLIN, *ages, now=NOW) for ages in (("7d", "24h"), ("24h", None)))
    assert older.until == recent.since == datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
    assert recent.until == NOW


@pytest.mark.parametrize(
    ("since", "until", "message"),
    [
        ("2026-11-20T09:07", None, "within a quarter of an hour.*give 09:00 or 09:15"),
        ("2026-11-20", "2026-11-19", "is not after"),
        ("2026-02-30", None, "is no moment"),
        ("2026-13", None, "is no moment"),
        ("yesterday", None, "is no moment"),
    ],
)
def test_other_bounds_are_refused_by_value(since: str, until: str | None, message: str) -> None:
    """A period that rollups cannot count, or that is none, is an error that names the text."""
    with pytest.raises(QueryError, match=message):
        periods.between(BERLIN, since, until, now=NOW)


def test_the_zone_is_the_named_one_then_the_organisations_then_the_setting(settings: Settings) -> None:
    """An organisation without a zone of its own has the setting's."""
    settings.home.mkdir(parents=True)
    (settings.home / "organizations.yaml").write_text(
        "organizations: [{id: acme, time_zone: Asia/Kathmandu}, {id: globex}]"
    )
    zoned = settings.model_copy(update={"report_timezone": "Europe/Berlin"})
    assert periods.zone_of(zoned, "acme").key == "Asia/Kathmandu"
    assert periods.zone_of(zoned, "acme", named="Asia/Kolkata").key == "Asia/Kolkata"
    assert {periods.zone_of(zoned, name).key for name in ("globex", "unlisted", None)} == {"Europe/Berlin"}
    with pytest.raises(QueryError, match=r"`Asia/Kolkatta` is not a time zone.*`Asia/Kolkata`"):
        periods.zone_of(settings, named="Asia/Kolkatta")


@pytest.mark.parametrize(
    ("text", "age"),
    [("7d", timedelta(days=7)), ("24h", timedelta(hours=24)), ("2w", timedelta(weeks=2))],
)
def test_ages_are_moments(text: str, age: timedelta) -> None:
    """An age counts back from now."""
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert periods.parse_moment(text, now=now) == now - age


@pytest.mark.smoke
def test_dates_are_utc_moments() -> None:
    """A date is midnight UTC; an offset is honoured."""
    assert periods.parse_moment("2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert periods.parse_moment("2026-11-01T02:00+02:00") == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "7", "", "2026-13-01", "7y"])
def test_other_texts_are_refused_by_value(text: str) -> None:
    """What is no moment is named, with what would be."""
    with pytest.raises(QueryError, match="is no moment: give an age"):
        periods.parse_moment(text)


@pytest.mark.parametrize("text", ["9999-12-31", "9999-12"])
def test_a_day_without_a_next_one_is_an_error(text: str) -> None:
    """As the start and as the end: the first moment after it does not exist."""
    with pytest.raises(QueryError, match="is the last day that there is"):
        periods.between(BERLIN, text)
    with pytest.raises(QueryError, match="is the last day that there is"):
        periods.between(BERLIN, "2026-11-01", text)


@pytest.mark.parametrize("text", ["999999w", "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"])
def test_a_moment_beyond_the_calendar_is_refused_by_value(text: str) -> None:
    """An age or an offset that leaves the years 1 to 9999 is an error, not a crash."""
    with pytest.raises(QueryError, match="year"):
        periods.parse_moment(text)


@pytest.mark.parametrize(
    ("since", "until", "title"),
    [
        ("2026-11", "2026-11", "November 2026"),
        ("2026-09", "2026-11", "September to November 2026"),
        ("2025-12", "2026-01", "December 2025 to January 2026"),
        ("2026-11-01", "2026-11-27", "1 to 27 November 2026"),
        ("2026-11-27", "2026-11-27", "27 November 2026"),
        ("2026-08-29", "2026-11-27", "29 August to 27 November 2026"),
        ("2025-12-29", "2026-01-03", "29 December 2025 to 3 January 2026"),
        ("2025-11-01", "2026-11-15", "1 November 2025 to 15 November 2026"),
        ("2026-11-01", None, "1 to 20 November 2026"),
        ("90d", None, "22 August to 20 November 2026"),
        ("6h", None, "2026-11-20 07:00 to 2026-11-20 13:07 Europe/Berlin"),
    ],
)
def test_a_title_names_every_day_of_its_period(since: str, until: str | None, title: str) -> None:
    """Only whole months have the name of a month, years are clear, and a short period keeps its hours."""
    assert periods.between(BERLIN, since, until, now=NOW).title() == title
