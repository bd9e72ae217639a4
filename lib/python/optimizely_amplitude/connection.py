"""One connection by `requests`: its proxies, certificates and environment are what users of Python know.

The environment is read once for a connection, and ~/.netrc never.
"""

from __future__ import annotations

import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Tuple, Union

from .text import reason_of

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 4.0
"""The most that connecting, with DNS and TLS, takes of a request's time."""
CONNECTION_SECONDS = 240.0
"""Behind one address are many machines: a connection is replaced after this time."""


class Cut(Exception):
    """The answer was cut short."""


class Connection:
    """For one thread. `on_connect` gets each socket; the options are those of a dispatcher."""

    def __init__(
        self,
        options: Mapping[str, Any],
        user_agent: str,
        on_connect: Callable[[socket.socket], None] = lambda connected: None,
    ) -> None:
        self._options = options
        self._user_agent = user_agent
        self._on_connect = on_connect
        self._session: Optional[requests.Session] = None
        self._settings: Dict[str, Any] = {}
        self._expires = 0.0
        self.has_answered = False

    def close(self) -> None:
        session, self._session = self._session, None
        self.has_answered = False
        if session is not None:
            session.close()

    def send(self, request: requests.PreparedRequest, timeout: float) -> requests.Response:
        """Send a request; the answer is read by the caller. Raises what `requests` raises."""
        session = self._open()
        return session.send(
            request,
            stream=True,
            timeout=(min(CONNECT_SECONDS, timeout), timeout),
            allow_redirects=False,
            **self._settings,
        )

    def get(self, url: str, keys: Tuple[str, str], timeout: float) -> requests.Response:
        """GET with the two keys of a project."""
        import requests

        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        return self.send(requests.Request("GET", url, headers=headers, auth=keys).prepare(), timeout)

    def _open(self) -> requests.Session:
        """Return the session, which is one connection, or a new one in place of an old one."""
        if self._session is not None and time.monotonic() > self._expires:
            self.close()
        if self._session is None:
            self._session = _make_session(self._on_connect)
            self._settings = {"verify": self._verify(), "proxies": self._proxies()}
            self._expires = time.monotonic() + CONNECTION_SECONDS
        return self._session

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

    def explain(self, error: BaseException, timeout: float) -> str:
        """Say in a line why there is no answer. Messages of `requests` have URLs in them, with their credentials."""
        from requests import exceptions

        if isinstance(error, exceptions.ConnectTimeout):
            return f"no connection within {min(CONNECT_SECONDS, timeout):g} s"
        root = root_of(error)
        if isinstance(error, exceptions.ReadTimeout) or isinstance(root, (socket.timeout, TimeoutError)):
            return f"no answer within {timeout * 1000:.0f} ms"
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


def root_of(error: BaseException) -> BaseException:
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
