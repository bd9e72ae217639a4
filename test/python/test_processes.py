"""How processes end and fork: a child process for each case, see child.py."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Dict, Tuple

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
        ("spawned", 0, {"child": 20}),
        ("executor", 0, {"before": 10, "child": 60}),
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
