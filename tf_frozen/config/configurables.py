"""Finds what gin can configure: the registered classes and functions, and their parameters."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence

from gin import config as gin_config

from tf_frozen.config.gin_internals import construction, matching, registered
from tf_frozen.config.suggest import did_you_mean
from tf_frozen.errors import ConfigError


def find_configurable(selector: str) -> gin_config.Configurable:
    """Returns what gin has registered as `selector`; ConfigError unless that is exactly one thing."""
    found = matching(selector)
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(sorted(each.selector for each in found))
        raise ConfigError(f"'{selector}' may mean {names}. Write more of the name.")
    names = [known.name for known in registered() if known.module != "gin"]
    advice = did_you_mean(selector.rpartition(".")[2], names)
    advice = advice or " Does a gin file import the package that defines it, as tf_frozen.necks, or your module?"
    raise ConfigError(f"Nothing configurable is named '{selector}'.{advice}")


def parameters(configurable: gin_config.Configurable) -> tuple[list[str], bool]:
    """Returns the parameters that may be bound by name, and whether any other keyword is taken as well."""
    signature = inspect.signature(construction(configurable))
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, kind in kinds.items() if kind in by_name and name != "self"]
    if configurable.allowlist:
        return list(configurable.allowlist), False
    if configurable.denylist:
        return [name for name in names if name not in configurable.denylist], False
    return names, inspect.Parameter.VAR_KEYWORD in kinds.values()


def takes(configurable: gin_config.Configurable, parameter: str) -> bool:
    """Returns whether a parameter may be bound by name.

    What `**kwargs` hand on is not known before the call. So any name is taken there, unless it is all but one of the
    configurable's own: a misspelling is found before data are read.
    """
    names, takes_any = parameters(configurable)
    if parameter in names or not takes_any:
        return parameter in names
    bases = getattr(configurable.wrapped, "__mro__", ())
    inherited = {name for base in bases for name in inspect.signature(base.__init__).parameters}
    return parameter in inherited or not difflib.get_close_matches(parameter, names, cutoff=0.8)


def unknown_parameter(selector: str, parameter: str, names: Sequence[str]) -> str:
    """Returns the message for a parameter that is not in `names`."""
    advice = did_you_mean(parameter, names) or f" It has: {', '.join(names) or 'none'}."
    return f"'{selector}' has no parameter '{parameter}'.{advice}"
