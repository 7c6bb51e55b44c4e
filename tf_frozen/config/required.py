"""`%gin.REQUIRED`: values that the user must give."""

from __future__ import annotations

from typing import Any

from gin import config as gin_config

from tf_frozen.config.bindings import bindings
from tf_frozen.errors import ConfigError

DATA_MACROS = ("TRAIN_ANNOTATIONS", "TRAIN_IMAGES", "VAL_ANNOTATIONS", "VAL_IMAGES")


class Required(gin_config.ConfigurableReference):
    """`%gin.REQUIRED`: raises an error for the user as soon as its value is used."""

    def __init__(self) -> None:
        super().__init__("gin.REQUIRED/gin.constant", True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise ConfigError(_values_to_give())


def how_to_give(name: str) -> str:
    """Returns the advice to give a parameter or macro a value."""
    value = '"..."' if name in DATA_MACROS else "..."
    return f" Give it one with `gin_params` '{name} = {value}'"


def _values_to_give() -> str:
    """Returns a line for each binding that is still `%gin.REQUIRED`, with the comment on its line."""
    lines = []
    for binding in bindings.values():
        if any(isinstance(reference, Required) for reference in gin_config.iterate_references(binding.value)):
            comment = binding.text.partition("#")[2].strip()
            meaning = f" ({comment})" if comment else ""
            lines.append(f"{binding.where}: '{binding.name}' has no value{meaning}.{how_to_give(binding.name)}")
    return "\n".join(lines)
