"""Text and JSON as Amplitude takes them, and as the Node.js package writes them, byte for byte."""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import Any, Collection, List, Mapping, Optional

MAX_STRING_LENGTH = 1024
"""Amplitude cuts longer strings off, which would merge users."""
MAX_DEPTH = 40
"""Amplitude's limit for nested objects and arrays; the properties themselves are the first level."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_PLAIN_FLOAT = 1e21
_MIN_PLAIN_FLOAT = 1e-6


def is_text(value: object, min_length: int = 0) -> bool:
    """Whether a value is text of at least so many characters that Amplitude takes as it is."""
    return isinstance(value, str) and min_length <= len(value) <= MAX_STRING_LENGTH and _SURROGATE.search(value) is None


def _string(value: str) -> str:
    """A lone surrogate becomes an escape, which is valid JSON."""
    text: str = encode_basestring(value)
    return text if value.isascii() else _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _float(value: float) -> str:
    """As JavaScript writes numbers: 1 for 1.0, 0.00001 for 1e-05, 1e-7 for 1e-07, and null for what JSON lacks."""
    if value != value or value in (float("inf"), float("-inf")):
        return "null"
    if value == int(value) and abs(value) < _MAX_PLAIN_FLOAT:
        return str(int(value))
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    if _MIN_PLAIN_FLOAT <= abs(value) < _MAX_PLAIN_FLOAT:
        digits = mantissa.lstrip("-").replace(".", "")
        sign = "-" if value < 0 else ""
        return f"{sign}0.{'0' * (-int(exponent) - 1)}{digits}"
    return f"{mantissa}e{'-' if exponent[0] == '-' else '+'}{exponent.lstrip('+-').lstrip('0')}"


def _write(value: Any, out: List[str], levels: int, max_depth: int) -> None:
    if isinstance(value, str):
        out.append(_string(value))
    elif value is None:
        out.append("null")
    elif value is True or value is False:
        out.append("true" if value else "false")
    elif isinstance(value, int):
        out.append(int.__repr__(value))
    elif isinstance(value, float):
        out.append(_float(value))
    elif isinstance(value, (Mapping, list, tuple)):
        if levels == 0:
            raise ValueError(f"it is nested more than {max_depth} levels deep, or contains itself")
        if isinstance(value, Mapping):
            out.append("{")
            _write_members(value, out, levels - 1, max_depth, ())
            out.append("}")
        else:
            out.append("[")
            for i, item in enumerate(value):
                if i > 0:
                    out.append(",")
                _write(item, out, levels - 1, max_depth)
            out.append("]")
    else:
        raise TypeError(f"JSON has no {type(value).__name__}")


def _write_members(
    value: Mapping[Any, Any], out: List[str], levels: int, max_depth: int, left_out: Collection[str]
) -> None:
    is_first = True
    for name, item in value.items():
        if not isinstance(name, str):
            raise TypeError(f"a name of it is a {type(name).__name__}, and no str")
        if name in left_out:
            continue
        if not is_first:
            out.append(",")
        is_first = False
        out.append(_string(name))
        out.append(":")
        _write(item, out, levels, max_depth)


def dumps(value: Any, max_depth: int = MAX_DEPTH) -> str:
    """Return a value as JSON. Raises an error that says what cannot be sent."""
    out: List[str] = []
    _write(value, out, max_depth, max_depth)
    return "".join(out)


def member(name: str, value: Any) -> str:
    """Return a member of a JSON object."""
    return f"{_string(name)}:{dumps(value)}"


def join(*members: Optional[str]) -> str:
    """Join members of a JSON object; absent ones are left out."""
    return ",".join(filter(None, members))


def to_members(properties: Any, own_names: Collection[str], max_depth: int = MAX_DEPTH) -> Optional[str]:
    """Return properties as JSON without the outer braces; None when there are none.

    The names that the decision itself has are left out. Raises an error that says what cannot be sent.
    """
    if properties is None:
        return None
    if not isinstance(properties, Mapping):
        raise TypeError(f"it returned a {type(properties).__name__} where a dict is expected")
    out: List[str] = []
    _write_members(properties, out, max_depth - 1, max_depth, own_names)
    return "".join(out) or None


def reason_of(error: BaseException) -> str:
    """Return the message of an exception; never raises."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def is_awaitable(value: object) -> bool:
    """Whether a callback returned a coroutine, which is closed, or another awaitable."""
    if not hasattr(type(value), "__await__"):
        return False
    close = getattr(value, "close", None)
    if close is not None:
        close()  # otherwise it warns that it was never awaited
    return True


_CAMEL_NAME = re.compile(r"(?<![\w/.'\"])[a-z]+(?:[A-Z][a-z]+)+(?![\w/'\"])")


def to_python_names(message: str) -> str:
    """Return a message of the core with options under their names here: maxQueueBytes becomes max_queue_bytes."""
    return _CAMEL_NAME.sub(lambda match: re.sub("([A-Z])", r"_\1", match[0]).lower(), message)
