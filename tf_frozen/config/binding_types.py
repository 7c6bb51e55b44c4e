"""Checks the values of all bindings against the types that their parameters are annotated with."""

from __future__ import annotations

from typing import Any

from gin import config as gin_config

from tf_frozen.config.bindings import MACRO, Binding, Key, bindings, macro
from tf_frozen.config.configurables import find_configurable
from tf_frozen.config.gin_internals import construction
from tf_frozen.config.unused import out_of_use
from tf_frozen.config.value_types import Made, fault, fits, made_by, parameter_types
from tf_frozen.errors import ConfigError


def check_types() -> None:
    """Raises a ConfigError that lists the bindings whose value is not of the annotated type of its parameter.

    Those of a part that another replaced are not checked: their macros need no value.
    """
    faults: dict[str, str] = {}
    idle = out_of_use()
    for key, binding in bindings.items():
        if key in idle:
            continue
        given = _where_given(binding)
        text = _fault(key, binding, given) if key[1] != MACRO else ""
        if text:
            faults.setdefault(f"{given.name} {given.where}", text)
    if faults:
        raise ConfigError("\n".join(faults.values()))


def _fault(key: Key, binding: Binding, given: Binding) -> str:
    """Returns the message for a binding whose value does not fit, or an empty string."""
    _, selector, parameter = key
    expected = parameter_types(construction(find_configurable(selector))).get(parameter, Any)
    value = _stand_in(binding.value)
    if fits(value, expected):
        return ""
    text = fault(given.name, given.value if isinstance(value, Made) else value, expected)
    if isinstance(value, Made) and fits(value.kind, expected):
        text += " Leave out the parentheses."
    purpose = "" if given is binding else f" {binding.name} ({binding.where}) takes its value."
    return f"{given.where}: {text}{purpose}\n    {given.text}"


def _stand_in(value: Any) -> Any:
    """Returns a value with macros resolved, `@name` as what it names, and `@name()` as something Made."""
    if isinstance(value, list | tuple):
        return type(value)(map(_stand_in, value))
    if not isinstance(value, gin_config.ConfigurableReference):
        return value
    configurable = value.configurable
    if configurable.selector == MACRO:
        return _stand_in(macro("/".join(value.scopes)).value)
    return made_by(configurable.wrapped) if value.evaluate else configurable.wrapped


def _where_given(binding: Binding) -> Binding:
    """Returns the binding that states the value: that of the last macro, where macros pass it on."""
    value = binding.value
    if isinstance(value, gin_config.ConfigurableReference) and value.configurable.selector == MACRO:
        return _where_given(macro("/".join(value.scopes)))
    return binding
