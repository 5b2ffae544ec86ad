"""Pairs in a query: ``metadata={'a': 'b'}`` as clients write it, which is Python's notation, or JSON."""

from __future__ import annotations

import ast
import json

from penstock.api.bodies import check_pairs
from penstock.errors import Invalid

LONGEST = 16_384


def parse_pairs(name: str, text: str) -> dict[str, str]:
    """The pairs in `text`. Raises Invalid."""
    found = parse_literal(name, text)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise Invalid(f"'{name}' must be pairs of texts, such as {{'key': 'value'}}.")
    return check_pairs(name, found)


def parse_literal(name: str, text: str) -> object:
    """What `text` is in Python's notation, or in JSON. Raises Invalid."""
    if len(text) > LONGEST:
        raise Invalid(f"'{name}' is too long.")
    try:
        return ast.literal_eval(text)  # literals only: nothing is evaluated
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return _json(name, text)


def _json(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(f"'{name}' must be pairs of texts, such as {{'key': 'value'}}.") from None
