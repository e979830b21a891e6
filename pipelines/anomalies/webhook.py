"""Delivers alerts to a webhook: signed, to a public address only, and again until it worked.

The body is a message of Slack (`text`, `blocks`, `metadata`), which others read as JSON too. The headers
are those of Standard Webhooks: `webhook-id` is the alert's id and the same at each try, so that a receiver
can leave out a second copy. `webhook-signature` is `v1,` and the base64 of

    HMAC-SHA256(secret, "{webhook-id}.{webhook-timestamp}.{body}")

A webhook is an address that an operator typed, and perhaps one that another person chose. Its name is
resolved here, and an address that is not public is refused. The connection then goes to that very address,
so that a second look-up cannot change it. A redirect is not followed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import httpx

from pipelines.anomalies.alert_log import Delivery
from router.providers.http.authorities import tls_of

if TYPE_CHECKING:
    from pipelines.anomalies.alert_log import Alert, AlertLog
    from router.config import Settings

TIMEOUT_S = 5.0
MOST_SECONDS = 15.0
"""Time that one refresh spends on deliveries at most."""
MOST_TRIES = 12
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=2)
"""The wait doubles with each try. The twelfth is about half a day after the first."""
REDIRECTS = range(300, 400)
_NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """The result of a round of deliveries."""

    delivered: int = 0
    waiting: int = 0
    dead: int = 0
    problem: str | None = None
    """Why the last try failed. None if each one worked."""


def deliver(
    settings: Settings, log: AlertLog, *, now: datetime | None = None, with_dead: bool = False
) -> DeliveryResult:
    """Try each alert that is due. `with_dead`: all that wait, and dead letters too."""
    if settings.alert_webhook_url is None:
        return DeliveryResult(waiting=len(log.waiting()), dead=len(log.dead()))
    moment = now or datetime.now(UTC)
    deadline = time.monotonic() + MOST_SECONDS
    delivered, problem = 0, None
    for alert in (*log.waiting(), *(log.dead() if with_dead else ())):
        last = log.deliveries.get(alert.id)
        if not with_dead and last is not None and last.next_at is not None and last.next_at > moment:
            continue
        if time.monotonic() > deadline:
            problem = f"{problem or 'the webhook is slow'}; the others wait for the next refresh"
            break
        status, problem = send(settings, alert, moment)
        tries = 1 if last is None else last.tries + 1
        wait = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT)
        is_over = problem is None or tries >= MOST_TRIES
        log.note(
            Delivery(
                id=alert.id,
                at=moment,
                tries=tries,
                is_delivered=problem is None,
                status=status,
                problem=problem,
                next_at=None if is_over else moment + wait,
            )
        )
        delivered += problem is None
        if status is None and problem is not None:
            break  # no answer: the next one would wait as long for nothing
    return DeliveryResult(
        delivered=delivered, waiting=len(log.waiting()), dead=len(log.dead()), problem=problem
    )


def send(settings: Settings, alert: Alert, now: datetime) -> tuple[int | None, str | None]:
    """Post an alert. Return the answer's status, and the problem or None. The URL is in neither: it may
    hold a secret.
    """
    url = httpx.URL(settings.alert_webhook_url.get_secret_value() if settings.alert_webhook_url else "")
    address, problem = _address_of(url, is_private_allowed=settings.alert_webhook_allow_private)
    if address is None:
        return None, problem
    content = json.dumps(message(alert), ensure_ascii=False).encode()
    headers = {
        "host": url.netloc.decode(),
        "content-type": "application/json",
        "user-agent": "intellirouter",
        "webhook-id": alert.id,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if settings.alert_webhook_secret is not None:
        headers["webhook-signature"] = signature(
            settings.alert_webhook_secret.get_secret_value(), alert.id, headers["webhook-timestamp"], content
        )
    try:
        with httpx.Client(
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=tls_of(settings.ssl_cert_file, settings.ssl_cert_dir) or True,
        ) as client:
            answer = client.post(
                url.copy_with(host=address),
                content=content,
                headers=headers,
                extensions={"sni_hostname": url.host},
            )
    except (httpx.HTTPError, OSError) as error:
        return None, f"the webhook at `{url.host}` does not answer: {type(error).__name__}"
    if answer.is_success:
        return answer.status_code, None
    if answer.status_code in REDIRECTS:
        target = ""
        with suppress(httpx.InvalidURL):
            target = httpx.URL(answer.headers.get("location", "")).host
        to = f" to `{target}`" if target else ""
        return answer.status_code, (
            f"the webhook at `{url.host}` redirects{to}. Redirects are not followed: set"
            " ALERT_WEBHOOK_URL to the final address"
        )
    return answer.status_code, f"the webhook at `{url.host}` answers with status {answer.status_code}"


def message(alert: Alert) -> dict[str, object]:
    """The body: a message of Slack, whose metadata has the facts for programs."""
    text = alert.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        "text": text,
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}}],
        "metadata": {
            "event_type": "intellirouter_alert",
            "event_payload": {"id": alert.id, "kind": alert.kind, "at": alert.line()["at"], **alert.facts},
        },
    }


def signature(secret: str, alert_id: str, timestamp: str, content: bytes) -> str:
    """The value of `webhook-signature`. A secret of the form `whsec_…` is the base64 of the key."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        with suppress(ValueError):
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    digest = hmac.new(key, f"{alert_id}.{timestamp}.".encode() + content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _address_of(url: httpx.URL, *, is_private_allowed: bool) -> tuple[str | None, str | None]:
    """The address to connect to, or the problem with the URL."""
    if url.scheme not in ("https", "http") or not url.host:
        return None, "ALERT_WEBHOOK_URL is no URL: it must begin with `https://` and a host"
    if url.scheme == "http" and not is_private_allowed:
        return None, "ALERT_WEBHOOK_URL must begin with `https://`, or set ALERT_WEBHOOK_ALLOW_PRIVATE=true"
    try:
        found = socket.getaddrinfo(
            url.host, url.port or (443 if url.scheme == "https" else 80), type=socket.SOCK_STREAM
        )
    except OSError as error:
        return None, f"the webhook's host `{url.host}` has no address: {error.strerror or error}"
    addresses = [str(item[4][0]) for item in found]
    hidden = [item for item in addresses if not is_public(item)]
    if hidden and not is_private_allowed:
        return None, (
            f"the webhook's host `{url.host}` has the address `{hidden[0]}`, which is not public."
            " Set ALERT_WEBHOOK_ALLOW_PRIVATE=true if it is yours"
        )
    return addresses[0], None


def is_public(address: str) -> bool:
    """Whether an address is of the public internet. One that carries an IPv4 address is judged by that."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if parsed in _NAT64:
            return is_public(str(ip_address(int(parsed) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast
