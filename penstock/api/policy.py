"""Who may do what: oslo.policy with our defaults, overridden by the operator's ``policy.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import _checks, opts, policy

from penstock.api.policy_rules import RULES
from penstock.clock import Clock, SystemClock
from penstock.context import RequestContext
from penstock.errors import Forbidden

REREAD_S = 5.0
OUR_KINDS = frozenset({"role", "rule", "is_admin", "project_id"})  # of checks in `RULES`


class _OtherKinds(dict[str, Any]):
    """Kinds of checks that packages bring, looked for when a rule of the operator's is of none of ours.

    oslo.policy looks for them at the first rule, and imports `requests` for its own two: a tenth of a daemon's start.
    """

    def __contains__(self, kind: object) -> bool:
        if kind in OUR_KINDS:
            return False
        if not self:
            _checks.extension_checks = None
            self.update(_checks.get_extensions())
        return super().__contains__(kind)


class Policy:
    """The rules in force. Reads the file of ``[oslo_policy] policy_file`` again, within seconds, when it changes.

    A rule that is not in `RULES` is a programming error and raises KeyError, it is never silently refused or allowed.
    """

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._read_at_s = self._clock.monotonic_s()
        self._decided: dict[tuple[object, ...], bool] = {}
        opts.set_defaults(conf, policy_file="policy.yaml", enforce_scope=False, enforce_new_defaults=True)
        if _checks.extension_checks is None:
            _checks.extension_checks = _OtherKinds()
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.register_defaults([policy.RuleDefault(name, check) for name, check in RULES.items()])
        self._enforcer.load_rules()

    def allows(self, context: RequestContext, rule: str, target: Mapping[str, object] | None = None) -> bool:
        """Does the rule let this caller act on `target` (default: something of the caller's own)?"""
        if rule not in RULES:
            raise KeyError(rule)
        self._reread()
        if target is not None:
            return self._decide(context, rule, target)
        key = (rule, context.user_id, context.project_id, context.roles, context.is_admin)
        found = self._decided.get(key)
        if found is None:
            own = {"project_id": context.project_id, "user_id": context.user_id}
            found = self._decided[key] = self._decide(context, rule, own)
        return found

    def enforce(self, context: RequestContext, rule: str, target: Mapping[str, object] | None = None) -> None:
        """Raise Forbidden unless `allows`."""
        if not self.allows(context, rule, target):
            raise Forbidden(f"Policy does not allow {rule} to be performed.")

    def is_admin(self, roles: tuple[str, ...], user_id: str | None, project_id: str | None) -> bool:
        """Is somebody with these roles an administrator (``context_is_admin``)?"""
        return self.allows(RequestContext(user_id, project_id, roles, request_id=""), "context_is_admin")

    def _decide(self, context: RequestContext, rule: str, target: Mapping[str, object]) -> bool:
        # Enforcer.enforce looks at the policy files and copies everything on each call: half a millisecond.
        return bool(self._enforcer.rules[rule](dict(target), _credentials(context), self._enforcer, rule))

    def _reread(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._read_at_s >= REREAD_S:
            self._read_at_s = now_s
            self._enforcer.load_rules()
            self._decided = {}  # what was decided about callers' own things, by rule and caller


def _credentials(context: RequestContext) -> dict[str, object]:
    return {
        "user_id": context.user_id,
        "project_id": context.project_id,
        "roles": list(context.roles),
        "is_admin": context.is_admin,
    }
