"""The task classifier, as the router reads it: a linear model over prompt features.

`scores/classifier.bin` is a line of JSON (ClassifierHeader) and the compressed weights, one byte for
each bucket and task. It is replaced whole by rename. In memory, a bucket's weights for all tasks are the
16 bit lanes of one Python integer, so that a prompt costs one addition per feature for any number of
tasks.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from math import exp, sqrt
from typing import TYPE_CHECKING

from router.errors import ScoresError
from router.files import version_of
from router.tasks.features import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from router.tasks.features import FeatureSpace

SCHEMA_VERSION = 1
MAX_TASKS = 64
MAX_HEADER_BYTES = 65_536
NEUTRAL = 128
"""The byte of a weight of 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierHeader:
    """The description of a classifier, and its accuracy on prompts that it had not seen."""

    schema_version: int
    classifier_id: str
    """SHA-256 of the rest of the header and the weights."""
    features_id: str
    """The FeatureSpace it was trained in."""
    tasks: tuple[str, ...]
    biases: tuple[float, ...]
    weight_step: float
    """The value of one step of a weight's byte. Biases and steps include the calibration."""
    trained_at: datetime
    as_of: datetime
    """The time of the latest request it has seen."""
    samples: int
    """Prompts it was trained on."""
    samples_held_out: int
    """Other prompts, on which the next four figures were measured."""
    accuracy: float
    accuracy_low: float
    """Lower end of its 95% interval."""
    accuracy_baseline: float
    """Accuracy of the better baseline: rules and default, or always the most frequent task."""
    calibration_error: float
    """Mean distance between confidence and accuracy (ECE, 10 bins)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFile:
    """A classifier as it is stored."""

    header: ClassifierHeader
    weights: bytes
    """Row by row, a row for each bucket."""

    @classmethod
    def of(cls, header: ClassifierHeader, weights: bytes) -> ClassifierFile:
        """A file with the id of its content."""
        return cls(header=replace(header, classifier_id=_content_id(header, weights)), weights=weights)

    def to_bytes(self) -> bytes:
        """The file's content."""
        header = asdict(self.header) | {
            "trained_at": self.header.trained_at.isoformat(),
            "as_of": self.header.as_of.isoformat(),
        }
        return json.dumps(header).encode() + b"\n" + zlib.compress(self.weights, 9)

    @classmethod
    def read(cls, path: Path) -> ClassifierFile:
        """The classifier at `path`; ScoresError when it is unusable, FileNotFoundError when absent."""
        content = path.read_bytes()
        line, _, packed = content.partition(b"\n")
        header = _header(line[:MAX_HEADER_BYTES], path)
        size = BUCKETS * len(header.tasks)
        unpacker = zlib.decompressobj()
        try:
            weights = unpacker.decompress(packed, size + 1)
        except zlib.error as error:
            raise ScoresError(_corrupt(path, str(error))) from error
        if not unpacker.eof or len(weights) != size:
            raise ScoresError(_corrupt(path, f"its weights are not {size} bytes"))
        if header.classifier_id != _content_id(header, weights):
            raise ScoresError(_corrupt(path, "it does not match its own id"))
        return cls(header=header, weights=weights)


class TaskClassifier:
    """Guesses a prompt's task. It is immutable."""

    def __init__(self, file: ClassifierFile, space: FeatureSpace) -> None:
        """ScoresError when the file was trained on the features of another key."""
        self.header = file.header
        if file.header.features_id != space.id:
            raise ScoresError(
                f"the task classifier was trained under the features key `{file.header.features_id}`, this"
                f" router has `{space.id}`: copy `features.key` from the router that was first, or wait"
                " until enough requests are labelled to train it again"
            )
        self._space = space
        self._rows = _rows(file.weights, len(file.header.tasks))

    def guess(
        self, text: str, body: Mapping[str, object], known: AbstractSet[str]
    ) -> tuple[str | None, float]:
        """(task, probability) of the likeliest of the `known` tasks; (None, 0.0) if it knows none of them."""
        features = self._space.features(text, body)
        header = self.header
        count = len(header.tasks)
        total = sum(map(self._rows.__getitem__, features))
        lanes = struct.unpack(f"<{count}H", total.to_bytes(2 * count, "little"))
        zero = NEUTRAL * len(features)
        step = header.weight_step / sqrt(len(features))
        scores = [
            (bias + step * (lane - zero), task)
            for lane, bias, task in zip(lanes, header.biases, header.tasks, strict=True)
            if task in known
        ]
        if not scores:
            return None, 0.0
        best, task = max(scores)
        return task, 1.0 / sum(exp(score - best) for score, _ in scores)


class ClassifierSource:
    """The source of the router's classifier: `scores/classifier.bin`, with its features key."""

    def __init__(self, path: Path, space: FeatureSpace) -> None:
        self._path = path
        self._space = space

    def load(self) -> TaskClassifier | None:
        """The current classifier, None if there is none; ScoresError if it is unusable."""
        try:
            return TaskClassifier(ClassifierFile.read(self._path), self._space)
        except FileNotFoundError:
            return None

    def version(self) -> object:
        """Changes when `load` would return something else. It is cheap enough to read every second."""
        return version_of(self._path)


def _rows(weights: bytes, count: int) -> Sequence[int]:
    """Each bucket's weights as the 16 bit lanes of an integer. Equal rows are one object."""
    lanes = bytearray(2 * len(weights))
    lanes[::2] = weights
    width = 2 * count
    shared: dict[bytes, int] = {}
    rows = []
    for start in range(0, len(lanes), width):
        row = bytes(lanes[start : start + width])
        value = shared.get(row)
        if value is None:
            value = shared[row] = int.from_bytes(row, "little")
        rows.append(value)
    return rows


def _header(line: bytes, path: Path) -> ClassifierHeader:
    from pydantic import TypeAdapter, ValidationError

    try:
        header: ClassifierHeader = TypeAdapter(ClassifierHeader).validate_json(line)
    except ValidationError as error:
        raise ScoresError(_corrupt(path, error.errors(include_url=False)[0]["msg"])) from error
    if header.schema_version != SCHEMA_VERSION:
        raise ScoresError(
            f"task classifier `{path}` has schema version `{header.schema_version}`, this router reads"
            f" `{SCHEMA_VERSION}`; run the same release of the router and the pipelines"
        )
    if not 0 < len(header.tasks) <= MAX_TASKS or len(header.biases) != len(header.tasks):
        raise ScoresError(_corrupt(path, f"{len(header.tasks)} tasks and {len(header.biases)} biases"))
    return header


def _corrupt(path: Path, why: str) -> str:
    return f"task classifier `{path}` is corrupt ({why}); run `intellirouter refresh` to train it again"


def _content_id(header: ClassifierHeader, weights: bytes) -> str:
    content = json.dumps(asdict(replace(header, classifier_id="")), default=datetime.isoformat)
    return hashlib.sha256(content.encode() + weights).hexdigest()[:32]
