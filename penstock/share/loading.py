"""From the dotted name in ``share_driver`` to a driver, ours or anybody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from penstock import dotted_names
from penstock.config.backend import BackendConfiguration
from penstock.errors import Invalid
from penstock.share.driver import Execute, ShareDriver

# Where drivers are that operators know under their published names.
ALIASES = {
    "manila.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver": (
        "penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver"
    ),
}


def load_class(dotted_name: str) -> type:
    """The class of that name, published names included. Raises Invalid, saying what is wrong with it."""
    return dotted_names.load_class(dotted_name, ALIASES)


def load_driver(
    dotted_name: str, configuration: BackendConfiguration, *, execute: Execute | None = None
) -> ShareDriver:
    """A driver for the backend `configuration` describes; `execute` is how its commands are run, where it wants to
    know.

    Nothing is contacted yet. Raises Invalid.
    """
    kind = load_class(dotted_name)
    if not issubclass(kind, ShareDriver):
        raise Invalid(
            f"'{dotted_name}' is not a share driver: it does not derive from penstock.share.driver.ShareDriver."
        )
    keywords: dict[str, Any] = {"configuration": configuration}
    if execute is not None:
        keywords["execute"] = execute
    return kind(**keywords)


def options_of(dotted_name: str) -> Sequence[cfg.Opt] | None:
    """The options that the driver adds to its section: what its ``get_driver_options()`` says, or its class's
    `OPTIONS`.

    None when it says nothing of them. Raises Invalid as `load_class` does.
    """
    kind = load_class(dotted_name)
    ask = getattr(kind, "get_driver_options", None)
    found: Sequence[cfg.Opt] | None = ask() if callable(ask) else getattr(kind, "OPTIONS", None)
    return found
