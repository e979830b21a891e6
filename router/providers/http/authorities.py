"""Trust the certificate authorities in SSL_CERT_FILE and SSL_CERT_DIR instead of certifi's."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from router.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

NAME_MISMATCHES = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def tls_of(file: Path | None, folder: Path | None) -> ssl.SSLContext | None:
    """A context that trusts only the authorities in the file and the folder. None if both are None.

    They mean the same as OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR. ConfigError if they cannot be used.
    """
    if file is None and folder is None:
        return None
    if folder is not None and not folder.is_dir():
        raise ConfigError(
            f"SSL_CERT_DIR=`{folder}` is not a folder; name one that `openssl rehash` has prepared"
        )
    try:
        context = ssl.create_default_context(cafile=file, capath=folder)
    except OSError as error:  # ssl.SSLError is one
        why = getattr(error, "reason", None) or error.strerror
        raise ConfigError(
            f"SSL_CERT_FILE=`{file}` is not usable ({why}); name a file of PEM certificates"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def refusal_of(error: BaseException) -> str | None:
    """Why a provider's certificate was refused, with the next step. None for any other error."""
    cause = error.__cause__
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return None
    advice = "name its authority's file in SSL_CERT_FILE"
    if cause.verify_code in NAME_MISMATCHES:
        advice = "correct its base_url in catalog.yaml"
    return f"is not trusted ({cause.verify_message.rstrip('.')}: {advice})"
