"""Prompt features: the task classifier's input, as numbers that do not reveal words.

A prompt becomes the set of buckets of its words, pairs of words, first and last words and a few facts of
its shape (length, capitals, code marks, tools): at most 192 of 65,536 buckets, without counts or order. A
secret permutation renumbers the buckets of words, so stored features reveal nothing to a reader who has
the lake but not the key. A reader with both can test whether a guessed word may be in a prompt, but can
never read a word from it.

It uses pure Python and a few standard C functions. A prompt of any length costs well under 0.2 ms.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import struct
from array import array
from typing import TYPE_CHECKING
from zlib import crc32

from router.errors import ConfigError
from router.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FEATURES_VERSION = 1
"""Raise it when the same prompt would get other features. Features of older versions are not read."""
BUCKETS = 1 << 16
MAX_FEATURES = 192
"""It also keeps the sums of `router.tasks.classifier` within 16 bits."""
HEAD_CHARACTERS, TAIL_CHARACTERS = 480, 160
"""The parts of a long prompt that are read: its start and, since the question often comes last, its end."""
HEAD_WORDS, TAIL_WORDS = 150, 50
"""The same in words, for scripts and signs in which each character is a word."""
HAS_TOOLS, HAS_FORMAT, HAS_CODE, STARTS_UPPER = range(4)
"""Buckets of properties of a prompt. These and the next three ranges are not renumbered."""
_LENGTH, _LINES, _CAPITALS, SHAPES = 8, 32, 40, 64
"""First buckets of: bits of the length, bits of the number of lines, share of capitals, the words."""
_SPREAD = SHAPES.__add__
_FIRST_WORDS, _LAST_WORDS, _PAIR = 11, 21, 0x5BD1E995
"""Seeds that make a word's hash in these places differ from its hash elsewhere."""
KEY_BYTES = 32

_CODE_LINE = re.compile(
    r"^[ \t]{0,40}(?:def \w|class \w{1,80}[:({]|function \w|#include\b|from \w{1,80} import )", re.MULTILINE
)
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORDS = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]{{1,3}}")
_ASCII_WORDS = re.compile(rb"[A-Za-z0_]+|[^\sA-Za-z0_]{1,3}")
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_CAPITAL_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class FeatureSpace:
    """The numbering of features under one key."""

    def __init__(self, key: bytes) -> None:
        """`key` is the installation's secret. Equal keys give equal features everywhere."""
        self.id = hashlib.blake2b(bytes([FEATURES_VERSION]), key=key, digest_size=4).hexdigest()
        """Identifies key and version, and reveals neither."""
        # A sort by secret keys, since Python may change the order of random.shuffle.
        width = BUCKETS - SHAPES
        secrets = array("Q", hashlib.shake_256(b"buckets" + key).digest(8 * width))
        self._numbers = array("H", map(_SPREAD, sorted(range(width), key=secrets.__getitem__)))
        self._numbers.extend(self._numbers[:SHAPES])  # so that every 16 bit hash has a number

    def features(self, text: str, body: Mapping[str, object]) -> list[int]:
        """Distinct buckets of a prompt: `text` is the last message's, `body` the request's members."""
        length = len(text)
        if length > HEAD_CHARACTERS + TAIL_CHARACTERS:
            text = f"{text[:HEAD_CHARACTERS]} {text[-TAIL_CHARACTERS:]}"
        content = text.encode(errors="replace")
        words = _words(text, content)
        hashes = list(map(crc32, words))
        found = [crc32(word, _FIRST_WORDS + index) for index, word in enumerate(words[:3])]
        found += [crc32(word, _LAST_WORDS + index) for index, word in enumerate(words[-2:])]
        found += hashes
        found += [crc32(word, value ^ _PAIR) for word, value in zip(words[1:], hashes, strict=False)]
        numbers = self._numbers
        distinct = dict.fromkeys(_shape(text, content, length, body))
        distinct.update(dict.fromkeys([numbers[value & 0xFFFF] for value in found]))
        return list(distinct)[:MAX_FEATURES]

    def pack(self, features: Sequence[int]) -> str:
        """Features as the record's `prompt_features`: the space's id and 16 bits each, in base64."""
        numbers = struct.pack(f"<{len(features)}H", *sorted(features))
        return base64.b64encode(bytes.fromhex(self.id) + numbers).decode()


def unpack(packed: str) -> tuple[str, bytes]:
    """(id of the space, the numbers, 16 bits each, little-endian) of a `prompt_features`.

    ValueError when it is not valid.
    """
    try:
        content = base64.b64decode(packed, validate=True)
    except binascii.Error as error:
        raise ValueError(f"`{packed:.20}…` is not base64") from error
    numbers = content[4:]
    if not 0 < len(numbers) <= 2 * MAX_FEATURES or len(numbers) % 2:
        raise ValueError(f"`{packed:.20}…` holds {len(numbers)} bytes of features")
    return content[:4].hex(), numbers


def is_sampled(request_id: str, share: float) -> bool:
    """Whether to keep the features of a labelled request: the random bits of its id decide."""
    return int(request_id[-8:], 16) < share * 0x1_0000_0000


def load_key(path: Path) -> bytes:
    """The installation's secret, created on first use and readable only by its owner.

    Several routers on one lake must share the file. ConfigError if it does not hold a key.
    """
    if not path.exists():
        _make_key(path)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"`{path}` is not a features key ({2 * KEY_BYTES} hexadecimal digits): copy it from another"
            " router of this lake, or remove it to create a new one (this trains the task classifier again)"
        )
    return key


def _make_key(path: Path) -> None:
    make_folder(path.parent)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(os.urandom(KEY_BYTES).hex())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # if two routers start at once, one wins and both read its key
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _words(text: str, content: bytes) -> list[bytes]:
    """Words, numbers as their length, and single signs. Scripts without spaces give single characters."""
    content = content.translate(_DIGITS)
    words: list[bytes]
    if text.isascii():
        words = _ASCII_WORDS.findall(content)
    else:
        words = [word.encode() for word in _WORDS.findall(content.decode())]
    return words if len(words) <= HEAD_WORDS + TAIL_WORDS else words[:HEAD_WORDS] + words[-TAIL_WORDS:]


def has_code(text: str) -> bool:
    """Whether a text holds source code, by marks that prose lacks."""
    if "```" in text or _CODE_LINE.search(text) is not None:
        return True
    return "SELECT " in text and " FROM " in text


def _shape(text: str, content: bytes, length: int, body: Mapping[str, object]) -> list[int]:
    capitals = len(content) - len(content.translate(None, _CAPITAL_LETTERS))
    shape = [
        _LENGTH + min(length.bit_length(), 20),
        _LINES + min(text.count("\n").bit_length(), 7),
        _CAPITALS + 20 * capitals // max(len(content), 1),
    ]
    if body.get("tools"):
        shape.append(HAS_TOOLS)
    if body.get("response_format"):
        shape.append(HAS_FORMAT)
    if has_code(text):
        shape.append(HAS_CODE)
    if text[:1].isupper():
        shape.append(STARTS_UPPER)
    return shape
