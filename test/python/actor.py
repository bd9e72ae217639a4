"""A client in a process of its own, which obeys lines of JSON: the fault matrix plays its traffic through one.

    python actor.py ours|theirs '{"server_url": ..., "request_timeout_millis": ..., "devices": ...}'

`theirs` is the usual listener on amplitude-analytics, with the arguments repaired. A line is
[number, method, argument]; the answer is [number, result].
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

from conftest import API_KEY, flag

logging.disable(logging.CRITICAL)


class Ours:
    def __init__(self, options: Dict[str, Any]) -> None:
        from optimizely_amplitude import Dispatcher

        given: Dict[str, Any] = {
            "api_key": API_KEY,
            "server_url": options["server_url"],
            "dedupe": False,
            "flush_interval_millis": 50,
        }
        if options.get("request_timeout_millis"):
            given["request_timeout_millis"] = options["request_timeout_millis"]
        if options.get("devices"):
            given["resolve_user"] = lambda notification: {"device_id": notification.user_id}
        self.dispatcher = Dispatcher(**given)

    def decide(self, decisions: List[Any]) -> None:
        for user_id, flag_key, variation, enabled in decisions:
            self.dispatcher.on_decision("flag", user_id, {}, flag(flag_key, variation, enabled=enabled))

    def flush(self, seconds: Any) -> Any:
        return self.dispatcher.flush(60 if seconds is None else seconds)

    def stats(self, _: Any) -> Any:
        return self.dispatcher.stats()

    def close(self, _: Any) -> Any:
        return self.dispatcher.close(5)


class Theirs:
    def __init__(self, options: Dict[str, Any]) -> None:
        from amplitude import Amplitude, Config

        self.devices = options.get("devices")
        self.amplitude = Amplitude(API_KEY, configuration=Config(server_url=options["server_url"]))

    def decide(self, decisions: List[Any]) -> None:
        from amplitude import BaseEvent, EventOptions, Identify

        for user_id, flag_key, variation, enabled in decisions:
            user = {"device_id": user_id} if self.devices else {"user_id": user_id}
            identify = Identify()
            identify.set(f"[Optimizely] {flag_key}", variation if enabled else "off")
            self.amplitude.identify(identify, EventOptions(**user))
            properties = {"flag_key": flag_key, "variation_key": variation, "rule_key": "a_rule", "enabled": enabled}
            self.amplitude.track(BaseEvent("Experiment Viewed", event_properties=properties, **user))

    def flush(self, _: Any) -> None:
        for future in self.amplitude.flush() or ():
            if future is not None:
                try:
                    future.result(60)
                except Exception:
                    pass  # as an application that awaits it

    def close(self, _: Any) -> None:
        self.flush(None)
        self.amplitude.shutdown()


def main() -> None:
    client: Any = {"ours": Ours, "theirs": Theirs}[sys.argv[1]](json.loads(sys.argv[2]))
    writing = threading.Lock()

    def answer(number: int, method: str, argument: Any) -> None:
        result = getattr(client, method)(argument)
        with writing:
            print(json.dumps([number, result]), flush=True)

    # Decisions come in order, while a flush may be waiting.
    with ThreadPoolExecutor(16) as pool:
        for line in sys.stdin:
            number, method, argument = json.loads(line)
            if method == "decide":
                answer(number, method, argument)
            else:
                pool.submit(answer, number, method, argument)


main()
