"""From the dotted name in ``volume_driver`` to a driver, ours or anybody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from oslo_config import cfg

from penstock import dotted_names
from penstock.config.backend import BackendConfiguration
from penstock.errors import Invalid
from penstock.volume.driver import BaseVD, Execute
from penstock.volume.records import Records

# Where drivers are that operators know under their published names.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "cinder.volume.drivers.zfssa.zfssaiscsi.ZFSSAISCSIDriver": (
            "penstock.volume.drivers.zfssa.zfssaiscsi.ZFSSAISCSIDriver"
        ),
        "cinder.volume.drivers.acme.acmeNfsDriver": ("penstock.volume.drivers.nfs_appliance.driver.NfsApplianceDriver"),
    }
)


def load_class(dotted_name: str) -> type:
    """The class of that name, published names included. Raises Invalid, saying what is wrong with it."""
    return dotted_names.load_class(dotted_name, ALIASES)


def load_driver(
    dotted_name: str,
    configuration: BackendConfiguration,
    *,
    records: Records | None = None,
    host: str | None = None,
    cluster_name: str | None = None,
    active_backend_id: str | None = None,
    execute: Execute | None = None,
) -> BaseVD:
    """A driver for the backend `configuration` describes.

    `records` is what it may ask of its manager, `host` is ``host@backend``, `active_backend_id` where it is failed over
    to; `execute` is how its commands are run, where it wants to know. Nothing is contacted yet. Raises Invalid, also
    for a driver that says it is not supported, unless ``enable_unsupported_driver`` is set.
    """
    kind = load_class(dotted_name)
    if not issubclass(kind, BaseVD):
        raise Invalid(f"'{dotted_name}' is not a volume driver: it does not derive from penstock.volume.driver.BaseVD.")
    keywords: dict[str, Any] = {
        "configuration": configuration,
        "db": records,
        "host": host,
        "cluster_name": cluster_name,
        "active_backend_id": active_backend_id,
    }
    if execute is not None:
        keywords["execute"] = execute
    try:
        driver = kind(**keywords)
    except TypeError as err:
        # A class that leaves published methods abstract cannot be made.
        raise Invalid(f"'{dotted_name}' cannot be started: {err}.") from err
    if not driver.supported and not configuration.enable_unsupported_driver:
        raise Invalid(
            f"'{dotted_name}' is not supported by those who wrote it; set enable_unsupported_driver = True in "
            f"[{configuration.config_group}] to start it all the same."
        )
    return driver


def options_of(dotted_name: str) -> Sequence[cfg.Opt] | None:
    """The options that the driver adds to its section, by its ``get_driver_options()``.

    None when it says nothing of them. Raises Invalid as `load_class` does.
    """
    kind = load_class(dotted_name)
    ask = getattr(kind, "get_driver_options", None)
    found: Sequence[cfg.Opt] | None = ask() if callable(ask) else None
    return found
