"""An application, for any Python with requests: it decides, delivers, forks and ends, and prints what ran it."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import platform
import sys
import threading
from typing import Any, Dict, List

from optimizely_amplitude import Dispatcher, _native

arrived: List[str] = []
all_arrived = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
        arrived.extend(event["user_id"] for event in body["events"] if event["event_type"] == "Experiment Viewed")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        if len(arrived) >= 30:
            all_arrived.set()

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/2/httpapi"
    made = Dispatcher(api_key="0" * 32, server_url=url, compression=True, flush_interval_millis=60_000)
    info: Dict[str, Any] = {"flag_key": "a_flag", "variation_key": "on", "rule_key": "a_rule", "enabled": True}

    def decide(name: str) -> None:
        for i in range(10):
            made.on_decision("flag", f"{name}_{i}", {}, info)

    decide("flushed")
    report = made.flush(20)
    assert (report.delivered, report.pending) == (10, 0), report
    child = os.fork()
    decide("parent" if child else "child")
    if child == 0:
        return  # and the end of the process delivers
    assert os.waitpid(child, 0)[1] == 0
    assert made.close(20).delivered == 10
    assert all_arrived.wait(20), arrived
    assert sorted(arrived) == sorted(f"{name}_{i}" for name in ("flushed", "parent", "child") for i in range(10))
    is_gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
    gil = "" if is_gil_enabled else ", without a GIL"
    print(f"{platform.machine()}, Python {platform.python_version()}{gil}: {os.path.basename(_native.__file__)} works")


if __name__ == "__main__":
    main()
