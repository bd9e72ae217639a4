"""The option before_send: the events of a decision as dicts, and what the application's function makes of them.

It is for redaction. So whatever it does wrong costs what it was called for: a decision that is not sent is better than
one that says what nobody was to know.
"""

from __future__ import annotations

import json
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from .decisions import Variant
from .fields import to_constant_members
from .text import MAX_DEPTH, is_awaitable, is_text, join, member, reason_of, to_members

ADDED_LATER = ("user_id", "device_id", "insert_id", "event_id")
"""What the core adds; `insert_id` is a hash by which a repeat is counted once."""


class Event(NamedTuple):
    """What is left of an event: its user, and its other members."""

    user_id: Optional[str]
    device_id: Optional[str]
    members: Optional[str]


class Rendered(NamedTuple):
    """What is left of a decision; an event that is None is not sent."""

    user_id: Optional[str]
    device_id: Optional[str]
    event: Optional[str]
    identify: Optional[str]
    exposure: Optional[str]
    left: int
    """How many events were left out."""


def id_members(user_id: Any, device_id: Any) -> str:
    ids = (("user_id", user_id), ("device_id", device_id))
    return join(*(member(name, value) for name, value in ids if isinstance(value, str) and value))


def _is_id(value: Any) -> bool:
    return value is None or isinstance(value, str)


class BeforeSend:
    def __init__(self, options: Mapping[str, Any], library: str) -> None:
        self._options = options
        self._common = join(member("library", library), to_constant_members(options))
        self._groups = member("groups", options["groups"]) if options["groups"] else None

    def take_decision(
        self,
        variant: Variant,
        user_id: Any,
        device_id: Any,
        fields: Optional[str],
        event_properties: Optional[str],
        user_properties: Optional[str],
    ) -> Optional[Rendered]:
        """Return what is left of a decision; None if nothing is to be sent. Raises if one event may not be sent."""
        parts = self._options["format"]
        origin = join(id_members(user_id, device_id), fields, member("time", int(time.time() * 1000)), self._common)
        groups = None if fields is not None and fields.startswith('"groups":') else self._groups
        setting = join(self._set_member(variant), user_properties)

        def build(kind: str, *members: Optional[str]) -> Optional[Event]:
            return self.call(json.loads(f"{{{join(member('event_type', kind), origin, *members)}}}"))

        identify = event = exposure = None
        sent: List[Optional[Event]] = []
        if parts.sends_identify or parts.event_sets_property:
            identify = build("$identify", f'"user_properties":{{"$set":{{{setting}}}}}')
        if parts.sends_identify:
            sent.append(identify)
        if parts.sends_event:
            event = build(
                self._options["event_type"],
                groups,
                f'"event_properties":{{{join(_event_members(variant), event_properties)}}}',
                f'"user_properties":{{{setting}}}' if parts.event_sets_property else None,
            )
        if parts.sends_exposure:
            exposure = build(
                "$exposure",
                groups,
                f'"event_properties":{{{join(_exposure_members(variant), event_properties)}}}',
            )
            sent.append(exposure)
        if parts.sends_event:
            sent.append(event)
        kept = [each for each in sent if each is not None]
        if not kept:
            return None
        # An event that sets the property is sent with a $identify only to set it again.
        is_for_later = identify is not None and not parts.sends_identify
        first = _the_one_user([*kept, identify] if is_for_later and identify is not None else kept)
        return Rendered(
            first.user_id,
            first.device_id,
            event and event.members,
            None if identify is None or (is_for_later and event is None) else identify.members,
            exposure and exposure.members,
            sent.count(None),
        )

    def call(self, event: Dict[str, Any]) -> Optional[Event]:
        """Give an event to the application; None if it is not to be sent. Raises if it may not be sent."""
        try:
            changed = self._options["before_send"](event)
        except Exception as error:
            raise ValueError(f"before_send raised: {reason_of(error)}") from error
        if is_awaitable(changed):
            raise ValueError("before_send returned an awaitable: it has to return the event, or None")
        if changed is None:
            return None
        if not isinstance(changed, Mapping):
            raise ValueError(
                f"before_send returned a {type(changed).__name__}: return the event, or None to keep it out"
            )
        kind, user_id, device_id = (changed.get(name) for name in ("event_type", "user_id", "device_id"))
        if not is_text(kind, 1) or not _is_id(user_id) or not _is_id(device_id):
            raise ValueError("before_send returned an event whose event_type, user_id or device_id is wrong")
        try:
            return Event(user_id, device_id, to_members(changed, ADDED_LATER, MAX_DEPTH + 1))
        except Exception as error:
            raise ValueError(f"before_send: {reason_of(error)}") from error

    def _set_member(self, variant: Variant) -> str:
        flag, variation, _, enabled = variant
        is_shown = variation is not None and (enabled or self._options["disabled_value"] == "variation")
        return member(self._options["property_prefix"] + flag, variation if is_shown else "off")


def _event_members(variant: Variant) -> str:
    """The event's own properties, as variant.c writes them: a test compares."""
    names = ("flag_key", "variation_key", "rule_key", "enabled")
    return join(*(member(name, value) for name, value in zip(names, variant)))


def _exposure_members(variant: Variant) -> str:
    flag, variation, rule, _ = variant
    return join(
        member("flag_key", flag),
        None if variation is None else member("variant", variation),
        None if rule is None else member("experiment_key", rule),
    )


def _the_one_user(events: List[Event]) -> Event:
    """The user of a decision's events. It decides what is sent once and in which order, so there has to be one."""
    ids = {(event.user_id or None, event.device_id or None) for event in events}
    if len(ids) > 1:
        raise ValueError("before_send gave the events of one decision different users")
    return events[0]
