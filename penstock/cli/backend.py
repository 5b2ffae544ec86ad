"""``penstock backend``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from penstock.cli.lazy import Later, LazyGroup
from penstock.cli.options import config_option, debug_option, json_option, load_config, open_database, quiet_logs
from penstock.cli.output import print_json, print_table

if TYPE_CHECKING:
    from oslo_config import cfg


# What a host's words ask an administrator to do.
HINTS = (
    (re.compile(r"make sure that the zfs-fuse daemon is running"), "start it with: systemctl enable --now zfs-fuse"),
    (re.compile(r"ZFS modules (?:are not|cannot be auto-)?loaded|/dev/zfs"), "load ZFS with: modprobe zfs"),
    (re.compile(r"Host key verification failed"), "add the host's key to the known hosts file of this user"),
    (re.compile(r"sudo: a password is required"), "let this user run commands as root with sudo -n"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a backend needs, and what is wrong with it, None when it is well."""

    name: str
    problem: str | None


COMMANDS = {
    "list": Later("penstock.cli.backend:list_backends", "List the enabled backends with what they last reported."),
    "check": Later("penstock.cli.backend:check", "Say what a backend lacks, and how to install it."),
    "accept-older": Later("penstock.cli.backend_older:accept_older", "Say that older copies of volumes are wanted."),
    "drain": Later("penstock.cli.backend_drain:drain", "Move every share off a backend."),
}


@click.group(cls=LazyGroup, later=COMMANDS)
def backend() -> None:
    """The backends of this configuration."""


@backend.command("list")
@config_option
@debug_option
@json_option
@click.pass_context
def list_backends(ctx: click.Context, *, as_json: bool) -> None:
    """List the enabled backends with what they last reported.

    \b
    Example:
      penstock backend list
    """
    from penstock.clock import SystemClock
    from penstock.store import backends

    quiet_logs(ctx)
    conf = load_config(ctx)
    database = open_database(conf)
    with database.read() as tx:
        services = {service.host: service for service in backends.list_services(tx)}
        pools = backends.list_pools(tx)
    now = SystemClock().utc()
    rows = []
    for section, driver in _drivers(conf):
        host = f"{conf.host}@{section}"
        service = services.get(host)
        heard = (service.updated_at or service.created_at) if service else None
        is_up = heard is not None and (now - heard).total_seconds() <= conf.service_down_time
        rows.append(
            {
                "name": section,
                "host": host,
                "driver": driver,
                "is_up": is_up,
                "is_ready": bool(service and service.ready and is_up),
                "pools": {
                    report.ref.pool: report.capabilities.get("free_capacity_gb")
                    for report in pools
                    if report.ref.service_host == host
                },
            }
        )
    if as_json:
        print_json(rows)
        return
    columns = ("name", "host", "driver", "up", "ready", "pools (free GiB)")
    print_table(columns, [list(row.values()) for row in rows], empty="No backend is enabled.")


@backend.command()
@click.argument("name", required=False)
@config_option
@debug_option
@json_option
@click.pass_context
def check(ctx: click.Context, *, name: str | None, as_json: bool) -> None:
    """Say what the backend NAME, or every one, lacks, and how to install it; exit code 1 when one cannot serve.

    Asks the driver and its file server what they would need at start; makes no share.

    \b
    Example:
      penstock backend check
    """
    quiet_logs(ctx)
    conf = load_config(ctx)
    sections = [name] if name else [*conf.enabled_share_backends, *conf.enabled_backends]
    found = {
        section: list(_checked_volumes(conf, section) if section in conf.enabled_backends else _checked(conf, section))
        for section in sections
    }
    if as_json:
        print_json({section: list(steps) for section, steps in found.items()})
    else:
        for section, steps in found.items():
            for step in steps:
                line = f"problem  {step.name}: {step.problem}" if step.problem else f"OK       {step.name}"
                click.echo(f"{section}  {line}")
        if not sections:
            click.echo("No backend is enabled: name sections in enabled_share_backends or enabled_backends.")
    if not sections or any(step.problem for steps in found.values() for step in steps):
        ctx.exit(1)


def _checked(conf: cfg.ConfigOpts, section: str) -> Iterator[Step]:
    """The steps up to the first problem: those after it need it."""
    from penstock.errors import Fault
    from penstock.share_site import load_share_site
    from penstock.store.database import Database

    try:
        site = load_share_site(conf, section, Database("sqlite://"))
    except Fault as fault:
        yield Step("configuration and driver", fault.message)
        return
    yield Step("configuration and driver", None)
    yield from _steps(
        ("storage host", lambda: site.driver.do_setup(site.context)),
        ("pools and file server", site.driver.check_for_setup_error),
        ("capacity report", lambda: site.driver.get_share_stats(refresh=True)),
    )


def _checked_volumes(conf: cfg.ConfigOpts, section: str) -> Iterator[Step]:
    """The same for a backend of volumes."""
    from penstock.clock import SystemClock
    from penstock.context import admin_context
    from penstock.errors import Fault
    from penstock.operations.queue import OperationQueue
    from penstock.store.database import Database
    from penstock.volume_backend import VolumeBackend

    clock = SystemClock()
    try:
        driver = VolumeBackend(conf, section, Database("sqlite://"), OperationQueue(clock), clock).manager.driver
    except Fault as fault:
        yield Step("configuration and driver", fault.message)
        return
    yield Step("configuration and driver", None)
    yield from _steps(
        ("storage host", lambda: driver.do_setup(admin_context())),
        ("pools and target daemon", driver.check_for_setup_error),
        ("capacity report", lambda: driver.get_volume_stats(refresh=True)),
    )


def _steps(*steps: tuple[str, Callable[[], object]]) -> Iterator[Step]:
    """Take the steps in order, up to the first that fails."""
    from penstock.errors import Fault
    from penstock.operations.driver_calls import driver_call

    for name, call in steps:
        try:
            with driver_call("be set up"):
                call()
        except Fault as fault:
            yield Step(name, _explained(fault.message))
            return
        yield Step(name, None)


def _drivers(conf: cfg.ConfigOpts) -> Iterator[tuple[str, str | None]]:
    """The enabled backends, of shares and of volumes, with their drivers' names."""
    from penstock.config.backend import BackendConfiguration, volume_backend

    for section in conf.enabled_share_backends:
        yield section, BackendConfiguration(conf, section).safe_get("share_driver")
    for section in conf.enabled_backends:
        yield section, volume_backend(conf, section).safe_get("volume_driver")


def _explained(problem: str) -> str:
    """The problem in one line, with what to do about it where that is known."""
    hint = next((f" -> {what}" for words, what in HINTS if words.search(problem)), "")
    return f"{' '.join(problem.split())}{hint}"
