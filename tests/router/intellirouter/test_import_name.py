"""`import intellirouter`: the public names under the name that the package is installed by."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import router
from router.config import Settings
from router.intellirouter import __all__ as public
from router.settings.overrides import Overrides
from tests.factories import write_catalog
from tests.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with IntelliRouter installed as a wheel installs it."""
    site = folder / "site"
    site.mkdir()
    for name, place in (("router", "router"), ("intellirouter", "router/intellirouter")):
        (site / name).symlink_to(ROOT / place)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site)},
    )


@pytest.mark.smoke
def test_every_public_name_is_there_under_both_names() -> None:
    assert public == router.__all__


def test_it_imports_by_its_own_name(tmp_path: Path) -> None:
    """The classes are the same, and the version is there."""
    code = "import intellirouter as name, router; print(name.Router is router.Router, name.__version__)"
    done = run(tmp_path, code)
    assert done.stdout == f"True {router.__version__}\n", done.stderr


def test_a_file_of_the_users_that_hides_us_is_named(tmp_path: Path) -> None:
    """Many applications have a `router.py`."""
    (tmp_path / "router.py").write_text("import intellirouter\n")
    done = run(tmp_path, "import intellirouter")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"ImportError: `{tmp_path}/router.py` hides the package `router` of IntelliRouter: rename"
    )


def test_overrides_are_the_settings() -> None:
    """The names that an editor shows for `Router.open`."""
    assert list(Overrides.__annotations__) == list(Settings.model_fields)


@pytest.mark.smoke
def test_an_environment_is_an_override(tmp_path: Path) -> None:
    """Its name is also that of the variables that settings are read from."""
    assert Settings.load({}, home=tmp_path, environment="staging").environment == "staging"


def test_no_other_attribute_is_made_up() -> None:
    with pytest.raises(AttributeError, match="has no attribute `Ruoter`"):
        router.Ruoter  # noqa: B018 - the access itself is the test


def test_a_response_shows_itself_in_one_line(tmp_path: Path, fake_url: str) -> None:
    """Its body and its decision would fill a notebook's page."""
    write_catalog(tmp_path, ["small"], base_url=fake_url)
    with router.Router.open(home=tmp_path) as opened:
        shown = repr(opened.complete_sync(router.Request(messages=[{"role": "user", "content": "hi"}])))
    assert shown.startswith("<Response ")
    assert " of small (" in shown
    assert len(shown) < 250
