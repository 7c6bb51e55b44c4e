"""Whether the settings of a run are in range."""

from __future__ import annotations

from tf_frozen.errors import ConfigError


def check_whole(name: str, value: object, least: int) -> None:
    """Raises ConfigError unless Run.`name` is a whole number from `least` on, small enough for TensorFlow's int32."""
    if type(value) is not int or not least <= value < 2**31:
        raise ConfigError(f"Run.{name} is {value!r}; it must be a whole number from {least} to 2³¹ − 1.")


def check_seconds(name: str, value: object) -> None:
    """Raises ConfigError unless Run.`name` is a time, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ConfigError(f"Run.{name} is {value!r}; it must be a number, 0 or more.")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises ConfigError unless Run.`name` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"Run.{name} is {value!r}; it must be one of {', '.join(choices)}.")
