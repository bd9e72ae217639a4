"""The fields of Amplitude's events that an application may give: their checks, and their names on the wire."""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from .checks import Option, Unexpected, checked, describe, resolve_table, shorten
from .text import MAX_STRING_LENGTH, is_text, join, member

MAX_GROUP_TYPES = 5
MAX_GROUP_VALUES = 10
EXPECTED_GROUPS = (
    f"a dict {{type: name or list of names}} of at most {MAX_GROUP_TYPES} types and {MAX_GROUP_VALUES} names in all, "
    "none of them empty"
)
MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that Amplitude's own SDK for JavaScript can write."""


def groups(value: Any) -> Optional[Dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise Unexpected(EXPECTED_GROUPS)
    count = 0
    copy: Dict[str, Any] = {}
    for kind, names in value.items():
        copy[kind] = list(names) if isinstance(names, (list, tuple)) else names
        each = copy[kind] if isinstance(copy[kind], list) else [names]
        if not is_text(kind, 1) or not each or not all(is_text(name, 1) for name in each):
            raise Unexpected(EXPECTED_GROUPS, f"{describe(names)} for {shorten(str(kind))!r}")
        count += len(each)
    if len(copy) > MAX_GROUP_TYPES or count > MAX_GROUP_VALUES:
        raise Unexpected(EXPECTED_GROUPS, f"{count} names of {len(copy)} types")
    return copy or None


def text(value: Any) -> str:
    if not is_text(value, 1):
        raise Unexpected(f"a str of 1 to {MAX_STRING_LENGTH} characters, without lone surrogates")
    return str(value)


def _texts(option: str, *names: str) -> Callable[[Any], Optional[Dict[str, str]]]:
    """A check of a dict of texts, which may lack some of them; None when it has none."""
    table = {name: Option(text) for name in names}

    def check(value: Any) -> Optional[Dict[str, str]]:
        if not isinstance(value, Mapping):
            raise Unexpected(f"a dict with {', '.join(names)}")
        resolved = resolve_table(table, value, f"{option}.")
        return {name: given for name, given in resolved.items() if given is not None} or None

    return check


ingestion_metadata = _texts("ingestion_metadata", "source_name", "source_version")
plan = _texts("plan", "branch", "source", "version", "version_id")


def _session_id(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= MAX_SAFE_INTEGER:
        raise Unexpected("an int, the start of the session in ms, or -1 for none")
    return value


def _ip(value: Any) -> str:
    """Not `$remote`, which stands for the address of the request, and that is the server's own."""
    try:
        ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise Unexpected("an IPv4 or IPv6 address") from None
    return str(value)


def _number(value: Any) -> Any:
    """JSON has no NaN and no Infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):
        raise Unexpected("a finite number")
    return value


def _describe_field(value: Any) -> str:
    """What a field is, without what it says: it may be personal."""
    return f"a str of {len(value)} characters" if isinstance(value, str) else describe(value)


class _Field(NamedTuple):
    name: str
    option: Option


def _field(name: str, check: Callable[[Any], Any]) -> _Field:
    return _Field(name, Option(check, describe=_describe_field))


_FIELDS: List[_Field] = [  # `groups` comes first: the core looks for it there
    _field("groups", groups),
    _field("session_id", _session_id),
    _field("app_version", text),
    _field("platform", text),
    _field("country", text),
    _field("language", text),
    _field("ip", _ip),
]
_NUMBERS = ("price", "quantity", "revenue", "location_lat", "location_lng")
_BY_NAME: Dict[str, Option] = {
    **{field.name: field.option for field in _FIELDS},
    **{name: _field(name, _number).option for name in _NUMBERS},
}


def to_field_members(user: Mapping[str, Any], on_fault: Callable[[str, Exception], None]) -> Optional[str]:
    """Return the event fields of what resolve_user returned as members of a JSON object, or None.

    A field that is wrong is left out; on_fault gets its name and what is wrong with it.
    """
    members = []
    for name, option in _FIELDS:
        value = user.get(name)
        if value is None or value == "":
            continue
        try:
            valid = checked(option, value, name)
        except Exception as error:
            on_fault(name, error)
        else:
            if valid is not None:
                members.append(member(name, valid))
    return join(*members) or None


def check_field(name: str, value: Any) -> Any:
    """Return the value of a field of an event; None for an absent one of those that are checked."""
    option = _BY_NAME.get(name)
    if option is None:
        return value
    return None if value is None or value == "" else checked(option, value, name)


def constant_fields(options: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the fields that are the same in all events of a dispatcher, by their names on the wire."""
    fields: Dict[str, Any] = {}
    if options["ingestion_metadata"]:
        fields["ingestion_metadata"] = options["ingestion_metadata"]
    if options["plan"]:
        fields["plan"] = {
            "versionId" if name == "version_id" else name: value for name, value in options["plan"].items()
        }
    if options["partner_id"]:
        fields["partner_id"] = options["partner_id"]
    return fields


def to_constant_members(options: Mapping[str, Any]) -> Optional[str]:
    """The same as members of a JSON object; None when there are none."""
    return join(*(member(name, value) for name, value in constant_fields(options).items())) or None
