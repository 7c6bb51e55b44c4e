"""Gin experiments: reads gin files and parameters, explains their faults, keeps them in a run directory.

Gin's configuration belongs to the whole process, and so does the record here of where each binding was
written; `load` and `load_run` start both afresh. Importing this module does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.resources
import inspect
import json
import logging
import os
import pathlib
import pkgutil
import re
import textwrap
import tokenize
import traceback
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import gin
from gin import config as gin_config
from gin import config_parser

from tf_frozen.errors import ConfigError, RunError, UserError
from tf_frozen.files import write_atomic
from tf_frozen.gin_files import Source, did_you_mean, find, read

DATA_MACROS = ("TRAIN_ANNOTATIONS", "TRAIN_IMAGES", "VAL_ANNOTATIONS", "VAL_IMAGES")
MACRO = "gin.macro"
_WITHOUT_PRETRAINED = {"frozen": "frozen_random", "fine_tune": "scratch"}

_logger = logging.getLogger(__name__)


class _Binding(NamedTuple):
    """The value given to one parameter or macro, where (as in run.gin:12), and the line that gives it."""

    name: str
    value: Any
    where: str
    text: str


# By (scope, selector, parameter), as gin has them: the scope of a macro is its name.
_bindings: dict[tuple[str, str, str], _Binding] = {}
_macros_mentioned: set[str] = set()


def load(gin_files: Sequence[str], gin_params: Sequence[str] = ()) -> None:
    """Makes gin's configuration of files, then of single bindings; what comes later wins.

    A file is named by its path or by its name among the shipped ones. Relative paths in the four data macros
    are made absolute. Raises ConfigError with the place and the nearest right names.
    """
    _load((find(name, pathlib.Path()) for name in gin_files), gin_params)


def load_run(model_dir: str, gin_params: Sequence[str] = ()) -> None:
    """Makes gin's configuration of what `save` left in `model_dir`, then of bindings; RunError without it.

    Where the run's checkpoints hold all of the backbone, its mode becomes the one that starts from random weights: the
    file that the pretrained ones came from may be gone. Where they leave weights out, these are read from there again,
    and so is a SavedModel, whose graph no checkpoint holds.
    """
    path = pathlib.Path(model_dir, "config.gin")
    if not path.is_file():
        raise RunError(f"{model_dir} holds no run: it has no config.gin. `tf-frozen train` makes them.")
    _load([read(path)], gin_params)
    mode = _bindings.get(("BACKBONE_MODE", MACRO, "value"))
    backbone = _bindings.get(("BACKBONE", MACRO, "value"))
    if backbone is not None and "SavedModelBackbone" in str(backbone.value):
        return
    if mode is not None and str(mode.value) in _WITHOUT_PRETRAINED and not _left_out(path.parent):
        gin.bind_parameter(("BACKBONE_MODE", MACRO, "value"), _WITHOUT_PRETRAINED[str(mode.value)])


def _left_out(model_dir: pathlib.Path) -> int:
    """How many variables the checkpoints of a run leave out."""
    try:
        freezing = json.loads((model_dir / "freezing.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a command that needs this file says so itself
        return 0
    return freezing.get("left_out", {}).get("variables", 0)


def save(model_dir: str) -> None:
    """Writes config.gin, all bindings, and operative_config.gin, the values used; RunError when it cannot."""
    write_atomic(os.path.join(model_dir, "config.gin"), gin.config_str(max_line_length=110))
    write_atomic(os.path.join(model_dir, "operative_config.gin"), gin.operative_config_str(max_line_length=110))


def pin_macro(name: str, value: int, meaning: str) -> None:
    """Gives a macro of the configuration the value that it turned out to have; nothing without the macro.

    Raises ConfigError when the configuration states another number; `meaning` says what the value is.
    """
    binding = _bindings.get((name, MACRO, "value"))
    if binding is None:
        return
    if isinstance(binding.value, int) and binding.value != value:
        advice = f"Give the right one with --gin_param '{name} = {value}'"
        raise ConfigError(f"{binding.where}: {name} is {binding.value}, but {meaning} is {value}. {advice}")
    gin.bind_parameter((name, MACRO, "value"), value)


def unused_bindings() -> list[str]:
    """Returns a line for each binding that no call has received and each macro that no binding mentions."""
    used = _used_keys()
    lines = []
    for key, binding in _bindings.items():
        line = f"{binding.name} = {textwrap.shorten(repr(binding.value), 60)} ({binding.where})"
        if key[1] == MACRO and key[0] not in _macros_mentioned:
            advice = did_you_mean(key[0], _macros_mentioned) or " No gin file uses this macro."
            lines.append(f"{line}.{advice}")
        elif key[1] != MACRO and key not in used:
            lines.append(line)
    return lines


def report_unused(strict: bool = False) -> None:
    """Logs what `unused_bindings` finds, or raises it as a ConfigError when `strict`."""
    lines = unused_bindings()
    text = "\n  ".join(["Nothing used these gin bindings:", *lines])
    if lines and strict:
        raise ConfigError(f"{text}\nCorrect or remove them, or run without --strict.")
    if lines:
        _logger.warning(text)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns what gin raises for missing and unknown arguments, where objects are built, into a ConfigError.

    A UserError from inside a configurable leaves without the text that gin adds, any other error as it is.
    """
    try:
        yield
    except UserError as error:
        original = _without_gin(error)
        raise original from original.__cause__
    except (RuntimeError, TypeError) as error:
        message = _explanation(error)
        if message is None:
            raise
        raise ConfigError(message) from error


def _load(sources: Iterable[Source], gin_params: Sequence[str]) -> None:
    gin.clear_config()
    _bindings.clear()
    _macros_mentioned.clear()
    for source in sources:
        _read(source)
    for number, text in enumerate(gin_params, start=1):
        _read(Source(f"--gin_param {number}", text, pathlib.Path(), is_param=True))
    _check_macros()


class _Required(gin_config.ConfigurableReference):
    """`%gin.REQUIRED`: an error for the user as soon as something asks for its value."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise ConfigError(_values_to_give())


class _Delegate(gin_config.ParserDelegate):
    """Builds gin's references; ConfigError with the nearest names for an unknown one."""

    def configurable_reference(self, name: str, evaluate: bool) -> gin_config.ConfigurableReference:
        _configurable(name.rpartition("/")[2])
        return super().configurable_reference(name, evaluate)

    def macro(self, name: str) -> gin_config.ConfigurableReference:
        if name in ("gin.REQUIRED", "REQUIRED"):
            return _Required("gin.REQUIRED/gin.constant", True)
        _macros_mentioned.add(name)
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
                _configurable(statement.selector)
            elif isinstance(statement, config_parser.ImportStatement):
                _import(statement)
            else:
                folders = () if source.folder is None else (source.folder, pathlib.Path())
                included = find(statement.filename, *folders)
        if included is not None:
            _read(included, (*including, source.name))


def _statements(source: Source) -> Iterator[Any]:
    """Yields gin's statements; ConfigError where the text is not gin or refers to an unknown name."""
    try:
        parser = config_parser.ConfigParser(source.text, _Delegate())
        while (statement := parser.parse_statement()) is not None:
            yield statement
    except ConfigError as error:
        line = re.search(r"\n  In .* line (\d+)\n", str(error))[1]
        with _located(source, int(line)):
            raise _without_gin(error) from None
    except SyntaxError as error:
        raise _syntax_error(source, error.lineno or 1, str(error.msg)) from None
    except tokenize.TokenError as error:
        raise _syntax_error(source, error.args[1][0], str(error.args[0])) from None


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
        key = (name, MACRO, "value")
        value = _absolute(value) if name in DATA_MACROS else value
    else:
        configurable = _configurable(selector)
        names, takes_any = _parameters(configurable)
        if parameter not in names and not takes_any:
            raise ConfigError(_unknown_parameter(selector, parameter, names))
        name, key = f"{name}.{parameter}", (scope, configurable.selector, parameter)
    gin.bind_parameter(key, value)
    line = location.line_num
    _bindings[key] = _Binding(name, value, source.where(line), source.line(line))


def _import(statement: config_parser.ImportStatement) -> None:
    """Imports a module; ConfigError when it, or a module that it needs, does not exist."""
    module = statement.module
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{module}.".startswith(f"{missing}."):
            raise ConfigError(f"{module} needs the module '{missing}', which is not installed.") from error
        parent = missing.rpartition(".")[0]
        path = importlib.import_module(parent).__path__ if parent else None
        beside = [f"{parent}.{found.name}".lstrip(".") for found in pkgutil.iter_modules(path)]
        advice = did_you_mean(missing, beside) or " If it is your own, put its folder on PYTHONPATH."
        raise ConfigError(f"There is no module '{missing}'.{advice}") from error
    gin.parse_config(statement.format())  # Gin's own record: a saved configuration imports what it names.


def _configurable(selector: str) -> gin_config.Configurable:
    """Returns what gin has registered as `selector`; ConfigError unless that is exactly one thing."""
    matching = gin_config._REGISTRY.get_all_matches(selector)
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = " or ".join(sorted(match.selector for match in matching))
        raise ConfigError(f"'{selector}' may mean {names}. Write more of the name.")
    names = [known.name for _, known in gin_config._REGISTRY.items() if known.module != "gin"]
    advice = did_you_mean(selector.rpartition(".")[2], names)
    advice = advice or " Does a gin file import the module that defines it?"
    raise ConfigError(f"Nothing configurable is named '{selector}'.{advice}")


def _parameters(configurable: gin_config.Configurable) -> tuple[list[str], bool]:
    """Returns the parameters that may be bound by name, and whether any other keyword is taken as well."""
    function = configurable.wrapped
    if inspect.isclass(function):
        function = gin_config._find_class_construction_fn(function)
    kinds = {name: parameter.kind for name, parameter in inspect.signature(function).parameters.items()}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, kind in kinds.items() if kind in by_name and name != "self"]
    if configurable.allowlist:
        return list(configurable.allowlist), False
    if configurable.denylist:
        return [name for name in names if name not in configurable.denylist], False
    return names, inspect.Parameter.VAR_KEYWORD in kinds.values()


def _check_macros() -> None:
    """Raises a ConfigError that lists the macros which a binding refers to and nothing defines."""
    defined = {scope for scope, selector, _ in _bindings if selector == MACRO}
    faults = {}
    for binding in _bindings.values():
        for reference in gin_config.iterate_references(binding.value):
            name = "/".join(reference.scopes)
            if reference.configurable.selector == MACRO and name not in defined:
                advice = did_you_mean(name, defined) + _how_to_give(name)
                text = f"{binding.where}: The macro '{name}' has no value.{advice}\n    {binding.text}"
                faults.setdefault(name, text)
    if faults:
        raise ConfigError("\n".join(faults.values()))


def _absolute(path: Any) -> Any:
    """Makes a path mean the same file from any folder, as the saved configuration must."""
    if not isinstance(path, str) or not path or path.startswith("embedded:") or "://" in path:
        return path
    return os.path.abspath(os.path.expanduser(path))


def _syntax_error(source: Source, line: int, problem: str) -> ConfigError:
    line = min(line, len(source.text.splitlines()))  # The end of the text counts as a line of its own.
    text = source.line(line)
    problem = "A bracket is not closed." if "EOF" in problem else problem
    problem = "Unable to parse value." if "Failed to parse token" in problem else problem
    expected_value = problem.startswith(("Unable", "Couldn't", "Expected newline", "unterminated"))
    meant = _meant(text) if expected_value else ""
    if meant:
        problem += " Text needs quotes: " if meant.endswith(('"', "'")) else " Did you mean: "
        problem += f"--gin_param '{meant}'" if source.is_param else meant
    return ConfigError(f"{source.where(line)}: This is not valid gin. {problem}\n    {text}")


def _meant(text: str) -> str:
    """Returns what a line that is not gin most likely should be, or an empty string."""
    match = re.fullmatch(r"([\w./]+)\s*(=?)\s*(.*?)\s*(?:#.*)?", text)
    if match is None or match[1] in ("import", "from") or match[3].startswith((":", "=")):
        return ""
    name, equals, value = match.groups()
    word = value.strip("\"'")
    if name == "include":
        return f"include '{word}'"
    if word.lower() in ("true", "false", "none"):
        return f"{name} = {word.capitalize()}"
    if (word, MACRO, "value") in _bindings:
        return f"{name} = %{word}"
    if gin_config._REGISTRY.matching_selectors(word.removesuffix("()")):
        return f"{name} = @{word}"
    if re.fullmatch(r"\d+(\.\d+)?(\s*,\s*\d+(\.\d+)?)+", word):
        return f"{name} = ({word})"
    if re.fullmatch(r"[^\s\[\](){}@%,\"'-][^\[\](){}@%,\"']*", word):
        return f'{name} = "{word}"'
    return "" if equals and value else f"{name} = ..."


def _unknown_parameter(selector: str, parameter: str, names: Sequence[str]) -> str:
    advice = did_you_mean(parameter, names) or f" It has: {', '.join(names) or 'none'}."
    return f"'{selector}' has no parameter '{parameter}'.{advice}"


def _how_to_give(name: str) -> str:
    value = '"..."' if name in DATA_MACROS else "..."
    return f" Give it one with --gin_param '{name} = {value}'"


def _values_to_give() -> str:
    """Returns a line for each binding that is still `%gin.REQUIRED`, with the comment on its line."""
    lines = []
    for name, value, where, text in _bindings.values():
        if any(isinstance(reference, _Required) for reference in gin_config.iterate_references(value)):
            comment = text.partition("#")[2].strip()
            meaning = f" ({comment})" if comment else ""
            lines.append(f"{where}: '{name}' has no value{meaning}.{_how_to_give(name)}")
    return "\n".join(lines)


def _explanation(error: Exception) -> str | None:
    """Returns what the user should change; None when the error is not about arguments that gin gives."""
    text = str(error)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    from_gin = frame.f_code.co_filename == gin_config.__file__  # Gin could not make the call at all.
    called = re.search(r"\n  In call to configurable '([^']+)'", text)
    required = re.match(r"Required bindings for `(.+)` not provided in config: (\[.*\])", text)
    missing = re.search(r"missing \d+ required [a-z -]+ arguments?: (.*)", text)
    unknown = re.search(r"(?:unexpected keyword argument|Keyword argument not understood:',) '(\w+)'", text)
    if from_gin and required:
        return _missing_arguments(required[1], required[2])
    if from_gin and called and missing:
        return _missing_arguments(called[1], missing[1])
    return _unexpected_argument(called[1], unknown[1]) if called and unknown else None


def _missing_arguments(selector: str, names: str) -> str:
    bindings = [f"{selector}.{name}" for name in re.findall(r"'(\w+)'", names)]
    return "\n".join(f"'{binding}' has no value.{_how_to_give(binding)}" for binding in bindings)


def _unexpected_argument(name: str, parameter: str) -> str | None:
    """Returns the message for a keyword that got through a `**kwargs`, if a gin binding gave it."""
    for (_, selector, bound), binding in _bindings.items():
        if bound == parameter and f".{selector}".endswith(f".{name}"):
            known, _ = _parameters(_configurable(selector))
            return f"{binding.where}: {_unknown_parameter(name, parameter, known)}\n    {binding.text}"
    return None


def _without_gin(error: Exception) -> Exception:
    """Returns the error below the copies that gin makes of it, one a call, to add the call to the message."""
    below = error.__context__
    while below is not None and type(error).__bases__ == (type(below),):
        if type(error).__name__ != type(below).__name__:
            break
        error, below = below, below.__context__
    return error


def _used_keys() -> set[tuple[str, str, str]]:
    """Returns the bindings whose values a call received, or will receive when it is made.

    What was handed over as `@name` and is not called yet counts with all its bindings.
    """
    operative = gin_config._OPERATIVE_CONFIG
    called = {*operative, *(("", selector) for _, selector in operative)}
    waiting = [(*call, frozenset(values)) for call, values in operative.items()]
    used = set()
    while waiting:
        scope, selector, parameters = waiting.pop()
        for key in _effective(scope, selector):
            if key in used or parameters is not None and key[2] not in parameters:
                continue
            used.add(key)
            references = gin_config.iterate_references(_bindings[key].value)
            waiting += [(*call, None) for call in {reference.config_key for reference in references} - called]
    return used


def _effective(scope: str, selector: str) -> Iterable[tuple[str, str, str]]:
    """Returns the bindings, one a parameter, that win in a scope over those of the scopes around it."""
    bound = [key for key in _bindings if key[1] == selector]
    around = [key for key in bound if not key[0] or f"{scope}/".startswith(f"{key[0]}/")]
    return {key[2]: key for key in sorted(around, key=lambda key: len(key[0]))}.values()
