"""Training the task classifier: multinomial logistic regression on sets of prompt features.

AdaGrad over shuffled batches, a temperature fitted on prompts of its own, weights rounded to a byte.
Every figure is measured on further prompts, with a classifier that learnt from neither. The published
classifier then learns from all. Equal samples give an equal classifier. Prompts are split by their
content, so that a prompt that was sent twice is never both learnt and examined.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from router.tasks.classifier import MAX_TASKS, NEUTRAL
from router.tasks.features import BUCKETS, HAS_CODE, HAS_TOOLS
from router.tasks.tasks import CODE_TASK, DEFAULT_TASK, TOOLS_TASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EPOCHS = 10
BATCH = 512
LEARNING_RATE = 0.5
SHRINKAGE = 1e-5
"""Pull of each weight towards 0, per batch it appears in."""
HELD_OUT, FOR_CALIBRATION = 0.2, 0.1
"""Shares of the prompts."""
MIN_PER_TASK = 10
"""Prompts that a task needs to be learnt. With fewer, those held out count as mistakes."""
TEMPERATURES = np.geomspace(0.1, 10.0, 81)
CALIBRATION_BINS = 10
Z_95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled prompt."""

    task_type: str
    features: bytes
    """16 bit numbers, as `router.features.unpack` gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A classifier and its figures. The fields have the meaning of ClassifierHeader's."""

    tasks: tuple[str, ...]
    biases: tuple[float, ...]
    weight_step: float
    weights: bytes
    samples: int
    samples_held_out: int
    accuracy: float
    accuracy_low: float
    accuracy_baseline: float
    calibration_error: float

    @property
    def is_worth_it(self) -> bool:
        """Whether it is better than rules and default beyond doubt."""
        return self.accuracy_low > self.accuracy_baseline


class _Prompts:
    """Samples as one array of features after the other."""

    def __init__(self, samples: Sequence[Sample], tasks: Sequence[str]) -> None:
        number = {task: index for index, task in enumerate(tasks)}
        rows = [np.frombuffer(sample.features, "<u2").astype(np.int64) for sample in samples]
        self.lengths = np.array([len(row) for row in rows], dtype=np.int64)
        self.ends = np.cumsum(self.lengths)
        self.values = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        self.labels = np.array([number.get(sample.task_type, -1) for sample in samples], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def some(self, chosen: Any) -> tuple[Any, Any]:
        """(features one prompt after the other, how many each has) of the chosen prompts."""
        lengths = self.lengths[chosen]
        starts = self.ends[chosen] - lengths
        offsets = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
        return self.values[offsets + np.arange(lengths.sum())], lengths


def train(samples: Iterable[Sample]) -> Trained | None:
    """The classifier of the samples. None when fewer than two tasks have enough of them."""
    ordered = sorted(samples, key=lambda sample: (sample.features, sample.task_type))
    parts: list[list[Sample]] = [[], [], []]
    for sample in ordered:
        parts[_part(sample)].append(sample)
    held_out, calibration, learnt = parts
    counts = Counter(sample.task_type for sample in learnt)
    tasks = sorted(task for task, count in counts.most_common(MAX_TASKS) if count >= MIN_PER_TASK)
    if len(tasks) < 2 or not held_out:
        return None
    examined = _learn(learnt, tasks)
    temperature = _temperature(*examined.scores(calibration))
    accuracy, error = _figures(*examined.scores(held_out, temperature))
    published = _learn(ordered, tasks)
    return Trained(
        tasks=tuple(tasks),
        biases=tuple(float(bias) for bias in published.biases / temperature),
        weight_step=published.step / temperature,
        weights=(published.weights + NEUTRAL).astype(np.uint8).tobytes(),
        samples=len(ordered),
        samples_held_out=len(held_out),
        accuracy=accuracy,
        accuracy_low=_wilson_low(accuracy, len(held_out)),
        accuracy_baseline=_baseline(held_out, counts.most_common(1)[0][0]),
        calibration_error=error,
    )


def _part(sample: Sample) -> int:
    """0 held out, 1 for the temperature, 2 learnt."""
    place = int.from_bytes(hashlib.blake2b(sample.features, digest_size=4).digest(), "big") / 2**32
    return 0 if place < HELD_OUT else 1 if place < HELD_OUT + FOR_CALIBRATION else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learnt:
    """A classifier with its weights rounded."""

    tasks: list[str]
    weights: Any
    """Whole numbers of steps, by bucket and task."""
    step: float
    biases: Any

    def scores(self, samples: Sequence[Sample], temperature: float = 1.0) -> tuple[Any, Any]:
        """(score by prompt and task, number of the true task or -1)."""
        prompts = _Prompts(samples, self.tasks)
        if not samples:
            return np.zeros((0, len(self.tasks))), prompts.labels
        values, lengths = prompts.some(np.arange(len(samples)))
        return (self.step * _sums(self.weights[values], lengths) + self.biases) / temperature, prompts.labels


def _learn(samples: Sequence[Sample], tasks: list[str]) -> _Learnt:
    known = set(tasks)
    prompts = _Prompts([sample for sample in samples if sample.task_type in known], tasks)
    weights, biases = _fit(prompts, len(tasks))
    step = float(np.abs(weights).max()) / 127 or 1.0
    return _Learnt(tasks=tasks, weights=np.rint(weights / step).astype(np.int64), step=step, biases=biases)


def _fit(prompts: _Prompts, count: int) -> tuple[Any, Any]:
    """(weights by bucket and task, biases)."""
    random = np.random.default_rng(0)
    weights = np.zeros((BUCKETS, count))
    squares = np.full((BUCKETS, count), 1e-8)
    biases = np.log(np.bincount(prompts.labels, minlength=count))
    biases -= biases.mean()
    bias_squares = np.full(count, 1e-8)
    for _ in range(EPOCHS):
        order = random.permutation(len(prompts))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            values, lengths = prompts.some(chosen)
            found, places = np.unique(values, return_inverse=True)
            errors = _softmax(_sums(weights[values], lengths) + biases)
            errors[np.arange(len(chosen)), prompts.labels[chosen]] -= 1.0
            errors /= len(chosen)
            shares = np.repeat(errors / np.sqrt(lengths)[:, None], lengths, axis=0)
            cells = (places[:, None] * count + np.arange(count)).ravel()
            slope = np.bincount(cells, shares.ravel(), len(found) * count).reshape(-1, count)
            slope += SHRINKAGE * weights[found]
            squares[found] += slope * slope
            weights[found] -= LEARNING_RATE * slope / np.sqrt(squares[found])
            bias_slope = errors.sum(axis=0)
            bias_squares += bias_slope * bias_slope
            biases -= LEARNING_RATE * bias_slope / np.sqrt(bias_squares)
    return weights, biases


def _sums(rows: Any, lengths: Any) -> Any:
    """Each prompt's rows added up, over the root of how many there are."""
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    return np.add.reduceat(rows, starts, axis=0) / np.sqrt(lengths)[:, None]


def _softmax(scores: Any) -> Any:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _temperature(scores: Any, labels: Any) -> float:
    """The divisor of the scores that makes confidence meet accuracy (Guo et al. 2017, section 4.2).

    Fitted to whether the likeliest task is the true one, so that prompts of tasks too rare to be
    learnt lower the confidence as well.
    """
    if not len(labels):
        return 1.0
    right = scores.argmax(axis=1) == labels
    losses = []
    for temperature in TEMPERATURES:
        sure = np.clip(_softmax(scores / temperature).max(axis=1), 1e-6, 1 - 1e-6)
        losses.append(-np.where(right, np.log(sure), np.log(1 - sure)).mean())
    return float(TEMPERATURES[int(np.argmin(losses))])


def _figures(scores: Any, labels: Any) -> tuple[float, float]:
    """(accuracy, expected calibration error)."""
    shares = _softmax(scores)
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error = sum(
        (bins == index).mean() * abs(confidence[bins == index].mean() - right[bins == index].mean())
        for index in np.unique(bins)
    )
    return float(right.mean()), float(error)


def _baseline(held_out: Sequence[Sample], commonest: str) -> float:
    """Accuracy without a classifier: by rules and default, or by always naming the commonest task."""
    by_rule = sum(_rule(sample.features) == sample.task_type for sample in held_out)
    by_habit = sum(sample.task_type == commonest for sample in held_out)
    return max(by_rule, by_habit) / len(held_out)


def _rule(features: bytes) -> str:
    found = set(np.frombuffer(features, "<u2").tolist())
    if HAS_TOOLS in found:
        return TOOLS_TASK
    return CODE_TASK if HAS_CODE in found else DEFAULT_TASK


def _wilson_low(share: float, count: int) -> float:
    """Lower end of the 95% Wilson interval of a share."""
    centre = share + Z_95**2 / (2 * count)
    spread = Z_95 * sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    return (centre - spread) / (1 + Z_95**2 / count)
