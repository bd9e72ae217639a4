"""The clients that a dispatcher listens to, held weakly: an application may make several."""

from __future__ import annotations

import threading
import weakref
from typing import Any, Callable, Dict, List, NamedTuple

from .checks import kind_of
from .decisions import NOTIFICATION_TYPE
from .errors import ClientError
from .log import Log
from .rules import is_unready
from .text import reason_of

Listener = Callable[..., None]


class _Attachment(NamedTuple):
    client: weakref.ReferenceType[Any]
    listener: Listener
    """The same object each time, so that it is registered once."""


class Clients:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._attachments: Dict[int, _Attachment] = {}
        self.renew()

    def renew(self) -> None:
        """A forked child keeps its clients; a thread that is no more may hold the lock."""
        self._lock = threading.RLock()

    def attach(
        self, client: Any, make_listener: Callable[[weakref.ReferenceType[Any]], Listener]
    ) -> Callable[[], None]:
        """Register a listener for the decisions of a client, once, and return a function that detaches.

        Raises ClientError if it is no client.
        """
        center: Any = getattr(client, "notification_center", None)
        if not callable(getattr(center, "add_notification_listener", None)):
            raise ClientError(
                "attach() expects a client of the Optimizely SDK, as optimizely.Optimizely() returns it, "
                f"got {_describe(client)}"
            )
        key = id(client)
        with self._lock:
            attachment = self._attachments.get(key)
            if attachment is None or attachment.client() is not client:
                reference = weakref.ref(client, lambda _: self._attachments.pop(key, None))
                attachment = _Attachment(reference, make_listener(reference))
            _remove(center, attachment.listener)  # and again, in case that the application has cleared them
            if not center.add_notification_listener(NOTIFICATION_TYPE, attachment.listener) > 0:
                raise ClientError(
                    "attach(): the client takes no DECISION listener; optimizely-sdk 3 or later is needed"
                )
            self._attachments[key] = attachment
        return lambda: self._detach(key, attachment)

    def detach_all(self) -> None:
        for key, attachment in list(self._attachments.items()):
            self._detach(key, attachment)

    def are_unready(self) -> bool:
        """Whether one of the clients has no datafile yet."""
        clients: List[Any] = [attachment.client() for attachment in list(self._attachments.values())]
        return any(client is not None and is_unready(client) for client in clients)

    def _detach(self, key: int, attachment: _Attachment) -> None:
        """An error of the client ends neither detach() nor close()."""
        with self._lock:
            if self._attachments.get(key) is attachment:
                del self._attachments[key]
        client = attachment.client()
        try:
            if client is not None:
                _remove(client.notification_center, attachment.listener)
        except Exception as error:
            self._log.warning("detach", f"a client cannot be detached: {reason_of(error)}")


def _remove(center: Any, listener: Listener) -> None:
    """Remove a listener by itself: its id tells nothing once the application has cleared the listeners."""
    for number, registered in list(center.notification_listeners.get(NOTIFICATION_TYPE, ())):
        if registered == listener:
            center.remove_notification_listener(number)


def _describe(client: Any) -> str:
    if client is None:
        return "None: did the constructor fail?"
    name = (
        next((name for name, value in vars(client).items() if hasattr(value, "notification_center")), None)
        if (hasattr(client, "__dict__"))
        else None
    )
    if name is not None:
        return f"an object with a client in it: attach its attribute '{name}'"
    return f"{kind_of(client)} without notification_center"
