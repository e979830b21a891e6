"""`/admin/v1`: keys and documents over HTTP, no right beyond one's own, and an event for each change."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.warehouse.compliance import load_compliance
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from router.configuration.database import StateDatabase
from router.configuration.moving import push
from router.keys.audit_trail import read_events
from router.keys.changes import create
from router.keys.opening import open_key_store
from tests.factories import write_catalog
from tests.router.server.test_auth import BODY, HERE, bearer, call, key

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from router.router import Router
    from tests.router.server.test_auth import OpenRouter

KEYS = "/admin/v1/keys"
POLICIES = "/admin/v1/config/policies.yaml"


def ask(router: Router, token: str, method: str, path: str, **request: Any) -> httpx.Response:
    """A request with a key."""
    headers = {**bearer(token), **request.pop("headers", {})}
    return call(
        router, method, path, headers=headers, **{"json": {}, **request} if method != "GET" else request
    )


@pytest.fixture
def router(open_router: OpenRouter) -> Router:
    """A router whose shim looks at the keys with each request."""
    return open_router("small", "large", scores_refresh_interval_s=0.001)[0]


@pytest.mark.smoke
def test_a_key_lives_over_http(router: Router, tmp_path: Path) -> None:
    """Made, listed, rotated and revoked, each change with its actor in the audit trail."""
    admin_id, admin = key(tmp_path, "keys", "route", "feedback")
    made = ask(router, admin, "POST", KEYS, json={"name": "bot", "models": ["small"]})
    assert made.status_code == 201
    key_id, token = made.json()["id"], made.json()["token"]
    assert ask(router, token, "POST", "/v1/chat/completions", json=BODY).status_code == 200
    listed = ask(router, admin, "GET", KEYS)
    assert {item["id"]: item["state"] for item in listed.json()["data"]} == {
        admin_id: "active",
        key_id: "active",
    }
    assert token not in listed.text
    assert "sha256" not in listed.text
    rotated = ask(router, admin, "POST", f"{KEYS}/{key_id}/rotate", json={"grace_s": 0}).json()["token"]
    assert ask(router, token, "GET", "/v1/models").status_code == 401
    assert ask(router, rotated, "GET", "/v1/models").status_code == 200
    assert ask(router, admin, "POST", f"{KEYS}/{key_id}/revoke").json()["state"] == "revoked"
    assert ask(router, rotated, "GET", "/v1/models").status_code == 401
    events = read_events(tmp_path / "compliance_logs.jsonl")[1:]
    assert [(event.action, event.subject, event.actor) for event in events] == [
        (action, key_id, f"key {admin_id}") for action in ("key.created", "key.rotated", "key.revoked")
    ]


def test_a_key_gives_no_right_that_it_lacks(router: Router, tmp_path: Path) -> None:
    """Neither a scope, nor a model, nor another organisation, by making a key or by rotating one."""
    other_id, _ = key(tmp_path, "admin")
    stranger_id, _ = key(tmp_path, "route", organization_id="globex")
    _, token = key(tmp_path, "keys", "route", organization_id="acme", models=("small",))
    for body in (
        {"name": "x", "scopes": ["config"]},
        {"name": "x", "scopes": ["admin"]},
        {"name": "x", "scopes": ["route"], "models": ["large"]},
        {"name": "x", "scopes": ["route"], "organization_id": "globex"},
    ):
        assert ask(router, token, "POST", KEYS, json=body).status_code == 403, body
    made = ask(router, token, "POST", KEYS, json={"name": "x", "scopes": ["route"]}).json()
    assert (made["organization_id"], made["models"]) == ("acme", ["small"])
    for strange in (other_id, stranger_id):
        assert ask(router, token, "POST", f"{KEYS}/{strange}/rotate").status_code == 404
        assert ask(router, token, "POST", f"{KEYS}/{strange}/revoke").status_code == 404
    assert {item["organization_id"] for item in ask(router, token, "GET", KEYS).json()["data"]} == {"acme"}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", KEYS), ("POST", KEYS), ("GET", POLICIES), ("PUT", POLICIES)]
)
def test_nobody_administers_without_a_key(router: Router, method: str, path: str) -> None:
    """A caller on this machine may route without a key, and may not make one."""
    answer = call(router, method, path, peer=HERE, **{} if method == "GET" else {"json": {"name": "x"}})
    assert answer.status_code == 403
    assert "intellirouter keys create --scope" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "`name` is missing"),
        ({"name": "x", "scope": "route"}, "unknown member `scope`: nearest known: `scopes`"),
        ({"name": "x", "scopes": ["rout"]}, "nearest known: `route`"),
        ({"name": "x", "models": ["smal"]}, "nearest known: `small`"),
        ({"name": "x", "expires_at": "soon"}, "must be a moment"),
        ({"name": "x", "expires_at": "2020-01-01"}, "in the past"),
        ({"name": "x\n"}, "printable"),
    ],
)
def test_a_wrong_description_is_refused(
    router: Router, tmp_path: Path, body: dict[str, Any], words: str
) -> None:
    """With the member, and no key is made."""
    _, token = key(tmp_path, "admin")
    answer = ask(router, token, "POST", KEYS, json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert len(ask(router, token, "GET", KEYS).json()["data"]) == 1


@pytest.mark.smoke
def test_a_document_is_read_changed_and_in_force(router: Router, tmp_path: Path) -> None:
    """Only from the version that was read; the next request is routed by it."""
    _, token = key(tmp_path, "config", "route")
    read = ask(router, token, "GET", POLICIES)
    assert (read.json()["content"], read.headers["etag"]) == (None, '"none"')
    text = "policies: [{id: mine, allowed_models: [large]}]\n"
    for headers, status in (({}, 428), ({"if-match": '"other"'}, 412), ({"if-match": '"none"'}, 200)):
        put = ask(router, token, "PUT", POLICIES, json={"content": text}, headers=headers)
        assert put.status_code == status, put.text
    assert (tmp_path / "policies.yaml").read_text() == text
    again = ask(router, token, "PUT", POLICIES, json={"content": "{}"}, headers={"if-match": '"none"'})
    assert again.status_code == 412
    routed = ask(router, token, "POST", "/v1/route", json=BODY, headers={"x-intellirouter-policy": "mine"})
    assert routed.json()["model"] == "large"
    assert ask(router, token, "GET", "/admin/v1/config/policies").headers["etag"] == put.headers["etag"]


@pytest.mark.parametrize("place", ["folder", "postgres"])
def test_a_changed_document_is_an_event_of_the_table(
    open_router: OpenRouter, tmp_path: Path, request: pytest.FixtureRequest, place: str
) -> None:
    """`compliance_logs` has the key that changed it, and the content before and after, wherever it lies."""
    settings: dict[str, Any] = {}
    if place == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres_url")
        write_catalog(tmp_path, ["small", "large"])
        push(Settings.load({"DATABASE_URL": settings["database_url"]}, home=tmp_path))
    router, _ = open_router("small", "large", scores_refresh_interval_s=0.001, **settings)
    with closing(open_key_store(router.settings)) as store:
        entry, token = create(store, name="admin", scopes=["config"])
    etag = '"none"'
    for text in ("policies: [{id: mine, cost_weight: 1}]", "policies: [{id: mine, version: 2}]"):
        put = ask(router, token, "PUT", POLICIES, json={"content": text}, headers={"if-match": etag})
        assert put.status_code == 200, put.text
        etag = put.headers["etag"]
    with Warehouse(router.settings) as warehouse:
        assert load_compliance(warehouse).problem is None
        rows = warehouse.rows(
            "select actor, before, after from compliance_logs"
            " where subject = 'policies.yaml' and action = 'config.applied' order by id"
        )
    assert [actor for actor, _, _ in rows] == [f"key {entry.id}"] * 2
    before, after = (json.loads(state) for state in rows[1][1:])
    assert rows[0][1] is None
    assert before["digest"] == json.loads(rows[0][2])["digest"]
    assert f'"{after["digest"]}"' == etag
    assert before["changed"] == {"policies": {"mine": {"cost_weight": 1}}}
    assert after["changed"] == {"policies": {"mine": {"version": 2}}}


def test_a_call_closes_its_connections(open_router: OpenRouter, tmp_path: Path, postgres_url: str) -> None:
    """A source is opened for each call, read or change, and none stays open."""
    settings = Settings.load({"DATABASE_URL": postgres_url}, home=tmp_path)
    write_catalog(tmp_path, ["small", "large"])
    push(settings)
    router, _ = open_router("small", "large", database_url=postgres_url)
    with closing(open_key_store(settings)) as store:
        _, token = create(store, name="admin", scopes=["config"])
    closed: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StateDatabase, "close", lambda source: closed.append(source))
        assert ask(router, token, "GET", POLICIES).status_code == 200
        assert (
            ask(router, token, "PUT", POLICIES, json={"content": "{}"}, headers={"if-match": "x"}).status_code
            == 412
        )
    assert len(closed) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (POLICIES, {"content": "policies: [{id: x, cost_wait: 1}]"}, 400, "policies.yaml"),
        (POLICIES, {"content": 3}, 400, "must be the text"),
        (POLICIES, {}, 400, "`content` is missing"),
        ("/admin/v1/config/polices.yaml", {"content": ""}, 404, "nearest known: `policies.yaml`"),
        ("/admin/v1/config/keys.json", {"content": ""}, 404, "there is no document"),
    ],
)
def test_a_document_that_cannot_be_used_changes_nothing(
    router: Router, tmp_path: Path, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    """The fault is the caller's to mend, and the files stay as they are."""
    _, token = key(tmp_path, "config")
    answer = ask(router, token, "PUT", path, json=body, headers={"if-match": '"none"'})
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert not (tmp_path / "policies.yaml").exists()
