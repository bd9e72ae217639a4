"""Decisions of the real SDK, from the listener to what Amplitude gets."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from typing import Any, List

import pytest
from optimizely.helpers.enums import NotificationTypes

from conftest import API_KEY, Amplitude, flag, reconcile
from optimizely_amplitude import ClientError, ClosedError, Dispatcher, Drop, FlushReport, OptionError
from optimizely_amplitude.decisions import NOTIFICATION_TYPE


def test_the_sdk_s_name_of_the_notification() -> None:
    assert NotificationTypes.DECISION == NOTIFICATION_TYPE


def test_decisions_of_the_sdk_are_delivered(amplitude: Amplitude, make: Any, client: Any) -> None:
    dispatcher = make()
    dispatcher.attach(client)
    decisions = client.create_user_context("user_1", {"plan": "pro"}).decide_all()
    assert len(decisions) == 3
    report = dispatcher.flush(5)
    assert isinstance(report, FlushReport)
    assert (report.delivered, report.dropped, report.pending) == (3, 0, 0)
    assert report.duration < 5
    (identify,) = amplitude.events("$identify")
    setting = {
        f"[Optimizely] {key}": decision.variation_key if decision.enabled else "off"
        for key, decision in decisions.items()
    }
    assert identify["user_properties"] == {"$set": setting}
    viewed = {event["event_properties"]["flag_key"]: event for event in amplitude.events()}
    for key, decision in decisions.items():
        assert viewed[key]["event_properties"] == {
            "flag_key": key,
            "variation_key": decision.variation_key,
            "rule_key": decision.rule_key,
            "enabled": decision.enabled,
        }
        assert viewed[key]["user_id"] == "user_1"
        assert "ip" not in viewed[key]
    assert amplitude.bodies[0]["api_key"] == API_KEY
    assert amplitude.headers[0]["User-Agent"].startswith("optimizely-amplitude-python/")
    assert reconcile(dispatcher)["delivered"] == 3


def test_the_pasted_listener_delivers_nothing(client: Any) -> None:
    delivered: List[Any] = []

    def pasted(notification_type: Any, args: Any) -> None:
        delivered.append(args["decisionInfo"]["flagKey"])

    client.notification_center.add_notification_listener(NotificationTypes.DECISION, pasted)
    assert client.create_user_context("user_1").decide("checkout_flow").variation_key is not None
    assert delivered == []


def test_repeats_are_sent_once_and_changes_every_time(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make()
    for variation in ("a", "a", "b", "a"):
        dispatcher.on_decision("flag", "user_1", {}, flag(variation=variation))
    assert dispatcher.flush(5).delivered == 3
    assert [event["event_properties"]["variation_key"] for event in amplitude.events()] == ["a", "b", "a"]
    assert reconcile(dispatcher)["deduplicated"] == 1


@pytest.mark.parametrize(
    ("arguments", "counted"),
    [
        (("flag", "user_1", {}), "invalid"),
        (("flag", "user_1", {}, None), "invalid"),
        (("flag", "user_1", {}, {}), "invalid"),
        (("flag", "user_1", {}, flag(enabled="yes")), "invalid"),
        (("flag", "user_1", {}, flag(key="")), "invalid"),
        (("flag", "user_1", {}, flag(key="\ud800")), "invalid"),
        (("flag", "user_1", {}, flag(variation=7)), "invalid"),
        (("flag", "user_1", {}, flag(key=[])), "invalid"),
        (("flag", None, {}, flag()), "invalid"),
        (("flag", 12345, {}, flag()), "invalid"),
        (("flag", "abc", {}, flag()), "invalid"),
        (("flag", "anonymous", {}, flag()), "invalid"),
        (("flag", "user_\udc80", {}, flag()), "invalid"),
        (("flag", "x" * 1025, {}, flag()), "invalid"),
        ((7, "user_1", {}, flag()), "invalid"),
        (("feature", "user_1", {}, {"feature_key": "f", "feature_enabled": True}), "ignored"),
    ],
)
def test_what_cannot_be_sent_is_counted_and_raises_nothing(make: Any, arguments: Any, counted: str) -> None:
    dispatcher = make()
    for _ in range(2):  # the second one may take the way of a known variant
        dispatcher.on_decision(*arguments)
    assert reconcile(dispatcher)[counted] == 2
    dispatcher.on_decision("flag", "user_1", {}, flag())
    dispatcher.on_decision(*arguments)
    assert reconcile(dispatcher)[counted] == 3
    assert dispatcher.flush(5).delivered == 1


def test_older_apis_are_decisions_of_a_flag(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make(decision_types=["feature", "ab-test", "feature-test"])
    info = {"feature_key": "f", "feature_enabled": True, "source": "rollout", "source_info": {}}
    dispatcher.on_decision("feature", "user_1", {}, info)
    dispatcher.on_decision("ab-test", "user_1", {}, {"experiment_key": "e", "variation_key": "v"})
    dispatcher.on_decision("flag", "user_1", {}, flag())
    dispatcher.flush(5)
    assert [event["event_properties"] for event in amplitude.events()] == [
        {"flag_key": "f", "variation_key": "on", "rule_key": None, "enabled": True},
        {"flag_key": "e", "variation_key": "v", "rule_key": "e", "enabled": True},
    ]
    assert reconcile(dispatcher)["ignored"] == 1


def test_attach_once_detach_and_close(amplitude: Amplitude, make: Any, client: Any) -> None:
    dispatcher = make()
    detach = dispatcher.attach(client)
    dispatcher.attach(client)
    user = client.create_user_context("user_1")
    user.decide("checkout_flow")
    assert reconcile(dispatcher)["seen"] == 1
    client.notification_center.clear_all_notification_listeners()
    dispatcher.attach(client)
    user.decide("checkout_flow")
    assert reconcile(dispatcher)["seen"] == 2
    detach()
    user.decide("checkout_flow")
    assert reconcile(dispatcher)["seen"] == 2
    dispatcher.attach(client)
    assert dispatcher.close(5).delivered == 1
    user.decide("checkout_flow")
    assert reconcile(dispatcher)["seen"] == 2
    assert dispatcher.close() == dispatcher.close()
    with pytest.raises(ClosedError):
        dispatcher.attach(client)
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert reconcile(dispatcher)["dropped"]["closed"] == 1


@pytest.mark.parametrize("other", [None, 5, "client", object(), {"client": 1}])
def test_attach_refuses_what_is_no_client(make: Any, other: Any) -> None:
    with pytest.raises(ClientError, match="Optimizely SDK"):
        make().attach(other)


def test_a_client_is_not_kept_in_memory(make: Any) -> None:
    import gc
    import weakref

    from optimizely.notification_center import NotificationCenter

    class Client:  # the SDK's own is kept by its registry of notification centers
        def __init__(self) -> None:
            self.notification_center = NotificationCenter()

    dispatcher = make(event_properties=lambda notification, rule: {})
    client = Client()
    dispatcher.attach(client)
    reference = weakref.ref(client)
    del client
    gc.collect()
    assert reference() is None


def test_callbacks(amplitude: Amplitude, make: Any, client: Any) -> None:
    rules: List[Any] = []

    def event_properties(notification: Any, rule: Any) -> Any:
        rules.append(rule.rule_type)
        return {"plan": notification.attributes["plan"], "flag_key": "not mine"}

    dispatcher = make(
        resolve_user=lambda notification: {"device_id": notification.user_id, "session_id": 5, "ip": "nonsense"},
        event_properties=event_properties,
        user_properties=lambda notification, rule: {"tier": 1.0},
        groups={"company": "acme"},
        format=["event", "exposure"],
    )
    dispatcher.attach(client)
    client.create_user_context("device_1", {"plan": "pro"}).decide_all()
    assert dispatcher.flush(5).delivered == 3
    events = amplitude.events()
    assert {event["event_properties"]["plan"] for event in events} == {"pro"}
    assert all("user_id" not in event and event["device_id"] == "device_1" for event in events)
    assert all(event["session_id"] == 5 and event["groups"] == {"company": "acme"} for event in events)
    assert len(amplitude.events("$exposure")) == 3
    assert amplitude.events("$identify")[0]["user_properties"]["$set"]["tier"] == 1
    assert set(rules) <= {"experiment", "rollout", None} and "rollout" in rules
    assert dispatcher.stats()["left_out"]["fields"] == 3


def test_callbacks_that_fail(amplitude: Amplitude, make: Any) -> None:
    async def a_coroutine(*_: Any) -> None: ...

    def fail(*_: Any) -> None:
        raise ValueError("mine")

    for event_properties in (fail, a_coroutine, lambda *_: {"a": object()}, lambda *_: []):
        dispatcher = make(event_properties=event_properties)
        dispatcher.on_decision("flag", "user_1", {}, flag())
        assert dispatcher.flush(5).delivered == 1
        assert dispatcher.stats()["left_out"]["properties"] == 1
    for resolve_user in (fail, a_coroutine, lambda _: "user_1", lambda _: {"user_id": 5}):
        dispatcher = make(resolve_user=resolve_user)
        dispatcher.on_decision("flag", "user_1", {}, flag())
        assert reconcile(dispatcher)["invalid"] == 1
    dispatcher = make(resolve_user=lambda _: None)
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert reconcile(dispatcher)["ignored"] == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_signal_ends_the_program_although_a_callback_runs(make: Any, error: Any) -> None:
    def is_interrupted(*_: Any) -> None:
        raise error

    dispatcher = make(resolve_user=is_interrupted)
    with pytest.raises(error):
        dispatcher.on_decision("flag", "user_1", {}, flag())
    assert reconcile(dispatcher)["seen"] == 0


def test_send_experiments(make: Any, client: Any) -> None:
    dispatcher = make(send="experiments")
    dispatcher.attach(client)
    for i in range(20):
        client.create_user_context(f"user_{i}").decide_all()
    counts = reconcile(dispatcher)
    assert counts["ignored"] > 0
    assert counts["ignored"] + counts["accepted"] == 60


def test_before_send(amplitude: Amplitude, make: Any) -> None:
    def before_send(event: Any) -> Any:
        if event["event_type"] == "$identify":
            return None
        return {**event, "user_id": "somebody_else", "insert_id": "not mine"}

    dispatcher = make(before_send=before_send)
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert dispatcher.flush(5).delivered == 1
    (event,) = amplitude.events(None)
    assert event["user_id"] == "somebody_else" and event["insert_id"] != "not mine"
    assert dispatcher.stats()["left_out"]["events"] == 1
    for wrong in (lambda _: 5, lambda _: {}, lambda _: 1 / 0):
        other = make(before_send=wrong)
        other.on_decision("flag", "user_1", {}, flag())
        assert reconcile(other)["invalid"] == 1


def test_track_and_identify(amplitude: Amplitude, make: Any) -> None:
    from amplitude.event import Identify

    dispatcher = make()
    dispatcher.track("Purchase", {"amount": 5.0}, user_id="user_1", insert_id="mine", time=1_700_000_000_000)
    dispatcher.identify({"plan": "pro"}, user_id="user_1")
    dispatcher.identify({"$add": {"visits": 1}}, user_id="user_1")
    dispatcher.identify(Identify().set("a", 1), user_id="user_1")
    dispatcher.track({"event_type": "Other", "device_id": "device_1", "revenue": float("nan")})
    dispatcher.track("No user")
    dispatcher.track(None, user_id="user_1")
    dispatcher.identify({"$ad": {"visits": 1}}, user_id="user_1")
    assert dispatcher.flush(5).delivered == 5
    first, *identifies, other = amplitude.events(None)
    assert first["insert_id"] == "mine" and first["time"] == 1_700_000_000_000
    assert first["event_properties"] == {"amount": 5}
    assert [event["user_properties"] for event in identifies] == [
        {"$set": {"plan": "pro"}},
        {"$add": {"visits": 1}},
        {"$set": {"a": 1}},
    ]
    assert other["device_id"] == "device_1" and "revenue" not in other
    stats = dispatcher.stats()
    assert stats["tracked"]["delivered"] == 5 and stats["tracked"]["invalid"] == 3
    assert stats["decisions"]["seen"] == 0 and stats["left_out"]["fields"] == 1


def test_drops_are_told_and_counted(amplitude: Amplitude, make: Any) -> None:
    drops: List[Drop] = []
    amplitude.answer = lambda body: (
        (400, {"code": 400, "error": "bad", "events_with_invalid_fields": {"user_id": [0, 1]}})
        if body["events"][0]["user_id"] == "user_bad"
        else (200, {"code": 200})
    )
    dispatcher = make(on_drop=drops.append)
    dispatcher.on_decision("flag", "user_bad", {}, flag())
    dispatcher.on_decision("flag", "user_good", {}, flag())
    dispatcher.track("Purchase", {"a": 1}, user_id="user_good")
    report = dispatcher.flush(10)
    assert (report.delivered, report.dropped) == (2, 1)
    (drop,) = drops
    assert drop.reason == "invalid_event" and drop.status_code == 400
    assert drop.decisions[0]["user_id"] == "user_bad" and drop.decisions[0]["flag_key"] == "checkout_flow"
    assert reconcile(dispatcher)["dropped"]["invalid_event"] == 1


def test_a_full_queue_drops_and_tells_every_decision(amplitude: Amplitude, make: Any, caplog: Any) -> None:
    amplitude.answer = lambda body: None
    told: List[Any] = []
    dispatcher = make(max_queue_bytes=100_000, on_drop=lambda drop: told.extend(drop.decisions))
    for i in range(30_000):
        dispatcher.on_decision("flag", f"user_{i}", {}, flag())
    dropped = reconcile(dispatcher)["dropped"]["queue_full"]
    assert dropped > 20_000
    dispatcher.close(0.2)
    # Reports have a memory of their own, which is bounded; what does not fit is counted in the log.
    untold = re.findall(r"(\d+) records were refused too fast to be reported to on_drop", caplog.text)
    assert len(told) + sum(map(int, untold)) == reconcile(dispatcher)["dropped"]["total"]
    assert len(told) > 10_000


def test_opt_out(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make(opt_out=True)
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert reconcile(dispatcher)["dropped"]["opted_out"] == 1
    dispatcher.set_opt_out(False)
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert dispatcher.flush(5).delivered == 1
    with pytest.raises(OptionError):
        dispatcher.set_opt_out(1)


def test_a_flush_returns_at_its_deadline_and_loses_nothing(amplitude: Amplitude, make: Any) -> None:
    amplitude.answer = lambda body: None
    dispatcher = make()
    dispatcher.on_decision("flag", "user_1", {}, flag())
    report = dispatcher.flush(0.2)
    assert (report.delivered, report.pending) == (0, 1)
    report = dispatcher.flush(0.2, abort=True)
    assert report.pending == 1
    amplitude.answer = lambda body: (200, {"code": 200})
    assert dispatcher.flush(5).delivered == 1
    ids = [[event["insert_id"] for event in body["events"]] for body in amplitude.bodies]
    assert ids[0] == ids[-1]
    assert dispatcher.stats()["requests"]["failed"] == 0, "an abort is no failure"


def test_close_ends_a_request_at_its_deadline(amplitude: Amplitude, make: Any) -> None:
    amplitude.answer = lambda body: None
    dispatcher = make()
    dispatcher.on_decision("flag", "user_1", {}, flag())
    started = time.monotonic()
    report = dispatcher.close(0.2)
    assert (report.dropped, report.pending) == (1, 0)
    assert time.monotonic() - started < 5, "well before the 10 s of a request"
    assert reconcile(dispatcher)["dropped"]["closed"] == 1


def test_an_outage_ends(amplitude: Amplitude, make: Any, caplog: Any) -> None:
    amplitude.answer = lambda body: (503, b"<html>") if len(amplitude.bodies) < 2 else (200, {"code": 200})
    with caplog.at_level(logging.WARNING, "optimizely_amplitude"):
        dispatcher = make()
        for i in range(50):
            dispatcher.on_decision("flag", f"user_{i}", {}, flag())
        while dispatcher.flush(5).pending:
            pass
    assert reconcile(dispatcher)["delivered"] == 50
    assert len(amplitude.events()) >= 50
    assert {event["user_id"] for event in amplitude.events()} == {f"user_{i}" for i in range(50)}
    assert any("503" in record.getMessage() for record in caplog.records)
    assert API_KEY not in caplog.text


def test_the_log_has_no_handler_of_ours(make: Any, caplog: Any) -> None:
    logger = logging.getLogger("mine")
    with caplog.at_level(logging.DEBUG, "mine"):
        dispatcher = make(logger=logger)
        dispatcher.on_decision("flag", "user_1", {}, flag())
        dispatcher.on_decision("flag", None, {}, flag())
        dispatcher.on_decision("flag", None, {}, flag())
    assert logging.getLogger("optimizely_amplitude").handlers == []
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1 and "resolve_user" in lines[0], "a cause is logged once a minute"
    assert any("user_1 on checkout_flow = treatment: queued" in record.getMessage() for record in caplog.records)


def test_threads_decide_at_once(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make(flush_queue_size=50)
    start = threading.Barrier(8)

    def decide(number: int) -> None:
        start.wait()
        for i in range(2000):
            # More variants than are kept: their ids become invalid while others use them.
            dispatcher.on_decision("flag", f"user_{number}", {}, flag(f"flag_{number}_{i}"))

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dispatcher.flush(30).pending == 0
    assert reconcile(dispatcher)["delivered"] == 16_000
    for number in range(8):
        flags = [e["event_properties"]["flag_key"] for e in amplitude.events() if e["user_id"] == f"user_{number}"]
        assert flags == [f"flag_{number}_{i}" for i in range(2000)]


def test_asyncio(amplitude: Amplitude, make: Any) -> None:
    async def main() -> None:
        async with make() as dispatcher:
            dispatcher.on_decision("flag", "user_1", {}, flag())
            reports = await asyncio.gather(dispatcher.flush_async(5), dispatcher.flush_async(5))
            assert [report.delivered for report in reports] == [1, 1]
            amplitude.answer = lambda body: None
            dispatcher.on_decision("flag", "user_2", {}, flag())
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            assert (await dispatcher.flush_async(0.3)).pending == 1
            ticking.cancel()
            assert ticks > 3, "the loop goes on"
            amplitude.answer = lambda body: (200, {"code": 200})
            amplitude.released.set()

    asyncio.run(main())
    assert len({event["insert_id"] for event in amplitude.events()}) == 2


def test_an_event_loop_does_not_wait_for_on_drop(amplitude: Amplitude, make: Any) -> None:
    is_told, is_over = threading.Event(), threading.Event()

    def on_drop(_: Drop) -> None:
        is_told.set()
        is_over.wait(20)

    amplitude.answer = lambda body: (400, {"code": 400, "events_with_invalid_fields": {"time": [0]}})
    dispatcher = make(on_drop=on_drop)
    dispatcher.on_decision("flag", "user_1", {}, flag())
    moments: List[float] = []

    async def tick() -> None:
        while True:
            moments.append(time.monotonic())
            await asyncio.sleep(0.01)

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        await dispatcher.flush_async(0.2)
        ticking.cancel()

    asyncio.run(main())
    is_over.set()
    assert is_told.is_set()
    assert max(after - before for before, after in zip(moments, moments[1:])) < 0.9


def test_a_context_manager_closes(amplitude: Amplitude) -> None:
    with Dispatcher(api_key=API_KEY, server_url=amplitude.url) as dispatcher:
        dispatcher.on_decision("flag", "user_1", {}, flag())
    assert len(amplitude.events()) == 1
    assert dispatcher.close().delivered == 1


def test_an_old_connection_that_the_server_closed_is_no_failure(amplitude: Amplitude, make: Any) -> None:
    dispatcher = make()
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert dispatcher.flush(5).delivered == 1
    assert amplitude.connections == 1
    dispatcher.on_decision("flag", "user_2", {}, flag())
    assert dispatcher.flush(5).delivered == 1
    assert amplitude.connections == 1, "it is kept alive"
