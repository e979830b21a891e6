"""A change of shares or variants starts a phase, and results are joined over phases, never pooled."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pipelines import flow
from pipelines.experiments.experiment_commands import COMMANDS
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.config import Settings
from router.configuration.opening import open_source
from router.configuration.watching import look
from router.policies.assignment import assign, load_experiments
from router.records import Record
from tests.factories import write_catalog
from tests.pipelines.helpers import id_at, make_feedback, make_record, seal_records

DAY = datetime(2026, 11, 20, tzinfo=UTC)
Rows = list[tuple[Any, ...]]


def write(settings: Settings, control: float, *, cheap: str = "cheapest") -> str:
    """An experiments.yaml whose control has this share. Returns the configuration's hash."""
    variants = [
        {"name": "control", "share": control, "policy": "balanced"},
        {"name": "cheap", "share": round(1 - control, 3), "policy": cheap},
    ]
    entry = {"id": "e", "unit": "user", "variants": variants}
    write_catalog(settings.home, ["large"])
    settings.experiments_file.write_text(yaml.safe_dump({"experiments": [entry]}))
    source = open_source(settings)
    try:
        look(source, settings)
        return source.versions()[-1].config_hash
    finally:
        source.close()


def traffic(
    settings: Settings,
    days: list[float],
    quality: float,
    config_hash: str | None = None,
    requests: int = 1500,
) -> None:
    """Judged requests of 1,000 users on some days. Every variant is equally good."""
    rng = random.Random(f"{days}")
    known = load_experiments(settings.experiments_file)
    more = {} if config_hash is None else {"config_hash": config_hash}
    records: list[Record] = []
    for day in days:
        for _ in range(requests):
            at, user = DAY + timedelta(days=day, seconds=rng.random() * 86_000), f"u{rng.randrange(1000)}"
            facts = assign(
                known,
                request_id=id_at(at),
                session_id=None,
                user_id=user,
                organization_id=None,
                environment="test",
                task_type="math",
                at=at,
            )
            assert facts is not None
            record = make_record(at, user_id=user, experiment_id="e", variant=facts.variant, **more)
            records += [record, make_feedback(record, float(rng.random() < quality))]
    seal_records(settings, records)


def refreshed(settings: Settings, query: str) -> Rows:
    """The rows of a query after a refresh."""
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
        return warehouse.rows(query)


RESULTS = (
    "select variant, round(difference, 2), verdict, phases from experiment_results"
    " where metric = 'quality' order by variant desc"
)
PHASES = "select phase, variant, share, requests > 0, is_current from experiment_phases order by all"


@pytest.mark.parametrize("is_known", [True, False])
def test_shares_that_change_start_a_phase(settings: Settings, *, is_known: bool) -> None:
    """Days on which everything is better, and on which one variant has more traffic, make no winner.

    Also where the records name no known configuration.
    """
    config_hash = write(settings, 0.5)
    traffic(settings, [0, 1], 0.5, config_hash if is_known else None)
    assert [row[2] for row in refreshed(settings, RESULTS)] == ["control", "undecided"]
    config_hash = write(settings, 0.1)
    traffic(settings, [2, 3], 0.9, config_hash if is_known else None)
    assert [row[2:] for row in refreshed(settings, RESULTS)] == [("control", 2), ("undecided", 2)]
    write(settings, 0.295)
    rows = refreshed(settings, RESULTS)
    assert [row[2] for row in rows] == ["control", "undecided"]
    assert abs(rows[1][1]) < 0.04
    assert refreshed(settings, PHASES) == [
        (1, "cheap", 0.5, True, False),
        (1, "control", 0.5, True, False),
        (2, "cheap", 0.9, True, False),
        (2, "control", 0.1, True, False),
    ]
    before = refreshed(settings, "from experiment_results order by all")
    with Warehouse(settings):
        set_aside(settings.build_file)
    assert refreshed(settings, "from experiment_results order by all") == before


def test_units_in_several_variants_are_counted(settings: Settings) -> None:
    """Users who moved to another variant with the shares are said, and only those."""
    write(settings, 0.5)
    traffic(settings, [0], 0.5, requests=4000)
    counted = "select distinct units_in_several_variants from experiment_results"
    assert refreshed(settings, counted) == [(0,)]
    write(settings, 0.1)
    traffic(settings, [1], 0.5, requests=4000)
    ((moved,),) = refreshed(settings, counted)
    assert 330 < moved < 470


def test_another_treatment_is_not_joined(settings: Settings) -> None:
    """Where a variant's policy changed, its results come from the phases of the present policy alone."""
    traffic_hash = write(settings, 0.5)
    traffic(settings, [0], 0.5, traffic_hash)
    refreshed(settings, RESULTS)
    traffic_hash = write(settings, 0.5, cheap="fastest")
    traffic(settings, [1], 0.9, traffic_hash)
    query = "select mean > 0.8, phases from experiment_results where metric = 'quality' and not is_control"
    assert refreshed(settings, query) == [(True, 1)]


def test_an_hour_of_two_configurations_is_split(settings: Settings) -> None:
    """A change within an hour is exact: each record counts for the phase that its configuration names."""
    for share in (0.5, 0.25):
        config_hash = write(settings, share)
        traffic(settings, [0], 0.5, config_hash)
    found = refreshed(settings, "select phase, sum(requests) from experiment_phases group by 1 order by 1")
    assert found == [(1, 1500), (2, 1500)]


def test_the_command_lists_phases(settings: Settings) -> None:
    """`intellirouter experiments --phases` shows the share, the time and the requests of each phase."""
    write(settings, 0.5)
    traffic(settings, [0], 0.5)
    with Warehouse(settings) as warehouse:
        flow.run_refresh(warehouse)
    arguments = ["e", "--home", str(settings.home), "--phases", "--format", "csv"]
    found = CliRunner().invoke(COMMANDS[0], arguments)
    assert found.output.splitlines()[0].startswith("experiment_id,phase,variant,share,treatment,is_current")
    assert found.output.splitlines()[1].startswith("e,1,cheap,0.5,cheapest,True")
