"""A million decisions leave the memory of the process as it was, and so do dispatchers, clients and errors."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import Callable

from conftest import ROOT, Amplitude

ROUNDS = 10
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024 if hasattr(os, "sysconf") else 4

CODE = """
import sys
sys.path.insert(0, {here!r})
from test_memory import measure_{name}
measure_{name}({url!r})
"""


def rss_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE_KIB


def grow(act: Callable[[int], None]) -> None:
    """Act in rounds, and print the growth from the middle to the end, in KiB."""
    sizes = []
    for number in range(ROUNDS):
        act(number)
        gc.collect()
        sizes.append(rss_kib())
    print(max(sizes[-3:]) - max(sizes[ROUNDS // 2 - 2 : ROUNDS // 2 + 1]))


def measure_decisions(url: str) -> None:
    from conftest import API_KEY, flag
    from optimizely_amplitude import Dispatcher

    dispatcher = Dispatcher(api_key=API_KEY, server_url=url, dedupe={"max_entries": 20_000}, use_batch=True)
    infos = [flag(f"flag_{i}") for i in range(20)]

    def act(number: int) -> None:
        for i in range(100_000):
            dispatcher.on_decision("flag", f"user_{number}_{i}", {}, infos[i % 20])
            if i % 100 == 0:
                dispatcher.on_decision("flag", None, {}, infos[0])
                dispatcher.on_decision("flag", f"us\ud800er_{i}", {}, infos[0])
                dispatcher.on_decision("flag", "user", {}, {**infos[0], "flag_key": f"made_up_{number}_{i}"})
        assert dispatcher.flush(60).pending == 0

    grow(act)


def measure_dispatchers(url: str) -> None:
    from conftest import API_KEY, flag, make_client
    from optimizely_amplitude import Dispatcher

    client = make_client()

    def act(number: int) -> None:
        for i in range(50):
            with Dispatcher(api_key=API_KEY, server_url=url, on_drop=lambda drop: None) as dispatcher:
                dispatcher.attach(client)
                dispatcher.on_decision("flag", f"user_{i}", {}, flag())
                dispatcher.track("Purchase", {"a": i}, user_id="user_1")
                dispatcher.stats()

    grow(act)


def growth_kib(name: str, amplitude: Amplitude) -> int:
    amplitude.keeps = False
    code = CODE.format(here=str(ROOT / "test" / "python"), name=name, url=amplitude.url)
    return int(subprocess.check_output([sys.executable, "-c", code], timeout=280).split()[-1])


def test_a_million_decisions(amplitude: Amplitude) -> None:
    assert growth_kib("decisions", amplitude) < 4096


def test_dispatchers_that_are_closed(amplitude: Amplitude) -> None:
    assert growth_kib("dispatchers", amplitude) < 2048
