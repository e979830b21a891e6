"""Documents in a MongoDB collection, with a ledger of their parts in a second collection.

The order makes an export safe to stop: the ledger's mark, then documents by upsert, then deletes, and the
ledger's line of the part last. A part without its line is written again, which changes nothing.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

from pipelines.copies.postgres import secrets_of, shown
from pipelines.copies.published import Part
from pipelines.errors import CopyError
from router.errors import MASK, ConfigError, masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Self

SCHEMES = ("mongodb://", "mongodb+srv://")
DATABASE = "intellirouter"
"""Used if the URL names none."""
MARK = "intellirouter"
"""The ledger's first line: the collection is ours."""
BATCH = 500
TIMEOUT_MS = 10_000
SOCKET_TIMEOUT_MS = 120_000
MAX_BYTES = 16 << 20
"""Largest document, unless the server states another bound."""
_REMEDIES = {
    13: "grant the URL's user the right to write (`readWrite`)",
    18: "check the user and password of the URL",
    8000: "check the user and password of the URL",
    31: "the server's disk is full: free space there, then export again",
    14031: "the server's disk is full: free space there, then export again",
    10107: "the server is read-only: name the replica set's primary",
}
"""By the server's error code."""
_AWAY = "check that the server runs and that the URL is right; the next export goes on where this one stopped"


def is_mongodb(target: str) -> bool:
    """Whether the target is the URL of a MongoDB server."""
    return target.startswith(SCHEMES)


class Collection:
    """A collection of documents, while it is entered."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._client: Any = None
        self.shown = f"{shown(url).rstrip('/')} {name}"

    def __enter__(self) -> Self:
        try:
            import pymongo
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the export needs `{error.name}`, which is not installed:"
                " pip install 'intellirouter[mongodb]'"
            ) from None
        try:
            with self._explained("connect"):
                self._open(pymongo)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self, pymongo: Any) -> None:
        self._client = pymongo.MongoClient(
            self._url, serverSelectionTimeoutMS=TIMEOUT_MS, socketTimeoutMS=SOCKET_TIMEOUT_MS
        )
        database = self._client.get_default_database(default=DATABASE)
        self._documents = database[self._name]
        self._parts = database[f"{self._name}_parts"]
        hello = self._client.admin.command("hello")
        self._max_bytes = int(hello.get("maxBsonObjectSize", MAX_BYTES))
        self.shown = f"{shown(self._url).partition('?')[0].rstrip('/')}"
        if not self.shown.endswith(f"/{database.name}"):
            self.shown += f"/{database.name}"
        self.shown += f".{self._name}"
        self._claim()

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _claim(self) -> None:
        if self._parts.find_one({"_id": MARK}) is not None:
            return
        if self._documents.find_one({}, {"_id": 1}) is not None:
            raise CopyError(
                f"`{self.shown}` holds documents that no export has written: name another collection with"
                " --collection, or empty it"
            )
        self._parts.replace_one({"_id": MARK}, {"_id": MARK, "collection": self._name}, upsert=True)

    def held(self) -> Mapping[str, Part]:
        """The parts that the ledger lists."""
        with self._explained("read its ledger"):
            return {
                str(item["_id"]): Part(item["rows"], item["digest"])
                for item in self._parts.find({})
                if item["_id"] != MARK
            }

    def replace(
        self, part: str, content: Part | None, documents: Iterator[dict[str, Any]]
    ) -> tuple[int, int, dict[str, str]]:
        """Make these the only documents of the part. Returns (written, removed, refused)."""
        kept: set[str] = set()
        refused: dict[str, str] = {}
        written = 0
        with self._explained("write"):
            while batch := list(itertools.islice(documents, BATCH)):
                written += self._upsert(self._within_bounds(batch, refused), kept)
            removed = self._delete_others(part, kept)
            if content is None:
                self._parts.delete_one({"_id": part})
            elif not refused:
                line = {"_id": part, "rows": content.rows, "digest": content.digest}
                self._parts.replace_one({"_id": part}, line, upsert=True)
        return written, removed, refused

    def finish(self) -> tuple[int, int]:
        """Nothing is left to do."""
        return 0, 0

    def _within_bounds(
        self, batch: Iterable[dict[str, Any]], refused: dict[str, str]
    ) -> Iterator[dict[str, Any]]:
        import bson

        for document in batch:
            size = len(bson.encode(document))
            if size <= self._max_bytes:
                yield document
            else:
                refused[document["_id"]] = f"{size} bytes, and the server takes {self._max_bytes}"

    def _upsert(self, batch: Iterable[dict[str, Any]], kept: set[str]) -> int:
        from pymongo import ReplaceOne

        writes = [ReplaceOne({"_id": item["_id"]}, item, upsert=True) for item in batch]
        if not writes:
            return 0
        result = self._documents.bulk_write(writes, ordered=False)
        kept.update(write._filter["_id"] for write in writes)
        return int(result.upserted_count + result.modified_count)

    def _delete_others(self, part: str, kept: set[str]) -> int:
        """Delete the documents whose ids begin with the part and are not in `kept`."""
        found = self._documents.find({"_id": {"$gte": part, "$lt": f"{part}\uffff"}}, {"_id": 1})
        gone = [item["_id"] for item in found if item["_id"] not in kept and item["_id"][:7] == part]
        for start in range(0, len(gone), BATCH):
            self._documents.delete_many({"_id": {"$in": gone[start : start + BATCH]}})
        return len(gone)

    @contextlib.contextmanager
    def _explained(self, purpose: str) -> Iterator[None]:
        from pymongo import errors

        try:
            yield
        except (errors.InvalidURI, errors.ConfigurationError, ValueError) as error:
            raise ConfigError(
                f"the URL of the documents cannot be used: {self._without_secrets(error)}"
            ) from None
        except errors.BulkWriteError as error:
            # The details quote documents.
            codes = {item.get("code") for item in error.details.get("writeErrors", ())}
            remedy = next(
                (_REMEDIES[code] for code in codes if code in _REMEDIES), "look at the server's log"
            )
            raise CopyError(
                f"`{self.shown}` refused documents (codes {sorted(map(str, codes))}): {remedy}"
            ) from None
        except errors.OperationFailure as error:
            remedy = _REMEDIES.get(error.code or 0, "look at the server's log")
            raise CopyError(f"`{self.shown}` could not {purpose} (code {error.code}): {remedy}") from None
        except errors.PyMongoError as error:
            raise CopyError(
                f"`{self.shown}` could not {purpose}: {self._without_secrets(error)}; {_AWAY}"
            ) from None

    def _without_secrets(self, error: Exception) -> str:
        text = str(error).partition(", Timeout:")[0]
        for secret in secrets_of(self._url):
            text = text.replace(secret, MASK)
        return masked(text)[:300]
