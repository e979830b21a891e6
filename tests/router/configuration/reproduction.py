"""A record's decision, made again from the documents that its `config_hash` leads to.

    python -m tests.router.configuration.reproduction HOME

prints, for every hash of a data folder's records, how many decisions came out the same. A decision needs
the documents, the score snapshot that the record names, and the record: task, tokens, moment, draw.
Decisions that followed a session, a breaker or a budget are not made again: their facts are not documents.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.config import Settings
from router.configuration.checking import Deciding, deciding
from router.configuration.folder import StateFolder
from router.configuration.resolving import documents_of, resolve
from router.decision.eligibility import standing_exclusions
from router.decision.knowledge import NEW_SESSION, Knowledge, Moment
from router.decision.state import State
from router.request.request import Request
from router.scores.board import ScoreBoard
from router.scores.snapshot import ScoreSnapshot

if TYPE_CHECKING:
    from router.records import RequestRecord
    from router.request.decision import Decision

FACTS = ("model", "policy_id", "policy_version", "propensity", "strategy", "experiment_id", "variant")
"""The members of a decision that a record repeats."""


class Archive:
    """Old decisions of one data folder."""

    def __init__(self, home: Path) -> None:
        self._settings = Settings.load({}, home=home)
        self._source = StateFolder(home)
        self._knowledge: dict[tuple[str | None, ...], Knowledge] = {}

    def decide(self, record: RequestRecord, request: Request | None = None) -> Decision:
        """The decision again. Without the request, one with the record's facts is enough."""
        knowledge = self._known(record.config_hash, record.snapshot_id, record.baseline_model)
        is_known = request is not None
        request = request or Request(
            messages=[{"role": "user", "content": "?"}],
            model=record.model_requested,
            task_type=record.task_type,
            policy=None if record.experiment_id else record.policy_id,
            user_id=record.user_id,
            organization_id=record.organization_id,
            environment=record.environment,
        )
        demand = request.measure()
        if not is_known and record.tokens_input_estimated is not None:
            demand = demand._replace(
                tokens_input=record.tokens_input_estimated, context_tokens=record.tokens_input_estimated
            )
        policy = knowledge.policy_of(request, NEW_SESSION, self._settings.default_policy)
        moment = Moment(record.id, record.timestamp, record.draw or 0.0)
        return knowledge.decide(request, demand, policy, moment)

    def _known(self, config_hash: str, snapshot_id: str | None, baseline: str | None) -> Knowledge:
        key = (config_hash, snapshot_id, baseline)
        if key not in self._knowledge:
            found = self.documents(config_hash)
            state = State(
                catalog=found.catalog,
                policies=found.policies,
                experiments=found.experiments,
                config_hash=found.config_hash,
                baseline_model=baseline,
            )
            standing = standing_exclusions(found.catalog, {})
            board = ScoreBoard(self._snapshot(snapshot_id), found.catalog, excluded=standing)
            self._knowledge[key] = Knowledge(state, board, standing=standing, environment="production")
        return self._knowledge[key]

    def documents(self, config_hash: str) -> Deciding:
        """The documents of a hash, as `config show` finds them, parsed as a router would."""
        documents = documents_of(self._source, resolve(self._source, config_hash))
        with tempfile.TemporaryDirectory() as folder:
            return deciding(documents, Path(folder))

    def _snapshot(self, snapshot_id: str | None) -> ScoreSnapshot | None:
        if snapshot_id is None:
            return None
        return ScoreSnapshot.read(self._settings.home / "scores" / f"{snapshot_id}.json")


def differences(record: RequestRecord, decision: Decision) -> dict[str, tuple[Any, Any]]:
    """What the record says and the decision does not: (record, decision) by name."""
    said = {**{name: getattr(record, name) for name in FACTS[1:]}, "model": record.model_decided}
    made = {name: getattr(decision, name) for name in FACTS}
    said["config_hash"], made["config_hash"] = record.config_hash, decision.config_hash
    said["candidates"], made["candidates"] = list(record.candidates), list(decision.candidates)
    return {name: (said[name], made[name]) for name in made if said[name] != made[name]}


def main(home: Path) -> int:
    """Print a line for each hash; 1 if a decision came out differently, or a hash has no documents."""
    from pipelines.lake import reading
    from router.records import Candidate, RequestRecord

    archive = Archive(home)
    same: Counter[str] = Counter()
    other: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    names = RequestRecord.__dataclass_fields__.keys()
    for segment in reading.scan(home / "lake", RequestRecord.DATASET).segments:
        for row in reading.read_rows(segment.path).to_pylist():
            facts = {name: value for name, value in row.items() if name in names}
            facts["candidates"] = [Candidate(**candidate) for candidate in facts["candidates"] or ()]
            record = RequestRecord(**facts)
            if record.draw is None or any(_is_live(item.exclusion) for item in record.candidates):
                skipped[record.config_hash] += 1
                continue
            found = differences(record, archive.decide(record))
            if not found:
                same[record.config_hash] += 1
            else:
                other[record.config_hash] += 1
                if other[record.config_hash] <= 3:
                    sys.stdout.write(f"    {record.id}: {sorted(found)}\n")
    for config_hash in sorted({*same, *other, *skipped}):
        archive.documents(config_hash)
        sys.stdout.write(
            f"{config_hash}: {same[config_hash]} decisions the same, {other[config_hash]} not,"
            f" {skipped[config_hash]} without chance or with live facts\n"
        )
    return 1 if other else 0


def _is_live(exclusion: str | None) -> bool:
    return exclusion is not None and ("failing" in exclusion or "budget" in exclusion)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
