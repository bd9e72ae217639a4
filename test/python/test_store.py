"""The store of exposures that a fleet shares, with a real server and with failing ones."""

from __future__ import annotations

import logging
import re
import shutil
import socket
import subprocess
import threading
import time
import types
from typing import Any, List

import pytest

from conftest import ROOT, Amplitude, flag, reconcile
from optimizely_amplitude.store import ASK, WRITE


@pytest.fixture(scope="module")
def redis_port() -> Any:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("there is no redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([program, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    import redis

    client = redis.Redis(port=port)
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    yield port
    server.terminate()
    server.wait()


def test_the_scripts_are_those_of_node() -> None:
    source = (ROOT / "lib" / "store.js").read_text()
    for name, script in (("ASK", ASK), ("WRITE", WRITE)):
        theirs = re.search(rf"^const {name} = script\(`(.*?)`\);", source, re.M | re.S)
        assert theirs is not None and theirs[1] == script.text, "one store for both languages"


@pytest.mark.parametrize("decodes", [False, True])
@pytest.mark.parametrize("buckets", [1, 8])
def test_a_fleet_sends_an_exposure_once(
    amplitude: Amplitude, make: Any, redis_port: int, decodes: bool, buckets: int
) -> None:
    import redis

    client = redis.Redis(port=redis_port, decode_responses=decodes)
    client.flushall()
    store = {"client": client, "buckets": buckets, "timeout_millis": 2000}
    first, second = (make(dedupe={"store": store}) for _ in range(2))
    for dispatcher in (first, second):
        for i in range(300):
            dispatcher.on_decision("flag", f"user_{i}", {}, flag())
            dispatcher.on_decision("flag", f"user_{i}", {}, flag("other", "b"))
        assert dispatcher.flush(20).pending == 0
    assert len(amplitude.events()) == 600
    assert reconcile(first)["delivered"] == 600
    assert reconcile(second)["deduplicated"] == 600
    stats: Any = second.stats()["store"]
    assert stats.pop("checks") >= 1
    assert stats == {
        "failures": 0,
        "skipped": 0,
        "state": "ok",
        "last_error": None,
        "repeats": 600,
        "conflicts": 0,
    }
    second.on_decision("flag", "user_0", {}, flag(variation="changed"))
    assert second.flush(20).delivered == 1


def test_a_store_that_fails_holds_nothing_up(amplitude: Amplitude, make: Any, caplog: Any) -> None:
    calls: List[Any] = []

    def send(argv: List[str], routing_key: str) -> Any:
        calls.append((argv, routing_key))
        raise ConnectionError("no server")

    dispatcher = make(dedupe={"store": send})
    with caplog.at_level(logging.WARNING, "optimizely_amplitude"):
        dispatcher.on_decision("flag", "user_1", {}, flag())
        assert dispatcher.flush(5).delivered == 1
        dispatcher.on_decision("flag", "user_2", {}, flag())
        assert dispatcher.flush(5).delivered == 1
    assert len(calls) == 1, "it is left alone for some seconds"
    stats: Any = dispatcher.stats()["store"]
    assert stats["state"] == "failing" and stats["last_error"]["message"] == "no server" and stats["skipped"] > 0
    assert sum("store of exposures fails" in record.getMessage() for record in caplog.records) == 1


def test_decisions_are_sent_where_no_thread_starts(
    amplitude: Amplitude, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a process, since CPython 3.12."""

    class Thread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr("optimizely_amplitude.store.threading", types.SimpleNamespace(Thread=Thread))
    dispatcher = make(dedupe={"store": lambda *_: "n,n"})
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert dispatcher.flush(10).delivered == 1
    assert dispatcher.stats()["store"]["last_error"]["message"] == "can't create new thread at interpreter shutdown"


def test_a_store_that_hangs_or_talks_nonsense_holds_nothing_up(amplitude: Amplitude, make: Any) -> None:
    for send in (lambda *_: time.sleep(30), lambda *_: "nonsense", lambda *_: b"r1,r2", lambda *_: None):
        dispatcher = make(dedupe={"store": {"send": send}})
        dispatcher.on_decision("flag", "user_1", {}, flag())
        assert dispatcher.flush(10).delivered == 1
        stats: Any = dispatcher.stats()["store"]
        assert stats["failures"] == 1
