"""Calling the configured hooks around a manager's methods."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar, cast

from penstock.config.backend import BackendConfiguration
from penstock.errors import Invalid
from penstock.operations.attempt import not_done_yet
from penstock.share.hook import HookBase
from penstock.share.loading import load_class

P = ParamSpec("P")
R = TypeVar("R")


class HasHooks(Protocol):
    """What `add_hooks` needs of the object whose methods it decorates."""

    hooks: Sequence[HookBase]


def load_hooks(configuration: BackendConfiguration, host: str) -> list[HookBase]:
    """The hooks of ``hook_drivers``, in that order. Raises Invalid."""
    found: list[HookBase] = []
    for name in configuration.safe_get("hook_drivers") or []:
        kind = load_class(name)
        if not issubclass(kind, HookBase):
            raise Invalid(
                f"'{name}' in hook_drivers is not a hook: it does not derive from penstock.share.hook.HookBase."
            )
        found.append(kind(configuration=configuration, host=host))
    return found


def add_hooks(f: Callable[P, R]) -> Callable[P, R]:
    """Call the manager's hooks before and after method `f`, whose first argument is the context.

    The post hooks get what the pre hooks returned, and what `f` returned. Arguments are passed on by name.

    When `f` raises, the post hooks are not called.
    """

    signature = inspect.signature(f)

    @functools.wraps(f)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        hooks = cast("HasHooks", args[0]).hooks
        if not hooks:
            return f(*args, **kwargs)
        _, context, *names = signature.bind(*args, **kwargs).arguments.items()
        arguments = dict(names)
        before = [hook.execute_pre_hook(context[1], f.__name__, **arguments) for hook in hooks]
        with not_done_yet():
            result = f(*args, **kwargs)
        for hook, data in zip(hooks, before, strict=True):
            hook.execute_post_hook(context[1], f.__name__, data, result, **arguments)
        return result

    return wrapped
