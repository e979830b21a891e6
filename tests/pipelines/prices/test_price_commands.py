"""`intellirouter prices` before there is a price to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from pipelines.prices.price_commands import COMMANDS

if TYPE_CHECKING:
    from router.config import Settings


def run(settings: Settings, *arguments: str) -> str:
    """The output of a command."""
    settings.home.mkdir(parents=True, exist_ok=True)
    group = click.Group(commands=COMMANDS)
    result = CliRunner().invoke(group, ["prices", *arguments, "--home", str(settings.home)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize(
    ("command", "sentence"),
    [("pending", "No price waits."), ("list", "No price is known. Run `intellirouter")],
)
def test_no_prices_are_a_sentence_for_a_person_and_columns_for_a_program(
    settings: Settings, command: str, sentence: str
) -> None:
    """An empty frame says neither that nothing waits nor what to do."""
    assert run(settings, command).startswith(sentence)
    assert "│" not in run(settings, command)
    (header,) = run(settings, command, "--format", "csv").splitlines()
    assert "," in header
