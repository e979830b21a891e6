"""The public names of IntelliRouter, under the name that it is installed by.

    from intellirouter import Request, Router

In: the package `router`, which holds everything. Out: its public names, and nothing else.
A file `router.py` of an application would hide that package, so this one names it.
"""

# ruff: noqa: E402 - the check comes before the imports that would fail

from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_found = find_spec("router")
_place = Path(_found.origin).resolve() if _found is not None and _found.origin else None
if _place is None or _place.parent not in (_HERE.parent, _HERE.parent / "router"):
    raise ImportError(
        f"`{_place}` hides the package `router` of IntelliRouter: rename that file or folder, or start Python"
        " from another folder"
    )

import router
from router import *  # noqa: F403 - the names are listed once, in `router`
from router import __all__ as __all__

__version__: str


def __getattr__(name: str) -> str:
    """`__version__` is read when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return router.__version__
