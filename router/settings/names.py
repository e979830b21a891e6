"""Other names of our variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER_NAMES: Mapping[str, str] = {"ENABLE_REQUEST_LOGGING": "REQUEST_LOGGING"}
"""The setting of each further name."""


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
