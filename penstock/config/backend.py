"""One backend's section of the configuration, as drivers read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oslo_config import cfg

from penstock.config.backend_options import BACKEND_OPTIONS
from penstock.config.volume_options import SHARED_SECTION, VOLUME_BACKEND_OPTIONS
from penstock.errors import Invalid

_UNSET = (cfg.Locations.opt_default, cfg.Locations.set_default)


def value_error(err: Exception) -> str:
    """What is wrong with a value, without oslo.config's account of where it came from."""
    return str(err).rpartition(" is not valid: ")[2]


class BackendConfiguration:
    """The options of section `section`: ``configuration.zfs_zpool_list`` or ``configuration.safe_get("...")``.

    A value comes from the section, else from `shared_section` where there is one, else from [DEFAULT] when the option
    exists there too, else it is the option's default. `conf` is the whole configuration, `options` are those that any
    backend of the kind has. Drivers add their own options with `append_config_values` before they read them.
    `before_command` is what a driver asks before each command on its storage host; it raises where another process has
    taken the backend over. None where that cannot be. Any thread may read.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        section: str,
        *,
        options: Sequence[cfg.Opt] = BACKEND_OPTIONS,
        shared_section: str | None = None,
        before_command: Callable[[], None] | None = None,
    ) -> None:
        self.conf = conf
        self.before_command = before_command
        self.config_group = section
        self._shared_section = shared_section
        self._own_only: set[str] = set()
        self.append_config_values(options)

    def append_config_values(self, options: Sequence[cfg.Opt]) -> None:
        """Make `options` readable from this section. Safe to repeat."""
        self.conf.register_opts(options, group=self.config_group)
        for option in options if self._shared_section is not None else ():
            try:
                self.conf.register_opt(option, group=self._shared_section)
            except cfg.DuplicateOptError:  # two drivers mean different things by the name
                self._own_only.add(option.dest)

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
            own = self.conf[self.config_group][name]
            if self._is_set(name, self.config_group):
                return own
            shared = self._shared_section
            if shared is not None and name not in self._own_only and self._is_set(name, shared):
                return self.conf[shared][name]
            # A default in [DEFAULT] speaks for a backend only where both halves mean the same option by the name.
            if name in self.conf and (shared is None or self._is_set(name, None)):
                return self.conf[name]
        except (cfg.ConfigFileValueError, cfg.TemplateSubstitutionError) as err:
            raise Invalid(f"the value does not fit: {value_error(err)}") from err
        return own

    def _is_set(self, name: str, section: str | None) -> bool:
        place = self.conf.get_location(name, section)
        return place is not None and place.location not in _UNSET


def volume_backend(
    conf: cfg.ConfigOpts, section: str, *, before_command: Callable[[], None] | None = None
) -> BackendConfiguration:
    """The section of a volume backend, for which [backend_defaults] speaks where it is silent itself."""
    return BackendConfiguration(
        conf,
        section,
        options=VOLUME_BACKEND_OPTIONS,
        shared_section=SHARED_SECTION,
        before_command=before_command,
    )
