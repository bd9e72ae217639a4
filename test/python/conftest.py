"""A stand-in for Amplitude, clients of the real Optimizely SDK, and dispatchers that are closed after each test."""

from __future__ import annotations

import gzip
import http.server
import json
import pathlib
import socketserver
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
from optimizely import event_dispatcher, optimizely

from optimizely_amplitude import Dispatcher

ROOT = pathlib.Path(__file__).parents[2]
DATAFILE = (ROOT / "test" / "examples" / "datafile.json").read_text()
API_KEY = "0123456789abcdef0123456789abcdef"

Answer = Tuple[int, Any]


class Amplitude:
    """Records what it gets. `answer`, of a body, returns (status, JSON or bytes), or None for no answer."""

    def __init__(self) -> None:
        self.bodies: List[Dict[str, Any]] = []
        self.texts: List[bytes] = []
        self.headers: List[Dict[str, str]] = []
        self.connections = 0
        self.keeps = True  # what it gets
        self.answer: Callable[[Dict[str, Any]], Optional[Answer]] = lambda body: (200, {"code": 200})
        self.changed = threading.Condition()
        self.released = threading.Event()
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                stand_in.connections += 1

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    text = gzip.decompress(text)
                body = json.loads(text) if stand_in.keeps else {}
                answer = stand_in.answer(body)
                with stand_in.changed:
                    if stand_in.keeps:
                        stand_in.bodies.append(body)
                        stand_in.texts.append(text)
                        stand_in.headers.append(dict(self.headers))
                    stand_in.changed.notify_all()
                if answer is None:
                    stand_in.released.wait(30)
                    self.close_connection = True
                    return
                status, content = answer
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                pass  # clients that went away

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/2/httpapi"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def events(self, kind: Optional[str] = "Experiment Viewed") -> List[Dict[str, Any]]:
        """The events of a type, or all, in the order of arrival."""
        return [event for body in list(self.bodies) for event in body["events"] if kind in (None, event["event_type"])]

    def wait_for(self, condition: Callable[[], Any], seconds: float = 20) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, seconds), f"{len(self.bodies)} requests after {seconds} s"


class NoEvents:
    """Optimizely's own events go nowhere."""

    @staticmethod
    def dispatch_event(event: Any) -> None:
        pass


def make_client(datafile: str = DATAFILE) -> optimizely.Optimizely:
    dispatcher: Any = NoEvents
    assert hasattr(event_dispatcher, "EventDispatcher")
    return optimizely.Optimizely(datafile=datafile, event_dispatcher=dispatcher)


def flag(key: str = "checkout_flow", variation: Optional[str] = "treatment", **info: Any) -> Dict[str, Any]:
    """The decision_info of a flag's decision, as the SDK makes it."""
    return {
        "flag_key": key,
        "enabled": True,
        "variables": {},
        "variation_key": variation,
        "rule_key": "a_rule",
        "reasons": [],
        "decision_event_dispatched": True,
        "experiment_id": "1",
        "variation_id": "2",
        **info,
    }


def reconcile(dispatcher: Dispatcher) -> Dict[str, Any]:
    """Return the counts of decisions, which add up."""
    counts: Any = dispatcher.stats()["decisions"]
    assert counts["seen"] == sum(counts[name] for name in ("ignored", "invalid", "deduplicated", "accepted"))
    assert counts["accepted"] == counts["delivered"] + counts["dropped"]["total"] + counts["pending"]
    return dict(counts)


@pytest.fixture
def amplitude() -> Any:
    stand_in = Amplitude()
    yield stand_in
    stand_in.close()


@pytest.fixture
def client() -> optimizely.Optimizely:
    return make_client()


@pytest.fixture
def make(amplitude: Amplitude) -> Any:
    made: List[Dispatcher] = []

    def make_dispatcher(**options: Any) -> Dispatcher:
        dispatcher = Dispatcher(**{"api_key": API_KEY, "server_url": amplitude.url, **options})
        made.append(dispatcher)
        return dispatcher

    yield make_dispatcher
    amplitude.released.set()
    for dispatcher in made:
        dispatcher.close(0.5)
