"""The application's callbacks for a decision: resolve_user, event_properties and user_properties, and the rule.

A resolve_user that raises costs the decision; one of the others costs its properties, and a field that is wrong costs
itself. For before_send see there.
"""

from __future__ import annotations

import weakref
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from ._native import Core
from .before_send import BeforeSend
from .counts import Counter
from .decisions import IGNORED_EVENT, IGNORED_SEND, IGNORED_USER, Variant
from .fields import to_field_members
from .log import Log
from .rules import NO_RULE, ROLLOUT, find_rule, notified_rule
from .text import is_awaitable, reason_of, to_members
from .types import Notification, Rule

UNKNOWN_RULE = Rule(None)
"""A rule decided, and its kind cannot be found out."""


class _User(NamedTuple):
    user_id: Any
    device_id: Any
    fields: Optional[str]


class Callbacks:
    """`counter` counts what decisions were sent without; `before_send` may be None: the core renders the events."""

    def __init__(
        self,
        options: Mapping[str, Any],
        log: Log,
        core: Core,
        before_send: Optional[BeforeSend],
        counter: Counter,
    ) -> None:
        self._options = options
        self._log = log
        self._core = core
        self._before_send = before_send
        self._counter = counter
        self._needs_rules = (
            options["send"] == "experiments"
            or options["event_properties"] is not None
            or options["user_properties"] is not None
        )

    @staticmethod
    def are_needed(options: Mapping[str, Any]) -> bool:
        names = ("resolve_user", "event_properties", "user_properties", "before_send")
        return options["send"] != "all" or any(options[name] is not None for name in names)

    @property
    def need_rules(self) -> bool:
        return self._needs_rules

    def record(self, variant: Variant, notification: Notification, client: Optional[weakref.ReferenceType[Any]]) -> int:
        """Get the user and the properties, and pass the decision to the core; returns its status.

        Raises when resolve_user or before_send does something invalid.
        """
        options = self._options
        rule = self._rule_of(variant, notification, client) if self._needs_rules else NO_RULE
        if options["send"] == "experiments" and (rule is ROLLOUT or rule is NO_RULE):
            return IGNORED_SEND
        user = self._resolve(notification)
        if user is None:
            return IGNORED_USER
        event_properties = self._enrich("event_properties", notification, rule, options["format"].own_properties)
        own_name = options["property_prefix"] + variant[0]
        user_properties = self._enrich("user_properties", notification, rule, (own_name,))
        if self._before_send is None:
            return self._core.record(
                variant, user.user_id, user.device_id, event_properties, user_properties, user.fields, False
            )
        rendered = self._before_send.take_decision(
            variant, user.user_id, user.device_id, user.fields, event_properties, user_properties
        )
        if rendered is None:
            return IGNORED_EVENT
        if rendered.left > 0:
            self._counter.add("left_events", rendered.left)
        return self._core.record(
            variant, rendered.user_id, rendered.device_id, rendered.event, rendered.identify, rendered.exposure, True
        )

    def _rule_of(
        self, variant: Variant, notification: Notification, client: Optional[weakref.ReferenceType[Any]]
    ) -> Rule:
        info = notification.decision_info
        rule = notified_rule(notification.type, info)
        if rule is not None:
            return rule
        if client is None:
            self._tell_unknown(
                "a listener that is registered by hand does not know the client; use dispatcher.attach(client)"
            )
            return UNKNOWN_RULE
        try:
            return find_rule(client(), variant[0], info)
        except Exception as error:
            self._tell_unknown(f"rule {info.get('rule_key')!r} of flag {variant[0]!r}: {reason_of(error)}")
            return UNKNOWN_RULE

    def _tell_unknown(self, reason: str) -> None:
        self._log.warning(
            "rules",
            "the kind of rule that decided is unknown, so such decisions are sent, with a rule_type of None: " + reason,
        )

    def _resolve(self, notification: Notification) -> Optional[_User]:
        """Return the user of a decision, or None if it is not to be sent. Raises what is wrong with resolve_user."""
        resolve: Optional[Callable[[Notification], Any]] = self._options["resolve_user"]
        if resolve is None:
            return _User(notification.user_id, None, None)
        try:
            user = resolve(notification)
        except Exception as error:
            raise ValueError(f"resolve_user raised: {reason_of(error)}") from error
        if user is None:
            return None
        if is_awaitable(user):
            raise ValueError("resolve_user returned an awaitable: it has to return the user")
        if not isinstance(user, Mapping):
            raise ValueError(
                f"resolve_user returned a {type(user).__name__}: return a dict with user_id or device_id, or None"
            )
        user_id, device_id = user.get("user_id"), user.get("device_id")
        for name, value in (("user_id", user_id), ("device_id", device_id)):
            if value is not None and not isinstance(value, str):
                raise ValueError(f"resolve_user returned a {name} that is a {type(value).__name__}: a str is expected")
        return _User(user_id, device_id, to_field_members(user, self._note_field))

    def _note_field(self, name: str, error: Exception) -> None:
        self._counter.add("left_fields")
        self._log.warning(
            f"resolve_user {name}", f"resolve_user: {reason_of(error)}; the decision is sent without its {name}"
        )

    def _enrich(self, name: str, notification: Notification, rule: Rule, own_names: Sequence[str]) -> Optional[str]:
        """Call a callback for properties, and return them as members of a JSON object; None when there are none."""
        callback: Optional[Callable[[Notification, Rule], Any]] = self._options[name]
        if callback is None:
            return None
        try:
            properties = callback(notification, rule)
            if is_awaitable(properties):
                raise ValueError("it returned an awaitable, but has to return the properties")
            return to_members(properties, own_names)
        except Exception as error:
            self._counter.add("left_properties")
            self._log.warning(name, f"{name}: {reason_of(error)}; the decision is sent without its properties")
            return None
