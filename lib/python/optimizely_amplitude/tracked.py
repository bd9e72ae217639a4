"""The application's own events: track() and identify(), in the shape of Amplitude's SDK for Node.js.

An event that is wrong is counted and logged, and raises nothing: it is sent from where a decision is, too.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ._native import Core
from .before_send import BeforeSend, id_members
from .checks import nearest, shorten
from .counts import Counter
from .decisions import OK, STATUS, advice_for, describe_status, read_result
from .fields import MAX_SAFE_INTEGER, check_field, constant_fields
from .log import Log
from .text import is_text, join, member, reason_of

# What the core adds, what is rendered by itself, and two fields that Amplitude's SDKs do not send either.
NOT_COPIED = ("user_id", "device_id", "event_id", "insert_id", "time", "library", "extra", "delay")
PROFILE_EVENT_TYPES = ("$identify", "$groupidentify")
OPERATIONS = (
    "$set",
    "$setOnce",
    "$add",
    "$append",
    "$prepend",
    "$preInsert",
    "$postInsert",
    "$remove",
    "$unset",
    "$clearAll",
)


def _is_str(value: Any) -> bool:
    return isinstance(value, str)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_filled(value: Any) -> bool:
    return is_text(value, 1)


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SAFE_INTEGER


CHECKS: List[Tuple[str, Callable[[Any], bool], str]] = [
    ("event_type", _is_filled, "text of 1 to 1024 characters"),
    ("user_id", _is_str, "a str"),
    ("device_id", _is_str, "a str"),
    ("time", _is_time, "an int, in ms since 1970"),
    ("insert_id", _is_filled, "text of 1 to 1024 characters"),
    ("event_properties", _is_mapping, "a dict"),
    ("user_properties", _is_mapping, "a dict"),
    ("group_properties", _is_mapping, "a dict"),
]


class Tracked:
    def __init__(
        self,
        options: Mapping[str, Any],
        log: Log,
        core: Core,
        before_send: Optional[BeforeSend],
        counter: Counter,
        library: str,
    ) -> None:
        self._log = log
        self._core = core
        self._before_send = before_send
        self._counter = counter
        self._library = member("library", library)
        constants = constant_fields(options)
        self._constants = [(name, member(name, value)) for name, value in constants.items()]
        groups = [("groups", member("groups", options["groups"]))] if options["groups"] else []
        self._fields = [*self._constants, *groups]  # a profile has no groups

    def track(self, event: Any, properties: Any, options: Mapping[str, Any]) -> bool:
        """Take an event; returns whether reports of refused decisions are to be collected."""
        return self._take(lambda: _track_event(event, properties, options))

    def identify(self, properties: Any, options: Mapping[str, Any]) -> bool:
        return self._take(lambda: _identify_event(properties, options))

    def _take(self, create: Callable[[], Dict[str, Any]]) -> bool:
        try:
            given = create()
            _check(given)
            user_id, device_id = given.get("user_id"), given.get("device_id")
            members: Optional[str] = self._members_of(given)
            if self._before_send is not None:
                ids = id_members(user_id, device_id)
                changed = self._before_send.call(json.loads(f"{{{join(ids, members)}}}"))
                if changed is None:
                    self._counter.add("tracked_ignored")
                    return False
                user_id, device_id, members = changed
            insert_id = given.get("insert_id") or _random_id()
            return self._conclude(self._core.track(user_id, device_id, join(members, member("insert_id", insert_id))))
        except Exception as error:
            self._counter.add("tracked_invalid")
            reason = reason_of(error)
            self._log.warning(f"track: {reason}", f"an event is not sent: {reason}")
            return False

    def _members_of(self, given: Mapping[str, Any]) -> str:
        """Render an event without its ids."""
        moment = given.get("time")
        is_profile = given.get("event_type") in PROFILE_EVENT_TYPES
        members = [member("time", int(time.time() * 1000) if moment is None else moment), self._library]
        members += [text for name, text in (self._constants if is_profile else self._fields) if given.get(name) is None]
        for name, value in given.items():
            if name not in NOT_COPIED:
                valid = self._field_of(name, value)
                if valid is not None:
                    members.append(member(name, valid))
        return join(*members)

    def _field_of(self, name: str, value: Any) -> Any:
        """Return a field; one that is wrong is counted and logged, and None."""
        try:
            return check_field(name, value)
        except Exception as error:
            self._counter.add("tracked_left_fields")
            self._log.warning(f"track field {name}", f"track: {reason_of(error)}; the event is sent without its {name}")
            return None

    def _conclude(self, result: int) -> bool:
        """Count and log a result of the core, which counts what it has accepted."""
        status, left_out, reason, collect = read_result(result)
        if left_out is not None:
            self._counter.add("left_ids")
            self._log.warning(
                f"track {left_out} {reason}",
                f"a {left_out} is left out, and the event goes with the other id: "
                f"{describe_status(STATUS[reason])} ({advice_for(reason)})",
            )
        if status in (OK, STATUS["opted_out"]):
            return collect
        message = describe_status(status)
        if status in (STATUS["queue_full"], STATUS["closed"]):
            self._log.warning(f"track {status}", f"an event is dropped: {message}")
        else:
            self._counter.add("tracked_invalid")
            self._log.warning(f"track {status}", f"an event is not sent: {message}")
        return collect


def _random_id() -> str:
    import uuid  # here, because it takes 2 ms to import

    return str(uuid.uuid4())


def _optional(value: Any, what: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{what} are not a dict")
    return value or {}


def _track_event(event: Any, properties: Any, options: Mapping[str, Any]) -> Dict[str, Any]:
    """track(type, properties, **options) or track(event, properties, **options): the later ones win."""
    base = {"event_type": event} if isinstance(event, str) else event
    if not isinstance(base, Mapping):
        raise TypeError("track() expects the type of the event, or the event")
    given = {**base, **options}
    if _optional(properties, "its properties"):
        given["event_properties"] = properties
    return given


def _identify_event(properties: Any, options: Mapping[str, Any]) -> Dict[str, Any]:
    """The properties to set, operations on them such as {"$add": {...}}, or an Identify of amplitude-analytics."""
    if hasattr(properties, "user_properties"):
        properties = properties.user_properties
    if not isinstance(properties, Mapping):
        raise TypeError("identify() expects the properties of the user")
    return {**options, "event_type": "$identify", "user_properties": _to_operations(properties)}


def _to_operations(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    operations = [name for name in properties if isinstance(name, str) and name.startswith("$")]
    for name in operations:
        if name not in OPERATIONS:
            close = nearest(name, OPERATIONS)
            advice = f"did you mean {close}?" if close else f"they are {', '.join(OPERATIONS)}"
            raise ValueError(
                f"identify() knows no operation {shorten(name)!r}: {advice} A property of such a name goes into $set"
            )
    if operations and len(operations) < len(properties):
        raise ValueError(f"identify() mixes operations ({', '.join(operations)}) with properties")
    for name in operations:
        if name != "$clearAll" and not isinstance(properties[name], Mapping):
            raise ValueError(f"its {name} is not a dict of properties")
    return properties if operations else {"$set": properties}


def _check(event: Mapping[str, Any]) -> None:
    for name, is_valid, expected in CHECKS:
        value = event.get(name)
        if not (value is None and name != "event_type") and not is_valid(value):
            raise ValueError(f"its {name} is not {expected}")
