"""Does what a pool reports fit what a type asks? The published extra-spec language, in one pure function."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from penstock.domain.types import FALSE_WORDS, TRUE_WORDS

# Extra specs that speak to the control plane or a driver, not to the scheduler.
NOT_FOR_POOLS = frozenset(
    {
        "snapshot_support",
        "create_share_from_snapshot_support",
        "availability_zones",
        "replication_type",  # see `unlike`
        "replication_rpo_seconds",
    }
)
_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.ge,  # published meaning: at least
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_STRINGS: dict[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
}


def unmet(extra_specs: Mapping[str, str], capabilities: Mapping[str, Any]) -> str | None:
    """The first extra spec the pool does not meet, as a sentence; None when it meets all.

    ``capabilities:name`` and plain names are compared; other scopes (``zfsonlinux:...``) belong to drivers.
    """
    for spec, wanted in extra_specs.items():
        scope, colon, name = spec.partition(":")
        if colon and scope != "capabilities":
            continue
        name = name if colon else spec
        if name in NOT_FOR_POOLS:
            continue
        if name not in capabilities:
            return f"it does not report '{name}'"
        if not _fits(capabilities[name], wanted):
            return f"its '{name}' is '{capabilities[name]}', not '{wanted}'"
    return None


def unlike(kind: str | None, capabilities: Mapping[str, Any]) -> str | None:
    """Why the pool does not replicate as a type asks (`kind`: its ``replication_type``), as a sentence; None if so."""
    if kind is None:
        return None
    offered = capabilities.get("replication_type")
    kinds = offered if isinstance(offered, (list, tuple)) else [offered] if offered else []
    if kind in kinds:
        return None
    return f"it replicates as {', '.join(kinds)}, not as {kind}" if kinds else "it does not replicate"


def _fits(has: Any, wanted: str) -> bool:
    if isinstance(has, (list, tuple)):
        return any(_fits(item, wanted) for item in has)
    words = wanted.split()
    if not words:
        return str(has) == wanted
    return _compare(words[0], words[1:], has, wanted)


def _compare(word: str, rest: list[str], has: Any, wanted: str) -> bool:
    if word == "<is>":
        return _same_truth(has, " ".join(rest))
    if word == "<in>":
        return all(part in str(has) for part in rest if part != "<in>")
    if word == "<or>":
        return any(str(has) == part for part in rest if part != "<or>")
    if word in _STRINGS:
        return _STRINGS[word](str(has), " ".join(rest))
    if word in _NUMBERS:
        return _number(word, rest, has)
    if isinstance(has, bool):
        return _same_truth(has, wanted)
    return str(has).lower() == wanted.lower()


def _number(word: str, rest: list[str], has: Any) -> bool:
    try:
        return _NUMBERS[word](float(has), float(" ".join(rest)))
    except (TypeError, ValueError):
        return False


def _same_truth(has: Any, wanted: str) -> bool:
    said = wanted.strip().lower()
    truth = has if isinstance(has, bool) else str(has).strip().lower() in TRUE_WORDS
    return (truth and said in TRUE_WORDS) or (not truth and said in FALSE_WORDS)
