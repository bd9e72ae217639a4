"""The dispatchers of a process: what is delivered at its end, and how a forked child begins.

They are held until they are closed, since something may be queued. The functions of this module are registered once,
with the first dispatcher.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Dict, List, Protocol


class Closable(Protocol):
    def begin_exit(self) -> None:
        """Begin to close, without waiting."""

    def end_exit(self) -> None:
        """Wait for it."""

    def renew(self) -> None:
        """Begin anew in a forked child."""


_live: Dict[int, Closable] = {}
_lock = threading.RLock()
_is_registered = False
_pid = os.getpid()
"""The process that what lives was made for, or renewed."""
_renewals: Dict[int, threading.RLock] = {}
"""For each process that had to find out by itself that it is a child: one made by its parent may be held for ever."""


def add(dispatcher: Closable) -> None:
    global _is_registered
    renew_if_forked()
    with _lock:
        if not _is_registered:
            _is_registered = True
            atexit.register(close_all)
            os.register_at_fork(after_in_child=_renew_all)
        _live[id(dispatcher)] = dispatcher


def remove(dispatcher: Closable) -> None:
    with _lock:
        _live.pop(id(dispatcher), None)


def close_all() -> None:
    """Close all dispatchers at the same time; at the end of a process."""
    renew_if_forked()
    with _lock:
        closing: List[Closable] = list(_live.values())
    for dispatcher in closing:
        dispatcher.begin_exit()
    for dispatcher in closing:
        dispatcher.end_exit()


def renew_if_forked() -> None:
    """Begin anew in a child of a fork() that is none of Python's, such as that of uWSGI: hooks are not called there.

    Everything that a child may call first calls this.
    """
    pid = os.getpid()
    if pid == _pid:
        return
    with _renewals.setdefault(pid, threading.RLock()):
        if pid != _pid:
            _renew_all()


def _renew_all() -> None:
    global _lock, _pid
    _lock = threading.RLock()  # a thread that is no more may hold it
    for dispatcher in list(_live.values()):
        dispatcher.renew()
    _pid = os.getpid()
