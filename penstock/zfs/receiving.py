"""The receiving end: its words, and what an interrupted receive left, which can be gone on with or given up."""

from __future__ import annotations

import re
from collections.abc import Mapping

from penstock.errors import BackendFault, NotFound
from penstock.zfs.client import Zfs
from penstock.zfs.faults import fault_of, has_failed
from penstock.zfs.flavour import Flavour
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Properties, options

TOKEN = "receive_resume_token"  # noqa: S105 - a property's name
_TOKEN_WORDS = re.compile(r"[0-9a-f-]+")
_TO_GUID = re.compile(r"toguid = (0x[0-9a-f]+)")


def receive(flavour: Flavour, into: Dataset, properties: Mapping[str, str], *, is_resumable: bool) -> tuple[str, ...]:
    """``zfs receive``: never mounting (-u), never overwriting (no -F), to be resumed (-s) where the source can do that.

    The `properties` go along where they can (-o); else they are to be set afterwards.
    """
    resumable = ("-s",) if is_resumable else ()
    local = options(properties) if flavour.receive_sets_properties else ()
    return ("zfs", "receive", "-u", *resumable, *local, str(into))


def token_of(properties: Properties) -> str | None:
    """The token by which an interrupted receive goes on, None when there is none. Raises BackendFault on surprises."""
    found = properties.get(TOKEN)
    if found is None or not found.is_set:
        return None
    if not _TOKEN_WORDS.fullmatch(found.value):
        raise BackendFault(f"{TOKEN} is not a token: {found.value!r}")
    return found.value


def guid_of_token(source: Zfs, token: str) -> int | None:
    """The GUID of the snapshot that the token's stream ends in; None when this source cannot go on with it.

    So it is after the snapshot was destroyed or renamed, or with a token that no ZFS made.
    """
    done = source.commands.complete("zfs", "send", "-nvP", "-t", token)
    found = _TO_GUID.search(done.stdout + done.stderr)
    return int(found[1], 16) if found and not has_failed(done) else None


def abort(target: Zfs, into: Dataset) -> None:
    """Forget what an interrupted receive left; a dataset that only it made goes with it. Fine when there is nothing.

    Raises Busy while the receive still runs.
    """
    done = target.commands.complete("zfs", "receive", "-A", str(into))
    if not has_failed(done) or "does not have any resumable receive state" in done.stderr:
        return
    fault = fault_of(done)
    if not isinstance(fault, NotFound):
        raise fault
