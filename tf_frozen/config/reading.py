"""Reads gin files and parameters into gin's configuration, with errors that name file, line and nearest names."""

from __future__ import annotations

import contextlib
import pathlib
import re
import tokenize
from collections.abc import Iterable, Iterator
from typing import Any

import gin
from gin import config as gin_config
from gin import config_parser

from tf_frozen.config import bindings
from tf_frozen.config.binding_types import check_types
from tf_frozen.config.circles import check_circles
from tf_frozen.config.configurables import find_configurable, parameters, takes, unknown_parameter
from tf_frozen.config.explained import without_gin
from tf_frozen.config.gin_files import Source, find
from tf_frozen.config.gin_internals import shortest_selector
from tf_frozen.config.imports import import_all
from tf_frozen.config.macros import check_macros
from tf_frozen.config.required import DATA_MACROS, Required
from tf_frozen.config.syntax import syntax_error
from tf_frozen.errors import ConfigError
from tf_frozen.files import absolute


def read(sources: Iterable[Source], gin_params: Iterable[str]) -> None:
    """Replaces gin's configuration by that of the sources, then of single bindings; what comes later wins.

    Raises ConfigError for what is not gin, for unknown names, and for macros and values that cannot be right.
    """
    bindings.clear()
    try:
        for source in sources:
            _read(source)
        for number, text in enumerate(gin_params, start=1):
            _read(Source(f"`gin_params` {number}", text, pathlib.Path(), is_param=True))
        check_macros()
        check_circles()
        check_types()
    except RecursionError as error:
        raise ConfigError("The gin configuration has values or references that are nested too deeply.") from error


class _Delegate(gin_config.ParserDelegate):
    """Builds gin's references; ConfigError with the nearest names for an unknown one."""

    def configurable_reference(self, name: str, evaluate: bool) -> gin_config.ConfigurableReference:
        *scopes, selector = name.split("/")
        # A saved configuration has the shortest name that is unique, not the module that the user may have written.
        shortest = shortest_selector(find_configurable(selector))
        return super().configurable_reference("/".join([*scopes, shortest]), evaluate)

    def macro(self, name: str) -> gin_config.ConfigurableReference:
        if name in ("gin.REQUIRED", "REQUIRED"):
            return Required()
        return super().macro(name)


def _read(source: Source, including: tuple[str, ...] = ()) -> None:
    """Adds the statements of `source` to gin's configuration; `including` names the files that led here."""
    if source.name in including:
        raise ConfigError(f"A gin file includes itself: {' -> '.join([*including, source.name])}.")
    for statement in _statements(source):
        included = None
        with _located(source, statement.location.line_num):
            if isinstance(statement, config_parser.BindingStatement):
                _bind(statement, source)
            elif isinstance(statement, config_parser.BlockDeclaration):
                find_configurable(statement.selector)
            elif isinstance(statement, config_parser.ImportStatement):
                import_all(statement.module)
                gin.parse_config(statement.format())  # gin's own record, which a saved configuration has
            else:
                folders = () if source.folder is None else (source.folder, pathlib.Path())
                included = find(statement.filename, *folders)
        if included is not None:
            _read(included, (*including, source.name))


def _statements(source: Source) -> Iterator[Any]:
    """Yields gin's statements; ConfigError where the text is not gin or refers to an unknown name."""
    text, parser = source.checked_text(), None
    try:
        parser = config_parser.ConfigParser(text, _Delegate())
        while (statement := parser.parse_statement()) is not None:
            yield statement
    except ConfigError as error:
        line = re.search(r"\n  In .* line (\d+)\n", str(error))[1]
        with _located(source, int(line)):
            raise without_gin(error) from None
    except SyntaxError as error:
        raise syntax_error(source, error.lineno or 1, str(error.msg)) from None
    except tokenize.TokenError as error:
        raise syntax_error(source, error.args[1][0], str(error.args[0])) from None
    except (RecursionError, TypeError, ValueError) as error:
        # Brackets in brackets by the hundred; keys of a dictionary that Python does not take.
        line = parser.current_token.start[0] if parser else 1
        problem = "Too many brackets." if isinstance(error, RecursionError) else f"{error}."
        raise syntax_error(source, line, problem) from None


@contextlib.contextmanager
def _located(source: Source, line: int) -> Iterator[None]:
    """Puts the place before the message of a ConfigError, and the line below it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{source.where(line)}: {error}\n    {source.line(line)}") from error.__cause__


def _bind(statement: config_parser.BindingStatement, source: Source) -> None:
    scope, selector, parameter, value, location = statement
    name = f"{scope}/{selector}" if scope else selector
    if not parameter:
        key = (name, bindings.MACRO, "value")
        value = absolute(value) if name in DATA_MACROS and isinstance(value, str) else value
    else:
        configurable = find_configurable(selector)
        if not takes(configurable, parameter):
            raise ConfigError(unknown_parameter(selector, parameter, parameters(configurable)[0]))
        name, key = f"{name}.{parameter}", (scope, configurable.selector, parameter)
    line = location.line_num
    bindings.bind(key, bindings.Binding(name, value, source.where(line), source.line(line), source.is_param))
