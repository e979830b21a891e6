"""Whether the vectors of an answer belong to the inputs of its request."""

from __future__ import annotations


def count_of(given: object) -> int | None:
    """How many inputs a request for embeddings has; None if it has none."""
    if isinstance(given, str):
        return 1
    if not isinstance(given, list | tuple) or not given:
        return None
    return 1 if isinstance(given[0], int) else len(given)


def fault_of_vectors(rows: list[object], count: int | None) -> str | None:
    """The fault of the vectors in `rows` for `count` inputs, or None if there is one for each.

    With too few or too many, a client stores vectors with the wrong texts.
    """
    sizes, places = set(), set()
    for place, row in enumerate(rows):
        vector = row.get("embedding") if isinstance(row, dict) else None
        if not isinstance(vector, list | str | dict) or not vector:
            return "sent a body without embeddings in `data`"
        index = row.get("index") if isinstance(row, dict) else None
        places.add(place if index is None else index)
        sizes.add(len(vector))
    if not rows:
        return "sent a body without embeddings in `data`"
    if count is not None and len(rows) != count:
        return f"sent {len(rows)} vectors for {count} inputs"
    if places != set(range(len(rows))):
        return "sent vectors whose `index` does not name each input once"
    if len(sizes) > 1:
        return "sent vectors of different sizes"
    return None
