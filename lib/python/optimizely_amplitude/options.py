"""The options of a dispatcher: what they may be, what they are when left out, and what follows from them.

Everything is checked here, once, and nowhere else. No message contains an API key or the credentials of a URL.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit, urlunsplit

from . import fields
from .checks import (
    MAX_MILLIS,
    Option,
    Unexpected,
    boolean,
    describe,
    function,
    integer,
    millis,
    one_of,
    quote,
    resolve_table,
)
from .endpoints import AMPLITUDE_HOSTS, BATCH, HTTP_V2, ORIGINS
from .errors import OptionError
from .text import MAX_STRING_LENGTH, is_text

DAY_MILLIS = 24 * 60 * 60 * 1000
MIB = 1024 * 1024
SYNC_MILLIS = 1000

DECISION_TYPES = ("flag", "feature", "feature-variable", "all-feature-variables", "ab-test", "feature-test")
RESERVED_EVENT_TYPES = ("$identify", "$groupidentify", "$exposure")
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

# What an environment variable that is not set turns into.
UNSET = (None, "", "None", "undefined", "null")


# ---- formats ----------------------------------------------------------------------------------------

EVENT_PROPERTIES = ("flag_key", "variation_key", "rule_key", "enabled")
EXPOSURE_PROPERTIES = ("flag_key", "variant", "experiment_key")


class Format(NamedTuple):
    """What a decision becomes."""

    sends_identify: bool
    sends_event: bool
    event_sets_property: bool
    sends_exposure: bool

    @property
    def sets_property(self) -> bool:
        return self.sends_identify or self.event_sets_property

    @property
    def own_properties(self) -> Tuple[str, ...]:
        """The names that its events have of their own."""
        return (*(EVENT_PROPERTIES if self.sends_event else ()), *(EXPOSURE_PROPERTIES if self.sends_exposure else ()))


FORMATS = {
    "event": Format(True, True, False, False),
    "merged": Format(False, True, True, False),
    "exposure": Format(False, False, False, True),
    "identify": Format(True, False, False, False),
}


def _formats(value: Any) -> Tuple[str, ...]:
    formats = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    expected = f"{quote(FORMATS)}, or a list of them"
    for name in formats:
        if not isinstance(name, str) or name not in FORMATS:
            raise Unexpected(expected, None if name is value else f"one with {describe(name)}")
    twice = next((name for name in formats if formats.count(name) > 1), None)
    # Only `$exposure` adds something to another one.
    setting = [name for name in formats if name != "exposure"]
    if not formats:
        raise Unexpected(expected)
    if twice is not None:
        raise Unexpected(f"{expected} that go together", f"one with '{twice}' twice")
    if len(setting) > 1:
        clash = f"'{setting[0]}' and '{setting[1]}', which both set the user property"
        raise Unexpected(f"{expected} that go together", f"one with {clash}")
    return formats


# ---- checks -----------------------------------------------------------------------------------------


def _property_prefix(value: Any) -> str:
    if not is_text(value):
        raise Unexpected(f"a str of at most {MAX_STRING_LENGTH} characters, without lone surrogates")
    return str(value)


def _event_type(value: Any) -> Optional[str]:
    if value is False:
        return None
    if not is_text(value, 1) or value in RESERVED_EVENT_TYPES:
        raise Unexpected(
            f"the name of an event (1 to {MAX_STRING_LENGTH} characters, not {quote(RESERVED_EVENT_TYPES)}), "
            "or False to send none",
            "'$exposure': it is sent by format='exposure'" if value == "$exposure" else None,
        )
    return str(value)


def describe_key(value: Any) -> str:
    """An API key that is refused, in a few words that do not repeat it."""
    return "None" if value is None else f"a {type(value).__name__}"


def check_key(value: Any) -> str:
    expected = "the API key of the Amplitude project"
    if value in UNSET if isinstance(value, (str, type(None))) else False:
        got = f"the word {value!r}" if value else describe(value)
        raise Unexpected(expected, f"{got}: is its environment variable set?")
    if not isinstance(value, str):
        raise Unexpected(expected)
    if re.fullmatch(r"[\x21-\x7e]+", value) is None:
        raise Unexpected(expected, "a str with spaces, line ends or other characters that no key has")
    if len(value) > MAX_STRING_LENGTH:
        raise Unexpected(expected, f"a str of {len(value)} characters")
    return value


def _describe_url(value: Any) -> str:
    """A URL that is refused, without its secrets: a password comes before an @, and queries hold tokens."""
    if not isinstance(value, str):
        return describe(value)
    return "a str that is not one" if "@" in value else describe(value.split("?", 1)[0])


def check_url(value: Any) -> str:
    expected = "an absolute http or https URL, with the path of the endpoint"
    try:
        url = urlsplit(value if isinstance(value, str) else "")
        host, port = url.hostname, url.port
    except ValueError:
        raise Unexpected(expected, _describe_url(value)) from None
    if not host or url.scheme not in ("http", "https"):
        raise Unexpected(expected, _describe_url(value))
    if url.username is not None or url.password is not None:
        raise Unexpected(f"{expected}, without user name and password", "a URL that has them")
    name = f"[{host}]" if ":" in host else host
    netloc = name if port is None else f"{name}:{port}"
    if url.path in ("", "/"):
        origin = f"{url.scheme}://{netloc}"
        raise Unexpected(
            expected,
            f"{_describe_url(value)}: Amplitude listens at {origin}{HTTP_V2.path} and at {origin}{BATCH.path}",
        )
    return urlunsplit((url.scheme, netloc, url.path, url.query, ""))


def _proxy(value: Any) -> str:
    """'' stands for no proxy, whatever the environment says; a proxy without a scheme speaks http."""
    if value == "":
        return ""
    given = value if isinstance(value, str) else ""
    url = urlsplit(given if "://" in given else f"http://{given}")
    if not url.hostname or url.scheme not in PROXY_SCHEMES:
        raise Unexpected(
            "the URL of a proxy such as http://proxy.example:3128 (http, https or socks), or '' for none",
            _describe_url(value),
        )
    return url.geturl()


def _no_proxy(value: Any) -> str:
    if not isinstance(value, str) or re.search("[\0\r\n]", value):
        raise Unexpected("host names separated by commas, or '*' for all of them")
    return value


def _ca_file(value: Any) -> str:
    expected = "the path of a file of certificates (PEM)"
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise Unexpected(expected)
    file = os.path.abspath(os.fspath(value))  # the working directory may change later
    try:
        with open(file, "rb"):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unexpected(expected, f"{file!r}, which cannot be read ({reason})") from None
    return str(file)


def _logger(value: Any) -> Any:
    if not isinstance(value, (logging.Logger, logging.LoggerAdapter)):
        raise Unexpected("a logging.Logger, or a LoggerAdapter")
    return value


def _decision_types(value: Any) -> Tuple[str, ...]:
    expected = f"a list of {quote(DECISION_TYPES)}"
    if not isinstance(value, (list, tuple, set, frozenset)) or not value:
        raise Unexpected(expected)
    for kind in value:
        if kind not in DECISION_TYPES:
            raise Unexpected(expected, f"one with {describe(kind)}")
    return tuple(dict.fromkeys(value))


def _store_client(value: Any) -> Any:
    if not callable(getattr(value, "execute_command", None)):
        raise Unexpected(
            "a client of redis or valkey, which has execute_command()",
            "an object without it; a function send(argv, routing_key) fits any client",
        )
    return value


def _store_prefix(value: Any) -> str:
    """A part of keys, and of what is in their braces."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value) is None:
        raise Unexpected("1 to 64 letters, digits, or any of _ . : -")
    return value


STORE_TABLE = {
    "client": Option(_store_client),
    "send": Option(function),
    "prefix": Option(_store_prefix, "oa"),
    "buckets": Option(integer(1, 1024), 1),
    "timeout_millis": Option(millis(1), 50),
}


def _store(value: Any) -> Dict[str, Any]:
    expected = 'a dict with the application\'s client of Redis or Valkey, {"client": client}, or {"send": function}'
    if hasattr(value, "execute_command"):
        value = {"client": value}
    elif callable(value):
        value = {"send": value}
    if not isinstance(value, Mapping):
        raise Unexpected(expected)
    resolved = resolve_table(STORE_TABLE, value, "dedupe.store.")
    if (resolved["client"] is None) == (resolved["send"] is None):
        raise Unexpected(expected, "neither" if resolved["client"] is None else "both")
    return resolved


DEDUPE_TABLE = {
    "window_millis": Option(millis(1, 365 * DAY_MILLIS), DAY_MILLIS),
    "refresh_millis": Option(millis(1, 365 * DAY_MILLIS), 60 * 60 * 1000),
    "max_entries": Option(integer(1, 2**31 - 1), 1_000_000),
    "store": Option(_store),
}


def _dedupe(value: Any) -> Optional[Dict[str, Any]]:
    if value is False:
        return None
    if not isinstance(value, Mapping):
        raise Unexpected(f"False, or a dict with some of {', '.join(DEDUPE_TABLE)}")
    return resolve_table(DEDUPE_TABLE, value, "dedupe.")


MAX_PATH_LENGTH = 1000
"""Linux takes 4095 bytes, of up to three for a character."""


def check_directory(value: Any) -> str:
    expected = "the path of a directory"
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value) or "\0" in str(value):
        raise Unexpected(expected)
    directory = os.path.abspath(os.fspath(value))  # the working directory may change later
    if len(directory) > MAX_PATH_LENGTH:
        raise Unexpected(f"{expected}, of at most {MAX_PATH_LENGTH} characters")
    return str(directory)


def _sync_interval(value: Any) -> Any:
    if value == "always":
        return value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_MILLIS:
        raise Unexpected(f"an int from 0 to {MAX_MILLIS} (milliseconds), or 'always'")
    return value


SPOOL_TABLE = {
    "directory": Option(check_directory, is_required=True),
    "max_bytes": Option(integer(4 * MIB, 2**53 - 1, "bytes"), 1024 * MIB),
    "sync_interval_millis": Option(_sync_interval, SYNC_MILLIS),
}


def _spool(value: Any) -> Optional[Dict[str, Any]]:
    """`syncs_flushes` is what 'always' means."""
    if value is False:
        return None
    if not isinstance(value, Mapping):
        raise Unexpected(f"False, or a dict with {', '.join(SPOOL_TABLE)}")
    if sys.platform != "linux":
        raise Unexpected("False on this system, because files of a spool need Linux")
    resolved = resolve_table(SPOOL_TABLE, value, "spool.")
    syncs_flushes = resolved["sync_interval_millis"] == "always"
    if syncs_flushes:
        resolved["sync_interval_millis"] = SYNC_MILLIS
    return {**resolved, "syncs_flushes": syncs_flushes}


TABLE = {
    "api_key": Option(check_key, is_required=True, describe=describe_key),
    "server_zone": Option(one_of(*ORIGINS), "US"),
    "use_batch": Option(boolean, False),
    "server_url": Option(check_url),
    # An empty id counts as absent, so the minimum is 1.
    "min_id_length": Option(integer(1, MAX_STRING_LENGTH, "characters"), 5),
    "flush_queue_size": Option(integer(1, 2**32 - 1, "events"), 200),
    "flush_interval_millis": Option(millis(0), 10_000),
    "flush_max_retries": Option(integer(1, 2**16 - 1, "failures"), 12),
    # Amplitude knows the insert_ids of seven days, by which a repeat is counted once.
    "max_age_millis": Option(millis(1, 7 * DAY_MILLIS), DAY_MILLIS),
    "flush_timeout_millis": Option(millis(0), 10_000),
    "request_timeout_millis": Option(millis(1), 10_000),
    "max_queue_bytes": Option(integer(1024, 2**53 - 1, "bytes"), 64 * MIB),
    "compression": Option(boolean, True),
    "dedupe": Option(_dedupe, resolve_table(DEDUPE_TABLE, {}, "dedupe.")),
    "spool": Option(_spool),
    "format": Option(_formats),
    "event_type": Option(_event_type, "Experiment Viewed"),
    "property_prefix": Option(_property_prefix, "[Optimizely] "),
    "disabled_value": Option(one_of("off", "variation"), "off"),
    "decision_types": Option(_decision_types, ("flag",)),
    "resolve_user": Option(function),
    "event_properties": Option(function),
    "user_properties": Option(function),
    "before_send": Option(function),
    "send": Option(one_of("all", "experiments"), "all"),
    "groups": Option(fields.groups),
    "ingestion_metadata": Option(fields.ingestion_metadata),
    "plan": Option(fields.plan),
    "partner_id": Option(fields.text),
    "opt_out": Option(boolean, False),
    "logger": Option(_logger),
    "on_drop": Option(function),
    "proxy": Option(_proxy),
    "no_proxy": Option(_no_proxy),
    "ca_file": Option(_ca_file),
}


NODE_ONLY = {
    "engine": "there is one engine",
    "include_rollouts": "use send='experiments'",
    "logger_provider": "use logger",
    "log_level": "the logger has a level of its own",
    "max_concurrent": "one thread sends",
}
"""Options of the package for Node.js that are none here, and why."""


def refuse_node_only(node_only: Mapping[str, str], given: Mapping[str, Any]) -> None:
    for name in given:
        advice = node_only.get(re.sub("([A-Z])", r"_\1", str(name)).lower())
        if advice is not None:
            raise OptionError(f"option '{name}' is one of the Node.js package only: {advice}")


# ---- what follows from the options ------------------------------------------------------------------


def _resolve_format(resolved: Mapping[str, Any], given: Mapping[str, Any]) -> Format:
    formats = resolved["format"] or (("identify",) if resolved["event_type"] is None else ("event",))
    parts = Format(*(any(values) for values in zip(*(FORMATS[name] for name in formats))))
    names = " with ".join(f"'{name}'" for name in formats)
    if resolved["event_type"] is None and parts.sends_event:
        raise OptionError(
            f"option 'event_type': False sends no event, but format {names} does; leave event_type out, "
            "or use format='identify'"
        )
    if given.get("event_type") and not parts.sends_event:
        raise OptionError(f"option 'event_type': format {names} sends no event of this type; leave it out")
    if given.get("user_properties") and not parts.sets_property:
        raise OptionError(f"option 'user_properties': format {names} sets none; use format=['exposure', 'identify']")
    return parts


def resolve_options(given: Mapping[str, Any]) -> Dict[str, Any]:
    """Check the options of Dispatcher(), and fill in what is left out.

    The result has every option by its name; None means none. In addition,
    - `server_url` is the URL to post to, and `server_name` the same without its query, for messages;
    - `event_type`, `dedupe` and `spool` are None instead of False, and the latter two are complete otherwise;
    - `format` is a Format, and `event_type` is None where it is not sent;
    - `api` has the limits of the endpoint, and `is_amplitude` is whether the host is one of Amplitude's own.

    Raises an OptionError that names the option and says what is expected.
    """
    refuse_node_only(NODE_ONLY, given)
    resolved = resolve_table(TABLE, given)
    resolved["format"] = _resolve_format(resolved, given)
    if not resolved["format"].sends_event:
        resolved["event_type"] = None
    if resolved["server_url"] is None:
        api = BATCH if resolved["use_batch"] else HTTP_V2
        resolved["server_url"] = ORIGINS[resolved["server_zone"]] + api.path
    url = urlsplit(resolved["server_url"])
    is_batch = resolved["use_batch"] or re.search("/batch/?$", url.path) is not None
    resolved["api"] = BATCH if is_batch else HTTP_V2
    resolved["server_name"] = f"{url.scheme}://{url.netloc}{url.path}"
    resolved["is_amplitude"] = url.hostname in AMPLITUDE_HOSTS
    return resolved


def native_config(options: Mapping[str, Any], library: str, debug: bool) -> Dict[str, Any]:
    """Exactly the members of oa_config (src/core/oa.h), by their names there."""
    from .text import dumps

    parts: Format = options["format"]
    dedupe = options["dedupe"] or {}
    groups = options["groups"]
    return {
        "api_key": options["api_key"],
        "library": library,
        "event_type": options["event_type"],
        "property_prefix": options["property_prefix"],
        "groups_json": None if groups is None else dumps(groups),
        "constants_json": fields.to_constant_members(options),
        "server_name": options["server_name"],
        "is_amplitude": options["is_amplitude"],
        "sends_identify": parts.sends_identify,
        "event_sets_property": parts.event_sets_property,
        "sends_exposure": parts.sends_exposure,
        "disabled_value_is_variation": options["disabled_value"] == "variation",
        "opt_out": options["opt_out"],
        "debug": debug,
        "report_drops": options["on_drop"] is not None,
        "compression": options["compression"],
        "dedupe": options["dedupe"] is not None,
        "store": dedupe.get("store") is not None,
        "spool": options["spool"] is not None,
        "min_id_length": options["min_id_length"],
        "flush_queue_size": options["flush_queue_size"],
        "flush_max_retries": options["flush_max_retries"],
        "max_concurrent": 1,  # one thread sends
        "flush_interval_ms": options["flush_interval_millis"],
        "max_age_ms": options["max_age_millis"],
        "throttle_ms": options["api"].throttle_millis,
        "max_queue_bytes": options["max_queue_bytes"],
        "max_body_bytes": options["api"].max_bytes - 1,
        "dedupe_window_ms": dedupe.get("window_millis", 0),
        "dedupe_refresh_ms": dedupe.get("refresh_millis", 0),
        "dedupe_max_entries": dedupe.get("max_entries", 0),
    }


def secrets_of(options: Mapping[str, Any]) -> List[str]:
    """What no log line may contain, although a server or a proxy may quote it. Short keys may be ordinary words."""
    return [options["api_key"]] if len(options["api_key"]) >= 8 else []
