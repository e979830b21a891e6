"""The list of commands: complete, by purpose, in whole sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from router import cli
from router.settings.command_list import SECTIONS, first_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.smoke
def test_every_command_has_a_section() -> None:
    """And every section names commands that exist, each once."""
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted(cli._group().commands)


def test_the_list_shows_whole_sentences() -> None:
    """On a narrow terminal they continue on the next line."""
    group = cli._group()
    printed = "".join(CliRunner().invoke(group, ["--help"], terminal_width=60).output.split())
    for name, command in group.commands.items():
        assert "".join([name, *first_sentence(command).split()]) in printed
        assert first_sentence(command).endswith(".")


def _commands(command: click.Command, path: str = "intellirouter") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _commands(inner, f"{path} {name}")


def test_every_command_and_option_has_help() -> None:
    """So that `--help` answers what a word means."""
    for path, command in _commands(cli._group()):
        assert command.help, path
        silent = [item.opts for item in command.params if isinstance(item, click.Option) and not item.help]
        assert silent == [], path


def test_no_command_prints_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes to the output, and is no error."""
    for words in (["intellirouter"], ["intellirouter", "keys"]):
        monkeypatch.setattr("sys.argv", words)
        cli.main()
        shown = capsys.readouterr()
        assert shown.out.startswith("Usage: ")
        assert shown.err == ""


def test_a_word_that_is_unlike_all_commands_gets_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of them, and how many there are."""
    monkeypatch.setattr("sys.argv", ["intellirouter", "qqqq"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "unknown command `qqqq`: known: `admit`, `alerts`" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    """By the variable that the documentation names."""
    monkeypatch.setattr("sys.argv", ["intellirouter"])
    monkeypatch.setenv("_INTELLIROUTER_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "_INTELLIROUTER_COMPLETE" in capsys.readouterr().out


def test_a_command_without_help_has_no_sentence() -> None:
    """An extra that is missing must not break the list."""
    assert first_sentence(click.Command("x")) == ""
