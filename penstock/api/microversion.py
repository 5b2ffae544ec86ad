"""Version negotiation: which of the published behaviours a request gets.

Sources: the microversion histories of the Shared File Systems and Block Storage APIs, and the API working group's
microversion guideline (one header per service, plus the shared ``OpenStack-API-Version: <service type> X.Y``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from penstock.api.fault_bodies import NotAcceptable
from penstock.errors import Invalid

MIN = "2.0"
MAX = "2.75"  # the highest version whose every behaviour, over the resources we serve, is honoured
VOLUME_MIN = "3.0"
VOLUME_MAX = "3.71"
EXPERIMENTAL_HEADER = "x-openstack-manila-api-experimental"
STANDARD_HEADER = "OpenStack-API-Version"

_FORM = re.compile(r"([1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True, order=True)
class ApiVersion:
    """A version such as 2.73. Compares by number, so 2.9 is before 2.73."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> ApiVersion:
        """From ``X.Y``. Raises Invalid."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise Invalid(f"'{text[:32]}' is not an API version; give it as X.Y, for example 2.7, or as 'latest'.")
        return cls(int(match[1]), int(match[2]))

    def at_least(self, text: str) -> bool:
        """Is this `text` (``X.Y``) or newer? Reads as the published 'since version X.Y'."""
        return self >= _parsed(text)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


_KNOWN: dict[str, ApiVersion] = {}


def _parsed(text: str) -> ApiVersion:
    """`ApiVersion.parse` of a constant in our code, done once."""
    found = _KNOWN.get(text)
    if found is None:
        found = _KNOWN[text] = ApiVersion.parse(text)
    return found


@dataclass(frozen=True, slots=True)
class VersionRange:
    """The versions a handler serves, both ends included; `until` None is open."""

    since: ApiVersion
    until: ApiVersion | None = None

    def __contains__(self, version: ApiVersion) -> bool:
        return self.since <= version and (self.until is None or version <= self.until)

    def overlaps(self, other: VersionRange) -> bool:
        """Is there a version in both?"""
        return self.since in other or other.since in self


@dataclass(frozen=True, slots=True)
class Negotiation:
    """How one service negotiates: the names of its headers and the versions it honours."""

    service_type: str  # as in ``OpenStack-API-Version: shared-file-system 2.75``
    header: str | None  # the service's own header, where it has one
    oldest: ApiVersion
    newest: ApiVersion

    def negotiate(self, headers: Mapping[str, str]) -> ApiVersion:
        """The version the request asks for; without a header the oldest.

        Raises Invalid for a malformed version, NotAcceptable for one that is not served.
        """
        own = headers.get(self.header.lower()) if self.header else None
        wanted = own or self._from_standard(headers.get(STANDARD_HEADER.lower(), ""))
        if not wanted:
            return self.oldest
        if wanted.strip().lower() == "latest":
            return self.newest
        version = ApiVersion.parse(wanted.strip())
        if not self.oldest <= version <= self.newest:
            raise NotAcceptable(
                f"Version {version} is not supported by the API. Minimum is {self.oldest} and maximum is {self.newest}."
            )
        return version

    def headers(self, version: ApiVersion) -> dict[str, str]:
        """What an answer says about the version it was made for."""
        standard = {STANDARD_HEADER: f"{self.service_type} {version}", "Vary": STANDARD_HEADER}
        if self.header is None:
            return standard
        return {**standard, self.header: str(version), "Vary": f"{self.header},{STANDARD_HEADER}"}

    def _from_standard(self, text: str) -> str:
        for part in text.split(","):
            service, _, version = part.strip().partition(" ")
            if service.lower() == self.service_type:
                return version
        return ""


SHARES = Negotiation(
    "shared-file-system", "X-OpenStack-Manila-API-Version", ApiVersion.parse(MIN), ApiVersion.parse(MAX)
)
VOLUMES = Negotiation("volume", None, ApiVersion.parse(VOLUME_MIN), ApiVersion.parse(VOLUME_MAX))


def versions(since: str, until: str | None = None) -> VersionRange:
    """The range from `since` to `until`, both included."""
    return VersionRange(_parsed(since), None if until is None else _parsed(until))
