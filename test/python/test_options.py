"""Every option: what it takes and refuses; that both packages have the same ones, and one table says so."""

from __future__ import annotations

import logging
import re
from typing import Any, Dict, Set

import pytest

from conftest import API_KEY, ROOT
from optimizely_amplitude import Dispatcher, DispatcherOptions, OptionError
from optimizely_amplitude.options import DEDUPE_TABLE, NODE_ONLY, SPOOL_TABLE, STORE_TABLE, TABLE, resolve_options
from optimizely_amplitude.types import DedupeOptions, SpoolOptions, StoreOptions

NOT_IN_PYTHON = {"engine", "includeRollouts", "loggerProvider", "logLevel", "maxConcurrent"}
"""An option of Node.js is here, or in this list and in that of docs/python.md, which says why."""


def snake(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def names_of_node() -> Dict[str, str]:
    """The options of the package for Node.js, and of its dedupe, by their names here."""
    source = (ROOT / "lib" / "options.js").read_text()
    table = re.search(r"^const TABLE = \{\n(.*?)^\};", source, re.M | re.S)
    assert table is not None
    return {snake(name): name for name in re.findall(r"^  (\w+): \{", table[1], re.M)}


def test_both_packages_have_the_same_options() -> None:
    theirs = {name for name, original in names_of_node().items() if original not in NOT_IN_PYTHON}
    assert set(TABLE) == theirs
    assert set(DEDUPE_TABLE) == names_in("lib/options.js", "DEDUPE_TABLE")
    assert set(SPOOL_TABLE) == names_in("lib/spool.js", "TABLE")
    assert set(NODE_ONLY) == {snake(name) for name in NOT_IN_PYTHON}
    assert set(STORE_TABLE) == names_in("lib/options.js", "STORE_TABLE") | names_in("lib/store-options.js", "TABLE")


def names_in(file: str, constant: str) -> Set[str]:
    """The names of a table of the package for Node.js, as they are here."""
    table = re.search(rf"^const {constant} = \{{\n(.*?)^\}};", (ROOT / file).read_text(), re.M | re.S)
    assert table is not None
    return {snake(name) for name in re.findall(r"^  (\w+): \{", table[1], re.M)}


def test_the_table_of_the_docs_has_them() -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    originals = {original for original in names_of_node().values()}
    assert set(re.findall(r"`(\w+)`", re.search(r"^Not in Python: (.*)$", page, re.M)[1])) == NOT_IN_PYTHON  # type: ignore[index]
    assert listed == {snake(name) for name in originals - NOT_IN_PYTHON}


def test_the_types_have_them() -> None:
    assert set(DispatcherOptions.__annotations__) == set(TABLE)
    assert set(DedupeOptions.__annotations__) == set(DEDUPE_TABLE)
    assert set(StoreOptions.__annotations__) == set(STORE_TABLE)
    assert set(SpoolOptions.__annotations__) == set(SPOOL_TABLE)


def test_the_defaults_are_those_of_node() -> None:
    source = (ROOT / "lib" / "options.js").read_text()
    mine = resolve_options({"api_key": API_KEY})
    values = {"true": True, "false": False, "null": None, "DAY_MILLIS": 86_400_000, "64 * MIB": 64 * 2**20}
    compared = 0
    for name, original in names_of_node().items():
        found = re.search(rf"^  {original}: \{{.*default: ([^,}}]+?) \}},$", source, re.M)
        if found is None or name not in TABLE or name in ("dedupe", "format", "send", "server_url", "decision_types"):
            continue
        text = found[1].replace("_", "") if re.fullmatch(r"[\d_]+", found[1]) else found[1]
        expected: Any = values[text] if text in values else int(text) if text.isdigit() else text.strip("'")
        assert mine[name] == expected, name
        compared += 1
    assert compared > 20
    assert mine["dedupe"] == {
        "window_millis": 86_400_000,
        "refresh_millis": 3_600_000,
        "max_entries": 1_000_000,
        "store": None,
    }
    assert (mine["send"], mine["decision_types"], mine["format"].sends_event) == ("all", ("flag",), True)


REFUSED = [
    ({}, "api_key.*environment variable"),
    ({"api_key": "None"}, "api_key.*environment variable"),
    ({"api_key": "a key"}, "spaces"),
    ({"api_key": b"key"}, "got a bytes"),
    ({"flushIntervalMillis": 5}, "did you mean 'flush_interval_millis'"),
    ({"flush_interval_ms": 5}, "did you mean 'flush_interval_millis'"),
    ({"flush_intervall_millis": 5}, "did you mean 'flush_interval_millis'"),
    ({"max_concurrent": 2}, "'max_concurrent' is one of the Node.js package only: one thread sends"),
    ({"maxConcurrent": 2}, "'maxConcurrent' is one of the Node.js package only"),
    ({"include_rollouts": False}, "use send='experiments'"),
    ({"quite_other": 5}, "the options are api_key, "),
    ({"server_zone": "us"}, "'US', 'EU'"),
    ({"use_batch": 1}, "True or False"),
    ({"server_url": "api2.amplitude.com/2/httpapi"}, "absolute http"),
    ({"server_url": "https://api2.amplitude.com"}, "Amplitude listens at https://api2.amplitude.com/2/httpapi"),
    ({"server_url": "https://user:secret@host/path"}, "without user name"),
    ({"server_url": "https://host:port/path"}, "absolute http"),
    ({"min_id_length": 0}, "from 1 to 1024 \\(characters\\)"),
    ({"min_id_length": True}, "got True"),
    ({"flush_queue_size": 1.5}, "got 1.5"),
    ({"flush_interval_millis": -1}, "milliseconds"),
    ({"flush_max_retries": 70_000}, "failures"),
    ({"max_age_millis": 8 * 86_400_000}, "milliseconds"),
    ({"max_queue_bytes": 5}, "bytes"),
    ({"compression": "gzip"}, "True or False"),
    ({"dedupe": True}, "False, or a dict"),
    ({"dedupe": {"window": 5}}, "did you mean 'dedupe.window_millis'"),
    ({"dedupe": {"window_millis": 0}}, "dedupe.window_millis"),
    ({"dedupe": {"store": {}}}, "neither"),
    ({"dedupe": {"store": {"client": object()}}}, "execute_command"),
    ({"dedupe": {"store": {"send": print, "prefix": "a{b"}}}, "letters, digits"),
    ({"format": "events"}, "'event', 'merged'"),
    ({"format": ["event", "identify"]}, "both set the user property"),
    ({"format": ["event", "event"]}, "twice"),
    ({"format": "exposure", "event_type": "Mine"}, "sends no event of this type"),
    ({"format": "event", "event_type": False}, "use format='identify'"),
    ({"format": "exposure", "user_properties": lambda *_: {}}, "sets none"),
    ({"event_type": "$exposure"}, "format='exposure'"),
    ({"event_type": ""}, "name of an event"),
    ({"property_prefix": "\ud800"}, "surrogates"),
    ({"disabled_value": "on"}, "'off', 'variation'"),
    ({"decision_types": "flag"}, "a list of"),
    ({"decision_types": ["flags"]}, "one with 'flags'"),
    ({"resolve_user": 5}, "a function"),
    ({"send": "none"}, "'all', 'experiments'"),
    ({"groups": {"a": []}}, "groups"),
    ({"groups": {str(i): "x" for i in range(6)}}, "6 names of 6 types"),
    ({"ingestion_metadata": {"name": "x"}}, "ingestion_metadata.source_name"),
    ({"plan": 5}, "a dict with branch"),
    ({"partner_id": ""}, "a str of 1"),
    ({"logger": print}, "logging.Logger"),
    ({"proxy": "ftp://host"}, "URL of a proxy"),
    ({"proxy": "http://user:secret@"}, "URL of a proxy"),
    ({"no_proxy": 5}, "host names"),
    ({"ca_file": "/no/such/file"}, "cannot be read"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_named(options: Dict[str, Any], message: str) -> None:
    given: Dict[str, Any] = options if not options or "api_key" in options else {"api_key": API_KEY, **options}
    with pytest.raises(OptionError, match=message) as raised:
        Dispatcher(**given)
    assert "secret" not in str(raised.value) and API_KEY not in str(raised.value)
    assert isinstance(raised.value, TypeError)


def test_what_follows() -> None:
    def resolved(**options: Any) -> Dict[str, Any]:
        return resolve_options({"api_key": API_KEY, **options})

    assert resolved()["server_url"] == "https://api2.amplitude.com/2/httpapi"
    assert resolved(server_zone="EU", use_batch=True)["server_url"] == "https://api.eu.amplitude.com/batch"
    url = resolved(server_url="https://collector.example:8443/batch?token=x#y")
    assert url["server_url"] == "https://collector.example:8443/batch?token=x"
    assert url["server_name"] == "https://collector.example:8443/batch"
    assert url["api"].throttle_millis == 15_000 and not url["is_amplitude"] and resolved()["is_amplitude"]
    assert resolved(dedupe=False)["dedupe"] is None
    assert resolved(event_type=False)["format"].sends_event is False
    assert resolved(logger=logging.getLogger("mine"))["logger"].name == "mine"
    assert resolved(proxy="proxy.example:3128")["proxy"] == "http://proxy.example:3128"
