"""What the use cases of the built-in identity need."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from penstock.clock import Clock
from penstock.identity.lockout import Lockout
from penstock.identity.passwords import Passwords
from penstock.store.database import Database


@dataclass(frozen=True, slots=True)
class IdentityPlane:
    """First argument of every use case of identity; made once per process."""

    database: Database
    clock: Clock
    passwords: Passwords
    lockout: Lockout
    token_lifetime_s: int
    region: str


def identity_plane(database: Database, clock: Clock, conf: cfg.ConfigOpts) -> IdentityPlane:
    """The plane as the configuration says."""
    return IdentityPlane(database, clock, Passwords(), Lockout(clock), conf.token.expiration, conf.identity.region_name)
