"""What a new share or volume asks of a pool, from its type and its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.types import FALSE_WORDS

THIN = "thin_provisioning"
PROVISIONING = "provisioning:type"  # of volume types: ``thin`` or ``thick``


@dataclass(frozen=True, slots=True)
class ReplicaOf:
    """What a further replica asks: the replication domain of the others, and the pools that have one already.

    A pool on a backend that has none is preferred: a replica is for the day a host is gone.
    """

    domain: str
    pools: frozenset[str]
    backends: frozenset[str]


@dataclass(frozen=True, slots=True)
class SourceOf:
    """Where the snapshot is that a share is made from: its pool, which is preferred because nothing has to be copied
    there, and the replication domain whose backends can copy it, None for none."""

    pool: str
    backend: str
    domain: str | None


@dataclass(frozen=True, slots=True)
class Requirements:
    """All that placement looks at. `size_gib` is new capacity; `same_hosts` and `different_hosts` are pool names.

    `protocol` is None for volumes: how they are reached is the backend's to say.
    """

    size_gib: int
    protocol: str | None
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    same_hosts: frozenset[str] = frozenset()
    different_hosts: frozenset[str] = frozenset()
    only_pool: str | None = None  # the pool of the snapshot a share is made from
    hinted_pool: str | None = None  # the one an administrator named
    only_backend: str | None = None
    refused_by: Mapping[str, str] = field(default_factory=dict)  # pools and backends that tried, with the reasons
    replica_of: ReplicaOf | None = None
    source: SourceOf | None = None
    share: Mapping[str, Any] = field(default_factory=dict)  # what filter and goodness functions call ``share.*``
    volume: Mapping[str, Any] = field(default_factory=dict)  # ... ``volume.*``
    qos: Mapping[str, Any] = field(default_factory=dict)  # ... ``qos.*``

    @property
    def replication_type(self) -> str | None:
        """The kind of replication the type asks for."""
        return self.extra_specs.get("replication_type")

    @property
    def what(self) -> str:
        """In words, for a refusal."""
        if self.protocol is None:
            return f"volume of {self.size_gib} GiB"
        kind = "share" if self.replica_of is None else "replica"
        return f"{self.protocol} {kind} of {self.size_gib} GiB"

    @property
    def is_thin_wanted(self) -> bool | None:
        """False where the type asks for space that is set aside, True where it asks for none; None: it does not say."""
        word = self.extra_specs.get(THIN, self.extra_specs.get(f"capabilities:{THIN}"))
        if word is not None:
            return word.strip().lower() not in FALSE_WORDS
        kind = self.extra_specs.get(PROVISIONING)
        return None if kind is None else kind.strip().lower() != "thick"
