"""Prompt features: the same everywhere under one key, bounded, and no word can be read off them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from router.errors import ConfigError
from router.records import new_id
from router.tasks.features import (
    BUCKETS,
    HAS_CODE,
    HAS_FORMAT,
    HAS_TOOLS,
    MAX_FEATURES,
    SHAPES,
    STARTS_UPPER,
    FeatureSpace,
    has_code,
    is_sampled,
    load_key,
    unpack,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))
SPACE = FeatureSpace(KEY)
TEXTS = [
    "",
    " ",
    "What is 2 + 2?",
    "Wie groß ist der Umfang?",
    "数学の問題を解いてください。",
    "\ud800 lone surrogate",
    "word " * 100_000,
    "()[]{}" * 100_000,
    "".join(map(chr, range(1, 3000))),
]


@pytest.mark.parametrize("text", TEXTS)
def test_features_are_few_distinct_and_in_range(text: str) -> None:
    """Any text has 1 to 192 different buckets, each of 16 bits."""
    features = SPACE.features(text, {})
    assert 1 <= len(features) <= MAX_FEATURES
    assert len(set(features)) == len(features)
    assert min(features) >= 0
    assert max(features) < BUCKETS


@pytest.mark.smoke
def test_the_numbering_is_a_permutation() -> None:
    """Every bucket beyond the shapes is the number of some hash: none is lost to the key."""
    assert len(SPACE._numbers) == BUCKETS
    assert set(SPACE._numbers) == set(range(SHAPES, BUCKETS))


def test_equal_keys_give_equal_features_in_any_process() -> None:
    """Neither hash randomisation nor the process changes a feature, so routers agree."""
    code = (
        "from router.tasks.features import FeatureSpace\n"
        "print(FeatureSpace(bytes(range(32))).pack(FeatureSpace(bytes(range(32)))"
        ".features('What is 2 + 2?', {})))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {SPACE.pack(SPACE.features("What is 2 + 2?", {}))}


@pytest.mark.smoke
def test_another_key_gives_other_numbers() -> None:
    """Without the key a stored number says nothing of a word; only the shapes stay."""
    text = "the quick brown fox jumps over the lazy dog"
    mine, other = (set(FeatureSpace(key).features(text, {})) for key in (KEY, b"other".ljust(32, b".")))
    assert {item for item in mine & other if item >= SHAPES} == set()
    assert {item for item in mine if item < SHAPES} == {item for item in other if item < SHAPES}
    assert FeatureSpace(b"other".ljust(32, b".")).id != SPACE.id


def test_the_shape_of_a_request_is_seen() -> None:
    """Tools, a response format, code and a capital at the start have buckets of their own."""
    body = {"tools": [{}], "response_format": {"type": "json_object"}}
    shaped = set(SPACE.features("Fix:\n```\nx\n```", body))
    assert {HAS_TOOLS, HAS_FORMAT, HAS_CODE, STARTS_UPPER} <= shaped
    plain = set(SPACE.features("fix the sink", {}))
    assert not {HAS_TOOLS, HAS_FORMAT, HAS_CODE, STARTS_UPPER} & plain


def test_only_the_ends_of_a_long_prompt_are_read() -> None:
    """A question after a long document is seen; the middle of the document is not."""
    document = "filler " * 5000
    asked = SPACE.features(f"{document}Translate this into French, please", {})
    assert set(asked) != set(SPACE.features(f"{document}Is this legal?", {}))
    middle = "filler " * 2500
    assert set(SPACE.features(f"{middle}secret! {middle}", {})) == set(
        SPACE.features(f"{middle}hidden! {middle}", {})
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x):\n    return x", True),
        ("What does this do?\n  class Tree:\n", True),
        ("#include <stdio.h>", True),
        ("SELECT a FROM b", True),
        ("see ```this```", True),
        ("The class average is 7; define the function of the heart.", False),
        ("Please select one from these.", False),
        ("", False),
    ],
)
def test_code_is_told_from_prose(text: str, expected: bool) -> None:
    """Marks of source code count, the same words in prose do not."""
    assert has_code(text) is expected


def test_packed_features_are_read_back() -> None:
    """The record's text holds the space's id and the sorted numbers, nothing else."""
    features = SPACE.features("What is 2 + 2?", {})
    features_id, numbers = unpack(SPACE.pack(features))
    assert features_id == SPACE.id
    assert [int.from_bytes(numbers[at : at + 2], "little") for at in range(0, len(numbers), 2)] == sorted(
        features
    )


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA", "AAAAAAA=", "A" * 4000])
def test_what_is_no_packed_features_is_refused(text: str) -> None:
    """Damaged or foreign text raises ValueError."""
    with pytest.raises(ValueError, match=r"features|base64"):
        unpack(text)


def test_a_sample_has_the_share_it_should() -> None:
    """The ids themselves decide, near enough to the share; 0 is none and 1 is all."""
    ids = [new_id()[0] for _ in range(20_000)]
    assert not any(is_sampled(item, 0.0) for item in ids)
    assert all(is_sampled(item, 1.0) for item in ids)
    assert 0.04 < sum(is_sampled(item, 0.05) for item in ids) / len(ids) < 0.06


def test_the_key_is_made_once_for_its_owner(tmp_path: Path) -> None:
    """The first router makes the file, the second reads it, nobody else may."""
    path = tmp_path / "data" / "features.key"
    key = load_key(path)
    assert load_key(path) == key
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["features.key"]


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    """A key that is none stops the router with what to do, and is not shown."""
    path = tmp_path / "features.key"
    path.write_text("hunter2")
    with pytest.raises(ConfigError, match="is not a features key") as caught:
        load_key(path)
    assert "hunter2" not in str(caught.value)
