"""The same cases give the same bytes as with the package for Node.js, but for the time and the name of the library."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from typing import Any, Dict, List

import pytest

from conftest import API_KEY, ROOT, Amplitude, make_client
from optimizely_amplitude import Dispatcher

CASES: List[Dict[str, Any]] = json.loads((ROOT / "test" / "python" / "cases.json").read_text())
YEAR_MILLIS = 365 * 24 * 60 * 60 * 1000
"""A window that hardly ends between one run and the other."""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")


@functools.cache
def played_by_node() -> Dict[str, Any]:
    out = subprocess.check_output(["node", str(ROOT / "test" / "python" / "parity.js")], timeout=120)
    return {case["name"]: case for case in json.loads(out)}


def snake(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def snake_keys(value: Any) -> Any:
    return {snake(name): member for name, member in value.items()} if isinstance(value, dict) else value


CALLBACKS = {
    "resolve_user": lambda notification: (
        None
        if notification.attributes.get("none")
        else {"user_id": notification.user_id, **notification.attributes.get("fields", {})}
    ),
    "event_properties": lambda notification, rule: notification.attributes.get("event"),
    "user_properties": lambda notification, rule: notification.attributes.get("user"),
    "before_send": lambda event: event if event["event_type"] == "$identify" else {**event, "platform": "redacted"},
}


def play(case: Dict[str, Any], amplitude: Amplitude) -> Dispatcher:
    names = [snake(name) for name in case.get("callbacks", [])]
    options: Dict[str, Any] = {snake(name): snake_keys(value) for name, value in case["options"].items()}
    dispatcher = Dispatcher(
        **{
            "api_key": API_KEY,
            "server_url": amplitude.url,
            **options,
            "dedupe": {"window_millis": YEAR_MILLIS},
            **{name: CALLBACKS[name] for name in names},
        }
    )
    for step, *rest in case["steps"]:
        if step == "decide":
            dispatcher.on_decision(*rest)
        else:
            *positional, keywords = rest
            getattr(dispatcher, step)(*positional, **keywords)
    if "sdk" in case:
        client = make_client()
        dispatcher.attach(client)
        for user_id in case["sdk"]:
            client.create_user_context(user_id, {}).decide_all()
    dispatcher.close(10)
    return dispatcher


def comparable(text: str) -> str:
    """A body without what differs: the time, the library, and the insert_id of a $identify, which covers its time."""
    text = re.sub(r'"time":\d{13}', '"time":0', text)
    text = re.sub(r'"library":"optimizely-amplitude(-python)?/', '"library":"', text)
    return re.sub(
        r'("event_type":"\$identify"(?:(?!"event_type").)*?"insert_id":")[0-9a-f]{32}"', r'\1of its time"', text
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_same_bytes(case: Dict[str, Any], amplitude: Amplitude) -> None:
    dispatcher = play(case, amplitude)
    theirs = played_by_node()[case["name"]]
    ours = [text.decode() for text in amplitude.texts]
    assert [comparable(text) for text in ours] == [comparable(text) for text in theirs["bodies"]]
    assert ours, "there is something to compare"
    stats: Any = dispatcher.stats()
    assert stats["decisions"] == theirs["decisions"]
    assert stats["tracked"] == theirs["tracked"]
    assert stats["left_out"] == theirs["leftOut"]


def test_insert_ids_of_exposures_are_compared() -> None:
    text = '{"events":[{"event_type":"$identify","time":1795734604712,"insert_id":"%s"},{"insert_id":"%s"}]}'
    assert comparable(text % ("a" * 32, "b" * 32)) == comparable(text % ("c" * 32, "b" * 32))
    assert comparable(text % ("a" * 32, "b" * 32)) != comparable(text % ("a" * 32, "c" * 32))
