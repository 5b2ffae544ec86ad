"""Transfers: a volume offered to whoever has the key, in another project."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime

from penstock.ids import ProjectId, VolumeId


@dataclass(frozen=True, slots=True)
class VolumeTransfer:
    """An offer. Of its key only a salted hash is kept; it goes when the volume is taken or the offer taken back."""

    id: str
    volume_id: VolumeId
    name: str | None
    salt: str = field(repr=False)
    key_hash: str = field(repr=False)
    no_snapshots: bool
    source_project_id: ProjectId
    created_at: datetime

    def opens_with(self, key: str) -> bool:
        """Is it the key that was told when the offer was made?"""
        return hmac.compare_digest(self.key_hash, hash_of(key, self.salt))


def hash_of(key: str, salt: str) -> str:
    """What is kept of a key. It is random and long: one round of SHA-256 does."""
    return hmac.new(salt.encode(), key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
