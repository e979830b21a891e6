"""What the crash tests share: the long form's switch, and figures that a person sees."""

from __future__ import annotations

import os
import sys


def is_long() -> bool:
    """Whether the long form is asked for: INTELLIROUTER_LONG=1."""
    return os.environ.get("INTELLIROUTER_LONG", "0") not in {"", "0"}


def show(line: object) -> None:
    """Figures, as `pytest -s` or `-rP` shows them."""
    sys.stdout.write(f"{line}\n")
