"""Virtual keys at rest: made, stored, rotated, revoked and read again."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from router.config import COMPLIANCE_FILE
from router.errors import ConfigError, ForbiddenError, InvalidKeyError
from router.keys.audit_trail import read_events
from router.keys.changes import create, revoke, rotate
from router.keys.keys import KeyFile, now
from router.records import moment_of
from router.server.auth import Keys
from tests.factories import write_catalog
from tests.places import ROOT

CLOCK = {name: os.environ[name] for name in ("LD_PRELOAD", "CLOCK_OFFSET_S") if name in os.environ}
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **CLOCK}
HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys.json"


def make(path: Path, **options: Any) -> tuple[str, str]:
    """(id, token) of a new key."""
    entry, token = create(path, **{"name": "test", "scopes": ["route"], **options})
    return entry.id, token


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`intellirouter keys …`."""
    command = [sys.executable, "-m", "router.cli", "keys", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT, timeout=60)


@pytest.mark.smoke
def test_a_key_is_stored_as_its_digest_for_its_owner_alone(path: Path) -> None:
    """The token is 32 random bytes behind a prefix; the file holds none of it and nobody else reads it."""
    key_id, token = make(path)
    assert token.startswith("ir_")
    assert len(token) == 46
    content = path.read_text()
    assert key_id in content
    assert token not in content
    assert token[3:] not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.smoke
def test_a_token_opens_what_its_key_says(path: Path) -> None:
    """Scopes, models, organisation and user are the key's."""
    key_id, token = make(path, models=["a", "b"], organization_id="acme", user_id="ada")
    caller = KeyFile(path).load().caller(token, at=now())
    assert (caller.key_id, caller.organization_id, caller.user_id) == (key_id, "acme", "ada")
    assert (caller.scopes, caller.models) == (frozenset({"route"}), frozenset({"a", "b"}))
    caller.require("route")
    caller.require("report", "route")
    with pytest.raises(ForbiddenError, match="lacks the scope `report`"):
        caller.require("report")
    with pytest.raises(ForbiddenError, match="may not use model `c`"):
        caller.require_model("c")


def test_admin_may_do_everything(path: Path) -> None:
    """One scope stands for all."""
    _, token = make(path, scopes=["admin"])
    KeyFile(path).load().caller(token, at=now()).require("feedback")


@pytest.mark.smoke
def test_an_expired_or_revoked_key_opens_nothing(path: Path) -> None:
    """The reason is said to who holds the key; the token is not repeated."""
    expiring, first = make(path, expires_at=now() + HOUR)
    revoked, second = make(path)
    ring = KeyFile(path).load()
    ring.caller(first, at=now())
    with pytest.raises(InvalidKeyError, match=f"`{expiring}` is expired") as caught:
        ring.caller(first, at=now() + HOUR)
    assert first not in str(caught.value)
    revoke(path, revoked)
    with pytest.raises(InvalidKeyError, match=f"`{revoked}` is revoked"):
        KeyFile(path).load().caller(second, at=now())


@pytest.mark.smoke
def test_every_change_leaves_an_event_without_a_secret(path: Path) -> None:
    """Who, when, what, and how the key stood before and after; neither token nor digest is among it."""
    key_id, first = make(path, organization_id="acme", user_id="ada", actor="grace")
    entry, second = rotate(path, key_id, grace=HOUR, actor="grace")
    revoke(path, key_id)
    trail = path.with_name(COMPLIANCE_FILE)
    created, rotated, revoked = read_events(trail)
    assert [item.action for item in (created, rotated, revoked)] == [
        "key.created", "key.rotated", "key.revoked",
    ]  # fmt: skip
    assert [item.actor for item in (created, rotated, revoked)] == ["grace", "grace", system_user()]
    assert {item.subject for item in (created, rotated, revoked)} == {key_id}
    assert created.before is None
    assert (created.after["user_id"], len(created.after["secrets"])) == ("ada", 1)
    assert rotated.before == created.after
    assert (len(rotated.after["secrets"]), "revoked_at" in rotated.after) == (2, False)
    assert (revoked.before, "revoked_at" in revoked.after) == (rotated.after, True)
    assert all(moment_of(item.id) == item.timestamp for item in (created, rotated, revoked))
    content = trail.read_text()
    for secret in (first, second, first[3:], *(item.sha256 for item in entry.secrets)):
        assert secret not in content
    assert stat.S_IMODE(trail.stat().st_mode) == 0o600


def test_what_changes_nothing_leaves_no_event(path: Path) -> None:
    """A key that is revoked already, one that is unknown, and a change that cannot be written."""
    key_id, _ = make(path)
    first = revoke(path, key_id)
    assert revoke(path, key_id) == first
    for failing in ("key_000000000000", key_id):
        with pytest.raises(ConfigError):
            rotate(path, failing, grace=HOUR)
    before = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("router.keys.keys.write_atomically", _no_space)
        with pytest.raises(OSError, match="No space"):
            make(path)
    assert path.read_bytes() == before
    events = read_events(path.with_name(COMPLIANCE_FILE))
    assert [item.action for item in events] == [
        "key.created",
        "key.revoked",
    ]


def test_a_key_is_not_made_without_its_event(path: Path) -> None:
    """Where the trail cannot be written, nothing is changed."""
    make(path)
    before = path.read_bytes()
    path.with_name(COMPLIANCE_FILE).unlink()
    path.with_name(COMPLIANCE_FILE).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        make(path)
    assert path.read_bytes() == before


def test_a_torn_event_is_no_event_and_a_damaged_one_is_told(path: Path) -> None:
    """What a crash left of a line is overwritten by the next; a line that is none is named."""
    make(path)
    trail = path.with_name(COMPLIANCE_FILE)
    whole = trail.read_bytes()
    trail.write_bytes(whole + b'{"id": "torn')
    assert len(read_events(trail)) == 1
    make(path)
    assert (len(read_events(trail)), trail.read_bytes().startswith(whole)) == (2, True)
    trail.write_bytes(b"{}\n" + whole)
    with pytest.raises(ConfigError, match="line `1` of"):
        read_events(trail)


def _no_space(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def system_user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "A", lambda t: t.swapcase(), lambda t: t[3:]]
)
def test_what_is_nearly_a_token_is_not_one(path: Path, change: Any) -> None:
    """The whole token counts, not a part of it."""
    _, token = make(path)
    with pytest.raises(InvalidKeyError, match="not known"):
        KeyFile(path).load().caller(change(token), at=now())


def test_a_digest_that_only_begins_alike_is_not_a_token(path: Path) -> None:
    """The look-up is by a part of the digest, the comparison by all of it."""
    _, token = make(path)
    content = json.loads(path.read_text())
    digest = content["keys"][0]["secrets"][0]["sha256"]
    content["keys"][0]["secrets"][0]["sha256"] = digest[:16] + "0" * 48
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidKeyError, match="not known"):
        KeyFile(path).load().caller(token, at=now())


def test_a_rotated_key_keeps_its_id_and_its_old_token_for_a_while(path: Path) -> None:
    """Limits and budgets go on, since the id does; after the grace the new token alone opens."""
    key_id, old = make(path)
    _, new = rotate(path, key_id, grace=HOUR)
    ring = KeyFile(path).load()
    assert {ring.caller(token, at=now()).key_id for token in (old, new)} == {key_id}
    with pytest.raises(InvalidKeyError, match="was rotated"):
        ring.caller(old, at=now() + HOUR)
    assert ring.caller(new, at=now() + HOUR).key_id == key_id


def test_a_second_rotation_does_not_lengthen_the_first_ones_grace(path: Path) -> None:
    """What is to end ends when it was said to."""
    key_id, old = make(path)
    rotate(path, key_id, grace=HOUR)
    rotate(path, key_id, grace=100 * HOUR)
    with pytest.raises(InvalidKeyError, match="was rotated"):
        KeyFile(path).load().caller(old, at=now() + HOUR)


def test_a_revoked_key_is_not_rotated(path: Path) -> None:
    """A rotation does not bring a key back."""
    key_id, _ = make(path)
    revoke(path, key_id)
    with pytest.raises(ConfigError, match="is revoked"):
        rotate(path, key_id, grace=HOUR)


def test_an_unknown_id_names_the_nearest(path: Path) -> None:
    """A typing error is found."""
    key_id, _ = make(path)
    with pytest.raises(ConfigError, match=f"nearest known: `{key_id}`"):
        revoke(path, key_id[:-1])


def test_keys_made_at_once_are_all_kept(path: Path) -> None:
    """Changes wait for one another."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make(path), range(24)))
    ring = KeyFile(path).load()
    assert [ring.caller(token, at=now()).key_id for _, token in made] == [key_id for key_id, _ in made]


@pytest.mark.parametrize(
    "content",
    [
        '{"keys": [{"token": "ir_secret"}]}',
        '{"ir_secret": 1}',
        '{"keys": "ir_secret"}',
        '{"keys": [{"id": "ir_secret"}]}',
        "ir_secret",
    ],
)
def test_a_broken_file_is_refused_without_repeating_it(path: Path, content: str) -> None:
    """Somebody may have put a token where it does not belong."""
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"keys\.json` is not usable") as caught:
        KeyFile(path).load()
    assert '"ir_secret"' not in str(caught.value)
    assert "`ir_secret" not in str(caught.value)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 2.0
        return self.now


def connection(token: str | None = None) -> dict[str, Any]:
    """A connection from this machine."""
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    return {"type": "http", "headers": headers, "client": ("127.0.0.1", 1)}


def test_running_routers_follow_the_file(path: Path) -> None:
    """A key made or revoked counts without a restart."""
    keys = Keys(KeyFile(path), clock=Clock())
    key_id, token = make(path)
    assert keys.caller(connection(token)).key_id == key_id
    revoke(path, key_id)
    with pytest.raises(InvalidKeyError, match="is revoked"):
        keys.caller(connection(token))


def test_a_broken_file_leaves_the_keys_in_force(path: Path) -> None:
    """An accident locks nobody out and lets nobody in; the health report tells."""
    key_id, token = make(path)
    keys = Keys(KeyFile(path), clock=Clock())
    path.write_text("{")
    assert keys.caller(connection(token)).key_id == key_id
    assert "not usable" in keys.health()["error"]
    with pytest.raises(InvalidKeyError):
        keys.caller(connection())


def test_the_first_key_closes_the_door_for_good(path: Path) -> None:
    """Without keys a caller on this machine needs none; a file that vanishes does not open it again."""
    keys = Keys(KeyFile(path), clock=Clock())
    assert keys.caller(connection()).key_id is None
    make(path)
    with pytest.raises(InvalidKeyError, match="no key is shown"):
        keys.caller(connection())
    path.unlink()
    with pytest.raises(InvalidKeyError, match="no key is shown"):
        keys.caller(connection())


def test_the_command_makes_lists_rotates_and_revokes(tmp_path: Path) -> None:
    """Tokens alone go to standard output, so that a script can keep them; lists hold none."""
    write_catalog(tmp_path, ["small"])
    made = run(
        "create",
        "--name",
        "search",
        "--models",
        "small",
        "--expires",
        "90d",
        "--home",
        tmp_path,
        cwd=tmp_path,
    )
    token = made.stdout.strip()
    entry = KeyFile(tmp_path / "keys.json").read().keys[0]
    assert KeyFile(tmp_path / "keys.json").load().caller(token, at=now()).models == frozenset({"small"})
    assert entry.expires_at is not None
    assert timedelta(days=89) < entry.expires_at - now() < timedelta(days=91)
    rotated = run("rotate", entry.id, "--grace", "1h", "--home", tmp_path, cwd=tmp_path)
    assert rotated.stdout.strip() not in ("", token)
    assert run("revoke", entry.id, "--home", tmp_path, cwd=tmp_path).returncode == 0
    listed = run("list", "--home", tmp_path, cwd=tmp_path)
    assert f"{entry.id}  revoked  route,feedback  models small" in listed.stdout
    assert token not in listed.stdout + made.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "smal"], "unknown model `smal`"),
        (["--models", ","], "names no model"),
        (["--expires", "soon"], "90d or 2027-01-31"),
        (["--expires", "2020-01-01"], "in the past"),
        (["--organization", "a\nb"], "printable"),
    ],
)
def test_a_wrong_option_makes_no_key(tmp_path: Path, arguments: list[str], message: str) -> None:
    """One line says what is wrong, and nothing is written."""
    write_catalog(tmp_path, ["small"])
    done = run("create", "--name", "x", *arguments, "--home", tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert not (tmp_path / "keys.json").exists()
