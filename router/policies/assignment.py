"""Assigns each request to a variant of an experiment, by a hash of its unit and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from router.documents import parse_yaml
from router.errors import ConfigError, nearest
from router.files import read_document
from router.policies.experiments import ExperimentsFile

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from router.policies.experiments import ExperimentEntry, VariantEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The treatment that an experiment gives a request. Exactly one of policy and model is given."""

    experiment_id: str
    variant: str
    policy_id: str | None
    model: str | None
    is_shadow: bool
    """Whether the variant's decision is only recorded, not served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment ready for the request path."""

    entry: ExperimentEntry
    hasher: blake2b
    """It has read the id and the salt, and is copied for each unit."""
    bounds: tuple[tuple[float, Assignment], ...]
    """The end of each variant's part of [0, 1), and its assignment."""

    @classmethod
    def of(cls, entry: ExperimentEntry) -> Experiment:
        """Compile an entry."""
        bounds, passed = [], 0.0
        for variant in entry.variants:
            passed += variant.share
            assignment = Assignment(
                experiment_id=entry.id,
                variant=variant.name,
                policy_id=variant.policy,
                model=variant.model,
                is_shadow=entry.mode == "shadow",
            )
            bounds.append((passed, assignment))
        # A zero byte ends each part, so that two pairs of id and salt never give the same bytes.
        hasher = blake2b(f"{entry.id}\0{entry.salt}\0".encode(), digest_size=8)
        return cls(entry=entry, hasher=hasher, bounds=tuple(bounds))


def assign(
    experiments: Sequence[Experiment],
    *,
    request_id: str,
    session_id: str | None,
    user_id: str | None,
    organization_id: str | None,
    environment: str,
    task_type: str,
    at: datetime,
) -> Assignment | None:
    """The experiment and the variant that a request is in; None when it is in none.

    Pure: the place of blake2b(experiment id, salt, unit) in [0, 1) selects the variant. It is the same in
    every process and for ever.
    """
    for experiment in experiments:
        entry = experiment.entry
        if (
            (entry.start is not None and at < entry.start)
            or (entry.stop is not None and at >= entry.stop)
            or (entry.environments is not None and environment not in entry.environments)
            or (entry.organizations is not None and organization_id not in entry.organizations)
            or (entry.task_types is not None and task_type not in entry.task_types)
        ):
            continue
        unit = entry.unit
        value = (
            request_id
            if unit == "request"
            else session_id
            if unit == "session"
            else user_id
            if unit == "user"
            else organization_id
        )
        if value is None:
            continue
        hasher = experiment.hasher.copy()
        hasher.update(value.encode())
        # 53 bits, as a float holds, so that the result cannot be 1.0.
        point = (int.from_bytes(hasher.digest(), "big") >> 11) * 2.0**-53
        for end, assignment in experiment.bounds:
            if point < end:
                return assignment
        return experiment.bounds[-1][1]  # rounding left a sliver above the last share
    return None


def load_experiments(
    path: Path, *, policies: Collection[str] | None = None, models: Collection[str] | None = None
) -> tuple[Experiment, ...]:
    """The experiments of `path`, which may be missing; ConfigError when they are not usable.

    A variant's policy and model must be among `policies` and `models`, where these are given.
    """
    content = read_document(path) if path.exists() else None
    return parse_experiments(content, path, policies=policies, models=models)


def parse_experiments(
    content: bytes | None,
    path: Path,
    *,
    policies: Collection[str] | None = None,
    models: Collection[str] | None = None,
) -> tuple[Experiment, ...]:
    """See `load_experiments`: the same of a file's content, if any. Messages name `path`."""
    if content is None:
        return ()
    entries = parse_yaml(content, ExperimentsFile, path).experiments
    for entry in entries:
        for variant in entry.variants:
            _require(variant.policy, policies, "policy", entry, variant, path)
            _require(variant.model, models, "model", entry, variant, path)
    return tuple(Experiment.of(entry) for entry in entries)


def _require(
    name: str | None,
    known: Collection[str] | None,
    kind: str,
    entry: ExperimentEntry,
    variant: VariantEntry,
    path: Path,
) -> None:
    if name is not None and known is not None and name not in known:
        raise ConfigError(
            f"`{path}` is not usable: variant `{variant.name}` of experiment `{entry.id}` names the unknown"
            f" {kind} `{name}`: {nearest(name, known)}"
        )
