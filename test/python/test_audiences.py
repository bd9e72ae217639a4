"""Cohorts of Amplitude become attributes of Optimizely, from a stand-in for the cohort API and from files."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import parse_qs, urlsplit

import pytest

from conftest import API_KEY, ROOT, make_client
from optimizely_amplitude import Audiences, OptionError
from optimizely_amplitude.audiences import NODE_ONLY, TABLE

HERE = pathlib.Path(__file__).parent
SECRET_KEY = "fedcba9876543210fedcba9876543210"


class CohortServer:
    """Serves `cohorts`: id -> (version, members). `status`, if set, is its answer to everything."""

    def __init__(self) -> None:
        self.cohorts: Dict[str, Tuple[int, List[str]]] = {}
        self.status: Optional[int] = None
        self.asked: List[Tuple[str, Dict[str, List[str]]]] = []
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                cohort = url.path.rpartition("/")[2]
                stand_in.asked.append((cohort, query))
                keys = base64.b64encode(f"{API_KEY}:{SECRET_KEY}".encode()).decode()
                status, body = 200, b""
                if self.headers["Authorization"] != f"Basic {keys}":
                    status = 401
                elif stand_in.status is not None:
                    status = stand_in.status
                elif cohort not in stand_in.cohorts:
                    status = 404
                else:
                    version, members = stand_in.cohorts[cohort]
                    if query.get("lastModified") == [str(version)]:
                        status = 204
                    else:
                        content = {
                            "cohortId": cohort,
                            "lastModified": version,
                            "size": len(members),
                            "memberIds": members,
                        }
                        body = json.dumps(content).encode()
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server() -> Any:
    stand_in = CohortServer()
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()


@pytest.fixture
def make(server: CohortServer) -> Any:
    made: List[Audiences] = []

    def make_audiences(**options: Any) -> Audiences:
        given = {"api_key": API_KEY, "secret_key": SECRET_KEY, "server_url": server.url, "poll_interval_millis": 20}
        made.append(Audiences(**{**given, **options}))
        return made[-1]

    yield make_audiences
    for audiences in made:
        audiences.close()


def until(condition: Any, seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_members_become_attributes_and_change(server: CohortServer, make: Any) -> None:
    server.cohorts = {"one": (1, ["user_1", "us\u00e9r_2"]), "two": (1, [])}
    audiences = make(cohorts={"power": "one", "new": "two"})
    assert all(status.is_known for status in audiences.ready(20))
    assert audiences.attributes("user_1") == {"power": True, "new": False}
    assert audiences.attributes("us\u00e9r_2", {"plan": "pro", "new": "mine"}) == {
        "power": True,
        "new": "mine",
        "plan": "pro",
    }
    assert audiences.has("nobody", "power") is False and audiences.has("user_1", "other") is None
    assert audiences.attributes("user_1\udc80") == {"power": False, "new": False}
    server.cohorts["one"] = (2, ["user_3"])
    until(lambda: audiences.has("user_3", "power"))
    assert audiences.has("user_1", "power") is False and audiences.has("user_1", "new") is False
    asked = len(server.asked)
    until(lambda: len(server.asked) > asked + 4)
    assert server.asked[-1][1]["lastModified"], "an unchanged cohort is not downloaded again"
    assert audiences.status()[0].members == 1


def test_what_is_not_known_is_left_out(server: CohortServer, make: Any, caplog: Any) -> None:
    server.cohorts = {"one": (1, ["user_1"])}
    audiences = make(cohorts={"power": "one", "missing": "two"}, max_stale_millis=500)
    known, unknown = audiences.ready(20)
    assert (known.is_known, unknown.is_known) == (True, False)
    assert "no such cohort" in unknown.last_error
    assert audiences.attributes("user_1") == {"power": True}
    assert audiences.has("user_1", "missing") is None
    server.status = 503
    until(lambda: audiences.attributes("user_1") == {})
    server.status = None
    until(lambda: audiences.attributes("user_1") == {"power": True})
    assert SECRET_KEY not in caplog.text and API_KEY not in caplog.text


def test_a_damaged_cohort_changes_nothing(server: CohortServer, make: Any) -> None:
    server.cohorts = {"one": (1, ["user_1"])}
    audiences = make(cohorts={"power": "one"})
    audiences.ready(20)
    server.cohorts = {"one": (2, [5])}  # type: ignore[list-item]
    until(lambda: audiences.status()[0].last_error is not None)
    assert audiences.has("user_1", "power") is True


def test_wrong_keys(make: Any) -> None:
    audiences = make(cohorts={"power": "one"}, secret_key="x" * 32)
    assert "the keys are refused" in audiences.ready(20)[0].last_error


def test_ready_takes_any_timeout(server: CohortServer, make: Any, caplog: Any) -> None:
    server.cohorts = {"one": (1, ["user_1"])}
    audiences = make(cohorts={"power": "one"})
    audiences.ready(20)
    for timeout in ("soon", float("nan"), -1, None, 1e300):
        assert audiences.ready(timeout)[0].is_known
    assert "timeout: expected seconds, got a str; the default is used" in caplog.text


def test_many_members_and_threads(server: CohortServer, make: Any) -> None:
    members = [f"user_{i}" for i in range(200_000)]
    server.cohorts = {"one": (1, members[::2]), "two": (1, members[::3])}
    audiences = make(cohorts={"a": "one", "b": "two"})
    assert all(status.is_known for status in audiences.ready(60))
    failures: List[int] = []

    def look_up(start: int) -> None:
        for i in range(start, 200_000, 97):
            if audiences.attributes(members[i]) != {"a": i % 2 == 0, "b": i % 3 == 0}:
                failures.append(i)

    threads = [threading.Thread(target=look_up, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 5):  # the table is replaced meanwhile
        server.cohorts["one"] = (version, members[::2])
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert failures == []


def test_files(tmp_path: pathlib.Path, make: Any) -> None:
    (tmp_path / "a.csv").write_text("user_id,plan\nuser_1,pro\n")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("user_2\n")
    (tmp_path / "c.json").write_text('["user_3"]')
    files = {name: str(tmp_path / path) for name, path in (("a", "a.csv"), ("b", "b.txt.gz"), ("c", "c.json"))}
    audiences = make(cohorts=files, source="file", api_key="a-key", secret_key="a-secret")
    audiences.ready(20)
    assert audiences.attributes("user_1") == {"a": True, "b": False, "c": False}
    assert audiences.attributes("user_2") == {"a": False, "b": True, "c": False}
    assert audiences.has("user_3", "c") is True
    (tmp_path / "a.csv").write_text("user_id\nuser_2\nuser_3\n")
    until(lambda: audiences.has("user_2", "a"))
    (tmp_path / "a.csv").unlink()
    until(lambda: audiences.status()[0].last_error)
    assert audiences.has("user_2", "a") is True, "what is known stays"


def test_a_decision_follows_the_cohort(server: CohortServer, make: Any) -> None:
    client = make_client((ROOT / "test" / "examples" / "audiences-datafile.json").read_text())
    datafile = json.loads((ROOT / "test" / "examples" / "audiences-datafile.json").read_text())
    attribute = datafile["attributes"][0]["key"]
    server.cohorts = {"one": (1, ["user_1"])}
    audiences = make(cohorts={attribute: "one"})
    audiences.ready(20)

    def decide(user_id: str) -> List[Any]:
        decisions = client.create_user_context(user_id, audiences.attributes(user_id)).decide_all()
        return [(key, decision.variation_key, decision.rule_key) for key, decision in decisions.items()]

    assert [rule for _, _, rule in decide("user_1")] != [rule for _, _, rule in decide("user_2")]


@pytest.mark.parametrize("case", ["fork_with_audiences", "fork_with_audiences_without_hooks"])
def test_a_forked_child_knows_and_refreshes(server: CohortServer, case: str) -> None:
    server.cohorts = {"one": (1, ["user_1"])}
    command = [sys.executable, "-X", "faulthandler", "child.py", case, server.url]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "forked\n"
            server.cohorts["one"] = (2, ["user_1", "user_2"])
            output = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, output


def test_a_snapshot_starts_without_a_network(server: CohortServer, make: Any, tmp_path: pathlib.Path) -> None:
    snapshot = {"directory": tmp_path / "a" / "b"}
    server.cohorts = {"one": (1_700_000_000_000, ["user_1"]), "two": (1_700_000_000_001, ["user_2"])}
    before = time.time()
    make(cohorts={"power": "one", "new": "two"}, snapshot=snapshot).ready(20)
    until(lambda: len(list((tmp_path / "a" / "b").glob("cohorts-python-*.snapshot"))) == 1)
    server.status = 503
    audiences = make(cohorts={"third": "three", "renamed": "two", "power": "one"}, snapshot=snapshot)
    assert audiences.attributes("user_2") == {"renamed": True, "power": False}, "at once, and in another order"
    third, second, first = audiences.status()
    assert not third.is_known and first.is_known and second.is_known
    assert first.members == 1 and before - 1 < (first.loaded_at or 0) < time.time()
    asked = len(server.asked)
    server.status = None
    server.cohorts["three"] = (1, ["user_3"])
    until(lambda: audiences.attributes("user_3") == {"third": True, "renamed": False, "power": False})
    until(lambda: len([1 for cohort, _ in server.asked[asked:] if cohort == "one"]) > 0)
    later = [query for cohort, query in server.asked[asked:] if cohort == "one"]
    assert later[0]["lastModified"] == ["1700000000000"], "it asks whether they are the latest"


@pytest.mark.parametrize(("change", "message"), [("damage", "it is damaged"), ("key", "another key")])
def test_a_snapshot_that_is_no_good(
    server: CohortServer, make: Any, tmp_path: pathlib.Path, caplog: Any, change: str, message: str
) -> None:
    server.cohorts = {"one": (1, ["user_1"])}
    make(cohorts={"power": "one"}, snapshot={"directory": tmp_path}).ready(20)
    until(lambda: list(tmp_path.glob("*.snapshot")))
    (file,) = tmp_path.glob("*.snapshot")
    if change == "damage":
        file.write_bytes(file.read_bytes()[:-8] + b"12345678")
    secret = {"secret_key": "x" * 32} if change == "key" else {}
    server.status = 503
    audiences = make(cohorts={"power": "one"}, snapshot={"directory": tmp_path}, **secret)
    assert audiences.attributes("user_1") == {}
    assert message in caplog.text


def test_a_snapshot_of_a_file(make: Any, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "power.txt"
    path.write_text("user_1\n")
    options = {"cohorts": {"power": str(path)}, "source": "file", "snapshot": {"directory": tmp_path / "kept"}}
    make(**options).ready(20)
    until(lambda: list((tmp_path / "kept").glob("*.snapshot")))
    path.unlink()
    audiences = make(**options)
    assert audiences.attributes("user_1") == {"power": True}
    path.write_text("user_2\n")
    until(lambda: audiences.attributes("user_2") == {"power": True})


def test_a_snapshot_that_cannot_be_written(
    server: CohortServer, make: Any, tmp_path: pathlib.Path, caplog: Any
) -> None:
    (tmp_path / "file").write_text("")
    server.cohorts = {"one": (1, ["user_1"])}
    audiences = make(cohorts={"power": "one"}, snapshot={"directory": tmp_path / "file" / "below"})
    assert audiences.ready(20)[0].is_known
    until(lambda: "no snapshot can be kept in" in caplog.text)


# ---- the webhook -------------------------------------------------------------------------------------

SECRET = "a-secret-of-this-test"
HEADERS = {"X-Webhook-Secret": SECRET}
NOW = 1_790_000_000
"""Of lists, in seconds; a day before the clock, and more."""


def message(cohort: str, users: List[str], is_in: bool = True, at: int = 1) -> bytes:
    """Amplitude's default payload, `at` seconds after the list."""
    content = {
        "cohort_name": "Power users",
        "cohort_id": cohort,
        "in_cohort": is_in,
        "computed_time": str(NOW + at),
        "users": [{"user_id": user} for user in users],
    }
    return json.dumps(content).encode()


def test_messages_change_members_at_once(server: CohortServer, make: Any) -> None:
    server.cohorts = {"one": (NOW * 1000, ["user_1"]), "two": (NOW * 1000, [])}
    audiences = make(cohorts={"power": "one", "new": "two"}, poll_interval_millis=60_000)
    receive = audiences.webhook(secret=SECRET)
    audiences.ready(20)
    assert receive(HEADERS, message("one", ["user_2", "user_3"])) == (200, "done")
    assert receive([(b"x-webhook-secret", SECRET.encode())], message("one", ["user_1"], False)) == (200, "done")
    assert audiences.attributes("user_2") == {"power": True, "new": False}
    assert audiences.attributes("user_1") == {"power": False, "new": False}
    assert audiences.status()[0].members == 2
    assert receive(HEADERS, message("one", ["user_1"], True, -5)) == (200, "something later is known")
    assert receive(HEADERS, message("one", ["user_2"], False, 0)) == (200, "something later is known")
    assert receive(HEADERS, message("other", ["user_2"])) == (200, "no attribute has this cohort")
    assert audiences.attributes("user_2") == {"power": True, "new": False}


def test_a_list_replaces_what_was_told_before_it(server: CohortServer, make: Any) -> None:
    server.cohorts = {"one": (NOW * 1000, ["user_1"])}
    audiences = make(cohorts={"power": "one"})
    receive = audiences.webhook(secret=SECRET)
    audiences.ready(20)
    receive(HEADERS, message("one", ["early"], True, 10))
    receive(HEADERS, message("one", ["late"], True, 30))
    server.cohorts = {"one": ((NOW + 20) * 1000, ["user_2"])}
    until(lambda: audiences.has("user_2", "power"))
    assert (audiences.has("early", "power"), audiences.has("late", "power")) == (False, True)
    assert audiences.status()[0].members == 2


def test_messages_before_the_list_make_nothing_known(server: CohortServer, make: Any) -> None:
    server.status = 503
    server.cohorts = {"one": (NOW * 1000, ["user_1"])}
    audiences = make(cohorts={"power": "one"})
    receive = audiences.webhook(secret=SECRET)
    assert receive(HEADERS, message("one", ["user_2"])) == (200, "done")
    assert audiences.has("user_2", "power") is None and not audiences.status()[0].is_known
    server.status = None
    until(lambda: audiences.has("user_1", "power"))
    assert audiences.has("user_2", "power") is True


def test_many_changes_are_merged(server: CohortServer, make: Any) -> None:
    server.cohorts = {"one": (NOW * 1000, ["user_1"])}
    audiences = make(cohorts={"power": "one"}, poll_interval_millis=60_000)
    receive = audiences.webhook(secret=SECRET)
    audiences.ready(20)
    for part in range(30):  # more than there is room for without a merge
        users = [f"many_{part}_{i}" for i in range(10_000)]
        until(lambda users=users, part=part: receive(HEADERS, message("one", users, True, part + 1)).status == 200)
    assert all(audiences.has(f"many_{part}_{part}", "power") for part in range(30))
    assert audiences.has("user_1", "power") is True and audiences.has("many_1", "power") is False
    until(lambda: audiences.status()[0].members == 300_001)


def test_a_snapshot_has_what_messages_changed(server: CohortServer, make: Any, tmp_path: pathlib.Path) -> None:
    server.cohorts = {"one": (NOW * 1000, ["user_1"])}
    options = {"cohorts": {"power": "one"}, "snapshot": {"directory": tmp_path}, "poll_interval_millis": 60_000}
    audiences = make(**options)
    receive = audiences.webhook(secret=SECRET)
    audiences.ready(20)
    assert receive(HEADERS, message("one", ["user_2"])).status == 200
    audiences.close()
    audiences.end_exit()
    assert receive(HEADERS, message("one", ["user_3"])) == (503, "the audiences are closed")
    server.status = 503
    audiences = make(**options)
    assert audiences.has("user_2", "power") is True and audiences.status()[0].members == 2


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, message("one", ["user_2"]), 401),
        ({"X-Webhook-Secret": "another-secret-of-this-test"}, message("one", ["user_2"]), 401),
        ({**HEADERS, "Content-Encoding": "gzip"}, b"", 415),
        (HEADERS, b"", 400),
        (HEADERS, b"[]", 400),
        (HEADERS, message("one", ["user_2"])[:-3], 400),
        (HEADERS, message("one", ["user_2"], at=10**9), 400),
        (HEADERS, bytes(32 * 1024 * 1024 + 1), 413),
        (5, b"", 500),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_message(
    server: CohortServer, make: Any, caplog: Any, headers: Any, body: bytes, status: int
) -> None:
    server.cohorts = {"one": (NOW * 1000, ["user_1"])}
    audiences = make(cohorts={"power": "one"})
    receive = audiences.webhook(secret=[SECRET, "the-one-that-replaces-it"])
    audiences.ready(20)
    assert receive(headers, body).status == status
    assert f"is answered with {status}: " in caplog.text and SECRET not in caplog.text
    assert audiences.has("user_2", "power") is False


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "'webhook.secret': expected a secret of at least 16.*is its environment variable set"),
        ({"secret": "short"}, "a str that is shorter"),
        ({"secret": SECRET, "header": "a b"}, "the name of a header"),
        ({"secret": SECRET, "cohorts": {"other": "one"}}, "has no attribute 'other'"),
        ({"secret": SECRET, "path": "/"}, "unknown option 'webhook.path'"),
    ],
)
def test_options_of_the_webhook(server: CohortServer, make: Any, options: Dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        make(cohorts={"power": "one"}).webhook(**options)


def test_cohorts_of_files_get_messages(tmp_path: pathlib.Path, make: Any) -> None:
    path = tmp_path / "power.txt"
    path.write_text("user_1\n")
    os.utime(path, (NOW, NOW))
    audiences = make(cohorts={"power": str(path)}, source="file")
    with pytest.raises(OptionError, match="because the cohorts are files"):
        audiences.webhook(secret=SECRET)
    receive = audiences.webhook(secret=SECRET, cohorts={"power": "one"})
    audiences.ready(20)
    assert receive(HEADERS, message("one", ["user_2"])) == (200, "done")
    assert audiences.has("user_2", "power") is True


def test_flask_and_fastapi(server: CohortServer, make: Any) -> None:
    """The routes of docs/python.md, as they stand there."""
    import fastapi.testclient
    import flask

    server.cohorts = {"one": (NOW * 1000, ["user_1"])}
    audiences = make(cohorts={"power": "one"})
    audiences.ready(20)
    page = (ROOT / "docs" / "python.md").read_text()
    (flask_route,) = re.findall(r"^```text\n(@app.post.*?request\.get_data.*?)^```$", page, re.M | re.S)
    (fastapi_route,) = re.findall(r"^```text\n(@app.post[^`]*?await request\.body.*?)^```$", page, re.M | re.S)
    known = {"receive": audiences.webhook(secret=SECRET)}
    app = flask.Flask("test")
    exec(flask_route, {**known, "app": app, "request": flask.request})
    answer = app.test_client().post("/amplitude/cohorts", data=message("one", ["user_2"]), headers=HEADERS)
    assert (answer.status_code, answer.json) == (200, {"message": "done"})
    api = fastapi.FastAPI()
    exec(
        fastapi_route, {**known, "app": api, "Request": fastapi.Request, "JSONResponse": fastapi.responses.JSONResponse}
    )
    client = fastapi.testclient.TestClient(api)
    reply = client.post("/amplitude/cohorts", content=message("one", ["user_3"]), headers=HEADERS)
    assert (reply.status_code, reply.json()) == (200, {"message": "done"})
    assert client.post("/amplitude/cohorts", content=b"").status_code == 401
    assert audiences.has("user_2", "power") is True and audiences.has("user_3", "power") is True


def test_options_of_node_are_here_or_refused() -> None:
    source = (ROOT / "lib" / "audiences" / "options.js").read_text()
    table = re.search(r"^const TABLE = \{\n(.*?)^\};", source, re.M | re.S)
    assert table is not None
    names = {re.sub("([A-Z])", r"_\1", name).lower() for name in re.findall(r"^  (\w+): \{", table[1], re.M)}
    own = {"proxy", "no_proxy", "ca_file", "logger"}
    assert set(TABLE) - own == names - set(NODE_ONLY)
    page = (ROOT / "docs" / "python.md").read_text()
    listed = re.search(r"^Not in Python: `source=.*$", page, re.M)
    assert listed is not None
    refused = {re.sub("([A-Z])", r"_\1", name).lower() for name in re.findall(r"`(\w+)`", listed[0])}
    assert refused == set(NODE_ONLY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "option 'cohorts'"),
        ({"cohorts": {"a": "x"}, "store": 5}, "'store' is one of the Node.js package only"),
        ({"cohorts": {"a": "x"}, "source": "behavioral"}, "'behavioral', which is one of the Node.js package only"),
        ({"cohorts": {"a": "x"}, "snapshot": "/tmp"}, 'a dict, {"directory"'),
        ({"cohorts": {"a": "x"}, "snapshot": {}}, "'snapshot.directory': expected the path"),
        ({"cohorts": {}}, "a dict"),
        ({"cohorts": {"a": 5}}, "for 'a'"),
        ({"cohorts": {"$opt_a": "x"}}, "opt_"),
        ({"cohorts": {"a": "x", "b": "x"}}, "another cohort"),
        ({"cohorts": {"a": "x"}, "api_key": "k"}, "both keys"),
        ({"cohorts": {"a": "x"}, "source": "file"}, "path of a file"),
        ({"cohorts": {"a": "x"}, "server_url": "https://u:p@host"}, "Evaluation Proxy"),
        ({"cohorts": {"a": "x"}, "pollIntervalMillis": 5}, "did you mean 'poll_interval_millis'"),
    ],
)
def test_options(options: Dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Audiences(**options)
