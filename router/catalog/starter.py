"""The catalog that `serve` writes into an empty data folder, from the providers whose keys are set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.files import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

STARTER_FILE = Path(__file__).with_name("starter.yaml")
_HEAD = """\
# Written by `intellirouter serve`, for the keys that were set: {keys}.
# Edit it while the server runs. `intellirouter init` writes a commented example into another folder.
# Prices are public list prices in dollars per million tokens: check them against your contract.
"""


def key_variables() -> tuple[str, ...]:
    """The variables of the keys of the providers that it knows."""
    return tuple(name for provider in _starter()["providers"].values() for name in _variables(provider))


def write_starter(home: Path, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Write `catalog.yaml` into `home` with the models of each provider that has a key.

    Returns the variables of these keys. If none is set, it returns () and writes nothing.
    """
    import yaml

    starter = _starter()
    found: dict[str, str] = {}
    for name, provider in starter["providers"].items():
        with_key = [variable for variable in _variables(provider) if variables.get(variable)]
        if with_key:
            found[name] = with_key[0]
    if not found:
        return ()
    catalog = {
        "providers": {
            name: {**starter["providers"][name], "api_key_env": variable} for name, variable in found.items()
        },
        "models": [model for model in starter["models"] if model["provider"] in found],
    }
    text = _HEAD.format(keys=", ".join(found.values()))
    text += yaml.safe_dump(catalog, sort_keys=False, allow_unicode=True)
    make_folder(home)
    write_atomically(home / "catalog.yaml", text.encode())
    return tuple(found.values())


def _starter() -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(STARTER_FILE.read_bytes())
    return found


def _variables(provider: Mapping[str, Any]) -> tuple[str, ...]:
    named = provider["api_key_env"]
    return (named,) if isinstance(named, str) else tuple(named)
