"""Values that the user has to give: `%gin.REQUIRED` and macros without a value."""

from __future__ import annotations

from typing import Any

from gin import config as gin_config

from tf_frozen.config.bindings import MACRO, bindings
from tf_frozen.errors import ConfigError
from tf_frozen.gin_files import did_you_mean

DATA_MACROS = ("TRAIN_ANNOTATIONS", "TRAIN_IMAGES", "VAL_ANNOTATIONS", "VAL_IMAGES")


class Required(gin_config.ConfigurableReference):
    """`%gin.REQUIRED`: an error for the user as soon as something asks for its value."""

    def __init__(self) -> None:
        super().__init__("gin.REQUIRED/gin.constant", True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise ConfigError(_values_to_give())


def how_to_give(name: str) -> str:
    """Returns the advice to give a parameter or macro a value."""
    value = '"..."' if name in DATA_MACROS else "..."
    return f" Give it one with --gin_param '{name} = {value}'"


def check_macros() -> None:
    """Raises a ConfigError that lists the macros which a binding refers to and nothing defines."""
    defined = {scope for scope, selector, _ in bindings if selector == MACRO}
    faults = {}
    for binding in bindings.values():
        for reference in gin_config.iterate_references(binding.value):
            name = "/".join(reference.scopes)
            if reference.configurable.selector == MACRO and name not in defined:
                advice = did_you_mean(name, defined) + how_to_give(name)
                text = f"{binding.where}: The macro '{name}' has no value.{advice}\n    {binding.text}"
                faults.setdefault(name, text)
    if faults:
        raise ConfigError("\n".join(faults.values()))


def _values_to_give() -> str:
    """Returns a line for each binding that is still `%gin.REQUIRED`, with the comment on its line."""
    lines = []
    for name, value, where, text in bindings.values():
        if any(isinstance(reference, Required) for reference in gin_config.iterate_references(value)):
            comment = text.partition("#")[2].strip()
            meaning = f" ({comment})" if comment else ""
            lines.append(f"{where}: '{name}' has no value{meaning}.{how_to_give(name)}")
    return "\n".join(lines)
