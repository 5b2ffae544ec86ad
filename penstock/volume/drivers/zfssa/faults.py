"""What the appliance's refusals mean: its status and fault name as a type per thing the driver can do about it."""

from __future__ import annotations

from penstock.errors import Conflict, Unavailable
from penstock.volume.errors import NoFreeSpace, VolumeBackendAPIException


class ApplianceFault(VolumeBackendAPIException):
    """The appliance refused. `status` is HTTP's, `name` the appliance's (``ERR_...``), empty when it sent none."""

    def __init__(self, message: str = "", *, status: int = 0, name: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.name = name


class LoginRefused(ApplianceFault):
    """The appliance does not know this user and password, or has its REST service switched off."""


class Denied(ApplianceFault):
    """403: the user lacks the right, or the thing is protected (`nodestroy`)."""


class Absent(ApplianceFault):
    """404: there is no such thing."""


class Taken(ApplianceFault, Conflict):
    """409: there is one already, or its state changed meanwhile."""


class OverLimit(ApplianceFault, NoFreeSpace):
    """413: more than the pool, or the appliance, can take."""


class Overloaded(ApplianceFault, Unavailable):
    """It said 503, 500 or 401 until our patience ended; later the same call may work."""


class Garbled(ApplianceFault, Unavailable):
    """What it said cannot be read: no JSON, half a body, or not the fields that were promised."""


_MEANING: dict[int, type[ApplianceFault]] = {401: LoginRefused, 403: Denied, 404: Absent, 409: Taken, 413: OverLimit}
_PASSING = frozenset({0, 401, 500, 503})


def fault_of(what: str, status: int, reason: str, name: str, details: str, *, patience_ended: bool) -> ApplianceFault:
    """The fault of an answer that is none of the good ones. `what` is the call in words."""
    said = ": ".join(part for part in (name or reason, details) if part)
    kind = Overloaded if patience_ended and status in _PASSING else _MEANING.get(status, ApplianceFault)
    return kind(f"{what}: the appliance answered {status} {said}".rstrip(), status=status, name=name)
