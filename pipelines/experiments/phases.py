"""The phases of experiments: a change of shares or variants starts a new one.

Within a phase every variant has its planned share at every moment, so that sums may be compared. Over several
phases they may not: if traffic is better on some days, the variant that had more of it on those days looks
better. Results are joined over phases instead (`results`).

A record names its configuration, and the configuration's history holds the design. For other records
(another machine's folder, a writer of your own) the refresh that first sees a new design starts a phase at
the next hour without records. `warehouse/build/phases.json` keeps those moments for a rebuild.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.warehouse import sqlfiles
from router.configuration.documents import EXPERIMENTS
from router.configuration.opening import open_source
from router.errors import ConfigError
from router.files import write_atomically
from router.policies.assignment import parse_experiments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipelines.warehouse.warehouse import Warehouse
    from router.policies.experiments import ExperimentEntry, Mode, Unit

PERIODS, DESIGNS = "pipeline.design_periods", "pipeline.experiment_designs"
NO_EXPERIMENT = ""
"""The experiment of a configuration without any, so that it is not read again."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The shares and treatments of a phase, from its design."""

    unit: Unit
    mode: Mode
    shares: Mapping[str, float]
    treatments: Mapping[str, str]
    """The policy or model of each variant, as JSON."""

    @classmethod
    def read(cls, design: str) -> Phase:
        """The phase of a design's JSON."""
        raw = json.loads(design)
        total = sum(variant["share"] for variant in raw["variants"])
        return cls(
            unit=raw["unit"],
            mode=raw["mode"],
            shares={item["name"]: item["share"] / total for item in raw["variants"]},
            treatments={
                item["name"]: json.dumps([item.get("policy"), item.get("model")]) for item in raw["variants"]
            },
        )


def design_of(entry: ExperimentEntry) -> str:
    """The rules that assign and treat the units of an experiment, as JSON with one spelling."""
    variants = [item.model_dump(mode="json", exclude_none=True) for item in entry.variants]
    design = {"unit": entry.unit, "salt": entry.salt, "mode": entry.mode, "variants": variants}
    return json.dumps(design, sort_keys=True)


def note_designs(warehouse: Warehouse, entries: Iterable[ExperimentEntry]) -> None:
    """Note the designs in force now, and those of every configuration in the history."""
    _note_periods(warehouse, {entry.id: design_of(entry) for entry in entries})
    _note_configurations(warehouse)


def _note_periods(warehouse: Warehouse, designs: Mapping[str, str]) -> None:
    file = warehouse.settings.build_file.with_name("phases.json")
    before = _stored(warehouse) or _kept(file)
    hours = dict(warehouse.run("marts/last_experiment_hours").fetchall())
    now = datetime.now(UTC)
    rows = [dict(row) for row in before]
    latest = {row["experiment_id"]: row for row in sorted(rows, key=lambda row: row["starts_at"])}
    for name, design in designs.items():
        last = latest.get(name)
        if last is not None and last["design"] == design:
            last["last_hour"] = hours.get(name)
            continue
        starts_at = BEGINNING
        if last is not None:
            seen = last["last_hour"]
            starts_at = now if seen is None else min(now, seen + timedelta(hours=1))
        rows.append(
            {
                "experiment_id": name,
                "starts_at": starts_at,
                "design": design,
                "last_hour": hours.get(name),
            }
        )
    if warehouse.replace_rows(PERIODS, rows) or (rows and not file.exists()):
        write_atomically(file, json.dumps(rows, default=_moment, indent=1).encode())


def _stored(warehouse: Warehouse) -> list[dict[str, Any]]:
    found = warehouse.run(sqlfiles.load("tables/rows", table=PERIODS))
    columns = [item[0] for item in found.description or []]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def _kept(file: Path) -> list[dict[str, Any]]:
    """The periods of an earlier build database. None if the file is missing or damaged."""
    try:
        rows = json.loads(file.read_bytes())
        return [
            {
                "experiment_id": str(row["experiment_id"]),
                "starts_at": datetime.fromisoformat(row["starts_at"]),
                "design": str(row["design"]),
                "last_hour": row["last_hour"] and datetime.fromisoformat(row["last_hour"]),
            }
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"`{value!r}` cannot be written as JSON")


def _note_configurations(warehouse: Warehouse) -> None:
    known = {name for (name,) in warehouse.run("marts/known_designs").fetchall()}
    rows: list[dict[str, str]] = []
    read: dict[str, Sequence[ExperimentEntry]] = {}
    try:
        with closing(open_source(warehouse.settings)) as source:
            for version in source.versions():
                if version.config_hash in known:
                    continue
                known.add(version.config_hash)
                digest = version.documents.get(EXPERIMENTS)
                if digest is not None and digest not in read:
                    read[digest] = _entries(source.document(digest))
                found = {entry.id: design_of(entry) for entry in (read[digest] if digest is not None else ())}
                rows += [
                    {"config_hash": version.config_hash, "experiment_id": name, "design": design}
                    for name, design in (found or {NO_EXPERIMENT: ""}).items()
                ]
    except (ConfigError, OSError):
        pass  # `load_configurations` says so; the moments of the periods stay
    warehouse.insert(DESIGNS, rows)


def _entries(content: bytes) -> Sequence[ExperimentEntry]:
    """The entries of a document. None if this release cannot read it."""
    try:
        return [item.entry for item in parse_experiments(content, Path(EXPERIMENTS))]
    except ConfigError:
        return []
