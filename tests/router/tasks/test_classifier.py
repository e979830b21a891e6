"""The task classifier as the router reads it, and the order in which a task is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from math import exp, sqrt
from typing import TYPE_CHECKING

import pytest

from router.errors import ScoresError, UnknownTaskError
from router.tasks.classifier import (
    NEUTRAL,
    SCHEMA_VERSION,
    ClassifierFile,
    ClassifierHeader,
    ClassifierSource,
    TaskClassifier,
)
from router.tasks.features import BUCKETS, MAX_FEATURES, FeatureSpace
from router.tasks.tasks import CONFIDENCE_FLOOR, TaskType, task_of

if TYPE_CHECKING:
    from pathlib import Path

SPACE = FeatureSpace(bytes(range(32)))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASKS = ("chat", "math", "writing")
MATH = "What is 2 + 2?"
POEM = "Write a poem about the sea."


def classifier_file(tasks: tuple[str, ...] = TASKS, **changes: object) -> ClassifierFile:
    """One that tells MATH from POEM by 20 steps for each of their features."""
    weights = bytearray([NEUTRAL]) * (BUCKETS * len(tasks))
    for text, task in ((MATH, "math"), (POEM, "writing")):
        for bucket in SPACE.features(text, {}):
            if task in tasks:
                weights[bucket * len(tasks) + tasks.index(task)] += 20
    header = ClassifierHeader(
        schema_version=SCHEMA_VERSION,
        classifier_id="",
        features_id=SPACE.id,
        tasks=tasks,
        biases=(0.5,) + (0.0,) * (len(tasks) - 1),
        weight_step=0.05,
        trained_at=NOW,
        as_of=NOW,
        samples=100,
        samples_held_out=20,
        accuracy=0.9,
        accuracy_low=0.7,
        accuracy_baseline=0.5,
        calibration_error=0.05,
    )
    return ClassifierFile.of(replace(header, **changes), bytes(weights))  # type: ignore[arg-type]


def expected_shares(file: ClassifierFile, text: str) -> dict[str, float]:
    """The same model, written down plainly."""
    features = SPACE.features(text, {})
    count = len(file.header.tasks)
    scores = [
        bias
        + file.header.weight_step
        * sum(file.weights[bucket * count + index] - NEUTRAL for bucket in features)
        / sqrt(len(features))
        for index, bias in enumerate(file.header.biases)
    ]
    total = sum(map(exp, scores))
    return {task: exp(score) / total for task, score in zip(file.header.tasks, scores, strict=True)}


@pytest.mark.parametrize("text", [MATH, POEM, "", "something else entirely", "word " * 5000])
def test_a_guess_is_the_softmax_of_the_weights(text: str) -> None:
    """Task and confidence equal those of the model computed plainly."""
    file = classifier_file()
    task, confidence = TaskClassifier(file, SPACE).guess(text, {}, frozenset(TASKS))
    shares = expected_shares(file, text)
    assert task == max(shares, key=lambda name: shares[name])
    assert confidence == pytest.approx(max(shares.values()))


def test_the_largest_weights_do_not_spill_over() -> None:
    """With every weight at its bound and as many features as there can be, tasks stay apart."""
    file = classifier_file()
    full = ClassifierFile.of(file.header, bytes([255, 0, 255] * BUCKETS))
    text = " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300))
    features = SPACE.features(text, {})
    assert len(features) == MAX_FEATURES
    task, confidence = TaskClassifier(full, SPACE).guess(text, {}, frozenset({"chat", "writing"}))
    assert task == "chat"
    assert confidence == pytest.approx(1 / (1 + exp(-0.5)))  # only the bias differs


def test_a_task_that_the_catalog_dropped_is_not_guessed() -> None:
    """The likeliest of the tasks that are left is, with its share among them; of none, nothing."""
    classifier = TaskClassifier(classifier_file(), SPACE)
    assert classifier.guess(MATH, {}, frozenset({"writing"})) == ("writing", 1.0)
    assert classifier.guess(MATH, {}, frozenset({"other"})) == (None, 0.0)


@pytest.mark.smoke
def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Header and weights survive, and the file is small."""
    file = classifier_file()
    path = tmp_path / "classifier.bin"
    path.write_bytes(file.to_bytes())
    assert ClassifierFile.read(path) == file
    assert path.stat().st_size < 10_000


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """Any changed byte is found, as an error that says what to do, never as another answer."""
    path = tmp_path / "classifier.bin"
    content = classifier_file().to_bytes()
    for position in [0, 1, 30, content.index(b"\n"), *range(content.index(b"\n") + 1, len(content))]:
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(ScoresError, match=r"corrupt|schema version"):
            ClassifierFile.read(path)
    for length in [*range(0, len(content), 7), *range(len(content) - 8, len(content))]:
        path.write_bytes(content[:length])
        with pytest.raises(ScoresError):
            ClassifierFile.read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "has schema version `2`"),
        ({"biases": (0.0,)}, "3 tasks and 1 biases"),
        ({"tasks": ()}, "0 tasks"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """A later schema, or figures that contradict each other, name what is wrong."""
    file = classifier_file()
    path = tmp_path / "classifier.bin"
    path.write_bytes(replace(file, header=replace(file.header, **changes)).to_bytes())  # type: ignore[arg-type]
    with pytest.raises(ScoresError, match=message):
        ClassifierFile.read(path)


def test_a_classifier_of_another_key_is_refused() -> None:
    """Under another key its weights would belong to other words."""
    with pytest.raises(ScoresError, match=r"copy `features\.key`"):
        TaskClassifier(classifier_file(features_id="00000000"), SPACE)


def test_the_source_says_when_there_is_another(tmp_path: Path) -> None:
    """Absent is None; a new file is another version; an equal one loads to equal guesses."""
    path = tmp_path / "classifier.bin"
    source = ClassifierSource(path, SPACE)
    assert source.load() is None
    before = source.version()
    path.write_bytes(classifier_file().to_bytes())
    assert source.version() != before
    loaded = source.load()
    assert loaded is not None
    assert loaded.header == classifier_file().header


KNOWN = frozenset({*TASKS, "code", "tool-use"})
CODE = "Fix this:\n```\nx = 1\n```"
CLASSIFIER = TaskClassifier(classifier_file(), SPACE)


def test_the_callers_label_comes_first() -> None:
    """A label wins over tools, code and classifier; an unknown one is refused."""
    body: dict[str, object] = {"tools": [{}]}
    assert task_of("writing", body, CODE, KNOWN, CLASSIFIER) == TaskType("writing", "caller", None)
    with pytest.raises(UnknownTaskError, match="unknown task `maths`: nearest known: `math`"):
        task_of("maths", {}, MATH, KNOWN, CLASSIFIER)


def test_rules_come_before_the_classifier() -> None:
    """Tools, then code; where the catalog lacks the rule's task the classifier is asked."""
    assert task_of(None, {"tools": [{}]}, CODE, KNOWN, CLASSIFIER)[:2] == ("tool-use", "rule")
    assert task_of(None, {}, CODE, KNOWN, CLASSIFIER)[:2] == ("code", "rule")
    assert task_of(None, {}, CODE, frozenset(TASKS), CLASSIFIER).source in ("classifier", "default")


def test_a_sure_guess_is_taken() -> None:
    """The classifier's task and its probability are what the record gets."""
    found = task_of(None, {}, MATH, KNOWN, CLASSIFIER)
    assert found[:2] == ("math", "classifier")
    assert found.confidence == pytest.approx(expected_shares(classifier_file(), MATH)["math"])


def test_an_unsure_guess_is_not() -> None:
    """Below the floor the request is the default's, and the record tells how unsure it was."""
    found = task_of(None, {}, "zzz", KNOWN, CLASSIFIER)
    assert found[:2] == ("chat", "default")
    assert found.confidence is not None
    assert found.confidence < CONFIDENCE_FLOOR


def test_without_a_classifier_the_default_is_left() -> None:
    """Nothing is guessed, and no confidence is claimed."""
    assert task_of(None, {}, MATH, KNOWN) == TaskType("chat", "default", None)
