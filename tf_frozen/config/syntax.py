"""Error messages for invalid gin syntax, with the likely correction."""

from __future__ import annotations

import re

from tf_frozen.config.bindings import macro
from tf_frozen.config.gin_files import Source
from tf_frozen.config.gin_internals import matching
from tf_frozen.errors import ConfigError


def syntax_error(source: Source, line: int, problem: str) -> ConfigError:
    """Returns the error for a line that is not valid gin."""
    line = min(line, len(source.text.splitlines()))  # The end of the text counts as one more line.
    text = source.line(line)
    problem = "A bracket is not closed." if "EOF" in problem else problem
    problem = "Unable to parse value." if "Failed to parse token" in problem else problem
    expected_value = problem.startswith(("Unable", "Couldn't", "Expected newline", "unterminated"))
    meant = _meant(text) if expected_value else ""
    if meant:
        problem += " Text needs quotes: " if meant.endswith(('"', "'")) else " Did you mean: "
        problem += f"`gin_params` '{meant}'" if source.is_param else meant
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
    if macro(word) is not None:
        return f"{name} = %{word}"
    if matching(word.removesuffix("()")):
        return f"{name} = @{word}"
    if re.fullmatch(r"-?\d+(\.\d+)?", word):
        return f"{name} = {word}"
    if re.fullmatch(r"\d+(\.\d+)?(\s*,\s*\d+(\.\d+)?)+", word):
        return f"{name} = ({word})"
    if re.fullmatch(r"[^\s\[\](){}@%,\"'-][^\[\](){}@%,\"']*", word):
        return f'{name} = "{word}"'
    return "" if equals and value else f"{name} = ..."
