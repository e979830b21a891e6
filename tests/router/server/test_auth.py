"""Who may call the shim: keys, scopes, models, and callers on this machine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pipelines.erasure.search import search
from router.keys.changes import create
from router.keys.keys import EVERY_SCOPE
from router.providers.fake import FakeProvider
from router.records import RequestRecord
from router.server.app import ENDPOINTS, create_app
from router.server.auth import is_loopback
from tests.factories import write_catalog
from tests.router.keys.test_keys import ENVIRONMENT
from tests.test_canaries import serving as serving_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from router import Router
    from router.records import Record

    OpenRouter = Callable[..., tuple[Router, list[Record]]]

PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
ELSEWHERE, HERE = "203.0.113.9", "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - it is what must not be listened on


def key(home: Path, *scopes: Any, **options: Any) -> tuple[str, str]:
    """(id, token) of a new key of the data folder."""
    entry, token = create(home / "keys.json", name="test", scopes=scopes or ("route",), **options)
    return entry.id, token


def call(
    router: Router,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    *,
    peer: str = ELSEWHERE,
    **request: Any,
) -> httpx.Response:
    """One request to the shim of a router, from the socket address `peer`."""
    if method == "POST":
        request = {"json": BODY, **request}

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(router), client=(peer, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://shim") as client:
            response = await client.request(method, path, **request)
        await router.aclose_connections()
        return response

    return asyncio.run(send())


def bearer(token: str) -> dict[str, str]:
    """The header of OpenAI's clients."""
    return {"authorization": f"Bearer {token}"}


def requests_of(records: list[Record]) -> list[RequestRecord]:
    """The request records among them."""
    return [record for record in records if isinstance(record, RequestRecord)]


@pytest.mark.parametrize("form", ["Bearer {}", "bearer  {}", None])
def test_a_key_is_taken_as_openais_clients_send_it(
    open_router: OpenRouter, tmp_path: Path, form: str | None
) -> None:
    """The scheme's case does not matter; a scheme there must be."""
    router, records = open_router("small")
    key_id, token = key(tmp_path)
    response = call(router, headers={"authorization": token if form is None else form.format(token)})
    assert response.status_code == (401 if form is None else 200)
    assert [record.api_key_id for record in requests_of(records)] == ([] if form is None else [key_id])


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "X-API-Key"])
def test_a_key_is_taken_as_anthropics_and_azures_clients_send_it(
    open_router: OpenRouter, tmp_path: Path, header: str
) -> None:
    """The record names the key by its id."""
    router, records = open_router("small")
    key_id, token = key(tmp_path)
    assert call(router, headers={header: token}).status_code == 200
    assert requests_of(records)[0].api_key_id == key_id


def test_a_foreign_key_beside_ours_does_no_harm(open_router: OpenRouter, tmp_path: Path) -> None:
    """Clients that send a placeholder in one header and the key in another are served."""
    router, _ = open_router("small")
    _, token = key(tmp_path)
    assert call(router, headers={**bearer("unused"), "x-api-key": token}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("unused"),
        bearer("ir_" + "A" * 43),
        bearer("ir_" + "A" * 10_000),
        {"authorization": "Basic aXI6"},
        {"authorization": "Bearer "},
        {"x-api-key": ""},
        {"x-api-key": "ir_'; drop table keys; --"},
        {"cookie": "key=ir_x"},
    ],
)
def test_whoever_shows_no_good_key_is_refused(
    open_router: OpenRouter, tmp_path: Path, headers: dict[str, str]
) -> None:
    """401 in OpenAI's shape, with the scheme to use; what was shown is not repeated, nothing is recorded."""
    router, records = open_router("small")
    key(tmp_path)
    response = call(router, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"
    assert "AAAA" not in response.text
    assert records == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.label)
def test_every_endpoint_asks_for_its_scope(open_router: OpenRouter, tmp_path: Path, endpoint: Any) -> None:
    """Without a key 401, with a key of every other scope 403; only these four are anybody's."""
    router, _ = open_router("small")
    others = EVERY_SCOPE - {"admin", *endpoint.scopes}
    _, token = key(tmp_path, *others) if others else key(tmp_path, "route")
    path = endpoint.path.replace("{id}", "0").replace("{document}", "limits.yaml")
    is_open = endpoint.path in ("/livez", "/readyz", "/openapi.json")
    assert call(router, endpoint.method, path).status_code == (200 if is_open else 401)
    response = call(router, endpoint.method, path, headers=bearer(token))
    assert response.status_code == (200 if is_open else 403)
    if not is_open:
        told = response.json()["error"]
        assert told.get("code") == "permission_denied" or told["type"] == "permission_error"


@pytest.mark.smoke
def test_the_key_says_who_pays(open_router: OpenRouter, tmp_path: Path) -> None:
    """A client that names another organisation and user spends its own all the same."""
    router, records = open_router("small")
    _, token = key(tmp_path, organization_id="acme", user_id="ada")
    headers = {**bearer(token), "openai-organization": "rival"}
    call(router, headers=headers, json={**BODY, "user": "bob"})
    record = requests_of(records)[0]
    assert (record.organization_id, record.user_id) == ("acme", "ada")


def test_a_key_that_is_bound_to_nobody_leaves_it_to_the_client(
    open_router: OpenRouter, tmp_path: Path
) -> None:
    """One key may serve many users."""
    router, records = open_router("small")
    _, token = key(tmp_path)
    call(router, headers={**bearer(token), "openai-organization": "acme"}, json={**BODY, "user": "bob"})
    record = requests_of(records)[0]
    assert (record.organization_id, record.user_id) == ("acme", "bob")


def test_limits_count_by_the_keys_id(open_router: OpenRouter, tmp_path: Path) -> None:
    """`scope: key` in limits.yaml binds the key, in every form it is shown."""
    (tmp_path / "limits.yaml").write_text('limits: [{scope: key, subject: "*", requests: 1, per: hour}]')
    router, _ = open_router("small")
    _, first = key(tmp_path)
    _, second = key(tmp_path)
    codes = [call(router, headers=bearer(token)).status_code for token in (first, first, second)]
    codes.append(call(router, headers={"x-api-key": first}).status_code)
    assert codes == [200, 429, 200, 429]


def test_a_key_is_held_to_its_models(open_router: OpenRouter, tmp_path: Path) -> None:
    """`auto` stays among them, fallbacks too; another by name is 403; the list shows no other."""
    router, records = open_router("small", "large", "down")
    _, token = key(tmp_path, models=["small"])
    for _ in range(10):
        assert call(router, headers=bearer(token)).status_code == 200
    assert {record.model_selected for record in requests_of(records)} == {"small"}
    excluded = {item.model: item.exclusion for item in requests_of(records)[0].candidates}
    assert excluded["large"] == "the caller's key does not allow it"
    assert call(router, headers=bearer(token), json={**BODY, "model": "large"}).status_code == 403
    assert call(router, headers=bearer(token), json={**BODY, "model": "unknown"}).status_code == 403
    listed = call(router, "GET", "/v1/models", headers=bearer(token)).json()["data"]
    assert [model["id"] for model in listed] == ["auto", "small"]
    _, failing = key(tmp_path, models=["down"])
    assert call(router, headers=bearer(failing)).status_code == 502


@pytest.mark.parametrize("member", ["only", "order"])
def test_wishes_do_not_widen_a_key(open_router: OpenRouter, tmp_path: Path, member: str) -> None:
    """The `provider` member chooses among the key's models, and no member of it sets them."""
    router, records = open_router("small", "large")
    _, token = key(tmp_path, models=["small"])
    response = call(router, headers=bearer(token), json={**BODY, "provider": {member: ["large"]}})
    assert {record.model_selected for record in requests_of(records)} <= {"small", None}
    assert response.status_code == (400 if member == "only" else 200)
    widened = {**BODY, "provider": {"allowed_models": ["large"]}}
    assert call(router, headers=bearer(token), json=widened).status_code == 400


def test_a_keys_models_leave_its_users_preferences_and_sessions_alone(
    open_router: OpenRouter, tmp_path: Path
) -> None:
    """The preferences of policies.yaml hold for a key with models; another key's session is not narrowed."""
    (tmp_path / "policies.yaml").write_text("preferences: {users: {ada: {ignore: [small]}}}")
    router, records = open_router("small", "large")
    _, narrow = key(tmp_path, models=["small", "large"])
    _, other = key(tmp_path, models=["small"])
    _, wide = key(tmp_path)
    ada = {**BODY, "user": "ada"}
    session = {"x-session-id": "s"}
    for _ in range(5):
        call(router, headers={**bearer(narrow), **session}, json=ada)
    assert {record.model_selected for record in requests_of(records)} == {"large"}
    call(router, headers={**bearer(other), "x-session-id": "t"})
    call(router, headers={**bearer(wide), "x-session-id": "t"}, json={**BODY, "model": "large"})
    exclusions = [item.exclusion for item in requests_of(records)[-1].candidates]
    assert exclusions == [None, None]


def test_a_session_id_is_its_keys_own(open_router: OpenRouter, tmp_path: Path) -> None:
    """Two keys that use one session id share neither the model nor the policy; the record keeps the id."""
    router, records = open_router("small", "large")
    (_, one), (_, two) = key(tmp_path), key(tmp_path)
    session = {"x-session-id": "s"}
    only_large = {**BODY, "provider": {"only": ["large"]}}
    call(router, headers={**bearer(one), **session, "x-intellirouter-policy": "quality"}, json=only_large)
    for _ in range(4):
        call(router, headers={**bearer(one), **session})
    for _ in range(20):
        call(router, headers={**bearer(two), **session, "openai-organization": "acme"})
    first, others = requests_of(records)[:5], requests_of(records)[5:]
    assert {(item.model_selected, item.policy_id) for item in first} == {("large", "quality")}
    assert {item.policy_id for item in others} == {"balanced"}
    assert others[0].strategy != "sticky"
    assert {item.strategy for item in others[1:]} == {"sticky"}
    assert {item.session_id for item in (*first, *others)} == {"s"}


def test_a_sessions_budget_is_its_keys_own(open_router: OpenRouter, tmp_path: Path) -> None:
    """What one key spent in a session is nothing to another key's session of the same id."""
    (tmp_path / "limits.yaml").write_text(
        "budgets: [{id: each, scope: session, subject: '*', usd: 0.003, period: total, mode: hard}]"
    )
    router, _ = open_router({"id": "small", **PRICED})
    (_, one), (_, two) = key(tmp_path), key(tmp_path)
    body = {**BODY, "max_tokens": 100}

    def statuses(token: str) -> list[int]:
        headers = {**bearer(token), "x-session-id": "s"}
        return [call(router, headers=headers, json=body).status_code for _ in range(2)]

    assert statuses(one) == statuses(two) == [200, 429]
    refused = call(router, headers={**bearer(one), "x-session-id": "s"}, json=body)
    assert "of session `s` has $0.001" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        (HERE, 200),
        ("127.8.9.10", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        (ELSEWHERE, 401),
        ("10.0.0.1", 401),
    ],
)
def test_without_keys_callers_on_this_machine_need_none(
    open_router: OpenRouter, peer: str, status: int
) -> None:
    """What counts is the address of the socket's other end."""
    router, _ = open_router("small")
    assert call(router, peer=peer).status_code == status
    assert call(router, peer=peer, headers=bearer("unused")).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1"},
        {"host": "localhost"},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"x-forwarded-host": "localhost", "x-forwarded-for": "::1"},
    ],
)
def test_no_header_makes_a_caller_local(open_router: OpenRouter, headers: dict[str, str]) -> None:
    """Neither Host nor a proxy's headers are believed."""
    router, _ = open_router("small")
    assert call(router, headers=headers).status_code == 401


def test_a_web_page_may_not_call_without_a_key(open_router: OpenRouter) -> None:
    """A page in a browser on this machine cannot spend money behind its reader's back."""
    router, records = open_router("small")
    response = call(router, peer=HERE, headers={"origin": "https://evil.example"})
    assert (response.status_code, records) == (403, [])


@pytest.mark.parametrize(
    ("setting", "has_keys", "status"),
    [
        ("auto", False, 200),
        ("auto", True, 401),
        ("always", False, 200),
        ("always", True, 200),
        ("never", False, 401),
        ("never", True, 401),
    ],
)
def test_the_setting_says_whether_callers_here_need_a_key(
    open_router: OpenRouter, tmp_path: Path, setting: str, has_keys: bool, status: int
) -> None:
    """`auto` asks for one as soon as there are any; a bad key of ours is refused in every case."""
    router, _ = open_router("small", allow_unauthenticated_loopback=setting)
    if has_keys:
        key(tmp_path)
    assert call(router, peer=HERE).status_code == status
    assert call(router, peer=ELSEWHERE).status_code == 401
    assert call(router, peer=HERE, headers=bearer("ir_wrong")).status_code == 401


def test_auto_lets_nobody_in_where_other_machines_call(open_router: OpenRouter) -> None:
    """Behind a proxy on this machine every caller looks local."""
    router, _ = open_router("small", host=EVERYWHERE)
    assert call(router, peer=HERE).status_code == 401


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True),
     (EVERYWHERE, False), ("::", False), ("localhost.evil.example", False), ("127.0.0.1.nip.io", False),
     ("2130706433", False), ("0x7f000001", False), ("127.1", False), ("", False), (None, False)],
)  # fmt: skip
def test_only_a_plain_loopback_address_is_loopback(host: str | None, expected: bool) -> None:
    """Odd spellings and names are taken for other machines'."""
    assert is_loopback(host) is expected


def test_other_machines_are_not_served_without_a_key(tmp_path: Path) -> None:
    """`serve` refuses to start, says why, and starts once there is a key."""
    write_catalog(tmp_path, ["small"])
    command = [
        sys.executable,
        "-m",
        "router.cli",
        "serve",
        "--home",
        str(tmp_path),
        "--host",
        EVERYWHERE,
        "--port",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 1
    assert "intellirouter keys create" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_key_is_found_nowhere(tmp_path: Path) -> None:
    """Good, bad and misplaced keys leave no trace in files, logs and error bodies."""
    home, folder = tmp_path / "data", tmp_path / "cwd"
    folder.mkdir()
    bad = "ir_" + "canarycanary" * 3
    with FakeProvider({"models": {"small": {"answer": "a"}, "down": {"error_rate": 1.0}}}) as base_url:
        write_catalog(home, ["small", "down"], base_url=base_url)
        key_id, token = key(home, "route", "feedback", organization_id="who-is-stored")
        with serving_process(home, folder) as url, httpx.Client(base_url=url) as client:
            answers = []
            for secret in (token, bad):
                for headers in (bearer(secret), {"x-api-key": secret}, {"api-key": secret}):
                    for model in ("auto", "down", "unknown", ""):
                        body = {**BODY, "model": model}
                        answers.append(client.post("/v1/chat/completions", json=body, headers=headers))
                    answers.append(client.get("/health", headers=headers))
                    answers.append(client.post("/v1/feedback", json={"value": 1}, headers=headers))
                answers.append(client.post("/v1/chat/completions", json=BODY, params={"key": secret}))
                answers.append(client.get("/v1/nowhere", headers={"authorization": secret}))
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 403, 404, 502}
    found = search([tmp_path], [token, token[3:], bad, "who-is-stored", key_id])
    hits = {hit for path in found.hits for hit in found.hits[path]}
    assert hits == {"who-is-stored", key_id}
    assert [answer for answer in answers if token in answer.text or bad in answer.text] == []
