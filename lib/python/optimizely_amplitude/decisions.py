"""Decisions as the SDK's notifications have them, and what can become of one."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Tuple

from ._native import STATUS_MESSAGES, STATUS_NAMES
from .text import MAX_STRING_LENGTH, is_text, to_python_names

NOTIFICATION_TYPE = "DECISION:type, user_id, attributes, decision_info"
"""What the SDK calls the type of its notifications of decisions, in all versions since 3.0."""

Variant = Tuple[Any, Any, Any, Any]
"""The constant part of a decision: flag, variation, rule, enabled."""

STATUS = {name: code for code, name in enumerate(STATUS_NAMES)}
OK = STATUS["ok"]
REPEAT = STATUS["repeat"]

# Statuses of decisions that are not passed to the core; its own are never negative.
UNUSUAL = -1
INVALID = -2
IGNORED_TYPE = -3
IGNORED_USER = -4
IGNORED_EVENT = -5
IGNORED_SEND = -6

_OWN_MESSAGES = {
    INVALID: "not sent: it is not complete",
    IGNORED_TYPE: "ignored: decision_types does not name its type",
    IGNORED_USER: "ignored: resolve_user returned None",
    IGNORED_EVENT: "ignored: before_send returned None",
    IGNORED_SEND: "ignored: send is 'experiments', and no experiment decided",
    OK: "queued",
    REPEAT: "suppressed: it was sent in this window already",
}
_ADVICE = {
    "id_missing": "pass a user id to create_user_context(), or map it with the option resolve_user",
    "id_too_short": "use longer ids, or lower the option min_id_length; Amplitude removes shorter ones",
    "id_too_long": "Amplitude cuts ids at 1024 characters, which would merge users",
    "id_forbidden": 'Amplitude refuses ids such as "anonymous" or "null": give each visitor an id, '
    "or return None from resolve_user",
    "id_malformed": "it is not valid Unicode",
}


class Result(NamedTuple):
    """What the core says of a decision or an event."""

    status: int
    left_out: Optional[str]
    """The name of the id that was left out."""
    reason: str
    """Why it was, as the status that it alone would have had."""
    collect: bool
    """Whether reports of refused decisions fill their memory."""


def read_result(result: int) -> Result:
    left_out = result >> 8 & 0xFF
    name = None if left_out == 0 else "device_id" if result & 1 << 16 else "user_id"
    return Result(result & 0xFF, name, STATUS_NAMES[left_out], bool(result & 1 << 17))


def describe_status(status: int) -> str:
    """A status in words."""
    if status in _OWN_MESSAGES:
        return _OWN_MESSAGES[status]
    return to_python_names(STATUS_MESSAGES[status])


def advice_for(name: str) -> Optional[str]:
    """What to do about an id that Amplitude would refuse."""
    return _ADVICE.get(name)


def read_variant(kind: str, info: Mapping[str, Any]) -> Variant:
    """Return the variant of a decision. Decisions of the older APIs are translated into decisions of a flag.

    Their notifications do not name the variation and the rule of a rollout (the variation becomes `on`), and do not
    distinguish activate() from get_variation().
    """
    if kind == "flag":
        return info["flag_key"], info.get("variation_key"), info.get("rule_key"), info["enabled"]
    if kind in ("ab-test", "feature-test"):
        experiment, variation = info["experiment_key"], info["variation_key"]
        return experiment, variation, experiment, isinstance(variation, str)
    enabled = info["feature_enabled"]
    source = info.get("source_info") or {}
    variation = source.get("variation_key")
    if variation is None and enabled:
        variation = "on"
    return info["feature_key"], variation, source.get("experiment_key"), enabled


def fault_of(variant: Variant) -> Optional[str]:
    """Return what is wrong with a variant, or None."""
    flag, variation, rule, enabled = variant
    if not is_text(flag, 1):
        return f"its flag_key is not a str of 1 to {MAX_STRING_LENGTH} characters"
    for name, value in (("variation_key", variation), ("rule_key", rule)):
        if value is not None and not is_text(value):
            return f"its {name} is neither None nor a str of at most {MAX_STRING_LENGTH} characters"
    return None if isinstance(enabled, bool) else "its enabled is neither True nor False"
