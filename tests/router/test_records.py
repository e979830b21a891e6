"""The record contract."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from router.records import DATASETS, moment_of, new_id


def test_an_id_is_a_uuid_v7_that_embeds_its_moment() -> None:
    """The moment handed out with an id is the one its bits say, so an id tells its hour."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    text, moment = new_id()
    assert UUID(text).version == 7
    assert moment_of(text) == moment
    assert before <= moment <= datetime.now(UTC)


def test_ids_do_not_repeat() -> None:
    """Ids made within one millisecond differ."""
    assert len({new_id()[0] for _ in range(20_000)}) == 20_000


@pytest.mark.parametrize("text", ["", "x", "4f9c2a1e-0000-4000-8000-000000000000"])
def test_a_moment_is_refused_for_what_is_no_uuid_v7(text: str) -> None:
    """An id of another kind raises; no moment is guessed."""
    with pytest.raises(ValueError):  # noqa: PT011 - uuid's own messages vary
        moment_of(text)


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_every_record_names_its_schema_version(dataset: str) -> None:
    """The version in each row defaults to the contract's, so old rows stay recognisable."""
    record = DATASETS[dataset]
    defaults = {item.name: item.default for item in fields(record)}
    assert defaults["schema_version"] == record.SCHEMA_VERSION
    assert record.MOMENT in defaults
