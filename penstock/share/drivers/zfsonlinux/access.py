"""Access rules: from the API's words to what an NFS server is told, and to the text kept on the dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.domain.access import AccessLevel, AccessState, AccessType
from penstock.errors import Invalid, InvalidShareAccess, InvalidShareAccessLevel
from penstock.exports.model import ClientRule, Squash, normal_client
from penstock.share.models import AccessModel

SQUASH = "squash"  # key of the access rule's metadata


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule as it is written on the dataset: enough to export it, and to put it back into a lost database."""

    id: str
    client: str
    level: str
    squash: Squash

    @property
    def client_rule(self) -> ClientRule:
        """What the NFS server is told."""
        return ClientRule(self.client, self.level == AccessLevel.RW, self.squash)


@dataclass(frozen=True, slots=True)
class Understood:
    """The rules we can serve, and by access id why the others cannot be."""

    rules: tuple[StoredRule, ...]
    refused: dict[str, str]

    @property
    def updates(self) -> dict[str, dict[str, str]] | None:
        """As `update_access` answers: the refused rules in error, None when there are none."""
        return {rule: {"state": AccessState.ERROR.value} for rule in self.refused} or None


def understand(access_rules: Sequence[AccessModel], default: Squash) -> Understood:
    """Each rule by itself: one that cannot be served does not keep the others from being served.

    Of two rules for the same client (``10.0.0.5`` and ``10.0.0.5/32``) the first stands; the other is refused unless it
    says the same.
    """
    rules: dict[str, StoredRule] = {}
    refused: dict[str, str] = {}
    for access in access_rules:
        try:
            rule = _rule(access, default)
            _check_twice(rules.get(rule.client), rule)
        except Invalid as err:
            refused[access["access_id"]] = err.message
        else:
            rules.setdefault(rule.client, rule)
    return Understood(tuple(rules.values()), refused)


def as_read_only(understood: Understood) -> Understood:
    """The same clients, none of whom may write: for replicas."""
    rules = tuple(replace(rule, level=AccessLevel.RO.value) for rule in understood.rules)
    return replace(understood, rules=rules)


def _rule(access: AccessModel, default: Squash) -> StoredRule:
    if access["access_type"] != AccessType.IP:
        raise InvalidShareAccess(f"NFS shares are opened to IP addresses, not to a '{access['access_type']}'.")
    if access["access_level"] not in {AccessLevel.RW.value, AccessLevel.RO.value}:
        raise InvalidShareAccessLevel(f"the access level is rw or ro, not '{access['access_level']}'.")
    metadata: Mapping[str, str] = access.get("metadata") or {}
    return StoredRule(
        id=access["access_id"],
        client=normal_client(access["access_to"]),
        level=str(access["access_level"]),
        squash=parse_squash(metadata[SQUASH]) if SQUASH in metadata else default,
    )


def _check_twice(known: StoredRule | None, rule: StoredRule) -> None:
    if known is not None and (known.level, known.squash) != (rule.level, rule.squash):
        raise InvalidShareAccess(f"another rule already says otherwise about {rule.client}.")


def parse_squash(text: str) -> Squash:
    """Raises Invalid, naming the choices."""
    try:
        return Squash(text.strip().lower())
    except ValueError:
        raise Invalid(f"'{text}' is not a squash mode; choose {', '.join(Squash)}.") from None


def dump_rules(rules: Sequence[StoredRule]) -> str:
    """Compact ASCII JSON: one list ``[id, client, level, squash]`` per rule, in the order of the ids."""
    ordered = sorted(rules, key=lambda rule: rule.id)
    rows = [[rule.id, rule.client, rule.level, rule.squash.value] for rule in ordered]
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=True)


def load_rules(text: str) -> tuple[StoredRule, ...] | None:
    """What `dump_rules` wrote; None for anything else, which is then for an administrator to look at."""
    try:
        rows = json.loads(text)
        if not isinstance(rows, list):
            return None
        return tuple(StoredRule(str(i), normal_client(c), str(level), Squash(s)) for i, c, level, s in rows)
    except (ValueError, TypeError, Invalid):
        return None
