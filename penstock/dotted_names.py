"""From a dotted name in the configuration to the class it names."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from types import MappingProxyType, ModuleType

from penstock.errors import Invalid

_NONE: Mapping[str, str] = MappingProxyType({})


def import_module(name: str) -> ModuleType:
    """The module of that dotted name, imported in a thread of its own. Raises ImportError.

    Several of the field's libraries import eventlet (0.41), which takes the thread it is first imported in for the main
    one: its copy of ``threading`` replaces the lock that tells that thread's end. Whoever joins that thread waits for
    ever, so it must be one that nobody joins.
    """
    if name in sys.modules:
        return importlib.import_module(name)
    imported: Future[ModuleType] = Future()

    def bring() -> None:
        try:
            imported.set_result(importlib.import_module(name))
        except Exception as err:  # whatever a module raises is for who asked for it
            imported.set_exception(err)

    threading.Thread(target=bring, name=f"import-{name}", daemon=True).start()
    return imported.result()


def load_class(dotted_name: str, aliases: Mapping[str, str] = _NONE) -> type:
    """The class of that name, or of the one `aliases` has for it. Raises Invalid, saying what is wrong with it."""
    module_name, _, class_name = aliases.get(dotted_name, dotted_name).rpartition(".")
    if not module_name:
        raise Invalid(f"'{dotted_name}' is not the dotted name of a class, such as package.module.Class.")
    try:
        module = import_module(module_name)
    except ImportError as err:
        raise Invalid(f"'{dotted_name}' cannot be imported: {err}.") from err
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise Invalid(f"'{dotted_name}' cannot be loaded: the module {module_name} has no class {class_name}.")
    return found
