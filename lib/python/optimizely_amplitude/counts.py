"""What is counted outside of the core: what never reaches it."""

from __future__ import annotations

import threading
from typing import Dict


class Counter:
    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child."""
        self._lock = threading.RLock()  # a signal handler may decide while its thread counts
        self._counts: Dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + count

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)
