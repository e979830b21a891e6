"""The task classifier's life: trained again when enough is new or it is lost, published while useful.

It learns from requests with kept prompt features and a task that the caller named. A classifier that is
not better than rules and default on held-out prompts is not published. The published one is then removed
too, since it learnt from the same kind of traffic.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.warehouse import linked, sqlfiles
from pipelines.warehouse.checks import END
from router.errors import ScoresError
from router.files import make_folder, write_atomically
from router.tasks.classifier import SCHEMA_VERSION, ClassifierFile, ClassifierHeader
from router.tasks.features import unpack

if TYPE_CHECKING:
    from pipelines.tasks.training import Sample, Trained
    from pipelines.warehouse.warehouse import Warehouse

MAX_SAMPLES = 20_000
"""Only the newest samples are used: it bounds a training to seconds."""
MIN_SAMPLES = 200
NEW_SHARE = 0.1
"""New samples, as a share of those of the last training, that are worth another."""
LOST_SHARE = 0.1
"""The same share for samples that retention or an erasure removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierResult:
    """The result of a refresh of the classifier."""

    samples_available: int
    is_trained: bool = False
    published: ClassifierHeader | None = None
    """The classifier that this refresh published. None when it published none."""
    note: str = "nothing enough is new"


def refresh_classifier(warehouse: Warehouse) -> ClassifierResult:
    """Train and publish the classifier when enough samples came or went since the last training."""
    available, as_of, is_due = _state(warehouse)
    if not is_due:
        return ClassifierResult(samples_available=available)
    if available < MIN_SAMPLES or as_of is None:
        note = f"{available} labelled samples, {MIN_SAMPLES} are needed"
        if _withdraw(warehouse):
            note += ": the standing classifier was withdrawn"
        return ClassifierResult(samples_available=available, note=note)
    from pipelines.tasks.training import train

    features_id, samples = _samples(warehouse)
    trained = train(samples)
    moment = datetime.now(UTC)
    file = None if trained is None else _file(trained, features_id, as_of, moment)
    if trained is None:
        note = "fewer than two tasks have enough samples"
    elif trained.is_worth_it:
        note = f"{trained.accuracy:.1%} of held-out prompts right, {trained.accuracy_baseline:.1%} without it"
    else:
        note = (
            f"{trained.accuracy:.1%} of {trained.samples_held_out} held-out prompts right is not surely more"
            f" than the {trained.accuracy_baseline:.1%} without it"
        )
    published = None
    if file is not None and trained is not None and trained.is_worth_it:
        make_folder(warehouse.settings.classifier_file.parent)
        write_atomically(warehouse.settings.classifier_file, file.to_bytes())
        published = file.header
    else:
        _withdraw(warehouse)
    _remember(warehouse, available, as_of, moment, None if file is None else file.header, note, published)
    return ClassifierResult(samples_available=available, is_trained=True, published=published, note=note)


def _state(warehouse: Warehouse) -> tuple[int, datetime | None, bool]:
    """(samples there are, moment of the newest, whether a training is due)."""
    available, as_of = _available(warehouse)
    last = warehouse.rows(
        "select as_of, samples_available, is_published from pipeline.classifier_trainings"
        " order by trained_at desc limit 1"
    )
    if not last:
        return available, as_of, True
    ((seen, before, was_published),) = last
    with linked.narrowed(warehouse, seen, END, datasets=("request_analytics",)):
        new = warehouse.value(sqlfiles.load("marts/new_task_samples"), seen=seen)
    is_due = new >= max(NEW_SHARE * min(before, MAX_SAMPLES), MIN_SAMPLES / 2)
    is_due |= available < (1 - LOST_SHARE) * before
    return available, as_of, is_due or (was_published and not _stands(warehouse))


def _available(warehouse: Warehouse) -> tuple[int, datetime | None]:
    """(samples there are, moment of the newest). Only files that are new are read."""
    ((start, end),) = warehouse.run("marts/uncounted_samples").fetchall()
    if start is not None:
        with linked.narrowed(warehouse, start, end, datasets=("request_analytics",)):
            warehouse.run("marts/count_samples")
    ((available, as_of),) = warehouse.run("marts/available_samples").fetchall()
    return available, as_of


def _stands(warehouse: Warehouse) -> bool:
    """Whether the published file is there and usable."""
    try:
        ClassifierFile.read(warehouse.settings.classifier_file)
    except (FileNotFoundError, ScoresError):
        return False
    return True


def _samples(warehouse: Warehouse) -> tuple[str, list[Sample]]:
    """(the space most samples were taken in, those samples)."""
    from pipelines.tasks.training import Sample

    found: dict[str, list[Sample]] = {}
    counts: Counter[str] = Counter()
    for _, task_type, packed in warehouse.run("marts/task_samples", limit=MAX_SAMPLES).fetchall():
        try:
            features_id, numbers = unpack(packed)
        except ValueError:
            continue  # no router of ours wrote it
        found.setdefault(features_id, []).append(Sample(task_type=task_type, features=numbers))
        counts[features_id] += 1
    if not counts:
        return "", []
    features_id = min(counts, key=lambda name: (-counts[name], name))
    return features_id, found[features_id]


def _file(trained: Trained, features_id: str, as_of: datetime, moment: datetime) -> ClassifierFile:
    header = ClassifierHeader(
        schema_version=SCHEMA_VERSION,
        classifier_id="",
        features_id=features_id,
        tasks=trained.tasks,
        biases=trained.biases,
        weight_step=trained.weight_step,
        trained_at=moment,
        as_of=as_of.astimezone(UTC),
        samples=trained.samples,
        samples_held_out=trained.samples_held_out,
        accuracy=trained.accuracy,
        accuracy_low=trained.accuracy_low,
        accuracy_baseline=trained.accuracy_baseline,
        calibration_error=trained.calibration_error,
    )
    return ClassifierFile.of(header, trained.weights)


def _withdraw(warehouse: Warehouse) -> bool:
    path = warehouse.settings.classifier_file
    is_standing = path.exists()
    path.unlink(missing_ok=True)
    return is_standing


def _remember(
    warehouse: Warehouse,
    available: int,
    as_of: datetime,
    moment: datetime,
    header: ClassifierHeader | None,
    note: str,
    published: ClassifierHeader | None,
) -> None:
    figures = ("classifier_id", "samples", "samples_held_out", "accuracy", "accuracy_low")
    more = ("accuracy_baseline", "calibration_error")
    facts = {
        "trained_at": moment,
        "as_of": as_of,
        "samples_available": available,
        "is_published": published is not None,
        "note": note,
    }
    facts |= {name: None if header is None else getattr(header, name) for name in (*figures, *more)}
    warehouse.insert("pipeline.classifier_trainings", [facts])
