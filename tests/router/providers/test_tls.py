"""Providers whose certificates a company's own authority signs."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from router import ConfigError, ProviderError, Request, Router
from tests.factories import write_catalog
from tests.recording import Recorder, only_request
from tests.router.providers.scripted import Exchange, ScriptedServer, completion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.records import Record

ASKED = Request(messages=[{"role": "user", "content": "hi"}])
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*arguments: str | Path) -> None:
    """Run the command; the test is skipped where it is not there."""
    try:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the test's certificates, is not installed")


def make_authority(folder: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key of an authority."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    constraints = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    openssl("req", "-x509", *NEW_KEY, "-keyout", key, "-out", certificate, "-days", "2",
            "-subj", f"/CN={name}", *constraints)  # fmt: skip
    return certificate, key


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `company.pem` and `other.pem`, and the certificate of `localhost` by the company."""
    folder = tmp_path_factory.mktemp("authorities")
    make_authority(folder, "other")
    certificate, key = make_authority(folder, "company")
    openssl("req", "-x509", *NEW_KEY, "-keyout", folder / "server.key", "-out", folder / "server.crt",
            "-days", "2", "-subj", "/CN=localhost", "-CA", certificate, "-CAkey", key,
            "-addext", "subjectAltName=DNS:localhost",
            "-addext", "basicConstraints=critical,CA:FALSE")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def server(authorities: Path) -> Iterator[ScriptedServer]:
    """A provider that shows the certificate."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer("200 OK", completion("by TLS"))

    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(authorities / "server.crt", authorities / "server.key")
    with ScriptedServer(answer, tls=own) as running:
        yield running


def ask(home: Path, server: ScriptedServer, *, host: str = "localhost") -> tuple[str, list[Record]]:
    """The answer or the error's message, and the records; settings come from the environment."""
    write_catalog(home, ["m"], base_url=f"https://{host}:{server.port}/v1")
    with Router.open(home=home) as router:
        recorder = Recorder()
        router.observe(recorder)
        try:
            return router.complete_sync(ASKED).text, recorder.records
        except ProviderError as error:
            return str(error), recorder.records


def test_a_companys_authority_is_trusted(
    tmp_path: Path, authorities: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names the authority in whose name the provider shows its certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities / "company.pem"))
    answer, records = ask(tmp_path, server)
    assert answer == "by TLS"
    assert only_request(records).success


def test_a_folder_of_authorities_is_trusted(
    tmp_path: Path, authorities: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_DIR is OpenSSL's: files are found by the digest of their subject."""
    openssl("rehash", authorities)
    monkeypatch.setenv("SSL_CERT_DIR", str(authorities))
    assert ask(tmp_path, server)[0] == "by TLS"


@pytest.mark.parametrize(
    ("trusted", "host", "why"),
    [
        ("other.pem", "localhost", "unable to get local issuer certificate: name its authority's file in"),
        (None, "localhost", "unable to get local issuer certificate: name its authority's file in"),
        ("company.pem", "127.0.0.1", "not valid for '127.0.0.1': correct its base_url in catalog.yaml"),
    ],
    ids=["another authority", "the public ones", "another name"],
)
def test_a_certificate_that_is_not_trusted_is_refused(
    tmp_path: Path,
    authorities: Path,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    trusted: str | None,
    host: str,
    why: str,
) -> None:
    """The request never leaves; the message says why and what to do; it is tried once."""
    if trusted is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authorities / trusted))
    asked = len(server.requests)
    message, records = ask(tmp_path, server, host=host)
    assert "provider `fake` is not trusted" in message
    assert why in message
    assert len(server.requests) == asked
    record = only_request(records)
    assert (record.error_type, len(record.attempts)) == ("connection", 1)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("SSL_CERT_FILE", None, r"SSL_CERT_FILE=`\S+missing` is not usable \(No such file"),
        ("SSL_CERT_FILE", "no certificate", r"SSL_CERT_FILE=`\S+missing` is not usable \(\w+\); name a file"),
        ("SSL_CERT_DIR", None, r"SSL_CERT_DIR=`\S+missing` is not a folder"),
    ],
)
def test_authorities_that_cannot_be_read_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, why: str
) -> None:
    """A wrong path is told before the first request, and not taken for the public authorities."""
    write_catalog(tmp_path)
    if content is not None:
        (tmp_path / "missing").write_text(content)
    monkeypatch.setenv(name, str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match=why):
        Router.open(home=tmp_path)


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for OpenSSL."""
    write_catalog(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", "")
    Router.open(home=tmp_path).close()
