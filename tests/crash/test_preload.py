"""The interposer itself: it sees every call, and does to the chosen one what it was told."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path

import pytest

from router.files import sync_folder
from tests.crash import forks, operations, points, power, preload
from tests.crash.preload import Action, Control, Kind

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("library")]


def _write(control: Path, folder: Path) -> str:
    """Two writes, a sync, a rename; in a child that is interposed."""
    preload.use(control)
    try:
        descriptor = os.open(folder / "a", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"12345678")
        os.write(descriptor, b"abcdefgh")
        os.fsync(descriptor)
        (folder / "a").rename(folder / "b")
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


@pytest.mark.parametrize(
    ("action", "target", "left"),
    [
        (Action.BEFORE, 1, {}),
        (Action.AFTER, 1, {"a": b""}),
        (Action.TORN, 2, {"a": b"1234"}),
        (Action.BEFORE, 3, {"a": b"12345678"}),
        (Action.TORN, 3, {"a": b"12345678abcd"}),
        (Action.BEFORE, 5, {"a": b"12345678abcdefgh"}),
        (Action.AFTER, 5, {"b": b"12345678abcdefgh"}),
    ],
)
def test_a_kill_leaves_what_was_done(
    tmp_path: Path, action: Action, target: int, left: dict[str, bytes]
) -> None:
    """Before, half of, or after the chosen call."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with Control(tmp_path / "control") as control:
        control.arm(folder, action, target=target)
        with pytest.raises(RuntimeError, match="died"):
            forks.call(_write, control.path, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == left


def _write_and_link(control: Path, folder: Path) -> None:
    """A synced file with two more names: the folder of one is synced, that of the other is not."""
    preload.use(control)
    for name in ("one", "two", "three"):
        (folder / name).mkdir()
    (folder / "one" / "a").write_bytes(b"12345678")
    with (folder / "one" / "a").open("rb") as file:
        os.fsync(file.fileno())
    for name in ("two", "three"):
        os.link(folder / "one" / "a", folder / name / "b")
        (folder / name / "b").rename(folder / name / "c")
    for path in (folder, folder / "two"):
        sync_folder(path)


def test_a_second_name_outlives_a_power_cut_if_its_folder_was_synced(tmp_path: Path) -> None:
    """Each name is lost or kept with its folder, the content with the file."""
    folder, notes = tmp_path / "folder", tmp_path / "notes"
    folder.mkdir()
    with Control(tmp_path / "control") as control:
        power.watch(control, folder, notes)
        control.arm(folder)
        assert not forks.run_to_death(control.path, _write_and_link, control.path, folder)
    power.cut(folder, notes)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*")} == {"one", "two", "two/c", "three"}
    assert (folder / "two" / "c").read_bytes() == b"12345678"


def test_names_of_one_file_stay_one_file(tmp_path: Path) -> None:
    """After a power cut, and after the next."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"12345678")
    os.link(folder / "a", folder / "b")
    with Control(tmp_path / "control") as control:
        for number in range(2):
            power.watch(control, folder, tmp_path / f"notes-{number}")
            power.cut(folder, tmp_path / f"notes-{number}")
    assert (folder / "a").samefile(folder / "b")


def test_errors_are_given_once_or_from_a_call_on(tmp_path: Path) -> None:
    """EIO at one call; ENOSPC at every one that needs space, until there is some."""
    with Control(tmp_path / "control") as control:
        control.arm(tmp_path, Action.FAIL_ONCE, target=2, error=errno.EIO)
        assert forks.call(_write, control.path, tmp_path) == "EIO"
        assert forks.call(_write, control.path, tmp_path) == "done"
        control.arm(tmp_path, Action.FAIL_FROM, target=1, error=errno.ENOSPC, kinds=Kind.GROWS)
        assert [forks.call(_write, control.path, tmp_path) for _ in range(2)] == ["ENOSPC", "ENOSPC"]
        assert control.failures == 2
        control.disarm()
        assert forks.call(_write, control.path, tmp_path) == "done"


def test_no_file_is_made_or_removed_unseen(tmp_path: Path) -> None:
    """Python's and DuckDB's files alike: the counted calls account for every name that is there."""
    prepared = points.prepare("retain", tmp_path / "prepared")
    before = {path for path in (prepared / "disk").rglob("*") if path.is_file()}
    with Control(tmp_path / "control") as control:
        control.arm(prepared / "disk", log=tmp_path / "log")
        assert not forks.run_to_death(control.path, _retain, prepared)
    made: Counter[Path] = Counter()
    names = {"create": 1, "link": 1, "rename": 1, "unlink": -1}
    calls = preload.calls_of(tmp_path / "log")
    for call in calls:
        made[Path(call.path)] += names.get(call.name, 0)
    after = {path for path in (prepared / "disk").rglob("*") if path.is_file()}
    assert {path for path in after - before if made[path] <= 0} == set()
    gone = {path for path in before - after if ".tmp-" not in str(path) and made[path] >= 0}
    folders = {path.parent.parent for path in gone}  # went by a rename of their date's folder
    assert all(not folder.exists() for folder in folders)
    assert {"create", "write", "pwrite", "fsync", "fdatasync", "rename", "unlink"} <= {
        call.name for call in calls
    }


def _retain(prepared: Path) -> None:
    operations.run("retain", prepared / "disk" / "home", prepared / "acknowledged", lambda: None)
