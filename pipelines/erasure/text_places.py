"""Places in text files that can hold a person: members and columns named `user` or `user_id`."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES = 8 << 20
OVERLAP = 2048
"""Bytes read twice at the border of two chunks: longer than a member with the longest id."""
_WORD = r"[\w.@+-]"
_MEMBER = r"""(?<!\w)user(?:_id)?["']?\s*[:=]\s*["']?"""


def names_person(path: Path, user: str) -> bool:
    """Whether a text file has the id in a place that can hold a person."""
    return _has_member(path, user) or _has_column(path, user)


def forms(text: str) -> set[str]:
    """The text itself, and its forms in JSON and in DuckDB's nested values."""
    return {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        text.replace("\\", "\\\\").replace("'", "\\'"),
    }


def _has_member(path: Path, user: str) -> bool:
    """Whether a text file has the id as a value of `user` or `user_id`: JSON, YAML, or `user_id=ada`."""
    values = "|".join(re.escape(form) for form in forms(user))
    member = re.compile(f"{_MEMBER}(?:{values})(?!{_WORD})".encode())
    tail = b""
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            window = tail + block
            if member.search(window):
                return True
            tail = window[-OVERLAP:]
    return False


def _has_column(path: Path, user: str) -> bool:
    """Whether a table of texts, separated by commas or tabs, has the id in a column `user_id` or `user`."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        header = file.readline(CHUNK_BYTES)
        columns = re.split(r"[,;\t]", header.strip().replace('"', ""))
        places = [place for place, name in enumerate(columns) if name in ("user_id", "user")]
        if not places:
            return False
        separator = next((item for item in ",;\t" if item in header), ",")
        try:
            return any(
                user in (row[place].removeprefix("'") for place in places if place < len(row))
                for row in csv.reader(file, delimiter=separator)
            )
        except csv.Error:
            return True  # unreadable as a table, and it holds the id
