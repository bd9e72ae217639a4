"""POSTs bodies by `requests`, on the sender's thread: its proxies, certificates and environment are what users know.

The request in flight can be cancelled from another thread, by shutting its socket down: a silent server would hold the
sender until the timeout.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import urlsplit

from ._native import ANSWER_MAX_BYTES
from .text import reason_of

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 4.0
"""The most that connecting, with DNS and TLS, takes of a request's time."""
CONNECTION_SECONDS = 240.0
"""Behind one address are many machines: a connection is replaced after this time."""
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


class Cut(Exception):
    """The answer was cut short."""


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
        self._session: Optional[requests.Session] = None
        self._settings: Dict[str, Any] = {}
        self._has_answered = False  # on this connection
        self._expires = 0.0
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
        session, self._session = self._session, None
        if session is not None:
            session.close()

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

        was_used = self._session is not None and self._has_answered
        try:
            session = self._open()
            request = requests.Request("POST", self._options["server_url"], headers=self._headers).prepare()
            request.body = body
            request.headers["Content-Length"] = str(len(body))
            if is_gzip:
                request.headers["Content-Encoding"] = "gzip"
            timeout = (min(CONNECT_SECONDS, self._timeout), self._timeout)
            with session.send(request, stream=True, timeout=timeout, allow_redirects=False, **self._settings) as got:
                text = self._read(got, started)
                self._has_answered = True
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
            message = f"{self._options['server_name']}: {self._explain(error)}"
            return Answer(0, self._is_cancelled, len(body), _millis_since(started), 0, None, _plain(message), None)

    def _read(self, response: requests.Response, started: float) -> bytes:
        pieces = []
        size = 0
        expected = response.headers.get("Content-Length", "")
        if expected and not expected.isdigit():
            raise Cut("its Content-Length is not a number")
        while size < ANSWER_MAX_BYTES:
            piece = response.raw.read(CHUNK_BYTES, decode_content=False)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() - started > self._timeout:
                raise TimeoutError
        if expected and size < min(int(expected), ANSWER_MAX_BYTES):
            raise Cut(f"the answer was cut short after {size} of {expected} bytes")
        return b"".join(pieces)[:ANSWER_MAX_BYTES]

    def _open(self) -> requests.Session:
        """Return the session, which is one connection, or a new one in place of an old one."""
        if self._session is not None and time.monotonic() > self._expires:
            self.close()
        if self._session is None:
            self._session = _make_session(self._watch)
            self._settings = {"verify": self._verify(), "proxies": self._proxies()}
            self._has_answered = False
            self._expires = time.monotonic() + CONNECTION_SECONDS
        return self._session

    def _watch(self, connected: socket.socket) -> None:
        with self._lock:
            self._socket = connected
            if self._is_cancelled:
                _shut(connected)

    def _verify(self) -> Union[str, bool]:
        """What `requests` trusts: its variables of the environment, or certifi."""
        given = self._options["ca_file"]
        return given or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True

    def _proxies(self) -> Dict[str, str]:
        from requests.utils import get_environ_proxies, should_bypass_proxies

        proxy, url = self._options["proxy"], self._options["server_url"]
        no_proxy = self._options["no_proxy"]
        if proxy == "" or no_proxy == "*":
            return {}
        if proxy is None:
            return dict(get_environ_proxies(url, no_proxy=no_proxy))
        return {} if should_bypass_proxies(url, no_proxy=no_proxy) else {"http": proxy, "https": proxy}

    def _explain(self, error: BaseException) -> str:
        """Say in a line why there is no answer. Messages of `requests` have URLs in them, with their credentials."""
        from requests import exceptions

        if isinstance(error, exceptions.ConnectTimeout):
            return f"no connection within {min(CONNECT_SECONDS, self._timeout):g} s"
        root = _root_of(error)
        if isinstance(error, exceptions.ReadTimeout) or isinstance(root, (socket.timeout, TimeoutError)):
            return f"no answer within {self._options['request_timeout_millis']} ms"
        if isinstance(error, exceptions.InvalidSchema) and "SOCKS" in str(error):
            return "a socks proxy needs PySocks: pip install requests[socks]"
        kind = "" if isinstance(root, (OSError, Cut)) else f"{type(root).__name__}: "
        reason = re.sub(r"//[^/@\s]*@", "//", reason_of(root)).replace(self._options["server_url"], "the server")
        return f"{kind}{' '.join(reason.split())}"[:300]


def _make_session(on_connect: Any) -> requests.Session:
    """Make a session of which `on_connect` gets each socket, and that reads the environment for nothing by itself."""
    import requests
    from requests.adapters import HTTPAdapter

    def watched(pool_class: Any) -> Any:
        class Connection(pool_class.ConnectionCls):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                on_connect(self.sock)

        return type(pool_class.__name__, (pool_class,), {"ConnectionCls": Connection})

    def watch(manager: Any) -> Any:
        schemes = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: watched(pool) for scheme, pool in schemes.items()}
        return manager

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            watch(self.poolmanager)

        def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
            is_known = proxy in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **options)
            return manager if is_known else watch(manager)

    session = requests.Session()
    session.trust_env = False  # no ~/.netrc; proxies and certificates are looked up once for a connection
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_connections=1, pool_maxsize=1))
    return session


def _shut(connected: socket.socket) -> None:
    """End what another thread waits for. That of an SSLSocket would take its TLS away from under that thread."""
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        pass  # closed already


def _root_of(error: BaseException) -> BaseException:
    """Return the exception with which the trouble began."""
    seen = 0
    while seen < 20:
        inner = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        if inner is None:
            break
        error, seen = inner, seen + 1
    return error


def _is_stale(error: BaseException) -> bool:
    """Whether a connection was gone before an answer began."""
    import http.client

    return isinstance(_root_of(error), (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError))


def _plain(text: str) -> str:
    """Text without surrogates, which names of files and headers may have."""
    return text.encode("utf-8", "replace").decode()


def _millis_since(started: float) -> int:
    return max(int((time.monotonic() - started) * 1000), 0)


def _retry_after(value: Optional[str]) -> int:
    """Seconds, or an HTTP date; 0 for anything else."""
    if value is None:
        return 0
    if value.strip().isdigit():
        return min(int(value), 2**32 - 1)
    try:
        return max(int(parsedate_to_datetime(value).timestamp() - time.time() + 0.999), 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def _location(value: Optional[str]) -> Optional[str]:
    """Where a redirect leads, without user name and query."""
    if value is None:
        return None
    url = urlsplit("".join(value.split()))
    place: Tuple[str, ...] = (f"{url.scheme}:", "", url.netloc.rpartition("@")[2]) if url.netloc else ()
    return _plain("/".join(place) + url.path)[:200]
