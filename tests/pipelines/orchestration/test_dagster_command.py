"""`intellirouter dagster` refuses in one line what would end in Dagster's own traceback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pipelines.errors import WarehouseError
from pipelines.orchestration.dagster_command import dagster_command
from pipelines.refresh import open_instance
from router.config import Settings
from router.errors import IntelliRouterError

if TYPE_CHECKING:
    from pathlib import Path

    from router.config import Settings


def _error(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(dagster_command, arguments).exception


@pytest.mark.smoke
def test_a_port_in_use_is_named_with_the_remedy(settings: Settings) -> None:
    """Nothing is started."""
    settings.home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = _error("--home", str(settings.home), "--port", str(port))
    assert isinstance(error, WarehouseError)
    assert f"Dagster cannot listen on 127.0.0.1:{port}" in str(error)
    assert "--port" in str(error)


def test_a_misspelt_folder_is_not_made(settings: Settings) -> None:
    """Dagster would start on an empty one."""
    error = _error("--home", str(settings.home))
    assert isinstance(error, IntelliRouterError)
    assert "there is no data folder" in str(error)
    assert not settings.home.exists()


def test_a_folder_that_hides_the_pipelines_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster imports from the present folder first, and would load the other code."""
    settings.home.mkdir()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    error = _error("--home", str(settings.home))
    assert isinstance(error, WarehouseError)
    assert str(tmp_path / "pipelines") in str(error)


@pytest.mark.parametrize("name", ["a b", "a'b", "a*b", "a{b}"])
def test_dagster_reads_our_settings_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    """It takes the path for a pattern. If it missed the file, it would send statistics."""
    with open_instance(Settings.load({}, home=tmp_path / name)) as instance:
        assert not instance.telemetry_enabled


def test_a_dagster_home_that_is_a_pattern_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "a[b]"))
    with (
        pytest.raises(WarehouseError, match="set another"),
        open_instance(Settings.load({}, home=tmp_path)),
    ):
        pass
