"""Read the reasoning of a chat answer, and keep the form in which its provider demands it back.

Servers of OpenAI's API name it `reasoning_content` or `reasoning`. OpenRouter adds `reasoning_details`, and
a translated answer of Anthropic's has `thinking_blocks` with signatures. The last two must be sent back
whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.translate.members import optional_items
from router.translate.returned import is_ours, kept_in, signature_of, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TEXTS = ("reasoning_content", "reasoning")
DETAILS = "reasoning_details"
BLOCKS = "thinking_blocks"
"""Thoughts as Anthropic writes them, with signatures. LiteLLM's clients know this name."""
KINDS = ("thinking", "redacted_thinking")


class Thoughts:
    """The reasoning of one stream, or of one message."""

    def __init__(self) -> None:
        self._member: str | None = None
        self._details: list[dict[str, Any]] = []
        self._signature: str | None = None
        self.redacted: list[str] = []
        """The data of thoughts that Anthropic encrypts whole."""

    def feed(self, delta: Mapping[str, Any]) -> str:
        """Read a delta or a message, and return the text of its thoughts."""
        thought = ""
        for name in TEXTS:
            if isinstance(delta.get(name), str) and delta[name]:
                thought, self._member = delta[name], name
                break
        if delta.get(DETAILS):
            for item in optional_items(delta[DETAILS], DETAILS):
                self._detail(item)
                said = item.get("text") or item.get("summary")
                if not delta.get("reasoning") and not thought and isinstance(said, str):
                    thought = said
        if delta.get(BLOCKS):
            for block in optional_items(delta[BLOCKS], BLOCKS):
                if isinstance(block.get("data"), str):
                    self.redacted.append(block["data"])
                elif isinstance(block.get("signature"), str) and block["signature"]:
                    self._signature = block["signature"]
        return thought

    def signature(self, maker: str | None) -> str | None:
        """The signature of the thought that ends here, or None if no provider demands the thought back."""
        signature, self._signature = self._signature, None
        if signature is None and maker is not None:
            if self._details:
                signature = signature_of(maker, DETAILS, self._details)
            elif self._member is not None:
                signature = signature_of(maker, self._member)
        self._details, self._member = [], None
        return signature

    def taken(self) -> tuple[str | None, list[dict[str, Any]]]:
        """(the member that the thoughts so far came in, their details), and forget both."""
        member, self._member = self._member, None
        details, self._details = self._details, []
        return member, details

    def left(self, maker: str | None) -> list[str]:
        """Encrypted thoughts without a text, which clients keep as redacted ones."""
        found, self.redacted = self.redacted, []
        if self._details and maker is not None:
            found.append(signature_of(maker, DETAILS, self._details))
            self._details = []
        return found

    def _detail(self, item: Mapping[str, Any]) -> None:
        """Add a detail, or a piece of the last one."""
        last = self._details[-1] if self._details else None
        if last is None or any(last.get(name) != item.get(name) for name in ("type", "index", "format")):
            self._details.append(dict(item))
            return
        for name, value in item.items():
            if (
                name in ("text", "summary", "data")
                and isinstance(last.get(name), str)
                and isinstance(value, str)
            ):
                last[name] += value
            elif value is not None:
                last[name] = value


class TurnThoughts:
    """The thoughts before the calls of a turn, as its provider demands them back."""

    def __init__(self, *, is_all: bool) -> None:
        """`is_all`: the model demands back every thought, and not only those that its provider signed."""
        self._is_all = is_all
        self._thoughts = Thoughts()
        self._texts: list[str] = []
        self._blocks: list[dict[str, Any]] = []
        self._unsigned = ""
        self._signed = 0

    def feed(self, said: Mapping[str, Any], *, is_piece: bool) -> bool:
        """Read a delta or a message, and return whether it was mended. RequestError if it is malformed.

        The blocks of a piece get an `index`, without which OpenAI's own client reads no list of a stream.
        """
        self._texts.append(self._thoughts.feed(said))
        is_mended = False
        for block in optional_items(said.get(BLOCKS), BLOCKS):
            if is_piece and "index" not in block:
                block["index"], is_mended = self._signed, True
            if block.get("type") == "thinking":
                self._unsigned += str(block.get("thinking") or "")
                block = {**block, "thinking": self._unsigned}  # LiteLLM signs behind the pieces of a thought
            if _is_signed(block):
                self._blocks.append(_without_index(block))
                self._unsigned = ""
                self._signed += 1
        return is_mended

    def taken(self) -> dict[str, Any]:
        """The members that must come back. They are given once."""
        texts, self._texts = "".join(self._texts), []
        member, details = self._thoughts.taken()
        blocks, self._blocks = self._blocks, []
        if details and (self._is_all or any(map(_is_signed, details))):
            return {DETAILS: details}
        if blocks:
            return {BLOCKS: blocks}
        return {member: texts} if self._is_all and member is not None and texts else {}


def _without_index(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "index"}


def _is_signed(item: Mapping[str, Any]) -> bool:
    return bool(item.get("signature") or item.get("data"))


def thoughts_in(said: Mapping[str, Any], maker: str | None) -> list[tuple[str, str | None]]:
    """The thoughts of a whole message, each with the signature that its provider demands back."""
    native = said.get("anthropic")
    blocks = native.get("content") if isinstance(native, dict) else said.get(BLOCKS)
    found: list[tuple[str, str | None]] = []
    for block in blocks if isinstance(blocks, list) else []:
        if isinstance(block, dict) and block.get("type") in KINDS:
            member = "signature" if block["type"] == "thinking" else "data"
            given = block.get(member)
            thought = str(block.get("thinking") or "")
            kept = wrapped(given if isinstance(given, str) and given else None, maker, member, thought)
            found.append((thought, kept))
    if found:
        return found
    thoughts = Thoughts()
    if text := thoughts.feed(said):
        found.append((text, thoughts.signature(maker)))
    return found + [("", data) for data in thoughts.left(maker)]


def sent_back(blocks: Iterable[Mapping[str, Any]], *, provider: str | None, name: str) -> dict[str, Any]:
    """The members of an assistant's message that `provider` demands back, for its model `name`.

    `blocks` are Anthropic's thoughts, whose signature says which provider wrote them.
    """
    members: dict[str, Any] = {}
    for block in blocks:
        if block.get("type") not in KINDS:
            continue
        signature = block.get("signature") if block["type"] == "thinking" else block.get("data")
        kept, text = kept_in(signature), str(block.get("thinking") or "")
        if kept is not None and kept.maker == provider and isinstance(kept.value, list):
            members.setdefault(kept.member, []).extend(kept.value)
        elif kept is not None and kept.maker == provider and kept.value is None:
            members[kept.member] = str(members.get(kept.member) or "") + text
        elif kept is None and signature and "claude" in name.lower():  # LiteLLM before Anthropic
            members.setdefault(BLOCKS, []).append(_without_index(block))
        elif not signature and text and thinks_back(name):
            members["reasoning_content"] = str(members.get("reasoning_content") or "") + text
    return members


def signed(blocks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The thoughts that Anthropic signed itself."""
    found = []
    for block in blocks:
        signature = block.get("signature") if block.get("type") == "thinking" else block.get("data")
        if block.get("type") in KINDS and signature and not is_ours(signature):
            found.append(block)
    return found


def thinks_back(name: str) -> bool:
    """Whether a model takes back reasoning that no provider has marked, by its name."""
    return any(maker in name.lower() for maker in ("deepseek", "kimi", "minimax", "glm-", "mimo"))
