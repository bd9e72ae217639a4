"""AWS Lambda: delivers what an invocation decided before the process is frozen.

Every millisecond is billed and delays an answer, so a server that fails is not waited for by each invocation: the first
flush that meets it takes its whole time, and from then on an invocation tries once, for PROBE_MILLIS at most, until a
try succeeds.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, Callable, Optional, TypeVar, Union

from .checks import Option, millis, resolve_table
from .dispatcher import Dispatcher
from .errors import OptionError
from .log import Log
from .text import reason_of
from .types import FlushReport

DEFAULT_TIMEOUT_MILLIS = 1500
PROBE_MILLIS = 500
WHOLE_TRY_INTERVAL_SECONDS = 5 * 60.0
"""A try takes the whole time this often all the same: over a slow link, none of PROBE_MILLIS would ever succeed."""
MIN_EARLY_MILLIS = 100
"""With less time than this a handler that is still running is not flushed any more."""

TABLE = {"timeout_millis": Option(millis(0)), "margin_millis": Option(millis(0), 500)}

Source = Union[Dispatcher, Callable[[], Optional[Dispatcher]]]
Handler = TypeVar("Handler", bound=Callable[..., Any])


def with_flush(dispatcher: Source, **options: int) -> Callable[[Handler], Handler]:
    """Decorate a handler of AWS Lambda: `@with_flush(dispatcher)`. What is pending waits for the next invocation.

    `dispatcher` may be a function that returns one, or None as long as there is none. Options:
    `timeout_millis`, the longest time that a flush adds to an invocation (1500), and `margin_millis`, how long before
    the end of `context.get_remaining_time_in_millis()` it ends (500). Raises an OptionError for others.
    """
    resolved = resolve_table(TABLE, options)
    if not isinstance(dispatcher, Dispatcher) and not callable(dispatcher):
        raise OptionError(
            f"with_flush() expects a Dispatcher, got a {type(dispatcher).__name__}: @with_flush(dispatcher)"
        )
    delivery = _Delivery(dispatcher, resolved["timeout_millis"], resolved["margin_millis"])

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def wrapped(event: Any, context: Any = None, *rest: Any) -> Any:
            early = delivery.watch(context)
            try:
                return handler(event, context, *rest)
            finally:
                if early is not None:
                    early.cancel()
                delivery.flush(delivery.time_left(context))

        return wrapped  # type: ignore[return-value]

    return decorate


class _Delivery:
    """What the invocations of one wrapped handler have in common."""

    def __init__(self, source: Source, timeout_millis: Optional[int], margin_millis: int) -> None:
        self._source = source
        self._whole_millis = DEFAULT_TIMEOUT_MILLIS if timeout_millis is None else timeout_millis
        self._margin_millis = margin_millis
        self._log = Log()
        self._lock = threading.Lock()  # a flush while the handler runs, and the one at its end
        self._is_failing = False
        self._delivered_before = 0
        self._whole_try_at = float("-inf")
        self._is_told = False

    def time_left(self, context: Any) -> float:
        """The milliseconds that a flush may take; without a context the time of an invocation is not limited."""
        if context is None:
            return float("inf")
        try:
            return max(float(context.get_remaining_time_in_millis()) - self._margin_millis, 0.0)
        except Exception:
            return 0

    def watch(self, context: Any) -> Optional[threading.Timer]:
        """Have a handler that runs until the time is nearly up flushed while it runs."""
        left = self.time_left(context)
        if left < MIN_EARLY_MILLIS or left == float("inf"):
            return None
        share = min(self._whole_millis, left / 2)
        timer = threading.Timer((left - share) / 1000, lambda: self.flush(self.time_left(context)))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # too many threads, so there is the flush at the end alone
            return None
        return timer

    def flush(self, left: float) -> None:
        """Flush within so many milliseconds. Raises nothing: delivery never fails an invocation."""
        try:
            with self._lock:
                dispatcher = self._source if isinstance(self._source, Dispatcher) else self._source()
                if dispatcher is not None:
                    self._try(dispatcher, left)
        except Exception as error:
            self._log.warning("with_flush", f"with_flush(): the flush failed: {reason_of(error)}")

    def _try(self, dispatcher: Dispatcher, left: float) -> None:
        limit = min(self._limit(dispatcher), left)
        report = dispatcher.flush(limit / 1000, abort=True)
        self._judge(report, dispatcher, limit)
        if report.pending > 0 and not self._is_told:
            decisions = "1 decision is" if report.pending == 1 else f"{report.pending} decisions are"
            self._log.warning(
                "with_flush",
                f"with_flush(): {decisions} pending after {report.duration * 1000:.0f} ms, and will "
                "be delivered in a later invocation of this process, if there is one; logged once until nothing is "
                "pending",
            )
        self._is_told = report.pending > 0

    def _limit(self, dispatcher: Dispatcher) -> float:
        """The time of a try: the whole, or while the server fails that of a probe."""
        if self._is_failing and _delivered_by(dispatcher) > self._delivered_before:
            self._is_failing = False
        now = time.monotonic()
        if self._is_failing and now - self._whole_try_at < WHOLE_TRY_INTERVAL_SECONDS:
            return min(PROBE_MILLIS, self._whole_millis)
        self._whole_try_at = now
        return self._whole_millis

    def _judge(self, report: FlushReport, dispatcher: Dispatcher, limit: float) -> None:
        """Decide from a flush whether the server fails. What is pending although it does not, waits for its time."""
        ran_out = report.duration * 1000 >= limit
        if report.pending == 0:
            self._is_failing = False
        elif dispatcher.stats()["health"] != "ok" or (ran_out and limit >= min(PROBE_MILLIS, self._whole_millis)):
            self._is_failing = True
            self._delivered_before = _delivered_by(dispatcher)
        elif not ran_out:
            self._is_failing = False


def _delivered_by(dispatcher: Dispatcher) -> int:
    stats = dispatcher.stats()
    return stats["decisions"]["delivered"] + stats["tracked"]["delivered"]
