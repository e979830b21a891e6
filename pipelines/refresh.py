"""Running the Dagster jobs inside this process: `intellirouter refresh`, the demo, tests."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from pipelines import flow
from pipelines.definitions import defs
from pipelines.defs import run_storage
from pipelines.defs.common import SILENT
from pipelines.errors import WarehouseError
from pipelines.retention import purge
from pipelines.rollups import engines
from pipelines.warehouse import sqlfiles
from pipelines.warehouse.publishing import publish_warehouse
from pipelines.warehouse.run_history import REMEDY, damaged, unwritten
from pipelines.warehouse.warehouse import Warehouse, set_aside
from router.errors import IntelliRouterError
from router.records import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pipelines.retention.admission import Admission
    from router.config import Settings

LOCATION = "intellirouter"
"""The code location's name in dagster_home/workspace.yaml and pyproject.toml. The UI finds runs by it."""
MODULE = "pipelines.definitions"
OWN_ERRORS = ("pipelines.errors.", "router.errors.")
"""Their messages say everything. The trace of another error helps to find its cause."""
NO_COMPUTE_LOGS = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""Logs of steps would redirect the standard output of the program that runs the job."""


logger = logging.getLogger("pipelines.refresh")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshResult:
    """The result of one refresh."""

    success: bool
    seconds: float
    segments: int
    """Segments loaded."""
    rows: Mapping[str, int]
    """Rows loaded, by dataset."""
    quarantined: int
    """Files of the lake that are not read. `lake_is_clean` lists them with their reasons."""
    snapshot_id: str | None
    """The current score snapshot. None before the first one."""
    failed_checks: Mapping[str, str] = field(default_factory=dict)
    """Check name to its finding."""
    violated: frozenset[str] = frozenset()
    """The failed checks that show missing or wrong data. The others are warnings."""
    error: str | None = None
    """Why the run failed. None when it succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainResult:
    """The rows and files that one retention run removed, or would remove in a dry run."""

    success: bool
    seconds: float
    expired_before: str | None
    """Raw rows from this moment on are kept."""
    rows: Mapping[str, int]
    """Rows that went, by dataset."""
    partitions: tuple[str, ...]
    """Lake folders removed, relative to the lake."""
    score_files: tuple[str, ...]
    organizations: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Rows by dataset and organisation. The empty name is no organisation, or a judgement's."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Rows that only a legal hold keeps, by dataset."""
    rewritten: tuple[str, ...] = ()
    """Segments that lost some rows."""
    failed_checks: Mapping[str, str] = field(default_factory=dict)
    violated: frozenset[str] = frozenset()
    error: str | None = None


def rebuild(settings: Settings, *, instance: dg.DagsterInstance | None = None) -> RefreshResult:
    """Set the build database aside and fill a new one from the lake. Readers keep the old copy meanwhile.

    If the engine of ENGINE is away, nothing is set aside.
    """
    engines.check(settings, reach=True)
    with Warehouse(settings):
        set_aside(settings.build_file)
    return refresh(settings, instance=instance)


def refresh(settings: Settings, *, instance: dg.DagsterInstance | None = None) -> RefreshResult:
    """Run the `refresh` job: load, roll up, score, publish.

    `instance` is where Dagster keeps the run. Default: $DAGSTER_HOME, else the data folder's own,
    so that the run shows in the Dagster UI. A failed run is a result with `success=False`. A warehouse
    that another process holds raises WarehouseBusyError, and an ENGINE without its settings ConfigError.
    """
    started = time.perf_counter()
    engines.check(settings)
    result = _run("refresh", settings, instance)
    facts = _facts(result)
    loads = {name: facts.get(name, {}) for name in DATASETS}
    return RefreshResult(
        success=result.success,
        seconds=time.perf_counter() - started,
        segments=sum(int(load.get("segments", 0)) for load in loads.values()),
        rows={name: int(load.get("new_rows", 0)) for name, load in loads.items()},
        quarantined=sum(int(load.get("quarantined", 0)) for load in loads.values()),
        snapshot_id=facts.get("published_scores", {}).get("snapshot_id"),
        failed_checks=_failed_checks(result),
        violated=_violated(result),
        error=_error(result),
    )


def retain(
    settings: Settings,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    force: bool = False,
    instance: dg.DagsterInstance | None = None,
) -> RetainResult:
    """Run the `retention` job as of `now`. With `dry_run`, list the rows and change nothing.

    The run fails if `now` is far beyond the newest record, unless `force` is set.
    """
    started = time.perf_counter()
    config = {"dry_run": dry_run, "force": force} | ({} if now is None else {"now": now.isoformat()})
    result = _run("retention", settings, instance, ops={"retained_records": {"config": config}})
    facts = _facts(result).get("retained_records", {})
    return RetainResult(
        success=result.success,
        seconds=time.perf_counter() - started,
        expired_before=facts.get("expired_before"),
        rows=facts.get("rows", {}),
        partitions=tuple(facts.get("partitions", ())),
        score_files=tuple(facts.get("score_files", ())),
        organizations=facts.get("organizations", {}),
        held=facts.get("held", {}),
        rewritten=tuple(facts.get("rewritten", ())),
        failed_checks=_failed_checks(result),
        violated=_violated(result),
        error=_error(result),
    )


def admit(settings: Settings, *, dry_run: bool = False, force: bool = False) -> Admission:
    """Count segments that came after retention had closed their day, and publish.

    `force` also admits segments of days that an earlier release archived.
    """
    with Warehouse(settings) as warehouse:
        flow.catch_up(warehouse)
        admitted = flow.admit(warehouse, dry_run=dry_run, force=force)
        publish_warehouse(warehouse)
    return admitted


def _run(
    job: str,
    settings: Settings,
    instance: dg.DagsterInstance | None,
    ops: Mapping[str, Any] | None = None,
) -> dg.ExecuteInProcessResult:
    # The lock is taken before the run starts: waiting for it is not a failed run in the history.
    with Warehouse(settings) as warehouse, contextlib.ExitStack() as stack:
        stack.enter_context(_explained(settings))
        if instance is None:
            instance = stack.enter_context(open_instance(settings))
        _on_timeline(instance, job)
        for _ in range(2):
            result = _job(job).execute_in_process(
                instance=instance,
                resources={"workspace": warehouse},
                run_config={**SILENT, "ops": dict(ops or {})},
                raise_on_error=False,
            )
            if not warehouse.is_distrusted():
                break
            warehouse.close()  # it turned out corrupt on the way: once more, from the lake
        if instance.get_runs_count() > purge.RUNS_KEPT + purge.VACUUM_AFTER:
            purge.purge_runs(instance)  # without Dagster's daemon, no housekeeping job does it
        return result


@contextlib.contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    """If Dagster fails by its databases or the disk, name the file or the folder, and the remedy."""
    try:
        yield
    except IntelliRouterError:
        raise
    except Exception as error:
        for path, problem in damaged(dagster_home(settings)):
            raise WarehouseError(f"Dagster's database `{path}` is damaged ({problem}). {REMEDY}") from error
        if reason := unwritten(error):
            raise WarehouseError(
                f"Dagster cannot write its runs in `{dagster_home(settings)}`: {reason}. Free space on the"
                " disk, or let this user write there, and run the command again: no record is lost"
            ) from error
        raise


def dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's runs and events: $DAGSTER_HOME, or the data folder's own."""
    return Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home).absolute()


@contextlib.contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of $DAGSTER_HOME or of the data folder, created with our dagster.yaml."""
    home = dagster_home(settings)
    write_configuration(home)
    reference = InstanceRef.from_dir(str(home), overrides=NO_COMPUTE_LOGS)
    with run_storage.quick(), dg.DagsterInstance.from_ref(reference) as instance:
        yield instance


def write_configuration(home: Path) -> None:
    """Make Dagster's folder, with our dagster.yaml and workspace.yaml where it has none."""
    if "[" in str(home):
        raise WarehouseError(
            f"Dagster does not find its settings in `{home}`, because of the `[`: set another $DAGSTER_HOME"
        )
    home.mkdir(parents=True, exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        if not (home / name).exists():
            (home / name).write_text(packaged_config(name), encoding="utf-8")


def packaged_config(name: str) -> str:
    """A file that we ship: in `dagster_home/` of a checkout, in this package when installed."""
    here = Path(__file__).resolve().parent
    for candidate in (here / name, here.parent / "dagster_home" / name):
        if candidate.is_file():
            return candidate.read_text(encoding="utf-8")
    raise WarehouseError(f"no {name} next to `{sqlfiles.folder()}`: the installation is incomplete")


def _on_timeline(instance: dg.DagsterInstance, job: str) -> None:
    """Have the instance note the code location of its runs: the timeline leaves out runs without one."""
    target = LoadableTargetOrigin(module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    origin = RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job)
    create: Any = dg.DagsterInstance.create_run_for_job
    made: Any = partial(create, instance, remote_job_origin=origin)
    instance.create_run_for_job = made  # type: ignore[method-assign]


@lru_cache
def _job(name: str) -> dg.JobDefinition:
    return defs.resolve_job_def(name)


def _facts(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Metadata of each materialised asset."""
    found: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        data = event.step_materialization_data.materialization
        found[data.asset_key.to_user_string()] = {name: item.value for name, item in data.metadata.items()}
    return found


def _failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {
        check.check_name: check.description or "failed"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }


def _violated(result: dg.ExecuteInProcessResult) -> frozenset[str]:
    return frozenset(
        check.check_name
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
    )


def _error(result: dg.ExecuteInProcessResult) -> str | None:
    """The first failure, without the class of an error of ours. The trace of another one is logged."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error.cause or event.step_failure_data.error
            kind, _, message = error.message.strip().partition(": ")
            if kind.startswith(OWN_ERRORS):
                return message
            logger.error("%s", error.to_string())
            return error.message.strip()
    return None if result.success else "the run failed before its first step"
