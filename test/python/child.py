"""Children of the tests of processes: python child.py CASE URL. Each case decides, and ends in its own way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any, Callable, List

from conftest import API_KEY, flag
from optimizely_amplitude import Audiences, Dispatcher


def dispatcher(url: str, **options: Any) -> Dispatcher:
    return Dispatcher(**{"api_key": API_KEY, "server_url": url, "flush_timeout_millis": 5000, **options})


def decide(made: Dispatcher, name: str, count: int = 10) -> None:
    for i in range(count):
        made.on_decision("flag", f"{name}_{i}", {}, flag())


def end(url: str) -> None:
    decide(dispatcher(url), "parent")


def sys_exit(url: str) -> None:
    decide(dispatcher(url), "parent")
    sys.exit(3)


def raises(url: str) -> None:
    decide(dispatcher(url), "parent")
    raise ValueError("mine")


def os_exit(url: str) -> None:
    decide(dispatcher(url), "parent")
    os._exit(0)


def sigterm(url: str) -> None:
    decide(dispatcher(url), "parent")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)


def sigterm_handled(url: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sigterm(url)


def in_a_thread(url: str) -> None:
    """A thread that is no daemon decides after the main thread has ended."""
    made = dispatcher(url)

    def late() -> None:
        time.sleep(0.2)
        decide(made, "parent")

    threading.Thread(target=late).start()


def at_exit(url: str) -> None:
    """A function that atexit calls before ours decides, when nothing was decided before."""
    import atexit

    made = dispatcher(url)
    atexit.register(lambda: decide(made, "parent"))


def while_sending(url: str) -> None:
    """The interpreter ends while the sender is in a request that gets no answer."""
    made = dispatcher(url, flush_timeout_millis=300, request_timeout_millis=60_000)
    decide(made, "parent")
    made.flush(0.1)


def fork(url: str) -> None:
    """Both go on deciding; what was queued before is the parent's."""
    made = dispatcher(url)
    decide(made, "before")
    child = os.fork()
    if child == 0:
        counts: Any = made.stats()["decisions"]
        assert counts["seen"] == 0, counts
        decide(made, "child")
        report = made.flush(5)
        os._exit(0 if (report.delivered, report.pending) == (10, 0) else 1)
    decide(made, "parent")
    _, status = os.waitpid(child, 0)
    assert status == 0, status


def fork_and_end(url: str) -> None:
    """The child ends as an interpreter does, without flush()."""
    made = dispatcher(url)
    decide(made, "before")
    child = os.fork()
    decide(made, "parent" if child else "child")
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0, status


def fork_of_c() -> int:
    """A fork() without Python's hooks, as that of uWSGI.

    CPython hangs in such a child if a thread waited for the GIL in the parent. So each does what it has to do before.
    """
    import ctypes

    sys.setswitchinterval(1000)  # a thread gives the GIL up only when it waits for something
    time.sleep(0.5)
    child: int = ctypes.PyDLL(None).fork()
    sys.setswitchinterval(0.005)
    return child


def fork_without_hooks(url: str) -> None:
    """Python's hooks are not called in the child."""
    made = dispatcher(url)
    decide(made, "before")
    child = fork_of_c()
    if child == 0:
        decide(made, "child")
        counts: Any = made.stats()["decisions"]
        assert counts["seen"] == 10, counts
        report = made.flush(5)
        os._exit(0 if (report.delivered, report.pending) == (10, 0) else 1)
    decide(made, "parent")
    _, status = os.waitpid(child, 0)
    assert status == 0, status


def fork_without_hooks_and_end(url: str) -> None:
    """The same child, which decides nothing, or at once on many threads, and ends as an interpreter does."""
    made = dispatcher(url)
    decide(made, "before")
    for is_busy in (False, True):
        child = fork_of_c()
        if child == 0:
            threads = [threading.Thread(target=decide, args=(made, f"child_{n}")) for n in range(8 if is_busy else 0)]
            for thread in threads:
                thread.start()
            return
        _, status = os.waitpid(child, 0)
        assert status == 0, status


def fork_while_sending(url: str) -> None:
    """Children are made all the time while two threads decide and the sender sends."""
    made = dispatcher(url, flush_queue_size=20, flush_interval_millis=1, dedupe=False)
    over = threading.Event()

    def busy(name: str) -> None:
        i = 0
        while not over.is_set():
            made.on_decision("flag", f"parent_{name}_{i % 50}", {}, flag(f"flag_{i % 50}"))
            i += 1
            if i % 50 == 0:
                time.sleep(0.001)

    threads = [threading.Thread(target=busy, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    children = []
    for number in range(40):
        child = os.fork()
        if child == 0:
            decide(made, f"child_{number}", 3)
            report = made.close(20)
            os._exit(0 if report == (3, 0, 0, report.duration) else 1)
        children.append(child)
        time.sleep(0.005)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    over.set()
    for thread in threads:
        thread.join()
    report = made.close(20)
    counts: Any = made.stats()["decisions"]
    assert report.pending == 0 and counts["accepted"] == counts["delivered"], counts
    assert statuses == [0] * len(children), statuses
    print(counts["delivered"])


def fork_after_others(url: str) -> None:
    """Dispatchers that are gone are none of fork()'s business, whatever is where they were."""
    import gc
    import subprocess

    for number in range(30):
        with dispatcher(url) as other:
            decide(other, f"before_{number}", 1)
        del other
        gc.collect()
        kept = [bytearray(b"\xff" * 1000) for _ in range(200)]
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, number
        subprocess.run(["true"], check=True, preexec_fn=lambda: None)
        assert len(kept) == 200


def fork_with_callbacks(url: str) -> None:
    """What is attached stays attached in a child, and opting out stays in force."""
    from conftest import make_client

    client = make_client()
    made = dispatcher(url)
    made.attach(client)
    made.set_opt_out(True)
    child = os.fork()
    client.create_user_context("a_user").decide("checkout_flow")
    counts: Any = made.stats()["decisions"]
    assert counts["dropped"]["opted_out"] == 1, counts
    made.set_opt_out(False)
    client.create_user_context("child_0" if child == 0 else "parent_0").decide("checkout_flow")
    if child:
        assert os.waitpid(child, 0)[1] == 0


def fork_with_audiences(url: str, fork: Callable[[], int] = os.fork) -> None:
    """A child knows what was loaded, and reads it again on a thread of its own; a thread of its parent held a lock."""
    from test_audiences import SECRET, SECRET_KEY

    keys = {"api_key": API_KEY, "secret_key": SECRET_KEY}
    audiences = Audiences(cohorts={"power": "one"}, server_url=url, poll_interval_millis=2000, **keys)
    receive = audiences.webhook(secret=SECRET)
    audiences.ready(20)
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with audiences._log._lock:
            is_held.set()
            is_over.wait()

    threading.Thread(target=hold).start()
    is_held.wait()
    child = fork()
    is_over.set()
    if child == 0:
        code = 1
        try:
            assert receive({}, b"").status == 401, "which is logged"
            assert audiences.has("user_1", "power") is True
            ends = time.monotonic() + 20
            while not audiences.has("user_2", "power"):
                assert time.monotonic() < ends
                time.sleep(0.005)
            code = 0
        finally:
            os._exit(code)
    print("forked", flush=True)
    assert os.waitpid(child, 0)[1] == 0


def fork_with_audiences_without_hooks(url: str) -> None:
    fork_with_audiences(url, fork_of_c)


_made: List[Dispatcher] = []


def _work(number: int) -> int:
    decide(_made[0], f"child_{number}", 5)
    return os.getpid()


def pool(url: str) -> None:
    """multiprocessing.Pool by fork: its children end without atexit."""
    _made.append(dispatcher(url))
    decide(_made[0], "before")
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as workers:
        workers.map(_work, range(12))
        workers.close()
        workers.join()


def process(url: str) -> None:
    _made.append(dispatcher(url))
    decide(_made[0], "before")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_work, args=(number,)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def _work_alone(name: str, url: str) -> None:
    """In a child that has nothing of its parent's."""
    if not _made:
        _made.append(dispatcher(url))
    decide(_made[0], f"child_{name}", 5)


def spawned(url: str) -> None:
    """Children that load everything anew, of both kinds."""
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        children = [context.Process(target=_work_alone, args=(f"{method}_{n}", url)) for n in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0


def executor(url: str) -> None:
    from concurrent.futures import ProcessPoolExecutor

    _made.append(dispatcher(url))
    decide(_made[0], "before")
    with ProcessPoolExecutor(3, multiprocessing.get_context("fork")) as workers:
        assert len(list(workers.map(_work, range(12)))) == 12


def billiard_process(url: str) -> None:
    """The fork of multiprocessing that Celery's prefork pool is made of."""
    import billiard

    _made.append(dispatcher(url))
    decide(_made[0], "before")
    children = [billiard.Process(target=_work, args=(number,)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def subprocesses(url: str) -> None:
    """Programs are started while decisions are sent: fork() without a Python in the child."""
    import subprocess

    made = dispatcher(url, flush_queue_size=2)
    for number in range(20):
        decide(made, f"parent_{number}", 5)
        subprocess.run(["true"], check=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
