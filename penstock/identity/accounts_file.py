"""The operator's file of accounts (``[identity] accounts_file``): projects, users and roles to keep in the database."""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.errors import Invalid
from penstock.identity.bootstrap import Account


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    user: str
    project: str
    roles: list[str] = msgspec.field(default_factory=lambda: ["member"])
    password: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    accounts: list[_Entry]


def read(path: Path) -> list[Account]:
    """The accounts in a YAML file ``accounts: [{user: ann, project: one, roles: [member], password: ...}]``.

    Raises Invalid, without repeating a line of the file: it holds passwords.
    """
    try:
        found = msgspec.yaml.decode(path.read_bytes(), type=_File)
    except OSError as err:
        raise Invalid(f"The accounts file {path} cannot be read: {err.strerror}.") from err
    except msgspec.ValidationError as err:
        raise Invalid(f"The accounts file {path} is not right: {err}.") from err
    except msgspec.DecodeError as err:
        raise Invalid(f"The accounts file {path} is not YAML.") from err
    return [Account(entry.user, entry.project, tuple(entry.roles), entry.password) for entry in found.accounts]
