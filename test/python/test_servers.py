"""Real servers and task queues, which make and end processes in their own ways: each decision arrives once."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import sys
import time
import types
from collections import Counter
from typing import Any, Callable, List

import pytest
import requests

from conftest import Amplitude, flag

HERE = pathlib.Path(__file__).parent
BIN = pathlib.Path(sys.executable).parent
REQUESTS = 60

SETUP = """
import os, sys
sys.path.insert(0, {here!r})
from conftest import API_KEY, make_client
from optimizely_amplitude import Dispatcher

client = make_client()
dispatcher = Dispatcher(api_key=API_KEY, server_url={url!r}, flush_interval_millis={interval})
dispatcher.attach(client)
client.create_user_context("master_0").decide("checkout_flow")
"""

WSGI = """
def application(environ, start_response):
    user = environ["PATH_INFO"].strip("/")
    client.create_user_context(user).decide("checkout_flow")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

ASGI = """
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    async with dispatcher:
        yield

app = FastAPI(lifespan=lifespan)

@app.get("/{user}")
def decide(user: str):
    client.create_user_context(user).decide("checkout_flow")
    return "ok"
"""

TASKS = """
import celery

app = celery.Celery("application", broker="filesystem://", broker_connection_retry_on_startup=True)
folders = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "queue"}
app.conf.broker_transport_options = folders

@app.task(name="decide")
def decide(user):
    client.create_user_context(user).decide("checkout_flow")
"""


class Server:
    """A server in a process of its own, whose lines are read until it is ready."""

    def __init__(self, arguments: List[str], folder: pathlib.Path, ready: str, count: int = 1) -> None:
        self.process = subprocess.Popen(
            arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        self.lines: List[str] = []
        for line in self.process.stdout:
            self.lines.append(line)
            count -= re.search(ready, line) is not None
            if count == 0:
                return
        pytest.fail(f"{arguments} ended: {self.lines}")

    def find(self, pattern: str) -> str:
        found = re.search(pattern, "".join(self.lines))
        assert found is not None, self.lines
        return found[1]

    def end(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        self.lines += self.process.stdout.readlines()
        return self.process.wait(30)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # its workers go with it
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def start(amplitude: Amplitude, tmp_path: pathlib.Path, request: Any) -> Callable[..., Server]:
    """Write application.py, and start a server with it. With an interval that never passes its end has to deliver."""

    def start_server(arguments: List[str], application: str, ready: str, count: int = 1, interval: int = 200) -> Server:
        setup = SETUP.format(here=str(HERE), url=amplitude.url, interval=interval)
        (tmp_path / "application.py").write_text(setup + application)
        server = Server([str(BIN / arguments[0]), *arguments[1:]], tmp_path, ready, count)
        request.addfinalizer(server.kill)
        return server

    return start_server


def arrived(amplitude: Amplitude) -> Counter[str]:
    return Counter(event["user_id"] for event in amplitude.events())


def ask_all(url: str) -> Counter[str]:
    """Have REQUESTS users decided about, each by one request; return them."""
    for i in range(REQUESTS):
        assert requests.get(f"{url}/user_{i}", timeout=30).ok
    return Counter(f"user_{i}" for i in range(REQUESTS))


# ---- gunicorn ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("preload", [True, False])
def test_gunicorn_restarted_under_load(amplitude: Amplitude, start: Callable[..., Server], preload: bool) -> None:
    arguments = ["--workers", "8", "--bind", "127.0.0.1:0", "--graceful-timeout", "20", "--threads", "2"]
    preloading = ["--preload"] if preload else []
    server = start(["gunicorn", *arguments, *preloading, "application"], WSGI, "Booting worker", 8)
    url = server.find(r"Listening at: (\S+)")
    session: Any = requests.Session()
    asked_again = set()
    for i in range(600):
        if i in (200, 400):
            server.process.send_signal(signal.SIGHUP)
        for _ in range(5):
            try:
                assert session.get(f"{url}/user_{i}", timeout=20).text == "ok"
                break
            except requests.ConnectionError:
                asked_again.add(f"user_{i}")  # a worker that ended had kept the connection
                time.sleep(0.1)
        else:
            pytest.fail(f"gunicorn does not answer: {server.lines}")
    assert server.end() == 0, server.lines
    users = arrived(amplitude)
    assert {user for user in users if user.startswith("user_")} == {f"user_{i}" for i in range(600)}
    # Of a request that was made again two workers may have decided, by one insert_id.
    once = {user: count for user, count in users.items() if user.startswith("user_") and user not in asked_again}
    assert set(once.values()) == {1}, "each arrives once"
    assert len(once) > 500
    # Of a preloaded application the master decides once; otherwise each worker decides the same, by one insert_id.
    assert users["master_0"] == 1 if preload else users["master_0"] > 1
    assert len({event["insert_id"] for event in amplitude.events() if event["user_id"] == "master_0"}) == 1


# ---- uWSGI ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--enable-threads", "--py-call-uwsgi-fork-hooks", "--lazy-apps"])
def test_uwsgi(amplitude: Amplitude, start: Callable[..., Server], option: str) -> None:
    """It forks without Python's hooks unless told to call them. Workers end as Python does, the master does not."""
    arguments = ["--http-socket", "127.0.0.1:0", "--master", "--processes", "4", "--enable-threads", "--die-on-term"]
    where = ["--virtualenv", sys.prefix, "--module", "application", option]
    is_lazy = option == "--lazy-apps"
    ready = "WSGI app 0 .* ready" if is_lazy else "spawned uWSGI worker"
    server = start(["uwsgi", *arguments, *where], WSGI, ready, 4, 60_000)
    expected = ask_all("http://" + server.find(r"TCP address (\S+)"))
    assert server.end() == 0, server.lines
    users = arrived(amplitude)
    # Each worker that loads the application by itself decides the same, by one insert_id. The master delivers by its
    # timer alone: it has no end at which it could.
    of_master = users.pop("master_0", 0)
    assert of_master == 4 if is_lazy else of_master <= 1
    assert users == expected, server.lines


def test_uwsgi_without_threads(make: Any, caplog: Any, monkeypatch: Any) -> None:
    """The default of older ones, such as 2.0.26; newer ones have no such option, so its module is made up."""
    monkeypatch.setitem(sys.modules, "uwsgi", types.SimpleNamespace(has_threads=0))
    make().on_decision("flag", "user_1", {}, flag())
    assert "set enable-threads = true" in caplog.text


# ---- uvicorn ----------------------------------------------------------------------------------------


def test_uvicorn(amplitude: Amplitude, start: Callable[..., Server]) -> None:
    """It ends its workers by the signal itself, without atexit, so the application closes the dispatcher."""
    arguments = ["uvicorn", "--workers", "2", "--port", "0", "application:app"]
    server = start(arguments, ASGI, "Application startup complete", 2, 60_000)
    expected = ask_all(server.find(r"running on (\S+)"))
    server.end()
    users = arrived(amplitude)
    assert users.pop("master_0") == 2, "each worker loads the application"
    assert users == expected, server.lines


# ---- Celery -----------------------------------------------------------------------------------------


def test_celery(amplitude: Amplitude, start: Callable[..., Server], tmp_path: pathlib.Path) -> None:
    """The prefork pool, whose processes end after a few tasks each, or with the worker, without atexit."""
    celery = pytest.importorskip("celery", reason="it needs Python 3.10")
    queue = tmp_path / "queue"
    queue.mkdir()
    folders = {"data_folder_in": str(queue), "data_folder_out": str(queue), "control_folder": str(queue)}
    arguments = ["--app", "application", "worker", "--pool", "prefork", "--concurrency", "3", "--loglevel", "INFO"]
    limits = ["--max-tasks-per-child", "5", "--without-mingle", "--without-gossip"]
    server = start(["celery", *arguments, *limits], TASKS, " ready", 1, 60_000)
    app = celery.Celery(broker="filesystem://", broker_transport_options=folders)
    expected = Counter(f"user_{i}" for i in range(REQUESTS))
    for user in expected:
        app.send_task("decide", [user], ignore_result=True)
    assert server.process.stdout is not None
    done = 0
    while done < REQUESTS:
        line = server.process.stdout.readline()
        assert line != "", server.lines
        server.lines.append(line)
        done += "succeeded" in line
    assert server.end() == 0, server.lines
    users = arrived(amplitude)
    assert users.pop("master_0") == 1
    assert users == expected, server.lines
