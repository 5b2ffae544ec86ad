"""Pairs in a query: ``metadata={'a': 'b'}`` as clients write it, which is Python's notation, or JSON."""

from __future__ import annotations

import ast
import json

from penstock.api.bodies import check_pairs
from penstock.errors import Invalid

LONGEST = 16_384


def parse_pairs(name: str, text: str) -> dict[str, str]:
    """The pairs in `text`. Raises Invalid."""
    if len(text) > LONGEST:
        raise Invalid(f"'{name}' is too long.")
    try:
        found = ast.literal_eval(text)  # literals only: nothing is evaluated
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        found = _json(name, text)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise Invalid(f"'{name}' must be pairs of texts, such as {{'key': 'value'}}.")
    return check_pairs(name, found)


def _json(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(f"'{name}' must be pairs of texts, such as {{'key': 'value'}}.") from None
