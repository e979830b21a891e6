"""The classifier is trained on labelled traffic, again when enough is new, and published if it helps."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from pipelines import flow
from pipelines.refresh import refresh
from pipelines.tasks.classifier import MIN_SAMPLES, refresh_classifier
from pipelines.tasks.training import Sample, train
from pipelines.warehouse import linked, linked_views, loading
from router.tasks.classifier import ClassifierFile, ClassifierSource
from router.tasks.features import FeatureSpace, unpack
from tests.pipelines.helpers import NOW, make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.warehouse.warehouse import Warehouse
    from router.config import Settings
    from router.records import RequestRecord

SPACE = FeatureSpace(bytes(range(32)))
WORDS = {
    "math": "sum product fraction triangle percent equation average solve how many",
    "writing": "poem story letter essay tone rewrite draft sonnet paragraph about",
    "translation": "translate french german spanish into sentence english meaning phrase word",
}


def prompt(task: str, random: Random) -> str:
    """Six words, most of them the task's."""
    words = random.choices(WORDS[task].split(), k=5) + random.choices(" ".join(WORDS.values()).split(), k=1)
    return " ".join(words)


def labelled(
    count: int, *, seed: int = 0, learnable: bool = True, space: FeatureSpace = SPACE
) -> list[RequestRecord]:
    """Requests whose task the caller named, a second apart; their prompts say it, or nothing."""
    random = Random(seed)
    records = []
    for index in range(count):
        task = random.choice(sorted(WORDS))
        text = prompt(task if learnable else random.choice(sorted(WORDS)), random)
        packed = space.pack(space.features(text, {}))
        at = NOW + timedelta(seconds=index, days=seed)
        records.append(make_record(at, task_type=task, prompt_features=packed, user_id=f"u{index % 2}"))
    return records


def load(settings: Settings, warehouse: Warehouse, records: Sequence[RequestRecord]) -> None:
    """Through segments, as the router's records come."""
    seal_records(settings, records)
    loading.load(warehouse, "request_analytics")


def test_labelled_traffic_becomes_a_classifier(settings: Settings, warehouse: Warehouse) -> None:
    """What is learnt is right on new prompts, and its stated accuracy is close to what it reaches."""
    load(settings, warehouse, labelled(600))
    result = refresh_classifier(warehouse)
    assert result.published is not None
    found = ClassifierSource(settings.classifier_file, SPACE).load()
    assert found is not None
    assert found.header == result.published
    random = Random(99)
    tasks = [random.choice(sorted(WORDS)) for _ in range(500)]
    guesses = [found.guess(prompt(task, random), {}, frozenset(WORDS)) for task in tasks]
    accuracy = sum(guess == task for (guess, _), task in zip(guesses, tasks, strict=True)) / 500
    assert accuracy > 0.9
    assert found.header.accuracy == pytest.approx(accuracy, abs=0.08)
    assert sum(confidence for _, confidence in guesses) / 500 == pytest.approx(accuracy, abs=0.08)


def test_only_the_callers_labels_are_learnt_from(settings: Settings, warehouse: Warehouse) -> None:
    """What rules or the classifier said is not taught back to it."""
    records = [
        make_record(NOW, task_type_source=source, prompt_features=item.prompt_features)
        for source in ("rule", "classifier", "default")
        for item in labelled(MIN_SAMPLES)
    ]
    load(settings, warehouse, records)
    assert refresh_classifier(warehouse).samples_available == 0


def test_the_samples_of_a_file_are_counted_once(
    settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh opens no file that it has counted before, and counts the new ones."""
    monkeypatch.setattr(linked, "FEWEST_ROWS", 1)
    load(settings, warehouse, labelled(60))
    assert refresh_classifier(warehouse).samples_available == 60
    load(settings, warehouse, labelled(40, seed=9))
    assert refresh_classifier(warehouse).samples_available == 100
    for path in linked_views.folder(settings).rglob("*.parquet"):
        path.unlink()
    assert refresh_classifier(warehouse).samples_available == 100


@pytest.mark.smoke
def test_what_cannot_be_learnt_is_not_published(settings: Settings, warehouse: Warehouse) -> None:
    """Prompts that say nothing of their task give no file, and the reason is kept."""
    load(settings, warehouse, labelled(600, learnable=False))
    result = refresh_classifier(warehouse)
    assert result.is_trained
    assert result.published is None
    assert "is not surely more than" in result.note
    assert not settings.classifier_file.exists()
    assert warehouse.rows("select is_published, note from pipeline.classifier_trainings") == [
        (False, result.note)
    ]


def test_a_training_waits_for_enough_that_is_new(settings: Settings, warehouse: Warehouse) -> None:
    """Too few samples train nothing; afterwards a tenth more, or a hundred, is needed."""
    load(settings, warehouse, labelled(MIN_SAMPLES - 1))
    assert not refresh_classifier(warehouse).is_trained
    load(settings, warehouse, labelled(401, seed=1))
    assert refresh_classifier(warehouse).is_trained
    assert not refresh_classifier(warehouse).is_trained
    load(settings, warehouse, labelled(99, seed=2))
    assert not refresh_classifier(warehouse).is_trained
    load(settings, warehouse, labelled(1, seed=3))
    assert refresh_classifier(warehouse).is_trained


@pytest.mark.parametrize("content", [None, b"", b"{}\n"])
def test_a_lost_file_is_made_again(settings: Settings, warehouse: Warehouse, content: bytes | None) -> None:
    """A published classifier that is missing or damaged is trained again, to the same guesses."""
    load(settings, warehouse, labelled(300))
    assert refresh_classifier(warehouse).published is not None
    weights = ClassifierFile.read(settings.classifier_file).weights
    settings.classifier_file.unlink()
    if content is not None:
        settings.classifier_file.write_bytes(content)
    assert refresh_classifier(warehouse).published is not None
    assert ClassifierFile.read(settings.classifier_file).weights == weights


def test_an_erasure_takes_what_was_learnt_with_it(settings: Settings, warehouse: Warehouse) -> None:
    """When a person's samples go, a classifier that learnt from them is trained again or withdrawn."""
    load(settings, warehouse, labelled(300))
    assert refresh_classifier(warehouse).published is not None
    warehouse.close()
    warehouse.__exit__()
    flow.erase(settings, "u1")
    with warehouse:
        result = refresh_classifier(warehouse)
    assert result.samples_available == 150
    assert "the standing classifier was withdrawn" in result.note
    assert not settings.classifier_file.exists()


def test_samples_of_one_space_only_are_mixed(settings: Settings, warehouse: Warehouse) -> None:
    """After a change of key the samples that are in the majority count, the others do not."""
    other = FeatureSpace(b"other".ljust(32, b"."))
    load(settings, warehouse, [*labelled(300), *labelled(250, seed=1, space=other)])
    result = refresh_classifier(warehouse)
    assert result.published is not None
    assert (result.published.features_id, result.published.samples) == (SPACE.id, 300)


def test_a_foreign_text_in_the_column_is_left_out(settings: Settings, warehouse: Warehouse) -> None:
    """A value that is no packed features does not stop a training."""
    load(settings, warehouse, [*labelled(300), make_record(NOW, prompt_features="nonsense")])
    result = refresh_classifier(warehouse)
    assert result.published is not None
    assert result.published.samples == 300


def test_equal_samples_give_an_equal_classifier() -> None:
    """The order in which samples come changes nothing."""
    samples = _samples(labelled(400))
    shuffled = list(samples)
    Random(1).shuffle(shuffled)
    assert train(samples) == train(shuffled)


def test_a_prompt_sent_often_is_not_examined_by_heart() -> None:
    """A prompt falls on one side of the split: repeats with random labels do not look learnt."""
    random = Random(3)
    texts = [f"number {chr(97 + index)} {chr(98 + index % 7)} of many" for index in range(20)]
    tasks = {text: random.choice(sorted(WORDS)) for text in texts}
    samples = [_sample(text, tasks[text]) for text in texts for _ in range(50)]
    trained = train(samples)
    assert trained is not None
    assert not trained.is_worth_it


def test_rules_that_suffice_need_no_classifier() -> None:
    """Where tools and code marks tell every task, nothing better can be learnt."""
    samples = []
    for index in range(300):
        kinds: list[tuple[str, dict[str, object], str]] = [
            (f"call {index}", {"tools": [{}]}, "tool-use"),
            (f"```\nx = {index}\n```", {}, "code"),
            (f"hello {index}", {}, "chat"),
        ]
        text, tools, task = kinds[index % 3]
        words = f"{text} {chr(97 + index % 26)}{chr(97 + index // 26)}"
        packed = SPACE.pack(SPACE.features(words, tools))
        samples.append(Sample(task_type=task, features=unpack(packed)[1]))
    trained = train(samples)
    assert trained is not None
    assert trained.accuracy_baseline == 1.0
    assert not trained.is_worth_it


def test_tasks_too_rare_to_learn_lower_the_confidence() -> None:
    """Where a third of the prompts are of tasks that cannot be learnt, confidence stays near accuracy."""
    rare = [_sample(f"{prompt('math', Random(index))} {index}", f"rare-{index % 60}") for index in range(240)]
    trained = train([*_samples(labelled(480)), *rare])
    assert trained is not None
    assert trained.tasks == tuple(sorted(WORDS))
    assert trained.accuracy < 0.8
    assert trained.calibration_error < 0.2


def test_too_few_of_each_task_train_nothing() -> None:
    """One task alone, or tasks of a few prompts each, are nothing to tell apart."""
    assert train([]) is None
    assert train([item for item in _samples(labelled(400)) if item.task_type == "math"]) is None
    assert train(_samples(labelled(12))) is None


@pytest.mark.slow
def test_the_refresh_job_trains(settings: Settings) -> None:
    """The classifier is part of a refresh, and a second one leaves its file alone."""
    seal_records(settings, labelled(400))
    assert refresh(settings).success
    first = ClassifierFile.read(settings.classifier_file)
    assert refresh(settings).success
    assert ClassifierFile.read(settings.classifier_file) == first


def _sample(text: str, task: str) -> Sample:
    return Sample(task_type=task, features=unpack(SPACE.pack(SPACE.features(text, {})))[1])


def _samples(records: Sequence[RequestRecord]) -> list[Sample]:
    return [
        Sample(task_type=item.task_type, features=unpack(item.prompt_features or "")[1]) for item in records
    ]
