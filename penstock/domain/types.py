"""Share types and their extra specs: what an administrator offers under a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from penstock.errors import Invalid
from penstock.ids import ShareTypeId

TRUE_WORDS = frozenset({"1", "t", "true", "y", "yes", "on", "<is> true"})
FALSE_WORDS = frozenset({"0", "f", "false", "n", "no", "off", "<is> false"})

REQUIRED_SPEC = "driver_handles_share_servers"
SNAPSHOT_SPECS = (
    "snapshot_support",
    "create_share_from_snapshot_support",
    "revert_to_snapshot_support",
    "mount_snapshot_support",
)


def parse_claim(name: str, text: str) -> bool:
    """The boolean an extra spec states (``True``, ``<is> True``, ``yes`` ...). Raises Invalid."""
    word = str(text).strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise Invalid(f"The extra spec '{name}' must be a boolean, not '{text}'.")


@dataclass(frozen=True, slots=True)
class ShareType:
    """A share type with its extra specs and the projects it is open to (empty and public: everybody)."""

    id: ShareTypeId
    name: str
    description: str | None
    is_public: bool
    created_at: datetime
    updated_at: datetime | None
    extra_specs: dict[str, str] = field(default_factory=dict)

    def claims(self, spec: str, *, default: bool = False) -> bool:
        """Does the type claim the boolean capability `spec`?"""
        text = self.extra_specs.get(spec)
        return default if text is None else parse_claim(spec, text)
