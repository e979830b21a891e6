"""The variables of the process and of `.env`, and where each one came from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Origin = Literal["default", ".env", "environment", "argument"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """The variables of a process, with those of its `.env` file."""

    from_file: Mapping[str, str]
    from_process: Mapping[str, str]

    @classmethod
    def read(cls, env_file: Path = Path(".env")) -> Variables:
        """ConfigError if the file cannot be read."""
        from dotenv import dotenv_values

        try:
            from_file = dotenv_values(env_file)
        except (OSError, UnicodeDecodeError) as error:
            fault = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(f"`{env_file}` cannot be read ({fault}): correct it, or remove it") from None
        given = {key: value for key, value in from_file.items() if value is not None}
        return cls(from_file=given, from_process=dict(os.environ))

    @property
    def merged(self) -> dict[str, str]:
        """All of them. The process's win."""
        return {**self.from_file, **self.from_process}

    def origin_of(self, *names: str) -> Origin:
        """Where the first of these names that is set has its value from."""
        for name in names:
            if name in self.from_process:
                return "environment"
            if name in self.from_file:
                return ".env"
        return "default"
