"""The leaves of a document: each is mapped, or named with a reason. None is lost in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.documents import hidden, is_opaque
from router.errors import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SHOWN = 60
_SECRET_WORDS = ("key", "secret", "token", "passw", "credential", "auth", "cookie", "dsn", "url", "header")
_NO_SECRETS = ("tokens", "key_env", "keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A leaf that has no equivalent here."""

    path: str
    value: str
    """As the document has it, masked if it may be a secret."""
    reason: str
    advice: str


class Leaves:
    """The leaves of a document, and where each went."""

    def __init__(self, tree: Any) -> None:
        self.values: dict[str, Any] = dict(_flat(tree, ""))
        self.mapped: dict[str, str] = {}
        """Path to the place in our documents."""
        self.findings: list[Finding] = []
        self._named: set[str] = set()

    def take(self, path: str, target: str) -> None:
        """The leaves at and below a path are in our documents now."""
        for leaf in self._below(path):
            if leaf not in self._named:
                self.mapped[leaf] = target

    def name(self, path: str, reason: str, advice: str) -> None:
        """The leaves at and below a path have no equivalent."""
        for leaf in self._below(path):
            if leaf not in self.mapped and leaf not in self._named:
                self._named.add(leaf)
                value = shown(leaf, self.values[leaf])
                self.findings.append(Finding(path=hidden(leaf), value=value, reason=reason, advice=advice))

    def rest(self) -> list[str]:
        """The leaves that nothing was said about."""
        return [leaf for leaf in self.values if leaf not in self.mapped and leaf not in self._named]

    def _below(self, path: str) -> list[str]:
        return [leaf for leaf in self.values if leaf == path or leaf.startswith((f"{path}.", f"{path}["))]


def shown(path: str, value: Any) -> str:
    """A value for a message: never one that may be a secret. The name of a variable is none."""
    text = str(value)
    if text.startswith("os.environ/"):
        return hidden(text[:MAX_SHOWN])
    name = path.rpartition(".")[2].lower()
    is_secret = any(word in name for word in _SECRET_WORDS) and not any(word in name for word in _NO_SECRETS)
    if isinstance(value, str) and (is_secret or "environment_variables" in path or is_opaque(text)):
        return MASK
    return hidden(text[:MAX_SHOWN])


def _flat(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of each leaf. An empty list or mapping is a leaf."""
    if isinstance(tree, dict) and tree:
        for name, member in tree.items():
            yield from _flat(member, f"{path}.{name}" if path else str(name))
    elif isinstance(tree, list) and tree:
        for number, member in enumerate(tree):
            yield from _flat(member, f"{path}[{number}]")
    else:
        yield path, tree
