"""Checks that macros have values, and that the values are used."""

from __future__ import annotations

from tf_frozen.config import gin_files
from tf_frozen.config.bindings import MACRO, Binding, bindings, replaced
from tf_frozen.config.required import how_to_give
from tf_frozen.config.suggest import did_you_mean
from tf_frozen.config.unused import out_of_use
from tf_frozen.errors import ConfigError


def check_macros() -> None:
    """Raises a ConfigError that lists macros without a value, or else those that are misspelt or without effect."""
    given = {scope: binding for (scope, selector, _), binding in bindings.items() if selector == MACRO}
    faults = _without_value(given) or _without_use(given)
    if faults:
        raise ConfigError("\n".join(faults))


def _without_value(given: dict[str, Binding]) -> list[str]:
    faults, idle = {}, out_of_use()
    for binding in (binding for key, binding in bindings.items() if key not in idle):
        for name in sorted(binding.macros() - set(given)):
            advice = did_you_mean(name, given) + how_to_give(name)
            text = f"{binding.where}: The macro '{name}' has no value.{advice}\n    {binding.text}"
            faults.setdefault(name, text)
    return list(faults.values())


def _without_use(given: dict[str, Binding]) -> list[str]:
    """Returns a line for each macro that no file knows, and for each of the user's that has no effect.

    Files that come with the package may give macros that are there for other files.
    """
    in_use = set().union(*(binding.macros() for binding in bindings.values()))
    known = in_use.union(*(before.macros() for _, before, _ in replaced))
    suspects = {name: binding for name, binding in given.items() if name not in in_use}
    if any(name not in known for name in suspects):
        known |= gin_files.macros()
    return [
        f"{binding.where}: Nothing uses the macro '{name}'.{_advice(name, in_use)}\n    {binding.text}"
        for name, binding in suspects.items()
        if binding.from_param or name not in known
    ]


def _advice(name: str, in_use: set[str]) -> str:
    """Returns what gave its parameter another value, or the nearest names that are in use."""
    for key, before, _ in replaced:
        if name in before.macros():
            return f" {bindings[key].where} gives {bindings[key].name} another value."
    return did_you_mean(name, in_use)
