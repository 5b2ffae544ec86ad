"""Hooks: somebody else's code called before and after operations on shares, and periodically.

A hook is a class named in ``hook_drivers`` that derives from `HookBase` and overrides the three underscored methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import structlog

from penstock.config.backend import BackendConfiguration

log = structlog.get_logger(__name__)


class HookBase(ABC):
    """Base of every hook. `host` is ``host@backend``.

    An operation that is repeated after a crash calls its hooks again.
    """

    def __init__(self, configuration: BackendConfiguration, host: str) -> None:
        self.configuration = configuration
        self.host = host
        self.pre_hooks_enabled = bool(configuration.safe_get("enable_pre_hooks"))
        self.post_hooks_enabled = bool(configuration.safe_get("enable_post_hooks"))
        self.periodic_hooks_enabled = bool(configuration.safe_get("enable_periodic_hooks"))
        self.suppress_pre_hooks_errors = bool(configuration.safe_get("suppress_pre_hooks_errors"))
        self.suppress_post_hooks_errors = bool(configuration.safe_get("suppress_post_hooks_errors"))

    def execute_pre_hook(self, context: Any = None, func_name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Call the hook before the operation `func_name`; returns what it returned, or what it raised when
        suppressed.
        """
        if not self.pre_hooks_enabled:
            return None
        try:
            return self._execute_pre_hook(context, func_name, *args, **kwargs)
        except Exception as err:  # a hook may raise anything; the operator decided that it does not matter
            if not self.suppress_pre_hooks_errors:
                raise
            log.warning("hook.failed", hook=type(self).__name__, when="pre", operation=func_name, error=str(err))
            return err

    def execute_post_hook(
        self,
        context: Any = None,
        func_name: str | None = None,
        pre_hook_data: Any = None,
        driver_action_results: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Call the hook after the operation, with what its pre hook and the operation returned."""
        if not self.post_hooks_enabled:
            return None
        try:
            return self._execute_post_hook(context, func_name, pre_hook_data, driver_action_results, *args, **kwargs)
        except Exception as err:  # as above
            if not self.suppress_post_hooks_errors:
                raise
            log.warning("hook.failed", hook=type(self).__name__, when="post", operation=func_name, error=str(err))
            return err

    def execute_periodic_hook(self, context: Any, periodic_hook_data: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """Call the hook with all share instances of the backend, as `ShareDriver.get_periodic_hook_data` gave them."""
        if not self.periodic_hooks_enabled:
            return None
        return self._execute_periodic_hook(context, periodic_hook_data, *args, **kwargs)

    @abstractmethod
    def _execute_pre_hook(self, context: Any, func_name: str | None, *args: Any, **kwargs: Any) -> Any:
        """What to do before `func_name`."""

    @abstractmethod
    def _execute_post_hook(
        self,
        context: Any,
        func_name: str | None,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """What to do after `func_name`."""

    @abstractmethod
    def _execute_periodic_hook(self, context: Any, periodic_hook_data: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """What to do every `periodic_hooks_interval` seconds."""
