"""Access rules: actions of a share, and since 2.45 the resource ``share-access-rules``."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Name, Strict, check_pairs
from penstock.api.http import ACCEPTED, Answer
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.domain.access import (
    AccessRule,
    AccessType,
    parse_access_level,
    parse_access_to,
    parse_access_type,
)
from penstock.domain.shares import AccessRulesStatus
from penstock.errors import Invalid, InvalidShareAccess, NotFound
from penstock.services import access

routes = Routes()
ACTION = "shares/{share_id}/action"


class AllowFields(Strict):
    """A rule; ``metadata`` since 2.45, the locks since 2.82 and not looked at before."""

    access_type: str
    access_to: str
    access_level: str | None = None
    metadata: dict[str, Any] | None = None
    lock_visibility: bool | None = None
    lock_deletion: bool | None = None
    lock_reason: str | None = None


class DenyFields(Strict):
    """A rule to take away; ``unrestrict`` since 2.82 and not looked at before."""

    access_id: Name
    unrestrict: bool | None = None


class MetadataBody(Strict):
    """``{"metadata": {"key": "value"}}``"""

    metadata: dict[str, Any]


@routes.action(ACTION, "os-allow_access", until="2.6")
@routes.action(ACTION, "allow_access", since="2.7")
def allow(request: ApiRequest) -> Answer:
    """Let a client mount the share."""
    request.enforce("share:allow_access")
    asked = request.body_as(AllowFields)
    has_metadata = request.version.at_least("2.45")
    share_id = request.params["share_id"]
    access_type = _access_type(request, asked.access_type)
    wanted = access.NewRule(
        access_type=access_type,
        access_to=parse_access_to(access_type, asked.access_to, ipv6=request.version.at_least("2.38")),
        access_level=parse_access_level(asked.access_level),
        metadata=check_pairs("metadata", asked.metadata or {}) if has_metadata else {},
        even_after_error=request.version.at_least("2.28"),
        even_with_failed_replicas=request.version.at_least("2.74"),
    )
    rules = access.allow(request.plane, request.context, share_id, wanted)
    return Answer({"access": _rule(request, rules.items[0], rules.overall, with_share=True)})


@routes.action(ACTION, "os-deny_access", until="2.6")
@routes.action(ACTION, "deny_access", since="2.7")
def deny(request: ApiRequest) -> Answer:
    """Take a rule away."""
    request.enforce("share:deny_access")
    rule_id = request.body_as(DenyFields).access_id
    access.deny(
        request.plane,
        request.context,
        request.params["share_id"],
        rule_id,
        even_with_failed_replicas=request.version.at_least("2.74"),
    )
    return ACCEPTED


@routes.action(ACTION, "os-access_list", until="2.6")
@routes.action(ACTION, "access_list", since="2.7", until="2.44")
def list_by_action(request: ApiRequest) -> Answer:
    """The share's rules, as before 2.45."""
    request.enforce("share:access_get_all")
    return _listed(request, access.list_rules(request.plane, request.context, request.params["share_id"]))


@routes.get("share-access-rules", since="2.45")
def list_rules(request: ApiRequest) -> Answer:
    """The rules of the share named in the query."""
    request.enforce("share_access_rule:index")
    share_id = request.query.get("share_id")
    if not share_id:
        raise Invalid("Name the share whose rules you want: share-access-rules?share_id=...")
    text = request.query.get("metadata")
    metadata = parse_pairs("metadata", text) if text else None
    try:
        rules = access.list_rules(request.plane, request.context, share_id, metadata=metadata)
    except NotFound as err:  # as published: a bad query, for the path itself exists
        raise Invalid(err.message) from err
    return _listed(request, rules)


@routes.get("share-access-rules/{rule_id}", since="2.45")
def show(request: ApiRequest) -> Answer:
    """One rule."""
    request.enforce("share_access_rule:get")
    rules = access.get(request.plane, request.context, request.params["rule_id"])
    return Answer({"access": _rule(request, rules.items[0], rules.overall, with_share=True)})


@routes.put("share-access-rules/{rule_id}/metadata", since="2.45")
def set_metadata(request: ApiRequest) -> Answer:
    """Set pairs of a rule, keep the others."""
    request.enforce("share_access_metadata:update")
    items = check_pairs("metadata", request.body_as(MetadataBody).metadata)
    found = access.set_metadata(request.plane, request.context, request.params["rule_id"], items)
    return Answer({"metadata": found})


@routes.delete("share-access-rules/{rule_id}/metadata/{key}", since="2.45")
def delete_metadata(request: ApiRequest) -> Answer:
    """Remove one pair of a rule."""
    request.enforce("share_access_metadata:delete")
    access.delete_metadata(request.plane, request.context, request.params["rule_id"], request.params["key"])
    return Answer(None, 200)


def _access_type(request: ApiRequest, text: str) -> AccessType:
    access_type = parse_access_type(text)
    if access_type is AccessType.CEPHX and not request.version.at_least("2.13"):
        raise InvalidShareAccess("The access type 'cephx' needs microversion 2.13 or later.")
    return access_type


def _listed(request: ApiRequest, rules: access.Rules) -> Answer:
    return Answer({"access_list": [_rule(request, rule, rules.overall, with_share=False) for rule in rules.items]})


def _rule(request: ApiRequest, rule: AccessRule, overall: AccessRulesStatus, *, with_share: bool) -> dict[str, Any]:
    version = request.version
    fields: dict[str, Any] = {
        "id": rule.id,
        "access_type": rule.access_type,
        "access_to": rule.access_to,
        "access_level": rule.access_level,
        "state": rule.state if version.at_least("2.28") else _old_state(overall),
    }
    if with_share:
        fields["share_id"] = rule.share_id
    if version.at_least("2.21"):
        fields["access_key"] = rule.access_key
    if version.at_least("2.33"):
        fields["created_at"] = stamp(rule.created_at)
        fields["updated_at"] = stamp(rule.updated_at)
    if version.at_least("2.45"):
        fields["metadata"] = rule.metadata
    return fields


def _old_state(overall: AccessRulesStatus) -> str:
    """Before 2.28 a rule had no state of its own: it showed that of all rules, ``new`` while they are applied."""
    return "new" if overall is AccessRulesStatus.SYNCING else overall
