"""The sender: one daemon thread, which waits for what is due, POSTs, and tells what the core says.

It begins with the first decision of a process, and anew in a forked child. While it is in a POST, a flush() at its
deadline does what is due in its place: see collect().
"""

from __future__ import annotations

import collections
import sys
import threading
import time
from concurrent.futures import Future
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Protocol, Tuple

from . import _native, lifecycle
from .log import Log
from .spool import Spool
from .text import reason_of, to_python_names
from .transport import Transport
from .types import Drop, FlushReport

MAX_LATE_DROPS = 100
"""Of 64 decisions each: what deciding threads keep for the sender, which tells on_drop. More stay in the core."""
COLLECT_SECONDS = 1.0
"""How long a flush waits for a thread that is telling on_drop."""
PAUSE_SECONDS = 1.0
"""After an error of our own, so that it does not repeat as fast as it can."""
UWSGI_WITHOUT_THREADS = (
    "uWSGI runs without threads, so decisions are sent only while requests are handled, and at the end of a worker: "
    "set enable-threads = true"
)


class Store(Protocol):
    """A memory of exposures that a fleet shares: see store.py."""

    def is_ready(self) -> bool: ...

    def call(self, writes: bool, parts: List[Any]) -> List[int]: ...

    def renew(self) -> None: ...


class Sender:
    def __init__(
        self,
        core: _native.Core,
        transport: Transport,
        store: Optional[Store],
        spool: Optional[Spool],
        on_drop: Optional[Callable[[Drop], object]],
        log: Log,
        is_usual: bool,
    ) -> None:
        self._core = core
        self._transport = transport
        self._store = store
        self._spool = spool
        self._on_drop = on_drop
        self._log = log
        self._is_usual = is_usual
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child, which has none of its parent's threads."""
        self._thread: Optional[threading.Thread] = None
        self._starting = threading.RLock()  # a signal handler may decide while its thread starts this one
        self._collecting = threading.RLock()
        self._is_collecting = False
        self._futures: Dict[int, Future[FlushReport]] = {}
        self._close_ticket: Optional[int] = None
        self._is_over = False
        self._late_drops: Deque[Drop] = collections.deque()

    # ---- any thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the thread run. Where none can start, what is queued waits for the next call."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                self._open_spool()
                self._thread = threading.Thread(target=self.run, name="optimizely-amplitude", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:
                    self._thread = None
                    self._log.error("sender", f"no thread can start, so nothing is sent yet: {reason_of(error)}")
                    return
                self._core.set_usual(self._is_usual)
                _end_with_process(lifecycle.close_all)
                if not getattr(sys.modules.get("uwsgi"), "has_threads", True):
                    self._log.warning("threads", UWSGI_WITHOUT_THREADS)

    def _open_spool(self) -> None:
        """In a forked child there is none yet; otherwise the dispatcher did it."""
        error = None if self._spool is None else self._spool.open()
        if error is not None:
            self._log.error("spool", f"there is no spool, so decisions are in memory alone: {error}")

    @property
    def is_started(self) -> bool:
        return self._thread is not None

    def begin_flush(self, timeout_millis: int, abort: bool) -> Future[FlushReport]:
        ticket, future = self._issue()
        self._core.flush(timeout_millis, abort, ticket)
        if self._is_over:  # the thread has ended, and what is left is a spool's
            self.collect()
        return future

    def begin_close(self, timeout_millis: int) -> Future[FlushReport]:
        ticket, future = self._issue()
        self._close_ticket = ticket
        self._core.close(timeout_millis, ticket)
        if self._thread is None:  # there is nothing to send
            self.collect()
        return future

    def _issue(self) -> Tuple[int, Future[FlushReport]]:
        future: Future[FlushReport] = Future()
        ticket = id(future)
        self._futures[ticket] = future
        return ticket, future

    def collect(self, seconds: float = COLLECT_SECONDS) -> None:
        """Do what is due but sending, and tell what the core says. Any thread, but none that decides.

        While another one does so it is waited for, but not for longer than `seconds`.
        """
        if not self._collecting.acquire(timeout=seconds):
            return
        try:
            if self._is_collecting:  # what is told calls in
                return
            self._is_collecting = True
            try:
                self._core.step()
                self._tell_late_drops()
                for notice in iter(self._core.next_notice, None):
                    self._tell(notice, self._tell_drop)
            finally:
                self._is_collecting = False
        finally:
            self._collecting.release()

    def relieve(self) -> None:
        """Make room for further reports of refused decisions, on a thread that decides: on_drop is told later."""
        if len(self._late_drops) < MAX_LATE_DROPS and self._collecting.acquire(blocking=False):
            try:
                if not self._is_collecting:
                    for notice in iter(self._core.next_notice, None):
                        self._tell(notice, self._late_drops.append)
            finally:
                self._collecting.release()
        self._core.wake()

    # ---- the thread ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Send until the dispatcher is closed. At the end of a process where no thread can start: on the last one."""
        while not self._is_over:
            try:
                self._core.wait()
                self.collect()
                while self._core.take():
                    self._transport.rearm()
                    try:
                        self._perform()
                    finally:
                        self._core.give_back()
                    self.collect()
            except Exception as error:  # a fault of ours; decisions stay queued
                self._log.error("sender", f"sending failed, and is tried again: {reason_of(error)}")
                time.sleep(PAUSE_SECONDS)
        self._transport.close()

    def _perform(self) -> None:
        """Perform the attempt that is out. What is not answered counts for nothing."""
        if self._store is not None and not self._core.learn(self._call_store(False, self._core.ask())):
            return
        rendered = self._core.render()
        if rendered is None or self._transport.is_cancelled:
            return
        self._core.answer(*self._transport.post(*rendered))
        if self._store is not None and not self._transport.is_cancelled:
            self._core.confirm(self._call_store(True, self._core.writes()))

    def _call_store(self, writes: bool, parts: List[Any]) -> List[int]:
        if self._store is None or not parts or not self._store.is_ready():
            return []
        return self._store.call(writes, parts)

    # ---- notices -------------------------------------------------------------------------------------

    def _tell(self, notice: Any, tell_drop: Callable[[Drop], None]) -> None:
        kind = notice[0]
        if kind == "cancel":
            self._transport.cancel()
        elif kind == "log":
            level, topic, message = notice[1:]
            self._log.log(level, topic, to_python_names(message))
        elif kind == "drop":
            tell_drop(_to_drop(*notice[1:]))
        elif kind == "flush":
            ticket, delivered, dropped, pending, millis = notice[1:]
            if ticket == self._close_ticket:
                self._is_over = True
                if self._spool is not None:
                    self._spool.end()
            self._futures.pop(ticket).set_result(FlushReport(delivered, dropped, pending, millis / 1000))

    def _tell_late_drops(self) -> None:
        while self._late_drops:
            self._tell_drop(self._late_drops.popleft())

    def _tell_drop(self, drop: Drop) -> None:
        if self._on_drop is None:
            return
        try:
            self._on_drop(drop)
        except Exception as error:
            self._log.error("on_drop", f"on_drop raised: {reason_of(error)}")


def _to_drop(reason: str, message: str, status_code: int, records: List[Dict[str, Any]]) -> Drop:
    decisions = [record for record in records if "event" not in record]
    events = [_to_event(record) for record in records if "event" in record]
    return Drop(reason, message, status_code, decisions, events)  # type: ignore[arg-type]


def _to_event(record: Mapping[str, Any]) -> Dict[str, Any]:
    """An event of the application's own, as it was to be sent."""
    import json

    ids = {name: record[name] for name in ("user_id", "device_id") if record[name] is not None}
    return {**ids, **json.loads(f"{{{record['event']}}}")}


def _end_with_process(end: Callable[[], None]) -> None:
    """Have `end` called where a process ends without atexit: children of multiprocessing, and Celery's prefork pool."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    current: Any = getattr(process, "current_process", None)
    if current is not None and util is not None and getattr(current(), "_parent_pid", None) is not None:
        util.Finalize(None, end, exitpriority=0)
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(lambda **_: end(), weak=False, dispatch_uid=__name__)
