"""``penstock operation``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from penstock.cli.options import config_option, debug_option, json_option, load_config, open_database, quiet_logs
from penstock.cli.output import print_fields, print_json, print_table
from penstock.errors import NotFound

if TYPE_CHECKING:
    from penstock.domain.operations import Operation
    from penstock.store.database import Database

WATCH_S = 1.0
COLUMNS = ("id", "state", "method", "resource", "backend", "tries", "created", "progress or error")


@click.group()
def operation() -> None:
    """What backends do, will do, and did."""


@operation.command("list")
@click.option(
    "--state",
    "which",
    type=click.Choice(["pending", "failed", "recent"]),
    default="pending",
    show_default=True,
    help="Waiting and running ones; those that failed; or the latest of all.",
)
@click.option("--backend", "host", help="Only of this backend (host@backend).")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--watch", is_flag=True, help="Show it again every second until interrupted.")
@config_option
@debug_option
@json_option
@click.pass_context
def list_operations(
    ctx: click.Context, *, which: str, host: str | None, limit: int, watch: bool, as_json: bool
) -> None:
    """List operations.

    \b
    Examples:
      penstock operation list --watch
      penstock operation list --state failed
    """
    quiet_logs(ctx)
    database = open_database(load_config(ctx))
    if not watch:
        _print(_operations(database, which, host, limit), which, as_json=as_json)
        return
    try:
        while True:
            found = _operations(database, which, host, limit)
            click.clear()
            _print(found, which, as_json=as_json)
            time.sleep(WATCH_S)  # how often a person wants to see it, whatever happens; Ctrl-C ends it
    except KeyboardInterrupt:
        return


def _print(found: list[Operation], which: str, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, [_row(item) for item in found], empty=f"There are no {which} operations.")


@operation.command()
@click.argument("operation_id")
@config_option
@debug_option
@json_option
@click.pass_context
def show(ctx: click.Context, *, operation_id: str, as_json: bool) -> None:
    """Show one operation with its arguments and its end.

    \b
    Example:
      penstock operation show 5f0c9a4e-6d0d-4a0e-b1b7-0b2f3c1d9a55
    """
    from penstock.ids import OperationId
    from penstock.store import operations

    quiet_logs(ctx)
    with open_database(load_config(ctx)).read() as tx:
        found = operations.get(tx, OperationId(operation_id))
    if found is None:
        raise NotFound(f"There is no operation {operation_id}; finished ones are forgotten after a day.")
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "id": found.id,
            "state": found.state.value,
            "method": found.call.method,
            "arguments": found.call.arguments,
            "resource": found.call.resource_key,
            "backend": found.call.backend,
            "tries": found.attempts,
            "next try": found.not_before,
            "request": found.request_id,
            "user": found.user_id,
            "project": found.project_id,
            "created": found.created_at,
            "started": found.started_at,
            "finished": found.finished_at,
            "progress": found.progress,
            "error": found.error,
        }
    )


def _operations(database: Database, which: str, host: str | None, limit: int) -> list[Operation]:
    from penstock.domain.operations import OperationState
    from penstock.store import operations

    with database.read() as tx:
        if which == "pending":
            return operations.pending(tx, backend=host)[:limit]
        states = (OperationState.FAILED,) if which == "failed" else tuple(OperationState)
        found = operations.recent(tx, limit=limit, states=states)
    return [item for item in found if host in (None, item.call.backend)]


def _row(found: Operation) -> list[object]:
    call = found.call
    told = found.error or found.progress
    return [
        found.id,
        found.state.value,
        call.method,
        call.resource_key,
        call.backend,
        found.attempts,
        found.created_at,
        told,
    ]
