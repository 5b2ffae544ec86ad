"""One backend's section of the configuration, as drivers read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from penstock.config.backend_options import BACKEND_OPTIONS
from penstock.errors import Invalid

_UNSET = (cfg.Locations.opt_default, cfg.Locations.set_default)


def value_error(err: Exception) -> str:
    """What is wrong with a value, without oslo.config's account of where it came from."""
    return str(err).rpartition(" is not valid: ")[2]


class BackendConfiguration:
    """The options of section `section`: ``configuration.zfs_zpool_list`` or ``configuration.safe_get("...")``.

    A value comes from the section, else from [DEFAULT] when the option exists there too, else it is the option's
    default. `conf` is the whole configuration. Drivers add their own options with `append_config_values` before they
    read them. Any thread may read.
    """

    def __init__(self, conf: cfg.ConfigOpts, section: str) -> None:
        self.conf = conf
        self.config_group = section
        self.append_config_values(BACKEND_OPTIONS)

    def append_config_values(self, options: Sequence[cfg.Opt]) -> None:
        """Make `options` readable from this section. Safe to repeat."""
        self.conf.register_opts(options, group=self.config_group)

    def safe_get(self, name: str) -> Any:
        """The value of `name`, None when no such option was appended. Raises Invalid for a value that does not fit."""
        try:
            return self._value(name)
        except cfg.NoSuchOptError:
            return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._value(name)
        except cfg.NoSuchOptError as err:
            raise AttributeError(f"backend [{self.config_group}] has no option '{name}'") from err

    def _value(self, name: str) -> Any:
        try:
            section = self.conf[self.config_group]
            own = section[name]
            place = self.conf.get_location(name, self.config_group)
            if name in self.conf and (place is None or place.location in _UNSET):
                return self.conf[name]
        except (cfg.ConfigFileValueError, cfg.TemplateSubstitutionError) as err:
            raise Invalid(f"the value does not fit: {value_error(err)}") from err
        return own
