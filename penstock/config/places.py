"""Which datasets the backends of one configuration keep their shares and volumes in: each its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.config.backend import BackendConfiguration

OPTION = "zfs_zpool_list"


def shared_places(configurations: Sequence[BackendConfiguration]) -> Iterator[tuple[str, str]]:
    """The section, and a sentence, for each dataset that a section before it names, too.

    What one backend's cleaning up after a refused creation takes away would be what the other made there. Machines are
    compared as they are written: this one, or the address of ``zfs_service_ip``. Drivers' options must be known to the
    sections, else they name none.
    """
    seen: dict[tuple[str, str], str] = {}
    for configuration in configurations:
        section = configuration.config_group
        for place in _places(configuration):
            other = seen.setdefault(place, section)
            if other != section:
                machine, dataset = place
                where = f"{dataset} on {machine}" if machine else dataset
                yield section, f"names {where}, which [{other}] names, too: each backend needs a dataset of its own."


def _places(configuration: BackendConfiguration) -> list[tuple[str, str]]:
    address = configuration.safe_get("zfs_service_ip") if configuration.safe_get("zfs_use_ssh") else None
    machine = (address or "").strip().strip("[]")
    return [(machine, entry.strip().strip("/")) for entry in configuration.safe_get(OPTION) or ()]
