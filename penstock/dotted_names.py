"""From a dotted name in the configuration to the class it names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from penstock.errors import Invalid

_NONE: Mapping[str, str] = MappingProxyType({})


def load_class(dotted_name: str, aliases: Mapping[str, str] = _NONE) -> type:
    """The class of that name, or of the one `aliases` has for it. Raises Invalid, saying what is wrong with it."""
    module_name, _, class_name = aliases.get(dotted_name, dotted_name).rpartition(".")
    if not module_name:
        raise Invalid(f"'{dotted_name}' is not the dotted name of a class, such as package.module.Class.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as err:
        raise Invalid(f"'{dotted_name}' cannot be imported: {err}.") from err
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise Invalid(f"'{dotted_name}' cannot be loaded: the module {module_name} has no class {class_name}.")
    return found
