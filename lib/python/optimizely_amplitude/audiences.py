"""Cohorts of Amplitude as attributes of Optimizely: the way back.

    audiences = Audiences(cohorts={"amplitude_power_user": "7khm89cz"}, api_key=..., secret_key=...)
    audiences.ready(timeout=5.0)
    user = client.create_user_context(user_id, audiences.attributes(user_id, {"plan": "pro"}))

One daemon thread reads the members of each cohort, from Amplitude, an Evaluation Proxy or files, into the tables of
src/core/cohort.h: 6 bytes a member. A forked child looks up what was loaded before, and has a thread of its own once it
asks again.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
import threading
import time
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from . import lifecycle
from ._native import VERSION, Cohorts
from .checks import Option, Unexpected, describe, integer, millis, one_of, read_timeout, resolve_table
from .connection import Connection
from .endpoints import COHORT_ORIGINS, COHORT_PATH
from .errors import OptionError
from .log import Log
from .options import TABLE as DISPATCHER_TABLE
from .options import check_directory, check_key, describe_key, refuse_node_only
from .snapshot import Snapshot
from .text import is_text, reason_of
from .webhook import Webhook

MINUTE_MILLIS = 60 * 1000
READY_MILLIS = 10 * 1000
MAX_ATTRIBUTES = 100
"""Optimizely's limit for a project."""
MAX_ATTRIBUTE_LENGTH = 64
MAX_MEMBERS = 50_000_000
"""The largest cohort that Amplitude offers for local evaluation."""
MAX_NAME_BYTES = 64
"""Of a cohort in a table."""
CHUNK_BYTES = 65536
MERGE_CHANGES = 64 * 1024
"""Of users, by messages: from so many on they are merged into the table. Half of what is kept."""
SAVE_SECONDS = 10.0
"""After so long what messages have changed is in the snapshot."""
EXIT_SECONDS = 2.0
"""How long the end of a process waits for that."""
FIRST_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 300.0
JITTER = 0.2
TIMEOUT_SECONDS = 30.0
"""The longest wait for bytes of a cohort."""

FORMATS = {".json": "json", ".csv": "csv", ".txt": "lines"}
REFUSALS = {
    400: "the request is refused",
    401: "the keys are refused: check api_key, secret_key and server_zone, and that they are the same project's",
    403: "the keys are refused: check api_key, secret_key and server_zone, and that they are the same project's",
    404: "there is no such cohort, or it has no sync named Experiment Local Evaluation",
    413: "it has more members than max_members",
}


def _cohorts(value: Any) -> Dict[str, str]:
    expected = 'a dict {attribute: cohort}, such as {"amplitude_power_user": "7khm89cz"}'
    if not isinstance(value, Mapping) or not 0 < len(value) <= MAX_ATTRIBUTES:
        raise Unexpected(f"{expected}, of at most {MAX_ATTRIBUTES}")
    for attribute, cohort in value.items():
        if not is_text(attribute, 1) or len(attribute) > MAX_ATTRIBUTE_LENGTH or attribute.startswith("$opt_"):
            raise Unexpected(
                f"keys of attributes of Optimizely (1 to {MAX_ATTRIBUTE_LENGTH} characters, not beginning with $opt_)",
                describe(attribute),
            )
        if not isinstance(cohort, str):
            raise Unexpected(expected, f"{describe(cohort)} for '{attribute}'")
    if len(set(value.values())) < len(value):
        raise Unexpected("another cohort for each attribute", "the same for two of them")
    return dict(value)


def _source(value: Any) -> str:
    if value == "behavioral":
        raise Unexpected("'amplitude' or 'file'", "'behavioral', which is one of the Node.js package only")
    return one_of("amplitude", "file")(value)


def _server_url(value: Any) -> str:
    match = re.fullmatch(r"(https?://[^/?#@\s]+(?:/[^?#\s]*?)?)/*", value) if isinstance(value, str) else None
    if match is None:
        raise Unexpected(
            "the http or https URL of an Evaluation Proxy, or of another server of cohorts, without user name, "
            "password and query"
        )
    return match[1]


SNAPSHOT_TABLE = {"directory": Option(check_directory, is_required=True)}


def _snapshot(value: Any) -> Dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unexpected('a dict, {"directory": ...}')
    return resolve_table(SNAPSHOT_TABLE, value, "snapshot.")


NODE_ONLY = {
    "stale_after_millis": "status() tells when members were confirmed",
    "hold_shrink": "a cohort that shrinks is used",
    "store": "each process reads the cohorts",
    "on_change": "status() tells how the cohorts are",
    "logger_provider": "use logger",
    "log_level": "the logger has a level of its own",
}
"""Options of createAudiences() in the package for Node.js that are none here, and why."""

TABLE = {
    "cohorts": Option(_cohorts, is_required=True),
    "source": Option(_source, "amplitude"),
    "api_key": Option(check_key, describe=describe_key),
    "secret_key": Option(check_key, describe=describe_key),
    "server_zone": Option(one_of(*COHORT_ORIGINS), "US"),
    "server_url": Option(_server_url),
    "poll_interval_millis": Option(millis(1), MINUTE_MILLIS),
    "max_stale_millis": Option(millis(1)),
    "snapshot": Option(_snapshot),
    "max_members": Option(integer(1, 2**31 - 1, "members"), MAX_MEMBERS),
    **{name: DISPATCHER_TABLE[name] for name in ("proxy", "no_proxy", "ca_file", "logger")},
}


class CohortStatus(NamedTuple):
    """How a cohort is."""

    attribute: str
    cohort: str
    is_known: bool
    members: int
    loaded_at: Optional[float]
    """By time.time(): when its members were confirmed."""
    last_error: Optional[str]


class _Refused(Exception):
    """An answer that is no cohort. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _Cohort:
    def __init__(self, slot: int, attribute: str, name: str) -> None:
        self.slot = slot
        self.attribute = attribute
        self.name = name
        self.version: Any = None  # what is loaded: Amplitude's lastModified, or what a file was
        self.confirmed_at: Optional[float] = None  # time.time()
        self.due = 0.0  # time.monotonic()
        self.failures = 0
        self.last_error: Optional[str] = None

    def restore(self, restored: Optional[Tuple[int, int]], source: str) -> None:
        """Take what a snapshot has; a file is read again in any case."""
        if restored is not None:
            last_modified, fetched_millis = restored
            self.version = last_modified if source == "amplitude" else "restored"
            self.confirmed_at = fetched_millis / 1000


class Audiences:
    """Which users are in which cohorts, as attributes. The methods may be called from any thread."""

    def __init__(self, **options: Any) -> None:
        refuse_node_only(NODE_ONLY, options)
        self._options = resolved = resolve_table(TABLE, options)
        if resolved["source"] == "amplitude" and (resolved["api_key"] is None or resolved["secret_key"] is None):
            raise OptionError("options 'api_key' and 'secret_key': cohorts of Amplitude need both keys of the project")
        names = list(resolved["cohorts"].items())
        if resolved["source"] == "file":
            names = [(attribute, os.path.abspath(cohort)) for attribute, cohort in names]
            for attribute, cohort in names:
                if _format_of(cohort) is None:
                    raise OptionError(
                        f"option 'cohorts': expected the path of a file for '{attribute}' that ends with "
                        f"{', '.join(FORMATS)}, or one of these and .gz, got {cohort!r}"
                    )
        secrets = [key for key in (resolved["api_key"], resolved["secret_key"]) if key and len(key) >= 8]
        self._log = Log(resolved["logger"], secrets)
        self._list = [_Cohort(slot, *each) for slot, each in enumerate(names)]
        self._slots = {cohort.attribute: cohort.slot for cohort in self._list}
        secret = resolved["secret_key"] or resolved["api_key"] or ""
        self._native = Cohorts(secret, [_table_name(cohort.name) for cohort in self._list])
        self._snapshot = None
        if resolved["snapshot"] is not None:
            self._snapshot = Snapshot(self._native, resolved, self._base(), self._log)
            for cohort, restored in zip(self._list, self._snapshot.restore()):
                cohort.restore(restored, resolved["source"])
        self._is_closed = False
        self._merge_at: Optional[float] = None  # time.monotonic(): when changes of messages are merged
        self.renew()
        lifecycle.add(self)
        self._start()

    def renew(self) -> None:
        """Begin anew in a forked child: what is loaded stays, and is refreshed by a thread of its own, when asked."""
        self._lock = threading.RLock()  # a signal handler may ask while its thread starts that of the cohorts
        self._changed = threading.Condition()
        self._wakened = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._log.renew()
        options = {**self._options, "server_url": self._base()}
        self._connection = Connection(options, f"optimizely-amplitude-python/{VERSION}")

    def _base(self) -> str:
        return str(self._options["server_url"] or COHORT_ORIGINS[self._options["server_zone"]])

    def _start(self) -> None:
        lifecycle.renew_if_forked()
        if self._thread is not None or self._is_closed:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="optimizely-amplitude-cohorts", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter ends; what is loaded is known all the same
                    self._thread = None

    # ---- looking up ----------------------------------------------------------------------------------

    def has(self, user_id: str, attribute: str) -> Optional[bool]:
        """Whether a user is in the cohort of an attribute; None while that is not known."""
        slot = self._slots.get(attribute)
        if slot is None or not isinstance(user_id, str):
            return None
        self._start()
        found, loaded = self._native.find(user_id)
        word, bit = slot // 64, 1 << slot % 64
        return bool(found[word] & bit) if loaded[word] & bit and self._is_fresh(self._list[slot]) else None

    def attributes(self, user_id: str, attributes: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
        """Return a new dict of the attributes, and of each cohort that is known. The application's own win."""
        self._start()
        result: Dict[str, Any] = {}
        if isinstance(user_id, str):
            found, loaded = self._native.find(user_id)
            for cohort in self._list:
                word, bit = cohort.slot // 64, 1 << cohort.slot % 64
                if loaded[word] & bit and self._is_fresh(cohort):
                    result[cohort.attribute] = bool(found[word] & bit)
        result.update(attributes or {})
        return result

    def _is_fresh(self, cohort: _Cohort) -> bool:
        limit = self._options["max_stale_millis"]
        return limit is None or (
            cohort.confirmed_at is not None and (time.time() - cohort.confirmed_at) * 1000 <= limit
        )

    def ready(self, timeout: Optional[float] = None) -> List[CohortStatus]:
        """Wait until each cohort is loaded, or was refused, 10 seconds by default; return all. Never raises."""
        seconds = read_timeout(timeout, READY_MILLIS, self._log.warning) / 1000
        self._start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or all(each.version is not None or each.failures for each in self._list),
                seconds,
            )
        return self.status()

    def status(self) -> List[CohortStatus]:
        """Return how the cohorts are."""
        return [
            CohortStatus(
                each.attribute,
                each.name,
                each.version is not None and self._is_fresh(each),
                members,
                each.confirmed_at,
                each.last_error,
            )
            for each, members in zip(self._list, self._native.members())
        ]

    def webhook(self, **options: Any) -> Webhook:
        """Take messages of Amplitude's cohort webhook: webhook(secret=...) returns a function of (headers, body).

        Call it with each request, and answer the status and the message that it returns. Options: `secret`, `header`
        ("X-Webhook-Secret"), and `cohorts`, {attribute: id}, where those of Audiences() are files.
        """
        ids = None if self._options["source"] == "file" else self._options["cohorts"]
        return Webhook(options, self._slots, ids, self._native, self._log, self._take_move)

    def _take_move(self, slot: int, time_millis: int) -> bool:
        """A message has changed users. Any thread."""
        cohort = self._list[slot]
        with self._changed:
            if cohort.version is not None:  # messages make nothing known
                cohort.confirmed_at = max(cohort.confirmed_at or 0.0, time_millis / 1000)
            is_much = self._native.changes() >= MERGE_CHANGES
            if is_much or (self._snapshot is not None and self._merge_at is None):
                self._merge_at = time.monotonic() + (0.0 if is_much else SAVE_SECONDS)
                self._wakened.set()
            self._changed.notify_all()
        self._start()
        return not self._is_closed

    def close(self) -> None:
        """Stop refreshing; what is loaded is known until it is too old."""
        lifecycle.renew_if_forked()
        self._is_closed = True
        self._wakened.set()
        with self._changed:
            self._changed.notify_all()
        lifecycle.remove(self)

    begin_exit = close

    def end_exit(self) -> None:
        """At the end of a process what messages have changed is still written."""
        if self._merge_at is not None and self._thread is not None:
            self._thread.join(EXIT_SECONDS)

    # ---- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed:
            cohort = min(self._list, key=lambda each: each.due)
            wait = min(cohort.due, self._merge_at or cohort.due) - time.monotonic()
            if wait > 0:
                self._wakened.wait(wait)
                self._wakened.clear()
            elif self._merge_at is not None and self._merge_at <= time.monotonic():
                self._merge()
            else:
                self._refresh(cohort)
        if self._merge_at is not None:
            self._merge()
        self._connection.close()

    def _merge(self) -> None:
        """Merge what messages have changed into the table; before a list is known there is nothing to merge with."""
        self._merge_at = None
        if all(each.version is None for each in self._list):
            return
        try:
            self._native.merge()
        except Exception as error:
            self._log.warning("merge", f"what messages have changed is not merged: {reason_of(error)}")
            return
        if self._snapshot is not None:
            self._snapshot.save()

    def _refresh(self, cohort: _Cohort) -> None:
        interval = self._options["poll_interval_millis"] / 1000
        delay = interval
        try:
            version = cohort.version
            self._load(cohort)
            cohort.confirmed_at = time.time()
            cohort.failures = 0
            cohort.last_error = None
            if self._snapshot is not None and cohort.version != version:
                self._snapshot.save()
        except Exception as error:
            cohort.failures += 1
            cohort.last_error = self._explain(error)
            most = max(MAX_RETRY_SECONDS, interval)
            delay = min(min(FIRST_RETRY_SECONDS, interval) * 2 ** min(cohort.failures - 1, 20), most)
            delay = max(delay, error.retry_after if isinstance(error, _Refused) else 0.0)
            self._log.warning(
                f"cohort {cohort.name}",
                f"the cohort {cohort.name} of '{cohort.attribute}' is not loaded: {cohort.last_error}; "
                "it is tried again",
            )
        cohort.due = time.monotonic() + delay * (1 + JITTER * random.random())
        with self._changed:
            self._changed.notify_all()

    def _explain(self, error: Exception) -> str:
        """What `requests` raises has URLs in its message; everything else says what it says."""
        is_network = isinstance(error, OSError) and self._options["source"] == "amplitude"
        return self._connection.explain(error, TIMEOUT_SECONDS) if is_network else reason_of(error)

    def _load(self, cohort: _Cohort) -> None:
        """Load a cohort if it has changed. Raises an error that says why there is none."""
        if self._options["source"] == "file":
            self._load_file(cohort)
            return
        since = "" if cohort.version is None else f"&lastModified={cohort.version}"
        query = f"?maxCohortSize={self._options['max_members']}{since}"
        url = f"{self._base()}{COHORT_PATH}{cohort.name}{query}"
        keys = (self._options["api_key"], self._options["secret_key"])
        with self._connection.get(url, keys, TIMEOUT_SECONDS) as response:
            status = response.status_code
            if status == 204 and cohort.version is not None:
                return
            if status != 200:
                fails = status in (408, 429) or status >= 500
                reason = "the server fails" if fails else REFUSALS.get(status, "that is no answer of this API")
                after = response.headers.get("Retry-After", "")
                raise _Refused(f"{reason} (HTTP {status})", float(after) if after.isdecimal() else 0.0)
            read = self._native.load(
                cohort.slot,
                "json",
                response.iter_content(CHUNK_BYTES),
                self._options["max_members"],
                int(time.time() * 1000),
            )
        cohort.version = read["last_modified"]

    def _load_file(self, cohort: _Cohort) -> None:
        stat = os.stat(cohort.name)
        version = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if version == cohort.version:
            return
        opened: Any = gzip.open if cohort.name.endswith(".gz") else open
        with opened(cohort.name, "rb") as file:
            chunks: Iterator[bytes] = iter(lambda: file.read(CHUNK_BYTES), b"")
            self._native.load(
                cohort.slot,
                _format_of(cohort.name) or "",
                chunks,
                self._options["max_members"],
                stat.st_mtime_ns // 1_000_000,  # they are as old as the file
            )
        cohort.version = version


def _table_name(name: str) -> str:
    """The name of a cohort in a table, where paths are too long."""
    return name if len(name.encode()) <= MAX_NAME_BYTES else hashlib.sha256(name.encode()).hexdigest()[:MAX_NAME_BYTES]


def _format_of(name: str) -> Optional[str]:
    return FORMATS.get(os.path.splitext(name[:-3] if name.endswith(".gz") else name)[1])
