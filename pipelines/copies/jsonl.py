"""Documents as lines of JSON. The file is written whole under a temporary name, and then renamed.

A stopped export therefore leaves the earlier file. The order is that of the ids, so two exports of the same
warehouse are the same bytes, and the second one leaves the file as it is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from pipelines.errors import CopyError
from router.errors import ConfigError
from router.files import TEMPORARY_PREFIX, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO, Self

    from pipelines.copies.published import Part


class JsonLines:
    """A file of documents, while it is entered."""

    def __init__(self, name: str) -> None:
        self._path = Path(name).absolute()
        self._temporary = self._path.with_name(f"{TEMPORARY_PREFIX}{self._path.name}")
        self._file: BinaryIO | None = None
        self.shown = str(self._path)

    def __enter__(self) -> Self:
        self._refuse_if_foreign()
        try:
            self._file = self._temporary.open("wb")
        except OSError as error:
            self._fail(error)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._temporary.unlink(missing_ok=True)

    def held(self) -> Mapping[str, Part]:
        """None: a file is always written whole."""
        return {}

    def replace(
        self,
        part: str,  # noqa: ARG002 - parts come in the order of the ids
        content: Part | None,  # noqa: ARG002
        documents: Iterator[dict[str, Any]],
    ) -> tuple[int, int, dict[str, str]]:
        """Write the documents of the next part. `finish` counts what differs."""
        try:
            for document in documents:
                self._opened_file.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            self._fail(error)
        return 0, 0, {}

    def finish(self) -> tuple[int, int]:
        """Put the file in place, unless it is there already. Returns documents (written, removed)."""
        try:
            self._opened_file.flush()
            os.fsync(self._opened_file.fileno())
            written, removed = self._changes()
            if written or removed or not self._path.exists():
                self._temporary.replace(self._path)
                sync_folder(self._path.parent)
        except OSError as error:
            self._fail(error)
        return written, removed

    @property
    def _opened_file(self) -> BinaryIO:
        if self._file is None:
            raise CopyError(f"`{self._path}` is written outside of its export: enter it first")
        return self._file

    def _changes(self) -> tuple[int, int]:
        """Compare the old file with the new one, line by line. Both are in the order of the ids."""
        written = removed = 0
        with self._temporary.open("rb") as new_lines, _opened(self._path) as old_lines:
            new, old = next(new_lines, b""), next(old_lines, b"")
            while new or old:
                if new == old:
                    new, old = next(new_lines, b""), next(old_lines, b"")
                    continue
                new_id, old_id = _id(new), _id(old)
                if old and (not new or (old_id or "") < (new_id or "")):
                    removed += 1
                    old = next(old_lines, b"")
                    continue
                written += 1
                if new_id == old_id:
                    old = next(old_lines, b"")
                new = next(new_lines, b"")
        return written, removed

    def _refuse_if_foreign(self) -> None:
        try:
            with _opened(self._path) as lines:
                first = next(lines, b"")
        except OSError as error:
            self._fail(error)
        if first and _id(first) is None:
            raise ConfigError(
                f"`{self._path}` exists and holds no request documents: name another file, or remove it"
            )

    def _fail(self, error: OSError) -> NoReturn:
        raise CopyError(
            f"`{self._path}` cannot be written: {error.strerror}. The earlier file stays as it was. Make room"
            " or grant the right to write, then export again"
        ) from None


def _opened(path: Path) -> BinaryIO:
    return path.open("rb") if path.exists() else Path(os.devnull).open("rb")


def _id(line: bytes) -> str | None:
    """The id of a document. None for another line."""
    try:
        document = json.loads(line)
        return str(document["_id"]) if "routing_decision" in document else None
    except (ValueError, KeyError, TypeError):
        return None
