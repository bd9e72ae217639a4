"""How processes end and fork: a child process for each case, see child.py."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any, Dict, List, Tuple

import pytest

from conftest import Amplitude

HERE = pathlib.Path(__file__).parent


def run(case: str, amplitude: Amplitude, seconds: float = 60) -> Tuple[int, str, float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(HERE / "child.py"), case, amplitude.url],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - started


def arrived(amplitude: Amplitude) -> Dict[str, int]:
    """How many decisions of each kind of user arrived; each of them once."""
    ids = Counter(event["insert_id"] for event in amplitude.events())
    users = Counter(event["user_id"] for event in amplitude.events())
    assert set(ids.values()) <= {1}, "nothing was sent twice"
    return dict(Counter(user.split("_")[0] for user in users.elements()))


@pytest.mark.parametrize(
    ("case", "code", "expected"),
    [
        ("end", 0, {"parent": 10}),
        ("sys_exit", 3, {"parent": 10}),
        ("raises", 1, {"parent": 10}),
        ("os_exit", 0, {}),
        ("sigterm", -signal.SIGTERM, {}),
        ("sigterm_handled", 0, {"parent": 10}),
        ("in_a_thread", 0, {"parent": 10}),
        ("at_exit", 0, {"parent": 10}),
        ("fork", 0, {"before": 10, "child": 10, "parent": 10}),
        ("fork_and_end", 0, {"before": 10, "child": 10, "parent": 10}),
        ("fork_without_hooks", 0, {"before": 10, "child": 10, "parent": 10}),
        ("fork_without_hooks_and_end", 0, {"before": 10, "child": 80}),
        ("fork_after_others", 0, {"before": 30}),
        ("fork_with_callbacks", 0, {"child": 1, "parent": 1}),
        ("pool", 0, {"before": 10, "child": 60}),
        ("process", 0, {"before": 10, "child": 20}),
        ("billiard_process", 0, {"before": 10, "child": 20}),
        ("subprocesses", 0, {"parent": 100}),
    ],
)
def test_each_decision_arrives_once(amplitude: Amplitude, case: str, code: int, expected: Dict[str, int]) -> None:
    returned, output, _ = run(case, amplitude)
    assert returned == code, output
    assert arrived(amplitude) == expected, output
    if case != "raises":
        assert "Traceback" not in output, output


def test_the_interpreter_ends_while_a_request_gets_no_answer(amplitude: Amplitude) -> None:
    amplitude.answer = lambda body: None
    returned, output, seconds = run("while_sending", amplitude)
    assert returned == 0, output
    assert "10 decisions dropped (closed)" in output
    assert seconds < 15, "it waits for flush_timeout_millis, and not for the minute of the request"


def test_forks_while_threads_decide_and_send(amplitude: Amplitude) -> None:
    returned, output, _ = run("fork_while_sending", amplitude)
    assert returned == 0, output
    by_kind = arrived(amplitude)
    assert by_kind["child"] == 40 * 3
    assert by_kind["parent"] == int(re.findall(r"^\d+$", output, re.M)[0])


# ---- gunicorn ---------------------------------------------------------------------------------------

APPLICATION = """
import os, sys
sys.path.insert(0, {here!r})
from conftest import API_KEY, make_client
from optimizely_amplitude import Dispatcher

client = make_client()
dispatcher = Dispatcher(api_key=API_KEY, server_url={url!r}, flush_interval_millis=200)
dispatcher.attach(client)
client.create_user_context("master_0").decide("checkout_flow")


def application(environ, start_response):
    user = environ["PATH_INFO"].strip("/")
    client.create_user_context(user).decide("checkout_flow")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.mark.parametrize("preload", [True, False])
def test_gunicorn_restarted_under_load(
    amplitude: Amplitude, tmp_path: pathlib.Path, preload: bool, request: Any
) -> None:
    import requests

    (tmp_path / "application.py").write_text(APPLICATION.format(here=str(HERE), url=amplitude.url))
    arguments = ["--workers", "8", "--bind", "127.0.0.1:0", "--graceful-timeout", "20", "--threads", "2"]
    master = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *arguments, *(["--preload"] if preload else []), "application"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    request.addfinalizer(master.terminate)  # also of a test that fails; its workers go with it
    assert master.stderr is not None
    lines: List[str] = []
    url = ""
    for line in master.stderr:
        lines.append(line)
        if "Listening at: " in line:
            url = line.split("Listening at: ")[1].split()[0]
        if sum("Booting worker" in each for each in lines) == 8:
            break
    session: Any = requests.Session()
    asked_again = set()
    for i in range(600):
        if i in (200, 400):
            master.send_signal(signal.SIGHUP)
        for _ in range(5):
            try:
                assert session.get(f"{url}/user_{i}", timeout=20).text == "ok"
                break
            except requests.ConnectionError:
                asked_again.add(f"user_{i}")  # a worker that ended had kept the connection
                time.sleep(0.1)
        else:
            pytest.fail(f"gunicorn does not answer: {lines}")
    master.send_signal(signal.SIGTERM)
    rest = master.stderr.read()
    assert master.wait(60) == 0, rest
    users = Counter(event["user_id"] for event in amplitude.events())
    assert {user for user in users if user.startswith("user_")} == {f"user_{i}" for i in range(600)}
    # Of a request that was made again two workers may have decided, by one insert_id.
    once = {user: count for user, count in users.items() if user.startswith("user_") and user not in asked_again}
    assert set(once.values()) == {1}, "each arrives once"
    assert len(once) > 500
    # Of a preloaded application the master decides once; otherwise each worker decides the same, by one insert_id.
    assert users["master_0"] == 1 if preload else users["master_0"] > 1
    assert len({event["insert_id"] for event in amplitude.events() if event["user_id"] == "master_0"}) == 1
