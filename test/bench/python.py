"""What a decision costs in Python, beside the usual listener on amplitude-analytics with its arguments repaired.

    build/python/venv/bin/python test/bench/python.py

Each subject runs in a process of its own; a server in another one answers at once. Times are CPU time of
the deciding thread, medians over rounds of decisions that are all new; CPU in total is that of the whole process, until
everything is delivered.
"""

from __future__ import annotations

import gzip
import http.server
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from typing import Any, Callable, Dict

ROUNDS = 20
DECISIONS = {"ours": 20_000, "theirs": 1_000}
REPEATS = 20_000
API_KEY = "0123456789abcdef0123456789abcdef"


def serve(pipe: Any) -> None:
    """Count the events, and answer at once. A process of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            count = body.count(b'"Experiment Viewed"')
            with counted.get_lock():
                counted.value += count
            data = b'{"code":200}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    counted = multiprocessing.Value("q", 0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_port)
    server.serve_forever()


def info(flag: str, variation: str) -> Dict[str, Any]:
    return {
        "flag_key": flag,
        "enabled": True,
        "variables": {},
        "variation_key": variation,
        "rule_key": "a_rule",
        "reasons": [],
        "decision_event_dispatched": True,
        "experiment_id": "1",
        "variation_id": "2",
    }


INFOS = [info(f"flag_{i}", f"variation_{i % 3}") for i in range(20)]


def time_round(listener: Callable[..., None], number: int, count: int) -> float:
    """The microseconds of CPU that one call takes of its thread, less those of an empty listener."""
    users = [f"user_{number}_{i}" for i in range(count)]
    attributes: Dict[str, Any] = {}
    started = time.thread_time()
    for i in range(count):
        listener("flag", users[i], attributes, INFOS[i % 20])
    took = time.thread_time() - started

    def nothing(*_: Any) -> None:
        pass

    started = time.thread_time()
    for i in range(count):
        nothing("flag", users[i], attributes, INFOS[i % 20])
    return (took - (time.thread_time() - started)) / count * 1e6


def ours(url: str) -> Dict[str, float]:
    from optimizely_amplitude import Dispatcher

    dispatcher = Dispatcher(api_key=API_KEY, server_url=url, use_batch=False, flush_queue_size=2000)
    count = DECISIONS["ours"]
    time_round(dispatcher.on_decision, -1, 2000)
    dispatcher.flush(60)
    cpu = time.process_time()
    new = [time_round(dispatcher.on_decision, number, count) for number in range(ROUNDS)]
    report = dispatcher.flush(120)
    cpu = time.process_time() - cpu
    repeat = [time_round(dispatcher.on_decision, ROUNDS - 1, REPEATS) for _ in range(5)]
    stats: Any = dispatcher.stats()["decisions"]
    assert report.pending == 0 and stats["delivered"] == 2000 + ROUNDS * count, (report, stats)
    return {"new": statistics.median(new), "repeat": statistics.median(repeat), "cpu": cpu / (ROUNDS * count) * 1e6}


def theirs(url: str) -> Dict[str, float]:
    from amplitude import Amplitude, BaseEvent, Config, EventOptions, Identify

    amplitude = Amplitude(API_KEY, configuration=Config(server_url=url))

    def listener(kind: str, user_id: str, attributes: Any, decision: Any) -> None:
        key, value = decision["flag_key"], decision["variation_key"] if decision["enabled"] else "off"
        identify = Identify()
        identify.set(f"[Optimizely] {key}", value)
        amplitude.identify(identify, EventOptions(user_id=user_id))
        properties = {name: decision[name] for name in ("flag_key", "variation_key", "rule_key", "enabled")}
        amplitude.track(BaseEvent("Experiment Viewed", user_id=user_id, event_properties=properties))

    count = DECISIONS["theirs"]
    time_round(listener, -1, 100)
    cpu = time.process_time()
    new = [time_round(listener, number, count) for number in range(ROUNDS)]
    for future in amplitude.flush() or ():
        if future is not None:
            future.result(120)
    amplitude.shutdown()
    cpu = time.process_time() - cpu
    return {"new": statistics.median(new), "cpu": cpu / (ROUNDS * count) * 1e6}


def import_millis() -> float:
    """What importing the package takes beyond requests: the median of pairs of fresh interpreters."""
    code = (
        "import requests, time; started = time.process_time(); import optimizely_amplitude;"
        "print(time.process_time() - started)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = [sys.executable, "-c", code]
    times = [float(subprocess.check_output(run, env=environment)) * 1000 for _ in range(15)]
    return statistics.median(times)


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps({"ours": ours, "theirs": theirs}[sys.argv[1]](sys.argv[2])))
        return
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{here.recv()}/2/httpapi"
    results = {}
    for subject in ("ours", "theirs"):
        out = subprocess.check_output([sys.executable, os.path.abspath(__file__), subject, url])
        results[subject] = json.loads(out)
    server.terminate()
    mine, other = results["ours"], results["theirs"]
    print(
        f"a new decision, deciding thread      {mine['new']:8.2f} us   amplitude-analytics {other['new']:8.1f} us"
        f"   1 : {other['new'] / mine['new']:.0f}"
    )
    print(f"a repeat, deciding thread            {mine['repeat']:8.2f} us")
    print(
        f"a delivered decision, CPU in total   {mine['cpu']:8.2f} us   amplitude-analytics {other['cpu']:8.1f} us"
        f"   1 : {other['cpu'] / mine['cpu']:.0f}"
    )
    print(f"import, beyond requests              {import_millis():8.2f} ms")


if __name__ == "__main__":
    main()
