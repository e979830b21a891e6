"""Alerts: each incident once, on disk, and at the webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipelines import flow
from pipelines.anomalies import alert_log, webhook
from pipelines.anomalies.alert_log import Alert
from pipelines.anomalies.alerts import notice_budgets, send_alerts
from pipelines.anomalies.anomaly_commands import alerts_command
from pipelines.anomalies.webhook import is_public, signature
from pipelines.warehouse.warehouse import Warehouse
from router.config import Settings
from tests.pipelines.anomalies.receiver import Receiver, receiving
from tests.pipelines.helpers import make_record, seal_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 6, 19, 12, 0, tzinfo=UTC)
BUDGETS = """budgets:
  - {id: acme, scope: organization, subject: acme, usd: 10, period: month, mode: soft}
  - {id: each, scope: user, subject: "*", usd: 5, period: day, mode: soft}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook that takes everything."""
    with receiving() as found:
        yield found


def open_settings(home: Path, receiver: Receiver | None = None, **changes: Any) -> Settings:
    """Settings with the receiver as webhook."""
    if receiver is not None:
        changes = {"alert_webhook_url": receiver.url, "alert_webhook_allow_private": True} | changes
    return Settings.load({}, home=home, **changes)


def an_alert(number: int = 1, *, to_webhook: bool = True) -> Alert:
    """Any alert."""
    return Alert(
        id=f"al_{number}", at=NOW, kind="budget", text="a < b & c", facts={"n": number}, to_webhook=to_webhook
    )


def raised(settings: Settings, *alerts: Alert) -> None:
    """Put alerts into the log."""
    with alert_log.opened(settings) as log:
        log.add(alerts)


def sent(settings: Settings, now: datetime = NOW, **options: Any) -> webhook.DeliveryResult:
    """A round of deliveries."""
    with alert_log.opened(settings) as log:
        return webhook.deliver(settings, log, now=now, **options)


@pytest.mark.smoke
def test_a_budget_alerts_once_a_share(tmp_path: Path) -> None:
    """80% and 100% are an alert each, once in the period. A user's alert does not name the user."""
    settings = open_settings(tmp_path)
    settings.limits_file.write_text(BUDGETS)
    with Warehouse(settings) as warehouse:
        for cost in ("8.5", "0.1", "2"):
            seal_records(settings, [make_record(NOW, cost_usd=Decimal(cost), user_id="ada-lovelace")])
            flow.catch_up(warehouse)
            notice_budgets(warehouse, now=NOW + timedelta(minutes=1))
    found = list(alert_log.read(settings).alerts.values())
    assert [(alert.facts["budget_id"], alert.facts["alert_at"]) for alert in found] == [
        ("acme", 0.8),
        ("each", 1.0),
        ("acme", 1.0),
    ]
    assert found[0].text.startswith("Budget `acme` of organization `acme` has reached 80%: $8.50 of $10.00")
    assert "ada-lovelace" not in (tmp_path / "alerts" / "alerts.jsonl").read_text()


def test_each_period_alerts(tmp_path: Path) -> None:
    """The next month's 80% is another alert."""
    settings = open_settings(tmp_path)
    settings.limits_file.write_text(BUDGETS)
    later = NOW + timedelta(days=20)
    with Warehouse(settings) as warehouse:
        for moment in (NOW, later):
            seal_records(settings, [make_record(moment, cost_usd=Decimal(9), user_id=None)])
            flow.catch_up(warehouse)
            notice_budgets(warehouse, now=moment + timedelta(minutes=1))
    starts = [alert.facts["period_start"][:10] for alert in alert_log.read(settings).alerts.values()]
    assert starts == ["2026-06-01", "2026-07-01"]


@pytest.mark.smoke
def test_a_webhook_gets_each_alert_once(tmp_path: Path, receiver: Receiver) -> None:
    """Two refreshes, one delivery each: signed, in Slack's shape, with the facts."""
    settings = open_settings(tmp_path, receiver, alert_webhook_secret="hidden")
    raised(settings, an_alert(1), an_alert(2))
    assert sent(settings) == webhook.DeliveryResult(delivered=2)
    assert sent(settings) == webhook.DeliveryResult()
    assert receiver.ids == ["al_1", "al_2"]
    headers, content = receiver.got[0]
    body = json.loads(content)
    assert body["text"] == body["blocks"][0]["text"]["text"] == "a &lt; b &amp; c"
    assert body["metadata"]["event_payload"]["n"] == 1
    signed = f"al_1.{headers['webhook-timestamp']}.".encode() + content
    digest = hmac.new(b"hidden", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's libraries gives the same signature."""
    secret, content = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", content) == expected


def test_an_alert_from_before_the_webhook_is_not_sent(tmp_path: Path, receiver: Receiver) -> None:
    """A new webhook gets no old news."""
    settings = open_settings(tmp_path, receiver)
    raised(settings, an_alert(1, to_webhook=False))
    assert sent(settings) == webhook.DeliveryResult()
    assert receiver.got == []


def test_a_failure_is_tried_again_after_growing_waits(tmp_path: Path, receiver: Receiver) -> None:
    """Not before its time, with the same id, and the problem names the status."""
    settings = open_settings(tmp_path, receiver)
    raised(settings, an_alert())
    receiver.status = 503
    result = sent(settings)
    assert (result.delivered, result.waiting) == (0, 1)
    assert result.problem == "the webhook at `127.0.0.1` answers with status 503"
    sent(settings, NOW + timedelta(seconds=59))
    assert len(receiver.got) == 1
    sent(settings, NOW + timedelta(seconds=60))
    sent(settings, NOW + timedelta(seconds=120))
    assert len(receiver.got) == 2
    receiver.status = 204
    assert sent(settings, NOW + timedelta(seconds=180)).delivered == 1
    assert receiver.ids == ["al_1"] * 3


def test_a_dead_letter_is_kept_and_sent_again(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a day of tries only `alerts --send` sends it."""
    settings = open_settings(tmp_path, receiver)
    raised(settings, an_alert())
    receiver.status, moment = 500, NOW
    for _ in range(webhook.MOST_TRIES):
        result = sent(settings, moment)
        moment += webhook.LONGEST_WAIT
    assert (result.waiting, result.dead) == (0, 1)
    sent(settings, moment + timedelta(days=9))
    assert len(receiver.got) == webhook.MOST_TRIES
    receiver.status = 200
    monkeypatch.setenv("ALERT_WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("ALERT_WEBHOOK_ALLOW_PRIVATE", "true")
    run = CliRunner().invoke(alerts_command, ["--home", str(tmp_path), "--send"])
    assert (run.exit_code, run.output) == (0, "delivered 1, waiting 0, dead letters 0\n")
    assert receiver.ids[-1] == "al_1"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("https://127.0.0.1/x", "`127.0.0.1` has the address `127.0.0.1`, which is not public"),
        ("https://[::1]/x", "has the address `::1`, which is not public"),
        ("https://10.1.2.3/x", "which is not public"),
        ("https://169.254.169.254/latest", "which is not public"),
        ("https://localhost/x", "which is not public"),
        ("http://example.org/x", "must begin with `https://`"),
        ("ftp://example.org/x", "is no URL"),
        ("nonsense", "is no URL"),
        ("https://no-such-host.invalid/x", "`no-such-host.invalid` has no address"),
    ],
)
def test_an_unusable_webhook_is_named_and_the_alert_waits(tmp_path: Path, url: str, complaint: str) -> None:
    """Private, loopback and link-local addresses, other schemes, and hosts without an address."""
    settings = open_settings(tmp_path, alert_webhook_url=url)
    raised(settings, an_alert())
    result = sent(settings)
    assert result.problem is not None
    assert complaint in result.problem
    assert result.waiting == 1


def test_a_redirect_is_not_followed(tmp_path: Path, receiver: Receiver) -> None:
    """Neither to a private address nor elsewhere: the target is named, and no second request is made."""
    settings = open_settings(tmp_path, receiver)
    receiver.status, receiver.headers = 302, {"location": "http://169.254.169.254/latest/meta-data"}
    raised(settings, an_alert())
    problem = sent(settings).problem
    assert problem is not None
    assert "redirects to `169.254.169.254`. Redirects are not followed" in problem
    assert len(receiver.got) == 1


def test_no_answer_and_the_refresh_goes_on(tmp_path: Path, receiver: Receiver) -> None:
    """A closed port is tried once a round, and the URL's secret part is in no message or file."""
    settings = open_settings(
        tmp_path, alert_webhook_url="http://127.0.0.1:9/t0k3n", alert_webhook_allow_private=True
    )
    raised(settings, an_alert(1), an_alert(2))
    with Warehouse(settings) as warehouse:
        result = send_alerts(warehouse, now=NOW)
    assert (result.delivered, result.waiting) == (0, 2)
    assert result.problem == "the webhook at `127.0.0.1` does not answer: ConnectError"
    assert "t0k3n" not in "".join(path.read_text() for path in (tmp_path / "alerts").glob("*.jsonl"))


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fd00::1",
        "fe80::1%eth0",
        "224.0.0.1",
        "0.0.0.0",  # noqa: S104 - refused here, and nothing listens on it
        "100.64.0.1",
    ],
)
def test_a_disguised_private_address_is_not_public(address: str) -> None:
    """Mapped, translated, unique-local, link-local, multicast and carrier addresses."""
    assert not is_public(address)


def test_public_addresses_are_public() -> None:
    """Of both families."""
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")


@pytest.mark.parametrize("name", ["alerts.jsonl", "deliveries.jsonl"])
def test_a_torn_line_is_cut_off(tmp_path: Path, receiver: Receiver, name: str) -> None:
    """A kill in the middle of a line: the line does not count, and the next one is whole."""
    settings = open_settings(tmp_path, receiver)
    raised(settings, an_alert(1))
    sent(settings)
    path = tmp_path / "alerts" / name
    path.write_bytes(path.read_bytes()[:-10])
    raised(settings, an_alert(1), an_alert(2))
    sent(settings)
    assert list(alert_log.read(settings).alerts) == ["al_1", "al_2"]
    assert set(receiver.ids) == {"al_1", "al_2"}
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_long_log_is_shortened_and_keeps_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond MOST_LINES the older half goes, but no alert that the webhook does not have."""
    monkeypatch.setattr(alert_log, "MOST_LINES", 10)
    settings = open_settings(tmp_path)
    raised(settings, an_alert(0), *(an_alert(number, to_webhook=False) for number in range(1, 11)))
    raised(settings, an_alert(99))
    assert list(alert_log.read(settings).alerts) == [
        "al_0",
        *(f"al_{number}" for number in range(5, 11)),
        "al_99",
    ]
