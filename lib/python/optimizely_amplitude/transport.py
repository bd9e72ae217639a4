"""POSTs bodies on the sender's thread.

The request in flight can be cancelled from another thread, by shutting its socket down: a silent server would hold the
sender until the timeout.
"""

from __future__ import annotations

import socket
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

from ._native import ANSWER_MAX_BYTES
from .connection import Connection, Cut, root_of

if TYPE_CHECKING:
    import requests

CHUNK_BYTES = 65536


class Answer(NamedTuple):
    """What the core wants to know of a request: the arguments of Core.answer()."""

    status_code: int
    aborted: bool
    sent_bytes: int
    duration_millis: int
    retry_after_seconds: int
    body: Optional[bytes]
    error: Optional[str]
    location: Optional[str]


class Transport:
    """One connection to the server."""

    def __init__(self, options: Mapping[str, Any], user_agent: str) -> None:
        self._options = options
        self._timeout = options["request_timeout_millis"] / 1000
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": user_agent,
        }
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked child: the connection is the parent's, and stays open there."""
        self._lock = threading.Lock()
        self._connection = Connection(self._options, self._headers["User-Agent"], self._watch)
        self._socket: Optional[socket.socket] = None
        self._is_cancelled = False

    def rearm(self) -> None:
        """An attempt begins: a cancel() from now on is about it."""
        with self._lock:
            self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled

    def cancel(self) -> None:
        """End the attempt soon. Any thread."""
        with self._lock:
            self._is_cancelled = True
            if self._socket is not None:
                _shut(self._socket)

    def close(self) -> None:
        self._connection.close()

    def post(self, body: bytes, is_gzip: bool) -> Answer:
        """Send a body and return the answer. Raises nothing that a server or a network can cause."""
        started = time.monotonic()
        answer = self._try(body, is_gzip, started)
        if answer is None:
            # The server had closed a connection that was idle: no failure of the request.
            answer = self._try(body, is_gzip, started)
        assert answer is not None, "the second connection is a new one"
        if answer.status_code == 0 or answer.status_code == 408 or answer.status_code >= 500:
            self.close()
        return answer

    def _try(self, body: bytes, is_gzip: bool, started: float) -> Optional[Answer]:
        """Make one exchange; None: the connection was an old one, and is to be replaced."""
        import requests

        was_used = self._connection.has_answered
        try:
            request = requests.Request("POST", self._options["server_url"], headers=self._headers).prepare()
            request.body = body
            request.headers["Content-Length"] = str(len(body))
            if is_gzip:
                request.headers["Content-Encoding"] = "gzip"
            with self._connection.send(request, self._timeout) as got:
                text = self._read(got, started)
                self._connection.has_answered = True
                return Answer(
                    got.status_code,
                    self._is_cancelled,
                    len(body),
                    _millis_since(started),
                    _retry_after(got.headers.get("Retry-After")),
                    text,
                    None,
                    _location(got.headers.get("Location")),
                )
        except Exception as error:
            self.close()
            if was_used and not self._is_cancelled and _is_stale(error):
                return None
            message = f"{self._options['server_name']}: {self._connection.explain(error, self._timeout)}"
            return Answer(0, self._is_cancelled, len(body), _millis_since(started), 0, None, _plain(message), None)

    def _read(self, response: requests.Response, started: float) -> bytes:
        pieces = []
        size = 0
        expected = response.headers.get("Content-Length", "")
        if expected and not expected.isdecimal():
            raise Cut("its Content-Length is not a number")
        # What has come, where urllib3 can give it (2.0 and later): a server may drip.
        read = getattr(response.raw, "read1", response.raw.read)
        while size < ANSWER_MAX_BYTES:
            piece = read(CHUNK_BYTES, decode_content=False)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() - started > self._timeout:
                raise TimeoutError
        if expected and size < min(int(expected), ANSWER_MAX_BYTES):
            raise Cut(f"the answer was cut short after {size} of {expected} bytes")
        return b"".join(pieces)[:ANSWER_MAX_BYTES]

    def _watch(self, connected: socket.socket) -> None:
        with self._lock:
            self._socket = connected
            if self._is_cancelled:
                _shut(connected)


def _shut(connected: socket.socket) -> None:
    """End what another thread waits for. That of an SSLSocket would take its TLS away from under that thread."""
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        pass  # closed already


def _is_stale(error: BaseException) -> bool:
    """Whether a connection was gone before an answer began."""
    import http.client

    return isinstance(root_of(error), (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError))


def _plain(text: str) -> str:
    """Text without surrogates, which names of files and headers may have."""
    return text.encode("utf-8", "replace").decode()


def _millis_since(started: float) -> int:
    return max(int((time.monotonic() - started) * 1000), 0)


def _retry_after(value: Optional[str]) -> int:
    """Seconds, or an HTTP date; 0 for anything else."""
    if value is None:
        return 0
    if value.strip().isdecimal():
        return min(int(value), 2**32 - 1)
    try:
        return max(int(parsedate_to_datetime(value).timestamp() - time.time() + 0.999), 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def _location(value: Optional[str]) -> Optional[str]:
    """Where a redirect leads, without user name and query."""
    if value is None:
        return None
    try:
        url = urlsplit("".join(value.split()))
    except ValueError:
        return None
    place: Tuple[str, ...] = (f"{url.scheme}:", "", url.netloc.rpartition("@")[2]) if url.netloc else ()
    return _plain("/".join(place) + url.path)[:200]
