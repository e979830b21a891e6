"""Other names of our variables, and names that look like a misspelling of one.

Variables of other programs must not be flagged. A name of the process is suspect only if it is nearly one
of ours, or if it has our prefix. A `.env` file is written for this program, so less likeness suffices
there. Nothing is suspect if the variable that was meant is set, too.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

from router.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from router.settings.environment import Variables

OTHER_NAMES: Mapping[str, str] = {"ENABLE_REQUEST_LOGGING": "REQUEST_LOGGING"}
"""The setting of each further name."""
OURS = "INTELLIROUTER_"
ALIKE_IN_FILE = 0.8
ALIKE_IN_PROCESS = 0.9
ALIKE_WITHOUT_PREFIX = 0.6
SHORTEST_IN_PROCESS = 8
"""A shorter name of the process is suspect only if it differs in case."""
OF_OTHERS = frozenset({"DATABASE_URI", "DATABASE_URLS", "REDIS_URI", "REDIS_URLS", "DB_PASSWORD"})
"""Names that other programs use, although they look like ours."""
_OF_KUBERNETES = re.compile(r"INTELLIROUTER_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)(_\w+)?|PORT)")
"""Variables that Kubernetes sets for a service of our name."""


class Misspelt(NamedTuple):
    """A variable that is ignored, and the one that was probably meant."""

    name: str
    meant: str | None

    def __str__(self) -> str:
        if self.meant is None:
            return f"`{self.name}` is not a setting and is ignored: remove it"
        return f"`{self.name}` is not a setting and is ignored: {nearest(self.name.upper(), [self.meant])}"


def current_names(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables by the names of the settings. ConfigError if two names of a setting disagree."""
    found = dict(variables)
    for other, name in OTHER_NAMES.items():
        value = found.pop(other, None)
        if value is None:
            continue
        if found.setdefault(name, value).strip().lower() != value.strip().lower():
            raise ConfigError(f"`{name}` and `{other}` are one setting and have different values: remove one")
    return found


def misspelt(variables: Variables, settings: Iterable[str]) -> Iterator[Misspelt]:
    """Variables that look like a misspelling of a setting, in order of name.

    `settings` are all names that mean something, keys of providers included.
    """
    known = {*settings, *OTHER_NAMES}
    given = variables.merged
    for name in sorted(given.keys() - known - OF_OTHERS):
        is_from_file = name not in variables.from_process
        if name.startswith(OURS):
            if not _OF_KUBERNETES.fullmatch(name):
                rest = [other.removeprefix(OURS) for other in known if other.startswith(OURS)]
                meant, likeness = _closest(name.removeprefix(OURS), rest)
                yield Misspelt(name, OURS + meant if likeness >= ALIKE_WITHOUT_PREFIX else None)
            continue
        meant, likeness = _closest(name, known)
        enough = ALIKE_IN_FILE if is_from_file else ALIKE_IN_PROCESS
        is_long = is_from_file or len(name) >= SHORTEST_IN_PROCESS or likeness == 1.0
        if meant not in given and likeness >= enough and is_long:
            yield Misspelt(name, meant)


def _closest(name: str, known: Iterable[str]) -> tuple[str, float]:
    """The known name that is most alike, whatever the case, and how much."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name.upper())
    best = ("", 0.0)
    for other in sorted(known):
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() > best[1] and matcher.quick_ratio() > best[1]:
            best = max(best, (other, matcher.ratio()), key=lambda item: item[1])
    return best
