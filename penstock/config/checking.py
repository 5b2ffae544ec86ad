"""What is wrong with a configuration, each in a sentence that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg
from oslo_policy import opts as policy_options

from penstock.config.appliance_options import REPLICATION_TARGET
from penstock.config.backend import BackendConfiguration, value_error, volume_backend
from penstock.config.backend_options import BACKEND_OPTIONS, SHARED_BY_BACKENDS
from penstock.config.options import FOREIGN_SECTIONS, SECTIONS
from penstock.config.places import OPTION, shared_places
from penstock.config.volume_options import SHARED_BY_VOLUME_BACKENDS, SHARED_SECTION, VOLUME_BACKEND_OPTIONS
from penstock.errors import Fault, Invalid

DriverOptions = Callable[[str], Sequence[cfg.Opt] | None]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `where` is ``[section] option``; a problem that is not fatal leaves the daemon able to start."""

    where: str
    sentence: str
    is_fatal: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs between backends of shares and of volumes."""

    driver: str
    options: Sequence[cfg.Opt]
    driver_options: DriverOptions
    configuration: Callable[[cfg.ConfigOpts, str], BackendConfiguration]
    must_say: tuple[str, ...] = ()


def check(
    conf: cfg.ConfigOpts,
    paths: Sequence[Path],
    driver_options: DriverOptions,
    volume_driver_options: DriverOptions = lambda _name: None,
) -> list[Problem]:
    """Everything wrong with `conf`, which was loaded from `paths`; empty when all is well.

    `driver_options` gives the options of the share driver with a dotted name, None when nobody knows them, and raises a
    Fault when it cannot be imported; `volume_driver_options` does it for volume drivers.
    """
    shares = _Kind(
        "share_driver", BACKEND_OPTIONS, driver_options, BackendConfiguration, ("driver_handles_share_servers",)
    )
    volumes = _Kind("volume_driver", VOLUME_BACKEND_OPTIONS, volume_driver_options, volume_backend)
    backends = [(name, shares) for name in conf.enabled_share_backends]
    backends += [(name, volumes) for name in conf.enabled_backends]
    written = _written(paths)
    problems = [*_values(conf, None, SECTIONS["DEFAULT"])]
    for section, options in SECTIONS.items():
        if section != "DEFAULT":
            problems += _values(conf, section, options)
    if not backends:
        problems.append(
            Problem("[DEFAULT] enabled_share_backends", "no backend is enabled, so nothing can be made.", False)
        )
    known = {section: {option.name for option in options} for section, options in SECTIONS.items()}
    known["DEFAULT"].update(_old_names())
    known["DEFAULT"] |= {option.name for option in SHARED_BY_BACKENDS}
    known["oslo_policy"] = {option.name for _, options in policy_options.list_opts() for option in options}
    known["DEFAULT"] |= {option.name for option in SHARED_BY_VOLUME_BACKENDS}
    known[SHARED_SECTION] = {option.name for option in SHARED_BY_VOLUME_BACKENDS}
    known |= {label: {option.name for option in REPLICATION_TARGET} for label in conf.appliance.replication_targets}
    for backend, kind in backends:
        found = list(_backend(conf, backend, written, kind))
        problems += [item for item in found if isinstance(item, Problem)]
        known[backend] = {item for item in found if isinstance(item, str)}
        if kind is volumes:  # what a driver adds may be said for all backends too
            known[SHARED_SECTION] |= known[backend]
    problems += _shared(conf, [(name, kind) for name, kind in backends if name in written])
    return problems + list(_unknown(written, known))


def _shared(conf: cfg.ConfigOpts, backends: Sequence[tuple[str, _Kind]]) -> Iterator[Problem]:
    """Once the options of all drivers are known."""
    try:
        found = list(shared_places([kind.configuration(conf, name) for name, kind in backends]))
    except Invalid:
        return  # a value that does not fit was named where it stands
    for section, sentence in found:
        yield Problem(f"[{section}] {OPTION}", sentence, True)


def _old_names() -> Iterator[str]:
    """Names under which [DEFAULT] once held options that now have a section of their own."""
    for options in SECTIONS.values():
        for option in options:
            yield from (old.name for old in option.deprecated_opts if old.name)


def _written(paths: Sequence[Path]) -> dict[str, set[str]]:
    """Section to the option names that the files set."""
    written: dict[str, set[str]] = {}
    for path in paths:
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(str(path), sections).parse()
        for section, values in sections.items():
            written.setdefault(section, set()).update(values)
    return written


def _values(conf: cfg.ConfigOpts, section: str | None, options: Sequence[cfg.Opt]) -> Iterator[Problem]:
    for option in options:
        try:
            _ = conf[option.dest] if section is None else conf[section][option.dest]
        except (cfg.ConfigFileValueError, cfg.TemplateSubstitutionError) as err:
            yield Problem(
                f"[{section or 'DEFAULT'}] {option.name}", f"the value does not fit: {value_error(err)}", True
            )


def _backend(conf: cfg.ConfigOpts, name: str, written: dict[str, set[str]], kind: _Kind) -> Iterator[Problem | str]:
    """Problems of one backend, and the option names that its section may have."""
    yield from (option.name for option in kind.options)
    if name not in written:
        yield Problem(f"[{name}]", "the backend is enabled but the file has no section of that name.", True)
        return
    configuration = kind.configuration(conf, name)
    driver = configuration.safe_get(kind.driver)
    if not driver:
        yield Problem(f"[{name}] {kind.driver}", "is missing: give the dotted name of the driver's class.", True)
        yield from written[name]  # without the driver nobody can tell which of them are right
        return
    try:
        told = kind.driver_options(driver)
    except Fault as err:
        yield Problem(f"[{name}] {kind.driver}", str(err), True)
        yield from written[name]
        return
    if told is None:
        yield from written[name]
    own = told or ()
    configuration.append_config_values(own)
    yield from (option.name for option in own)
    for option in (*kind.options, *own):
        try:
            configuration.safe_get(option.dest)
        except Invalid as err:
            yield Problem(f"[{name}] {option.name}", str(err), True)
    for wanted in kind.must_say:
        if wanted not in written[name]:
            yield Problem(f"[{name}] {wanted}", "is missing: say True or False.", True)


def _unknown(written: dict[str, set[str]], known: dict[str, set[str]]) -> Iterator[Problem]:
    for section, names in sorted(written.items()):
        if section in FOREIGN_SECTIONS and section not in known:
            continue
        if section not in known:
            yield from _unknown_section(section, names, known)
            continue
        for name in sorted(names - known[section]):
            near = difflib.get_close_matches(name, known[section], 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            yield Problem(f"[{section}] {name}", f"no such option; it has no effect.{hint}", False)


def _unknown_section(section: str, names: set[str], known: dict[str, set[str]]) -> Iterator[Problem]:
    for driver, enabled in (("share_driver", "enabled_share_backends"), ("volume_driver", "enabled_backends")):
        if driver in names:
            yield Problem(f"[{section}]", f"a backend that {enabled} does not name; it is not served.", False)
            return
    near = difflib.get_close_matches(section, known, 1)
    yield Problem(f"[{section}]", f"no such section.{f' Did you mean [{near[0]}]?' if near else ''}", False)
