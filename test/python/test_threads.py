"""Many threads at a time, as a server has them; on a free-threaded Python they run at once."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any, Callable, List

import pytest

from conftest import Amplitude, flag, reconcile

THREADS = 8


@pytest.fixture(autouse=True)
def often() -> Any:
    """With a GIL, have it change hands as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def at_once(work: Callable[[int], Any]) -> List[Any]:
    """Call work(number) on each of the threads, which begin together; return what it returned."""
    barrier = threading.Barrier(THREADS)
    results: List[Any] = [None] * THREADS

    def run(number: int) -> None:
        barrier.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_decisions_while_others_flush_and_count(amplitude: Amplitude, make: Any) -> None:
    made = make(flush_queue_size=50, flush_interval_millis=1)

    def work(number: int) -> int:
        pending = 0
        for i in range(300):
            made.on_decision("flag", f"user_{number}_{i}", {}, flag(f"flag_{i % 7}"))
            if i % 10 == number:
                pending += made.flush(20).pending
                reconcile(made)
        return pending

    assert at_once(work) == [0] * THREADS
    assert made.flush(20).pending == 0
    assert reconcile(made)["delivered"] == THREADS * 300
    ids = [event["insert_id"] for event in amplitude.events()]
    assert len(ids) == len(set(ids)) == THREADS * 300


def test_variants_are_forgotten_while_others_use_them(amplitude: Amplitude, make: Any) -> None:
    """More of them than the extension keeps, so that it forgets all of them again and again."""
    made = make(dedupe=False, event_type=False)

    def work(number: int) -> None:
        for i in range(3000):
            made.on_decision("flag", f"user_{number}", {}, flag(f"flag_{number}_{i}"))
            made.on_decision("flag", f"user_{number}", {}, flag("common"))

    at_once(work)
    assert made.flush(30).pending == 0
    assert reconcile(made)["delivered"] == THREADS * 6000
    names = Counter(name for event in amplitude.events("$identify") for name in event["user_properties"]["$set"])
    assert {f"[Optimizely] flag_{n}_{i}" for n in range(THREADS) for i in range(3000)} < set(names)


def test_all_close_at_once(amplitude: Amplitude, make: Any) -> None:
    for _ in range(20):
        made = make()
        for number in range(THREADS):
            made.on_decision("flag", f"user_{number}", {}, flag())
        first, *others = at_once(lambda _, made=made: made.close(20))
        assert (first.delivered, first.pending) == (THREADS, 0)
        assert all(other is first for other in others), "one report"
