"""The dispatcher that the application holds."""

from __future__ import annotations

import concurrent.futures
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Tuple, Type

from . import lifecycle
from ._native import VERSION, Core
from .before_send import BeforeSend
from .callbacks import Callbacks
from .checks import describe, read_timeout
from .clients import Clients
from .counts import Counter
from .decisions import (
    IGNORED_TYPE,
    INVALID,
    OK,
    REPEAT,
    STATUS,
    UNUSUAL,
    advice_for,
    describe_status,
    fault_of,
    read_result,
    read_variant,
)
from .errors import ClosedError, OptionError
from .log import Log
from .options import native_config, resolve_options, secrets_of
from .sender import Sender
from .spool import Spool
from .text import reason_of, to_python_names
from .tracked import Tracked
from .transport import Transport
from .types import FlushReport, Notification, Properties, Stats

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .types import DispatcherOptions

LIBRARY = f"optimizely-amplitude-python/{VERSION}"
"""The field `library` of every event, and the user agent."""
GRACE_SECONDS = 1.0
"""How long a deadline waits for a request that was cancelled."""
LATE_SECONDS = 0.002
"""The core counts in milliseconds, so its deadline may be a little later."""


class Dispatcher:
    """Listens to the decisions of Optimizely clients, and delivers them to Amplitude.

    Every method may be called from any thread. The options are in docs/options.md; one that is wrong, misspelt or
    missing raises an OptionError that names it.
    """

    on_decision: Callable[..., None]
    """The listener: on_decision(type, user_id, attributes, decision_info).

    It raises no Exception, and waits for nothing but a file of a spool.
    """

    def __init__(self, **options: Unpack[DispatcherOptions]) -> None:
        given: Mapping[str, Any] = options
        resolved = resolve_options(given)
        self._options = resolved
        self._log = Log(resolved["logger"], secrets_of(resolved))
        self._is_traced = self._log.is_debugging  # whether each decision is logged
        self._counter = Counter()
        self._clients = Clients(self._log)
        self._core = Core(native_config(resolved, LIBRARY, self._is_traced), self._unusual)
        self.on_decision = self._core.decide
        before_send = None if resolved["before_send"] is None else BeforeSend(resolved, LIBRARY)
        self._callbacks = (
            Callbacks(resolved, self._log, self._core, before_send, self._counter)
            if Callbacks.are_needed(resolved)
            else None
        )
        self._tracked = Tracked(resolved, self._log, self._core, before_send, self._counter, LIBRARY)
        self._store = _make_store(resolved, self._log)
        self._spool = None if resolved["spool"] is None else Spool(self._core, resolved)
        self._transport = Transport(resolved, LIBRARY)
        is_usual = self._callbacks is None and not self._is_traced and "flag" in resolved["decision_types"]
        self._sender = Sender(
            self._core, self._transport, self._store, self._spool, resolved["on_drop"], self._log, is_usual
        )
        self._closing: Optional[concurrent.futures.Future[FlushReport]] = None
        self._closing_lock = threading.RLock()  # what is told while it begins may close, too
        lifecycle.add(self)
        if self._spool is not None:
            self._sender.start()  # what other processes left is sent without a decision here

    # ---- Optimizely ----------------------------------------------------------------------------------

    def attach(self, client: Any) -> Callable[[], None]:
        """Listen to a client's decisions, before or after it is ready; return a function that stops this.

        A client that is attached already stays attached once, also after clear_all_notification_listeners(). Raises
        ClientError for anything but a client of the SDK, and ClosedError after close().
        """
        lifecycle.renew_if_forked()
        if self._closing is not None:
            raise ClosedError("attach() after close(): create a new Dispatcher")
        if self._callbacks is None or not self._callbacks.need_rules:
            return self._clients.attach(client, lambda _: self.on_decision)

        def make_listener(reference: weakref.ReferenceType[Any]) -> Callable[..., None]:
            return lambda *args: self._unusual(UNUSUAL, args, reference)

        return self._clients.attach(client, make_listener)

    def _unusual(self, result: int, args: Tuple[Any, ...], client: Optional[weakref.ReferenceType[Any]] = None) -> None:
        """Take a decision that the core's decide() does not, or conclude one. Never raises."""
        try:
            lifecycle.renew_if_forked()
            self._conclude(self._decide(args, client) if result == UNUSUAL else result, args)
        except Exception as error:
            self._counter.add("invalid")
            self._log.warning("notification", f"a decision is not sent: {reason_of(error)}")

    def _decide(self, args: Tuple[Any, ...], client: Optional[weakref.ReferenceType[Any]]) -> int:
        if len(args) != 4:
            raise TypeError(f"the listener was called with {len(args)} arguments; the SDK calls it with 4")
        notification = Notification(*args)
        if not isinstance(notification.type, str):
            raise TypeError("it has no type, so it is not a notification of the SDK")
        if notification.type not in self._options["decision_types"]:
            return IGNORED_TYPE
        variant = read_variant(notification.type, notification.decision_info)
        fault = fault_of(variant)
        if fault is not None:
            self._log.warning(fault, f"a decision is not sent: {fault}")
            return INVALID
        self._sender.start()
        if self._callbacks is None:
            return self._core.record(variant, notification.user_id, None, None, None, None, False)
        return self._callbacks.record(variant, notification, client)

    def _conclude(self, result: int, args: Tuple[Any, ...]) -> None:
        """Count a result, and log it if there is a reason to. The core counts what it accepts."""
        if result < 0:
            self._counter.add("invalid" if result == INVALID else "ignored")
            self._trace(result, args)
            return
        status, left_out, reason, collect = read_result(result)
        if left_out is not None:
            self._counter.add("left_ids")
            self._log.warning(
                f"{left_out} {reason}",
                f"a {left_out} is left out, and the decision goes with the other id: "
                f"{describe_status(STATUS[reason])} ({advice_for(reason)})",
            )
        message = describe_status(status)
        if status in (STATUS["queue_full"], STATUS["closed"]):
            self._log.warning(f"decision {status}", f"a decision is dropped: {message}")
        elif status not in (OK, REPEAT, STATUS["opted_out"]):
            self._counter.add("invalid")
            advice = advice_for(STATUS_NAMES_OF[status])
            self._log.warning(
                f"decision {status}", f"a decision is not sent: {message}{f' ({advice})' if advice else ''}"
            )
        self._trace(status, args)
        if collect:
            self._sender.relieve()

    def _trace(self, status: int, args: Tuple[Any, ...]) -> None:
        if self._is_traced:
            kind, user_id, _, info = args
            flag, variation = info.get("flag_key"), info.get("variation_key")
            self._log.debug(f"decision ({kind}) of {user_id} on {flag} = {variation}: {describe_status(status)}")

    # ---- The application's own events -------------------------------------------------------------------

    def track(self, event: Any, properties: Properties = None, **options: Any) -> None:
        """Send an event of the application's own in the same queue: track("Purchase", {"amount": 5}, user_id=...).

        `event` is its type, or the event as a dict under the names of Amplitude's HTTP API; options are further fields
        of it. Never raises: what is wrong is counted and logged.
        """
        self._take_own(lambda: self._tracked.track(event, properties, options))

    def identify(self, properties: Any, **options: Any) -> None:
        """Set properties of a user: identify({"plan": "pro"}, user_id=...); or operations, {"$add": {...}}."""
        self._take_own(lambda: self._tracked.identify(properties, options))

    def _take_own(self, take: Callable[[], bool]) -> None:
        try:
            lifecycle.renew_if_forked()
            self._sender.start()
            if take():
                self._sender.relieve()
        except Exception as error:
            self._log.warning("track", f"an event is not sent: {reason_of(error)}")

    # ---- Delivery ------------------------------------------------------------------------------------

    def flush(self, timeout: Optional[float] = None, *, abort: bool = False) -> FlushReport:
        """Send what is waiting at once, and wait until all decisions that were undelivered at the call are settled.

        Returns at the deadline, after `timeout` seconds (default: flush_timeout_millis), with the rest in `pending`,
        or as soon as nothing more can happen before it. What is pending stays queued and is tried again. With `abort`
        the request in flight at the deadline is ended, and its decisions are put back: for a process that is about to
        be frozen. Never raises.
        """
        millis = self._read_timeout(timeout)
        future = self._begin_flush(millis, abort)
        return self._nothing() if future is None else self._await(future, millis)

    async def flush_async(self, timeout: Optional[float] = None, *, abort: bool = False) -> FlushReport:
        """flush(), without blocking the event loop."""
        millis = self._read_timeout(timeout)
        future = self._begin_flush(millis, abort)
        return self._nothing() if future is None else await self._await_async(future, millis)

    def close(self, timeout: Optional[float] = None) -> FlushReport:
        """Detach from all clients, flush, and free.

        What is left at the deadline is dropped as `closed`; with a spool it stays there, for the next process.

        Calls after the first return the same report. At the end of a process it happens by itself.
        """
        millis = self._read_timeout(timeout)
        return self._await(self._begin_close(millis), millis)

    async def close_async(self, timeout: Optional[float] = None) -> FlushReport:
        """close(), without blocking the event loop."""
        millis = self._read_timeout(timeout)
        return await self._await_async(self._begin_close(millis), millis)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close_async()

    def set_opt_out(self, opt_out: bool, *, purge: bool = False) -> None:
        """Stop and start sending. What is queued already is sent; with `purge` it is deleted, that of a spool, too."""
        for value in (opt_out, purge):
            if not isinstance(value, bool):
                raise OptionError(f"set_opt_out() expects True or False, got {describe(value)}")
        lifecycle.renew_if_forked()
        self._core.set_opt_out(opt_out, purge)

    def _read_timeout(self, timeout: Optional[float]) -> int:
        """Return a timeout in milliseconds. What is wrong is logged, and the default is used."""
        return read_timeout(timeout, self._options["flush_timeout_millis"], self._log.warning)

    def _begin_flush(self, millis: int, abort: bool) -> Optional[concurrent.futures.Future[FlushReport]]:
        """Begin a flush; None: there is nothing to wait for."""
        lifecycle.renew_if_forked()
        if self._core.stats()["pending"] == 0:
            self._warn_of_unready()
            return None
        self._sender.start()
        return self._sender.begin_flush(millis, abort)

    def _begin_close(self, millis: int) -> concurrent.futures.Future[FlushReport]:
        lifecycle.renew_if_forked()
        with self._closing_lock:
            if self._closing is None:
                self._warn_of_unready()
                self._clients.detach_all()
                self._closing = self._sender.begin_close(millis)
                self._closing.add_done_callback(lambda _: lifecycle.remove(self))
            return self._closing

    def _await(self, future: concurrent.futures.Future[FlushReport], millis: int) -> FlushReport:
        try:
            return future.result(millis / 1000 + LATE_SECONDS)
        except concurrent.futures.TimeoutError:
            self._sender.collect()  # the sender may be in a request
        try:
            return future.result(GRACE_SECONDS)
        except concurrent.futures.TimeoutError:
            return self._unreported(millis)

    async def _await_async(self, future: concurrent.futures.Future[FlushReport], millis: int) -> FlushReport:
        import asyncio

        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), millis / 1000 + LATE_SECONDS)
        except asyncio.TimeoutError:
            self._sender.collect(0)
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), GRACE_SECONDS)
        except asyncio.TimeoutError:
            return self._unreported(millis)

    @staticmethod
    def _nothing() -> FlushReport:
        return FlushReport(0, 0, 0, 0.0)

    def _unreported(self, millis: int) -> FlushReport:
        """The report when the sender cannot be reached, such as in a look-up of a host name that takes minutes."""
        pending = self._core.stats()["pending"]
        self._log.error("flush", f"flush: the request in flight does not end; {pending} are pending")
        return FlushReport(0, 0, pending, millis / 1000)

    def _warn_of_unready(self) -> None:
        """Warn once that a client has no datafile when decisions were to be delivered and none has come."""
        if self.stats()["decisions"]["seen"] == 0 and self._clients.are_unready():
            self._log.warning(
                "unready",
                "no decision has come, and the Optimizely client has no datafile yet: until it has one, decide() "
                "returns no variation and sends no notification",
            )

    # ---- The process ---------------------------------------------------------------------------------

    def begin_exit(self) -> None:
        """The process ends: begin to close."""
        self._begin_close(self._options["flush_timeout_millis"])

    def end_exit(self) -> None:
        """The process ends: wait until it is closed."""
        if self._closing is None:
            return
        if not self._sender.is_started and not self._closing.done():
            self._sender.run()  # since 3.12 no thread starts once the functions of atexit are called
        self._await(self._closing, self._options["flush_timeout_millis"])

    def renew(self) -> None:
        """Begin anew in a forked child: all that is undelivered, and the connection, are the parent's."""
        self._log.renew()
        self._counter.renew()
        self._clients.renew()
        self._transport.forget()
        if self._store is not None:
            self._store.renew()
        self._sender.renew()
        self._closing = None
        self._closing_lock = threading.RLock()
        self._core.renew()

    # ---- Counters ------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """Return the counters, which add up at every moment; after close(), too."""
        lifecycle.renew_if_forked()
        native = self._core.stats()
        tracked: Dict[str, Any] = native["tracked"]  # a part of the counts, which are those of decisions and events
        counts = {name: native[name] - tracked[name] for name in ("accepted", "delivered", "pending")}
        dropped = {reason: count - tracked["dropped"][reason] for reason, count in native["dropped"].items()}
        ignored, invalid = self._counter["ignored"], self._counter["invalid"]
        own_ignored, own_invalid = self._counter["tracked_ignored"], self._counter["tracked_invalid"]
        store = None if self._store is None else self._store.stats()
        if store is not None:
            store.update(repeats=native["late_repeats"], conflicts=native["store_conflicts"])
        spool = None
        if self._spool is not None:
            spool = native["spool"]
            spool["error"] = self._spool.error or (spool["error"] and to_python_names(spool["error"]))
        return {
            "decisions": {
                "seen": ignored + invalid + native["deduplicated"] + counts["accepted"],
                "ignored": ignored,
                "invalid": invalid,
                "deduplicated": native["deduplicated"],
                "accepted": counts["accepted"],
                "delivered": counts["delivered"],
                "pending": counts["pending"],
                "dropped": {"total": sum(dropped.values()), **dropped},
            },
            "tracked": {
                "seen": own_ignored + own_invalid + tracked["accepted"],
                "ignored": own_ignored,
                "invalid": own_invalid,
                "accepted": tracked["accepted"],
                "delivered": tracked["delivered"],
                "pending": tracked["pending"],
                "dropped": {"total": sum(tracked["dropped"].values()), **tracked["dropped"]},
            },
            "left_out": {
                "fields": self._counter["left_fields"] + self._counter["tracked_left_fields"],
                "properties": self._counter["left_properties"],
                "events": self._counter["left_events"],
                "ids": self._counter["left_ids"],
            },
            "requests": {
                "sent": native["requests_sent"],
                "retried": native["requests_retried"],
                "failed": native["requests_failed"],
                "bytes": native["request_bytes"],
            },
            "events": {"sent": native["events_sent"]},
            "store": store,
            "spool": spool,
            "queue": {"bytes": native["queue_bytes"], "high_water_bytes": native["queue_high_water_bytes"]},
            "last_error": self._redacted(native["last_error"]),
            "health": native["health"],
            "failures_in_a_row": native["failures_in_a_row"],
            "failing_since": native["failing_since"],
            "oldest_pending_millis": native["oldest_pending_millis"],
        }

    def _redacted(self, error: Any) -> Any:
        if error is not None:
            for secret in secrets_of(self._options):
                error["message"] = error["message"].replace(secret, "***")
        return error


STATUS_NAMES_OF = {code: name for name, code in STATUS.items()}


def _make_store(options: Mapping[str, Any], log: Log) -> Any:
    """Loaded only when there is one."""
    dedupe = options["dedupe"]
    if dedupe is None or dedupe["store"] is None:
        return None
    from .store import Store

    return Store(dedupe["store"], log)
