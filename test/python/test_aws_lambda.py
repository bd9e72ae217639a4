"""with_flush(): what an invocation decided is delivered before it ends."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from conftest import Amplitude, flag, reconcile
from optimizely_amplitude import OptionError
from optimizely_amplitude.aws_lambda import with_flush


class Context:
    """That of an invocation with so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self.ends - time.monotonic()) * 1000)


def test_an_invocation_delivers_what_it_decided(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make()

    @with_flush(dispatcher)
    def handler(event: Any, context: Any) -> str:
        """Mine."""
        dispatcher.on_decision("flag", event, {}, flag())
        if event == "user_2":
            raise ValueError("mine")
        return "done"

    assert handler.__doc__ == "Mine."
    assert handler("user_1", Context(3)) == "done"
    assert [event["user_id"] for event in amplitude.events()] == ["user_1"]
    with pytest.raises(ValueError, match="mine"):
        handler("user_2", Context(3))
    assert [event["user_id"] for event in amplitude.events()] == ["user_1", "user_2"]
    assert threading.active_count() < 20


def test_an_outage_is_waited_for_once(amplitude: Amplitude, make: Any, caplog: Any) -> None:
    amplitude.answer = lambda body: None
    dispatcher = make()
    invoked = 0

    @with_flush(lambda: dispatcher, timeout_millis=900)
    def handler(event: Any, context: Any) -> None:
        nonlocal invoked
        invoked += 1
        dispatcher.on_decision("flag", f"user_{invoked}", {}, flag())

    def seconds() -> float:
        started = time.monotonic()
        handler(None, Context(10))
        return time.monotonic() - started

    with caplog.at_level(logging.WARNING, "optimizely_amplitude"):
        whole = seconds()
        probes = [seconds() for _ in range(3)]
    assert all(probe < whole for probe in probes), (whole, probes)
    assert sum(" pending after" in record.getMessage() for record in caplog.records) == 1
    amplitude.answer = lambda body: (200, {"code": 200})
    handler(None, Context(10))
    while reconcile(dispatcher)["pending"]:
        dispatcher.flush(5)
    assert {event["user_id"] for event in amplitude.events()} == {f"user_{i + 1}" for i in range(5)}


def test_a_handler_that_runs_out_of_time_is_flushed_while_it_runs(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make()
    seen = 0

    @with_flush(dispatcher, margin_millis=0)
    def handler(event: Any, context: Any) -> None:
        nonlocal seen
        dispatcher.on_decision("flag", "user_1", {}, flag())
        amplitude.wait_for(lambda: amplitude.events())
        seen = len(amplitude.events())

    handler(None, Context(1))
    assert seen == 1


def test_what_cannot_be_flushed_fails_no_invocation(make: Any, caplog: Any) -> None:
    def missing() -> Any:
        raise KeyError("no key yet")

    assert with_flush(missing)(lambda event, context: event)(5, None) == 5
    assert with_flush(lambda: None)(lambda event, context: event)(5, object()) == 5
    assert "no key yet" in caplog.text


def test_a_handler_runs_where_no_thread_starts(
    amplitude: Amplitude, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = make()

    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Timer.start", refuse)
    decide = with_flush(dispatcher)(lambda event, context: dispatcher.on_decision("flag", "user_1", {}, flag()))
    decide(None, Context(10))
    assert len(amplitude.events()) == 1


def test_options(make: Any) -> None:
    with pytest.raises(OptionError, match="did you mean 'timeout_millis'"):
        with_flush(make(), timeoutMillis=5)
    with pytest.raises(OptionError, match="got a list"):
        with_flush([])  # type: ignore[arg-type]
