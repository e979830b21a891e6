"""An object store behind six calls. `obstore` speaks to S3, Google Cloud Storage and Azure.

Credentials and endpoint come from the environment that each cloud's own tools use, such as
AWS_ACCESS_KEY_ID, AWS_REGION and AWS_ENDPOINT.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from pipelines.errors import StoreError
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONNECT_TIMEOUT_S, TIMEOUT_S = 5, 60
RETRIES, RETRY_S = 2, 20


class Objects:
    """Objects by key. StoreError, which may be retried, if the store cannot be reached or refuses."""

    def __init__(self, store: Any, url: str) -> None:
        self._store = store
        self.url = url

    @classmethod
    def open(cls, url: str) -> Objects:
        """The store at a URL such as `s3://bucket/folder`. Nothing is asked of it yet."""
        try:
            import obstore.store
        except ModuleNotFoundError:
            raise ConfigError(
                "LAKE_URL needs `obstore`, which is not installed: pip install 'intellirouter[s3]'"
            ) from None
        from datetime import timedelta

        endpoint = os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL") or ""
        try:
            store = obstore.store.from_url(
                url,
                client_options={
                    "allow_http": endpoint.startswith("http://"),
                    "connect_timeout": f"{CONNECT_TIMEOUT_S}s",
                    "timeout": f"{TIMEOUT_S}s",
                },
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
            )
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise ConfigError(f"LAKE_URL=`{url}` cannot be used: {_line(error)}") from None
        return cls(store, url)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless its key exists. Returns whether it was written."""
        return self._put(key, content, "create") is not None

    def put(self, key: str, content: bytes) -> None:
        """Write an object, whether its key exists or not."""
        self._put(key, content, "overwrite")

    def swap(self, key: str, content: bytes, version: str | None) -> bool:
        """Write an object if its version is this one still, or if there is none and `version` is None."""
        mode: Any = "create" if version is None else {"e_tag": version}
        return self._put(key, content, mode) is not None

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The object's content and version. None if there is none."""
        import obstore

        with self._explained("read", key):
            try:
                found = obstore.get(self._store, key)
                return bytes(found.bytes()), str(found.meta["e_tag"])
            except FileNotFoundError:
                return None

    def keys(self, prefix: str, *, after: str | None = None) -> list[str]:
        """The keys in a folder such as `lake/feedback/`, in order; with `after`, those behind that key."""
        import obstore

        with self._explained("list", prefix):
            found = obstore.list(self._store, prefix=prefix, offset=after, chunk_size=1000)
            return sorted(str(item["path"]) for batch in found for item in batch)

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects. A key that does not exist is left out."""
        import obstore

        for key in keys:
            with self._explained("remove", key), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, key)

    def _put(self, key: str, content: bytes, mode: Any) -> object | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._explained("write", key):
            try:
                return obstore.put(self._store, key, content, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError, FileExistsError):
                return None

    @contextlib.contextmanager
    def _explained(self, action: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            raise StoreError(
                f"`{self.url}`: cannot {action} `{key}`: {_line(error)}. Nothing is lost: start the store, or"
                " correct LAKE_URL and its credentials, and the next round goes on"
            ) from error


def _line(error: BaseException) -> str:
    """The first line of an error of the store's library, which describes its own structures after it."""
    return str(error).strip().partition("\n")[0][:400]
