"""The log: the application's logger, made safe to call from anywhere.

A fault repeats with every request or every decision, so a warning or an error has a key that names its cause. Each key
is logged at once, and then at most once a minute, with the number of lines that were suppressed.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Dict, List, Optional, Sequence

INTERVAL_SECONDS = 60.0
MAX_KEYS = 100
OVERFLOW_KEY = ""
"""The key that all causes share when there are too many."""

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
"""By the core's numbers."""


class Log:
    """Writes to a logger, by default `optimizely_amplitude`, and installs no handler. Never raises."""

    def __init__(self, logger: Optional[Any] = None, secrets: Sequence[str] = ()) -> None:
        self._logger = logging.getLogger("optimizely_amplitude") if logger is None else logger
        self._secrets = secrets
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child: a thread that is no more may hold the lock."""
        self._lock = threading.RLock()  # a signal handler may log while its thread does
        self._recent: Dict[str, List[float]] = {}  # key -> [logged at, suppressed since]; the oldest comes first

    @property
    def is_debugging(self) -> bool:
        return bool(self._logger.isEnabledFor(logging.DEBUG))

    def debug(self, message: str) -> None:
        self._write(logging.DEBUG, message)

    def warning(self, key: str, message: str) -> None:
        self.log(2, key, message)

    def error(self, key: str, message: str) -> None:
        self.log(3, key, message)

    def log(self, level: int, key: str, message: str) -> None:
        """Write a line of one of the core's levels; a warning or error at most once a minute for each key."""
        if level < 2:
            self._write(LEVELS[level], message)
            return
        suppressed = self._suppress(key)
        if suppressed is not None:
            more = f" (and {suppressed} more since the last such line)" if suppressed else ""
            self._write(LEVELS[level], message + more)

    def _suppress(self, key: str) -> Optional[int]:
        """Return how many lines of a key were suppressed, if one may be written now."""
        now = time.monotonic()
        with self._lock:
            if key not in self._recent and len(self._recent) >= MAX_KEYS:
                oldest = next(iter(self._recent))
                if now - self._recent[oldest][0] < INTERVAL_SECONDS:
                    key = OVERFLOW_KEY
                else:
                    del self._recent[oldest]
            entry = self._recent.get(key)
            if entry is not None and now - entry[0] < INTERVAL_SECONDS:
                entry[1] += 1
                return None
            self._recent.pop(key, None)  # so that it becomes the newest
            self._recent[key] = [now, 0]
            return 0 if entry is None else int(entry[1])

    def _write(self, level: int, message: str) -> None:
        try:
            for secret in self._secrets:
                message = message.replace(secret, "***")
            self._logger.log(level, "%s", message)
        except Exception:
            pass  # the logger itself is broken, and there is no other place to report it
