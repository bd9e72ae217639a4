"""Checks of options. A table has an Option for each name; a check takes a value and returns what it becomes."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterable, Mapping, NamedTuple, Optional

from .errors import OptionError

MAX_MILLIS = 2**31 - 1
"""The longest duration, about 24 days, as in Node.js."""


class Unexpected(Exception):
    """Raised by a check: what it expected, and what it got, unless that is simply the value."""

    def __init__(self, expected: str, got: Optional[str] = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got


class Option(NamedTuple):
    check: Callable[[Any], Any]
    default: Any = None
    is_required: bool = False
    describe: Optional[Callable[[Any], str]] = None


def shorten(text: str, length: int = 40) -> str:
    return f"{text[:length]}..." if len(text) > length else text


def quote(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def describe(value: Any) -> str:
    """Describe a value in a few words. Of objects only the kind is shown, since their contents may be secret."""
    if isinstance(value, str):
        return f"{shorten(value)!r} (a str)"
    if value is None:
        return "None"
    if isinstance(value, (bool, int, float)):
        return f"{shorten(repr(value))} ({kind_of(value)})"
    return kind_of(value)


def kind_of(value: Any) -> str:
    """The type of a value, with its article: "an int", "a list"."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def integer(least: int, most: int, unit: str = "") -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Unexpected(f"an int from {least} to {most}{f' ({unit})' if unit else ''}")
        return value

    return check


def millis(least: int, most: int = MAX_MILLIS) -> Callable[[Any], int]:
    return integer(least, most, "milliseconds")


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unexpected("True or False")
    return value


def one_of(*values: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in values:
            raise Unexpected(f"one of {quote(values)}")
        return str(value)

    return check


def function(value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise Unexpected("a function")
    return value  # type: ignore[no-any-return]


# ---- tables -----------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    """A name without case, separators and unit: flushIntervalMillis and flush_interval_ms become the same."""
    plain = re.sub("[^a-z0-9]", "", name.lower())
    return re.sub("(?<=.)(ms|msecs?|millis|milliseconds|secs?|seconds)$", "", plain)


def nearest(name: str, known: Iterable[str]) -> Optional[str]:
    """Return the known name that is closest to an unknown one, if one is close."""
    by_plain = {_plain(candidate): candidate for candidate in known}
    plain = _plain(name[:64])
    if plain in by_plain:
        return by_plain[plain]
    import difflib  # needed for an error only

    matches = difflib.get_close_matches(plain, by_plain, n=1, cutoff=0.75)
    return by_plain[matches[0]] if matches else None


def resolve_table(table: Mapping[str, Option], given: Mapping[Any, Any], prefix: str = "") -> Dict[str, Any]:
    """Check what is given by a table, and return every name of it with its value or its default."""
    for name in given:
        if name not in table:
            close = nearest(str(name), table)
            advice = (
                f"did you mean '{prefix}{close}'?"
                if close is not None
                else f"the options are {', '.join(prefix + option for option in table)}"
            )
            raise OptionError(f"unknown option '{prefix}{shorten(str(name))}': {advice}")
    return {
        name: checked(option, given.get(name), f"option '{prefix}{name}'")
        if name in given or option.is_required
        else option.default
        for name, option in table.items()
    }


def checked(option: Option, value: Any, what: str) -> Any:
    """Return what a check makes of a value; raises the error for the user, which begins with `what`."""
    try:
        return option.check(value)
    except Unexpected as error:
        got = error.got if error.got is not None else (option.describe or describe)(value)
        raise OptionError(f"{what}: expected {error.expected}, got {got}") from None


def read_timeout(timeout: Any, default_millis: int, warn: Callable[[str, str], None]) -> int:
    """Return a timeout in seconds as milliseconds. What is wrong is logged, and the default is used."""
    if timeout is None:
        return default_millis
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        warn("timeout", f"timeout: expected seconds, got a {type(timeout).__name__}; the default is used")
        return default_millis
    return int(min(timeout * 1000, MAX_MILLIS))
