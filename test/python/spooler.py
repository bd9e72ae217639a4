"""Children of the tests of the spool: python spooler.py CASE URL DIRECTORY.

Each decides with the real SDK, and ends in its own way.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

from child import fork_of_c

from conftest import API_KEY, make_client
from optimizely_amplitude import Dispatcher

CLIENT = make_client()


def dispatcher(url: str, directory: str, **options: Any) -> Dispatcher:
    given = {
        "api_key": API_KEY,
        "server_url": url,
        "spool": {"directory": directory},
        "dedupe": {"window_millis": 365 * 24 * 60 * 60 * 1000},
        "flush_timeout_millis": 300,
    }
    made = Dispatcher(**{**given, **options})
    made.attach(CLIENT)
    return made


def decide(name: str, count: int = 100) -> None:
    for i in range(count):
        CLIENT.create_user_context(f"{name}_{i}").decide("checkout_flow")


def kill(url: str, directory: str) -> None:
    made = dispatcher(url, directory)
    decide("user", 50)
    made.flush(0.2)  # the server does not take them
    decide("later", 50)
    os.kill(os.getpid(), signal.SIGKILL)


def os_exit(url: str, directory: str) -> None:
    dispatcher(url, directory)
    decide("user", 50)
    os._exit(0)


def end(url: str, directory: str) -> None:
    made = dispatcher(url, directory)
    decide("user", 50)
    print(json.dumps(made.close()))


def end_of_the_program(url: str, directory: str) -> None:
    dispatcher(url, directory)
    decide("user", 50)


def slow_disk(url: str, directory: str) -> None:
    """How long the first decision takes, and for how long at most another thread stands still meanwhile."""
    made = dispatcher(url, directory)
    moments = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(0.005):
            moments.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    began = time.monotonic()
    decide("user", 1)
    ended = time.monotonic()
    is_over.set()
    thread.join()
    steps = [began, *(moment for moment in moments if began < moment < ended), ended]
    print(json.dumps([ended - began, max(after - before for before, after in zip(steps, steps[1:]))]), flush=True)
    made.close()


def fork(url: str, directory: str) -> None:
    """A preloading server: the parent decides, too, and all are killed."""
    made = dispatcher(url, directory)
    decide("parent")
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            counts: Any = made.stats()
            assert counts["decisions"]["seen"] == 0 and counts["spool"]["bytes"] == 0, counts
            decide(f"child_{number}")
            made.flush(0.1)
            print("decided", flush=True)
            time.sleep(60)
        children.append(child)
    decide("after")
    made.flush(0.1)
    print("decided", flush=True)
    sys.stdin.readline()
    for process in (*children, os.getpid()):
        os.kill(process, signal.SIGKILL)


def fork_and_outlive(url: str, directory: str) -> None:
    """A child that does not decide outlives its parent."""
    dispatcher(url, directory)
    decide("user", 50)
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        os.close(1)
        os.close(2)
        time.sleep(60)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def fork_of_a_fork(url: str, directory: str) -> None:
    """Children end in their own way, after their parents."""
    made = dispatcher(url, directory)
    decide("first", 10)
    if os.fork() == 0:
        decide("second", 10)
        if os.fork() == 0:
            decide("third", 10)
            made.close()
        os._exit(0)
    os._exit(0)


def fork_while_sending(url: str, directory: str) -> None:
    """The attempt that is out at a fork is the parent's; in the child it ends with the core that it came from."""
    made = dispatcher(url, directory, request_timeout_millis=60_000)
    decide("parent", 10)
    made.flush(0.3)
    child = os.fork()
    if child == 0:
        made.set_opt_out(True, purge=True)
        made.set_opt_out(False)
        decide("child", 10)
        made.close(0.1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.kill(os.getpid(), signal.SIGKILL)


def fork_beside_python(url: str, directory: str) -> None:
    """A fork() of C, as that of uWSGI: before the child begins anew its core has no files, either."""
    made = dispatcher(url, directory)
    decide("parent", 10)
    child = fork_of_c()
    if child == 0:
        for i in range(10):
            made._core.record(("checkout_flow", "variation", None, True), f"child_{i}", None, None, None, None, False)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status == 0, status
    decide("after", 10)
    os.kill(os.getpid(), signal.SIGKILL)


def fork_without(url: str, directory: str) -> None:
    """A child gets no journal, since the directory has changed meanwhile."""
    made = dispatcher(url, directory)
    child = os.fork()
    if child == 0:
        os.chmod(directory, 0o755)
        decide("user", 10)
        print(json.dumps([made.stats()["spool"], made.flush(10).delivered]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def deliver(url: str, directory: str) -> None:
    """What comes next: it decides nothing, and delivers what was left."""
    made = dispatcher(url, directory, flush_interval_millis=1)
    expected = int(sys.argv[4])
    until = time.monotonic() + 30
    while time.monotonic() < until:
        counts: Any = made.stats()
        if counts["decisions"]["delivered"] >= expected:
            break
        time.sleep(0.01)
    made.close(10)
    print(json.dumps(made.stats()))


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], sys.argv[3])
