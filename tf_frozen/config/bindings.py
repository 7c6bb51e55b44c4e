"""Records the bindings of gin's configuration, each with the file and line that gives it.

Gin's configuration belongs to the whole process, and so does this record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import gin
from gin import config as gin_config

from tf_frozen.config.gin_internals import unbind_parameter

MACRO = "gin.macro"
# Scope, selector and parameter, as gin has them: the scope of a macro is its name.
Key = tuple[str, str, str]


class Binding(NamedTuple):
    """The value given to one parameter or macro, where (as in run.gin:12), and the line that gives it."""

    name: str
    value: Any
    where: str
    text: str
    from_param: bool = False  # by a parameter of the user's, not by a file

    def macros(self) -> set[str]:
        """Returns the names of the macros that the value refers to."""
        references = gin_config.iterate_references(self.value)
        return {"/".join(reference.scopes) for reference in references if reference.configurable.selector == MACRO}


# In the order in which they were bound for the last time.
bindings: dict[Key, Binding] = {}
# Bindings that a later one replaced, each with those that stood beside it then.
replaced: list[tuple[Key, Binding, dict[Key, Binding]]] = []


def clear() -> None:
    """Empties gin's configuration and the record."""
    gin.clear_config()
    bindings.clear()
    replaced.clear()


def bind(key: Key, binding: Binding) -> None:
    """Gives gin the value of a binding, and records it."""
    gin.bind_parameter(key, binding.value)
    if key in bindings:
        replaced.append((key, bindings.pop(key), dict(bindings)))
    bindings[key] = binding


def unbind(key: Key) -> None:
    """Takes a binding away from gin and the record."""
    del bindings[key]
    unbind_parameter(*key)


def macro(name: str) -> Binding | None:
    """Returns the binding of a macro; None where nothing gives it a value."""
    return bindings.get((name, MACRO, "value"))


def effective(scope: str, selector: str) -> Iterable[Key]:
    """Returns the keys of the bindings, one a parameter, that win in a scope over those of the scopes around it."""
    bound = [key for key in bindings if key[1] == selector]
    around = [key for key in bound if not key[0] or f"{scope}/".startswith(f"{key[0]}/")]
    return {key[2]: key for key in sorted(around, key=lambda key: len(key[0]))}.values()
