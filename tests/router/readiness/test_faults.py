"""The table of faults: `/health`, `/readyz`, the log and a real request agree about each of them.

python -m pytest -q -rP tests/router/readiness/test_faults.py | grep '^|'      prints the table
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from router import Request
from router.journal.journal import AppendLog
from router.keys.changes import revoke
from router.scores.snapshot import ScoreSnapshot
from router.server.app import create_app
from tests.factories import write_catalog
from tests.router.server.test_auth import ELSEWHERE, HERE, bearer, call, key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from router import Router
    from tests.router.server.test_auth import OpenRouter

NO_REDIS = "redis://127.0.0.1:9/0"
LIMITS = "limits: [{scope: organization, subject: '*', requests: 1000, per: day}]\n"


@dataclass
class Scene:
    """A data folder, and the means to do harm to it."""

    home: Path
    open: OpenRouter
    monkeypatch: pytest.MonkeyPatch
    fake_url: str
    token: str | None = None
    """The key that requests show. None: they come from this machine without one."""
    is_simulated: bool = False
    """Whether the system only claims the fault, so that a real request does not meet it."""

    def router(self, *models: Any, **settings: Any) -> Router:
        """A router on the folder."""
        return self.open(*(models or ("small",)), scores_refresh_interval_s=3600, **settings)[0]

    def ask(self, router: Router) -> int:
        """The status of a request."""
        headers = {"openai-organization": "acme"} if self.token is None else bearer(self.token)
        peer = HERE if self.token is None else ELSEWHERE
        return call(router, headers=headers, peer=peer).status_code


def no_key_of_a_provider(scene: Scene) -> Router:
    router = scene.router()
    write_catalog(scene.home, ["small"], base_url=scene.fake_url, api_key_env="A_KEY_THAT_IS_NOT_SET")
    return router


def every_model_is_unavailable(scene: Scene) -> Router:
    return scene.router({"id": "small", "availability_status": "unavailable"})


def the_policy_excludes_every_model(scene: Scene) -> Router:
    (scene.home / "policies.yaml").write_text("policies: [{id: strict, allowed_models: [large]}]")
    large = {"id": "large", "availability_status": "unavailable"}
    return scene.router("small", large, default_policy="strict")


def every_provider_is_down(scene: Scene) -> Router:
    router = scene.router("down", max_retries=0)
    for _ in range(5):
        scene.ask(router)
    return router


def the_provider_refuses_the_key(scene: Scene) -> Router:
    router = scene.router("refusing", max_retries=0)
    scene.ask(router)
    return router


def one_of_two_models_is_down(scene: Scene) -> Router:
    router = scene.router("small", "down", max_retries=0)
    for _ in range(5):
        call(router, peer=HERE, json={"model": "down", "messages": [{"role": "user", "content": "2 + 2?"}]})
    return router


def redis_is_away(scene: Scene) -> Router:
    (scene.home / "limits.yaml").write_text(LIMITS)
    return scene.router(redis_url=NO_REDIS)


def redis_is_away_and_requests_pass(scene: Scene) -> Router:
    (scene.home / "limits.yaml").write_text(LIMITS)
    return scene.router(redis_url=NO_REDIS, limits_on_error="serve")


def limits_yaml_is_broken(scene: Scene) -> Router:
    router = scene.router()
    (scene.home / "limits.yaml").write_text("limits: [{scope: planet}]")
    return router


def catalog_yaml_is_broken(scene: Scene) -> Router:
    router = scene.router()
    (scene.home / "catalog.yaml").write_text("models: [")
    return router


def catalog_yaml_is_gone(scene: Scene) -> Router:
    router = scene.router()
    (scene.home / "catalog.yaml").unlink()
    return router


def policies_yaml_is_broken(scene: Scene) -> Router:
    router = scene.router()
    (scene.home / "policies.yaml").write_text("policies: [{id: mine, cost_weigth: 1}]")
    return router


def the_journal_takes_no_record(scene: Scene) -> Router:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    router = scene.router()
    scene.monkeypatch.setattr(AppendLog, "append", full)
    scene.monkeypatch.setattr(AppendLog, "probe", full)
    scene.ask(router)
    return router


def segments_cannot_be_sealed(scene: Scene) -> Router:
    router = scene.router(journal_seal_interval_s=3600)
    scene.ask(router)
    (scene.home / "lake").write_text("not a folder")
    with pytest.raises(OSError, match="lake"):
        router.sink.seal_now()  # type: ignore[attr-defined]
    return router


def _disk(scene: Scene, change: Callable[[Any], dict[str, int]]) -> Router:
    router, real = scene.router(), os.statvfs

    def changed(path: Any) -> Any:
        found = real(path)
        values = {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}
        return type("Disk", (), {**values, **change(found)})()

    scene.monkeypatch.setattr(os, "statvfs", changed)
    scene.is_simulated = True
    return router


def the_disk_is_full(scene: Scene) -> Router:
    return _disk(scene, lambda _: {"f_bavail": 0})


def the_disk_is_read_only(scene: Scene) -> Router:
    return _disk(scene, lambda disk: {"f_flag": disk.f_flag | os.ST_RDONLY})


def the_disk_is_nearly_full(scene: Scene) -> Router:
    return _disk(scene, lambda disk: {"f_bavail": (5 << 20) // disk.f_frsize})


def the_warehouse_is_no_database(scene: Scene) -> Router:
    router = scene.router()
    router.settings.warehouse_file.parent.mkdir()
    router.settings.warehouse_file.write_bytes(b"not a database" * 1000)
    return router


def the_warehouse_is_a_folder(scene: Scene) -> Router:
    router = scene.router()
    router.settings.warehouse_file.mkdir(parents=True)
    return router


def the_warehouse_is_gone(scene: Scene) -> Router:
    router = scene.router()
    router.settings.warehouse_file.parent.mkdir()
    router.settings.warehouse_facts_file.write_text('{"published_at": "2026-01-01T00:00:00+00:00"}')
    return router


def the_scores_are_corrupt(scene: Scene) -> Router:
    router = scene.router()
    router.settings.scores_file.parent.mkdir()
    router.settings.scores_file.write_text('{"snapshot_id": ')
    return router


def _scores(scene: Scene, published_at: datetime) -> Router:
    router = scene.router()
    snapshot = ScoreSnapshot.of([], as_of=published_at, published_at=published_at)
    router.settings.scores_file.parent.mkdir()
    router.settings.scores_file.write_bytes(snapshot.to_json())
    return router


def the_scores_are_old(scene: Scene) -> Router:
    return _scores(scene, datetime.now(UTC) - timedelta(days=2))


def the_scores_are_from_the_future(scene: Scene) -> Router:
    return _scores(scene, datetime.now(UTC) + timedelta(days=2))


def keys_json_is_broken(scene: Scene) -> Router:
    _, scene.token = key(scene.home, "route", "report")
    return scene.router()


def the_last_key_is_revoked(scene: Scene) -> Router:
    key_id, scene.token = key(scene.home, "route", "report")
    revoke(scene.home / "keys.json", key_id)
    return scene.router()


def as_many_as_allowed_are_in_flight(scene: Scene) -> Router:
    return scene.router(max_in_flight=1)


FAULTS: list[tuple[Callable[[Scene], Router], str, bool, str]] = [
    (no_key_of_a_provider, "models", True, "no model can be asked.*set `A_KEY_THAT_IS_NOT_SET`"),
    (every_model_is_unavailable, "models", True, "no model can be asked.*`unavailable`"),
    (the_policy_excludes_every_model, "models", True, "no eligible model"),
    (every_provider_is_down, "models", True, "every model that can be asked fails.*`overloaded`"),
    (the_provider_refuses_the_key, "models", True, "every model that can be asked fails.*`authentication`"),
    (one_of_two_models_is_down, "models", False, "1 of 2 models fail: `down`"),
    (redis_is_away, "limits", True, "Redis does not count limits"),
    (redis_is_away_and_requests_pass, "limits", False, "served unchecked, as LIMITS_ON_ERROR says"),
    (limits_yaml_is_broken, "limits", False, "limits.yaml` is not usable.*stays in use"),
    (catalog_yaml_is_broken, "configuration", False, "catalog.yaml` is not valid YAML.*stays in use"),
    (catalog_yaml_is_gone, "configuration", False, "catalog.yaml.*stays in use"),
    (policies_yaml_is_broken, "configuration", False, "cost_weigth.*stays in use"),
    (the_journal_takes_no_record, "journal", True, "No space left on device"),
    (segments_cannot_be_sealed, "journal", False, "kept and not sealed"),
    (the_disk_is_full, "disk", True, "is full: free space"),
    (the_disk_is_read_only, "disk", True, "mounted read-only"),
    (the_disk_is_nearly_full, "disk", False, "only 5 MB left"),
    (the_warehouse_is_no_database, "warehouse", False, "is no DuckDB database"),
    (the_warehouse_is_a_folder, "warehouse", False, "cannot be opened"),
    (the_warehouse_is_gone, "warehouse", False, "was published and is missing"),
    (the_scores_are_corrupt, "scores", False, "is corrupt.*stays in use"),
    (the_scores_are_old, "scores", False, "longer ago than SCORES_MAX_AGE_S"),
    (the_scores_are_from_the_future, "scores", False, "in the future"),
    (keys_json_is_broken, "keys", False, "keys.json.*stay in force"),
    (the_last_key_is_revoked, "keys", True, "no key is active"),
    (as_many_as_allowed_are_in_flight, "load", True, "requests are in flight"),
]
"""(the fault, its part, whether no request can succeed, words of the reason)."""


@pytest.fixture
def scene(tmp_path: Path, open_router: OpenRouter, fake_url: str, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A data folder for one fault."""
    return Scene(tmp_path, open_router, monkeypatch, fake_url)


@pytest.mark.smoke
def test_a_router_without_faults_is_ready(scene: Scene) -> None:
    """The control: nothing is reported where nothing is wrong, Redis or no Redis."""
    router = scene.router("small", "large", redis_url=NO_REDIS)
    assert router.faults(is_fresh=True) == ()
    health = create_app(router).shim.health()
    assert (health["status"], health["ready"], health["faults"]) == ("ok", True, [])
    assert scene.ask(router) == 200


def test_a_look_leaves_the_random_numbers_as_they_are(scene: Scene) -> None:
    """A seeded router makes the same choices however often its health is looked at."""
    first, second = (scene.router("small", "large") for _ in range(2))
    for _ in range(3):
        second.faults(is_fresh=True)
    request = Request(messages=[{"role": "user", "content": "2 + 2?"}])
    draws = [[router.route(request).draw for _ in range(5)] for router in (first, second)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    ("make", "part", "is_blocking", "words"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS]
)
def test_a_fault_shows_in_health_readiness_and_log(
    scene: Scene,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Scene], Router],
    part: str,
    is_blocking: bool,
    words: str,
) -> None:
    """`/health` names it, `/readyz` is 503 if no request can succeed, and a request has the last word."""
    router = make(scene)
    app = create_app(router)
    if make is keys_json_is_broken:
        (scene.home / "keys.json").write_text("{")
        app.shim.keys._interval_s = 0
    if make is as_many_as_allowed_are_in_flight:
        app.shim.in_flight.count = 1
    with caplog.at_level(logging.WARNING):
        try:
            router.refresh()
        except Exception as error:
            caplog.clear()
            del error
        router.faults(is_fresh=True)
    health = app.shim.health()
    found = [fault for fault in health["faults"] if fault["part"] == part]
    assert (health["status"], health["ready"]) == ("degraded", not is_blocking)
    assert [fault["is_blocking"] for fault in found] == [is_blocking], health["faults"]
    assert_matches(words, found[0]["reason"])
    ready = _readyz(app)
    assert ready[0] == (503 if is_blocking else 200), ready
    if is_blocking:
        assert_matches(words, ready[1])
    if part not in ("keys", "load"):  # the shim's own faults are in its log already, or pass by themselves
        assert_matches(words, caplog.text)
    if not scene.is_simulated and part != "load" and make is not keys_json_is_broken:
        assert (scene.ask(router) == 200) is not is_blocking
    log = next((record.getMessage() for record in caplog.records if part in record.getMessage()), "")
    cells = (
        make.__name__.replace("_", " "),
        "degraded",
        found[0]["reason"],
        str(ready[0]),
        log.partition(":")[0],
    )
    print("| " + " | ".join(cell.replace(str(scene.home), "HOME") for cell in cells) + " |")  # noqa: T201


def assert_matches(words: str, text: str) -> None:
    """Whether the words are in the text, whatever its lines."""
    import re

    assert re.search(words, text, re.DOTALL), f"{words!r} is not in {text!r}"


def _readyz(app: Any) -> tuple[int, str]:
    import asyncio

    import httpx

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(HERE, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://shim") as client:
            return await client.get("/readyz")

    answer = asyncio.run(get())
    return answer.status_code, answer.json().get("error", {}).get("message", "")
