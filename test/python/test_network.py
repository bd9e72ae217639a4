"""Proxies, certificates, and servers that misbehave below HTTP."""

from __future__ import annotations

import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from typing import Any

import pytest
import urllib3

from conftest import Amplitude, flag, reconcile
from optimizely_amplitude import transport

PROXY_PASSWORD = "hidden-from-the-log"


def decide(dispatcher: Any, name: str = "user_1") -> None:
    dispatcher.on_decision("flag", name, {}, flag())


@pytest.fixture
def proxy_url(amplitude: Amplitude, monkeypatch: Any) -> str:
    """The stand-in as a proxy: it takes whatever it is asked for."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return amplitude.url.replace("/2/httpapi", "").replace("//", f"//somebody:{PROXY_PASSWORD}@")


def test_a_proxy(amplitude: Amplitude, make: Any, proxy_url: str, monkeypatch: Any) -> None:
    url = "http://amplitude.invalid/2/httpapi"
    given = make(server_url=url, proxy=proxy_url)
    decide(given)
    assert given.flush(5).delivered == 1
    assert amplitude.headers[0]["Host"] == "amplitude.invalid" and "Proxy-Authorization" in amplitude.headers[0]
    monkeypatch.setenv("http_proxy", proxy_url)
    found = make(server_url=url)
    decide(found)
    assert found.flush(5).delivered == 1


def test_no_proxy(amplitude: Amplitude, make: Any, proxy_url: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for options in ({"proxy": ""}, {"no_proxy": "*"}, {"no_proxy": "127.0.0.1"}):
        dispatcher = make(**options)
        decide(dispatcher)
        assert dispatcher.flush(5).delivered == 1, options
    dispatcher = make()
    decide(dispatcher)
    assert dispatcher.flush(1).pending == 1


def test_no_secret_in_messages(make: Any, caplog: Any) -> None:
    dispatcher = make(server_url="http://127.0.0.1:1/x?token=hidden", proxy=f"http://user:{PROXY_PASSWORD}@127.0.0.1:1")
    decide(dispatcher)
    dispatcher.flush(1)
    error: Any = dispatcher.stats()["last_error"]
    assert "127.0.0.1" in error["message"]
    assert "hidden" not in caplog.text + error["message"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: Any) -> Any:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    folder: pathlib.Path = tmp_path_factory.mktemp("certificates")
    arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(["openssl", *arguments.split(), *files], check=True, capture_output=True)
    return folder


@pytest.fixture
def over_tls(amplitude: Amplitude, certificate: pathlib.Path) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    amplitude.server.socket = context.wrap_socket(amplitude.server.socket, server_side=True)
    return amplitude.url.replace("http://", "https://")


def test_certificates(
    amplitude: Amplitude, make: Any, over_tls: str, certificate: pathlib.Path, monkeypatch: Any
) -> None:
    trusting = make(server_url=over_tls, ca_file=str(certificate / "certificate.pem"))
    decide(trusting)
    assert trusting.flush(5).delivered == 1
    wary = make(server_url=over_tls)
    decide(wary)
    assert wary.flush(2).pending == 1
    error: Any = wary.stats()["last_error"]
    assert "certificate" in error["message"].lower()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "certificate.pem"))
    told = make(server_url=over_tls)
    decide(told)
    assert told.flush(5).delivered == 1


def test_a_request_over_tls_is_ended_at_a_deadline(
    amplitude: Amplitude, make: Any, over_tls: str, certificate: pathlib.Path
) -> None:
    amplitude.answer = lambda body: None
    dispatcher = make(server_url=over_tls, ca_file=str(certificate / "certificate.pem"))
    decide(dispatcher)
    assert dispatcher.flush(0.3, abort=True).pending == 1
    amplitude.answer = lambda body: (200, {"code": 200})
    assert dispatcher.flush(5).delivered == 1, "the sender is free again"


@pytest.fixture
def dripping() -> Any:
    """A server that sends a byte of its answer now and then, and never ends."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not over.wait(0.05):
                connection.sendall(b" ")
        except OSError:
            pass  # the client has gone

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/2/httpapi"
    over.set()
    server.close()


@pytest.mark.skipif(urllib3.__version__.startswith("1."), reason="urllib3 1 reads an answer as a whole")
def test_an_answer_that_never_ends(make: Any, dripping: str) -> None:
    dispatcher = make(server_url=dripping, request_timeout_millis=300)
    decide(dispatcher)
    ends = time.monotonic() + 20
    dispatcher.flush(0.1)
    while dispatcher.stats()["requests"]["failed"] == 0:
        assert time.monotonic() < ends, "a request ends at its timeout"
        time.sleep(0.02)
    assert reconcile(dispatcher)["pending"] == 1


def test_a_signal_handler_may_decide(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make()

    def handler(*_: Any) -> None:
        dispatcher.on_decision("flag", None, {}, flag())
        dispatcher.on_decision("flag", "user_in_handler", {}, flag())

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        ends = time.monotonic() + 1
        decided = 0
        while time.monotonic() < ends:
            dispatcher.on_decision("flag", None, {}, flag())
            decide(dispatcher, f"user_{decided}")
            decided += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert dispatcher.flush(30).pending == 0
    assert reconcile(dispatcher)["delivered"] == decided + 1


def test_headers_that_say_nothing() -> None:
    assert [transport._retry_after(value) for value in (None, "7", "\xb2", "soon")] == [0, 7, 0, 0]
    assert transport._location("https://user:secret@example.com/path?query") == "https://example.com/path"
    assert transport._location("http://[/path") is None
