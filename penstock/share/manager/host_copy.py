"""Host-assisted migration: a new share at the destination, and a copy of the files through mounts of both.

For drivers that cannot bring a share there themselves. Clients of the source can only read until the switch; the mover
has an access rule of its own on both sides, which goes with the switch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.context import RequestContext
from penstock.domain.access import AccessLevel, AccessState, AccessType
from penstock.domain.migration import TaskState, Turn
from penstock.errors import Cancelled, Fault, Invalid
from penstock.ids import new_id
from penstock.share import data_mover
from penstock.share.manager import access, moves
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, locations_in
from penstock.share.manager.following import Follower, no_more_than
from penstock.share.manager.models import access_models
from penstock.share.manager.moves import Move
from penstock.share.models import AccessModel, ShareModel
from penstock.store import access as access_rows
from penstock.store import instances


def make_destination(backend: Backend, context: RequestContext, source_id: str, destination_id: str) -> None:
    """Make the empty share, open it to the mover, and note how it is mounted."""
    move = moves.find(backend, source_id, destination_id)
    if move is None or move.migration.cancel_requested or move.task_state != TaskState.IN_PROGRESS:
        return
    try:
        with driver_call("create shares"):
            answer = backend.driver.create_share(context, move.destination_model, share_server=None)
        locations = locations_in(answer)
        with backend.database.begin() as tx:
            instances.put_export_locations(tx, destination_id, locations, now=backend.now())
        move = moves.find(backend, source_id, destination_id) or move
        info = _connection(backend, context, move.destination_model)
        mover = _mover(backend, move.destination_model, info, AccessLevel.RW)
        _serve(backend, context, move.destination_model, [], mover)
        moves.advance(
            backend,
            context,
            move,
            TaskState.DATA_COPYING_STARTING,
            Turn.COPY,
            destination_connection=json.dumps(dict(info)),
        )
    except Fault as fault:
        moves.stumble(backend, context, move, fault)
        raise


def copy(backend: Backend, context: RequestContext, source_id: str, destination_id: str) -> None:
    """Copy everything, again after a crash: what is there already costs a look only."""
    move = moves.find(backend, source_id, destination_id)
    if move is None or move.migration.cancel_requested:
        return
    try:
        if move.task_state == TaskState.DATA_COPYING_STARTING:
            moves.advance(backend, context, move, TaskState.DATA_COPYING_IN_PROGRESS)
            move = moves.find(backend, source_id, destination_id) or move
        if move.task_state == TaskState.DATA_COPYING_IN_PROGRESS:
            with no_more_than(backend):
                _copy(backend, context, move)
    except Cancelled:
        return  # whoever asked has queued what follows
    except Fault as fault:
        moves.stumble(backend, context, move, fault)
        raise


def _copy(backend: Backend, context: RequestContext, move: Move) -> None:
    info = _connection(backend, context, move.source_model)
    mover = _mover(backend, move.source_model, info, AccessLevel.RO)
    with backend.database.begin() as tx:
        instances.update_instance(tx, move.share.instance.id, now=backend.now(), cast_rules_to_readonly=True)
    _serve(backend, context, move.source_model, _read_only_rules(backend, move), mover)
    follower = Follower(backend, context, move)
    copied = data_mover.copy(
        _mount(info, move.source_model.id, backend),
        _mount(json.loads(move.migration.destination_connection or "{}"), move.destination_model.id, backend),
        checks_contents=bool(backend.configuration.conf.check_hash),
        ignored=tuple(backend.configuration.conf.migration_ignore_files),
        on_progress=follower.note,
        should_stop=follower.should_stop,
    )
    moves.advance(
        backend,
        context,
        move,
        TaskState.DATA_COPYING_COMPLETED,
        moved_bytes=copied.moved_bytes,
        total_bytes=copied.total_bytes,
        eta_s=0,
    )


def _connection(backend: Backend, context: RequestContext, model: ShareModel) -> Mapping[str, Any]:
    with driver_call("tell how its shares are reached"):
        return backend.driver.connection_get_info(context, model, share_server=None)


def _mount(info: Mapping[str, Any], instance_id: str, backend: Backend) -> data_mover.Mount:
    folder = Path(backend.configuration.conf.mount_tmp_location) / f"penstock-{instance_id}"
    return data_mover.Mount(folder, str(info.get("mount", "")), str(info.get("unmount", "")))


def _mover(backend: Backend, model: ShareModel, info: Mapping[str, Any], level: AccessLevel) -> list[AccessModel]:
    """The rules under which the mover reaches the share. Raises Invalid when nobody has said who it is."""
    mapping: Mapping[str, Any] = info.get("access_mapping") or {}
    kinds = [kind for kind, protocols in mapping.items() if model.share_proto.lower() in _lower(protocols)]
    conf = backend.configuration.conf
    clients = {
        AccessType.IP.value: list(conf.data_node_access_ips),
        AccessType.USER.value: [conf.data_node_access_admin_user] if conf.data_node_access_admin_user else [],
    }
    wanted = [(kind, client) for kind in kinds for client in clients.get(kind, [])]
    if not wanted:
        raise Invalid(
            f"The data mover has no way into {model.share_proto} shares: set data_node_access_ips to this machine's "
            "addresses as the storage sees them (or data_node_access_admin_user)."
        )
    rules = []
    for kind, client in wanted:
        rule_id = new_id()
        rules.append(
            AccessModel(
                id=rule_id,
                access_id=rule_id,
                share_id=model.share_id,
                share_instance_id=model.id,
                access_type=kind,
                access_to=client,
                access_level=level.value,
                access_key=None,
                state=AccessState.APPLYING.value,
                # what belongs to others must be read, and be given to them again
                metadata={"squash": "no_root_squash"} if kind == AccessType.IP else {},
            )
        )
    return rules


def _lower(protocols: Any) -> list[str]:
    return [str(name).strip().lower() for name in protocols]


def _read_only_rules(backend: Backend, move: Move) -> list[AccessModel]:
    """The rules of the source as they are while it is copied: read-only, or none where the driver has no such thing."""
    if not backend.configuration.conf.migration_readonly_rules_support:
        return []
    with backend.database.read() as tx:
        rules = access_rows.of_instance(tx, move.share.instance.id)
    present = moves.find(backend, move.migration.source_instance_id, move.migration.destination_instance_id) or move
    return access_models(present.share, [rule for rule in rules if rule.state is not AccessState.ERROR])


def _serve(
    backend: Backend, context: RequestContext, model: ShareModel, rules: list[AccessModel], mover: list[AccessModel]
) -> None:
    """Put these rules in force, and no others. One of the mover's replaces a rule for the same client."""
    clients = {(rule.access_type, rule.access_to) for rule in mover}
    whole = [rule for rule in rules if (rule.access_type, rule.access_to) not in clients] + mover
    with driver_call("change access rules"):
        answer = backend.driver.update_access(
            context, model, whole, mover, [], **access.newer_arguments(backend), share_server=None
        )
    refused = [rule for rule in mover if (answer or {}).get(rule.id, {}).get("state") == AccessState.ERROR]
    if refused:
        raise Invalid(f"The backend does not let the data mover ({refused[0].access_to}) have access.")
