"""The documents of DATABASE_URL as files, for jobs and reports that read files.

The files are a copy: they are not edited, and the next change of the database replaces them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.configuration.documents import EDITED, PRICES
from router.files import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OWNER_ONLY = 0o600


def write_documents(folder: Path, documents: Mapping[str, bytes]) -> None:
    """Make the files equal to the documents."""
    for name in (*EDITED, PRICES):
        path, content = folder / name, documents.get(name)
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            make_folder(path.parent)
            write_atomically(path, content, mode=OWNER_ONLY)
