"""Tells the traces of a person from other texts that equal their id.

An id may also be the name of an organisation, a model or an environment, or a number. Only a place that can
hold a person makes a trace: the column `user_id`, and a member `user` or `user_id` of a text file. An erasure
is unfinished while a trace is left. Every other find is a mention: a human decides what it means.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.erasure.certificates import Mention
from pipelines.erasure.config_mentions import ADVICE
from pipelines.erasure.text_places import names_person

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipelines.erasure.search import Found
    from router.config import Settings


def judge(
    settings: Settings, found: Found, user: str, *, pending: Collection[str] = ()
) -> tuple[set[str], list[Mention]]:
    """Split the finds into paths with traces and mentions, both relative to the data folder.

    `pending` journals are left out: the refresh after their sealing erases the person from them.
    """
    traces, mentions = set(found.unreadable), []
    for path in found.hits:
        name = path.removeprefix(f"{settings.home}/")
        if name in pending:
            continue
        if name not in ADVICE and _is_trace_now(settings, Path(path), found, user):
            traces.add(path)
        else:
            columns = tuple(sorted(found.columns.get(path, ())))
            mentions.append(Mention(path=name, columns=columns))
    return {path.removeprefix(f"{settings.home}/") for path in traces} - set(pending), mentions


def _is_trace_now(settings: Settings, path: Path, found: Found, user: str) -> bool:
    try:
        return is_trace(path, found, user)
    except FileNotFoundError:
        # A router sealed the journal, or a segment was replaced: its rows are in a file that came later.
        return path.is_relative_to(settings.home / "journal") or path.is_relative_to(settings.lake)


def is_trace(path: Path, found: Found, user: str) -> bool:
    """Whether a file that the search found holds the person, and not only a text that equals their id."""
    if str(path) in found.columns:
        return str(path) in found.persons
    return names_person(path, user)
