"""The spool: what a process leaves, however it ends, is delivered once, and in order, by the one that comes next."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from typing import Any, Dict, List, Tuple

import pytest

from conftest import API_KEY, Amplitude, flag, make_client, reconcile
from optimizely_amplitude import Dispatcher, OptionError

HERE = pathlib.Path(__file__).parent
YEAR_MILLIS = 365 * 24 * 60 * 60 * 1000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files of a spool need Linux")


@pytest.fixture(params=["mapped", "copied"])
def storage(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of files: see src/host/spool/storage.h."""
    if request.param == "copied":
        monkeypatch.setenv("OA_SPOOL_APPENDS", "1")


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "spool"


def command(case: str, amplitude: Amplitude, directory: pathlib.Path, *arguments: Any) -> List[str]:
    script = str(HERE / "spooler.py")
    return [sys.executable, "-X", "faulthandler", script, case, amplitude.url, str(directory), *map(str, arguments)]


def run(case: str, amplitude: Amplitude, directory: pathlib.Path, *arguments: Any) -> Tuple[int, str]:
    done = subprocess.run(
        command(case, amplitude, directory, *arguments), cwd=HERE, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def down(body: Dict[str, Any]) -> Any:
    return 503, {}


def take_again(amplitude: Amplitude) -> None:
    amplitude.bodies.clear()
    amplitude.answer = lambda body: (200, {"code": 200})


def deliver(amplitude: Amplitude, directory: pathlib.Path, count: int) -> Dict[str, Any]:
    """Have a process deliver what was left; returns its stats."""
    take_again(amplitude)
    code, output = run("deliver", amplitude, directory, count)
    assert code == 0, output
    stats: Dict[str, Any] = json.loads(output)
    assert stats["decisions"]["delivered"] == count, stats
    assert stats["decisions"]["dropped"]["total"] == 0, stats
    assert stats["spool"]["found"] == count, stats
    assert stats["spool"]["missing"] == 0, stats
    assert list(directory.iterdir()) == [], "nothing is left"
    return stats


def users(amplitude: Amplitude) -> List[str]:
    """Those of the events in the order of their arrival, each of them once."""
    events = amplitude.events()
    assert max(Counter(event["insert_id"] for event in events).values()) == 1, "nothing was sent twice"
    return [event["user_id"] for event in events]


def names(kind: str, count: int) -> List[str]:
    return [f"{kind}_{i}" for i in range(count)]


def insert_ids(amplitude: Amplitude) -> Dict[str, str]:
    return {event["user_id"]: event["insert_id"] for event in amplitude.events()}


def direct_ids(amplitude: Amplitude, count: int) -> Dict[str, str]:
    """What a dispatcher without a spool sends for the same decisions."""
    take_again(amplitude)
    client = make_client()
    with Dispatcher(api_key=API_KEY, server_url=amplitude.url, dedupe={"window_millis": YEAR_MILLIS}) as dispatcher:
        dispatcher.attach(client)
        for user_id in names("user", count):
            client.create_user_context(user_id).decide("checkout_flow")
    return insert_ids(amplitude)


# ---- ends of a process ------------------------------------------------------------------------------


@pytest.mark.usefixtures("storage")
def test_kill_9_loses_nothing(amplitude: Amplitude, directory: pathlib.Path) -> None:
    amplitude.answer = down
    code, output = run("kill", amplitude, directory)
    assert code == -signal.SIGKILL, output
    assert len(amplitude.bodies) > 0, "the server was asked"
    deliver(amplitude, directory, 100)
    assert users(amplitude) == names("user", 50) + names("later", 50), "in order"
    assert insert_ids(amplitude).items() >= direct_ids(amplitude, 50).items()


@pytest.mark.parametrize("case", ["os_exit", "end_of_the_program"])
def test_other_ends_lose_nothing(amplitude: Amplitude, directory: pathlib.Path, case: str) -> None:
    amplitude.answer = down
    code, output = run(case, amplitude, directory)
    assert code == 0, output
    deliver(amplitude, directory, 50)
    assert users(amplitude) == names("user", 50)


def test_close_keeps_what_it_could_not_deliver(amplitude: Amplitude, directory: pathlib.Path) -> None:
    amplitude.answer = down
    code, output = run("end", amplitude, directory)
    assert code == 0
    delivered, dropped, pending, _ = json.loads(output)
    assert (delivered, dropped, pending) == (0, 0, 50)
    deliver(amplitude, directory, 50)
    assert users(amplitude) == names("user", 50)


def test_a_flush_after_close_returns_at_once(amplitude: Amplitude, make: Any, directory: pathlib.Path) -> None:
    amplitude.answer = down
    dispatcher = make(spool={"directory": directory})
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert dispatcher.close(0.2).pending == 1
    report = dispatcher.flush(20)
    assert report.pending == 1 and report.duration < 10


def test_other_threads_run_while_the_first_decision_waits_for_a_file(
    amplitude: Amplitude, directory: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = shutil.which("cc")
    if compiler is None or "LD_PRELOAD" in os.environ:
        pytest.skip("there is no compiler, or a sanitizer is in the place of the disk")
    source, library = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(
        "#include <unistd.h>\n"
        "int fallocate(int fd, int mode, long from, long size) { sleep(1); return ftruncate(fd, from + size); }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    code, output = run("slow_disk", amplitude, directory)
    assert code == 0
    seconds, longest_pause = json.loads(output)
    assert seconds > 0.5, "it waited"
    assert longest_pause < seconds / 2


# ---- forks ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("storage")
def test_each_forked_child_has_a_journal_of_its_own(amplitude: Amplitude, directory: pathlib.Path) -> None:
    amplitude.answer = down
    master = subprocess.Popen(
        command("fork", amplitude, directory), cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert master.stdin is not None and master.stdout is not None
    assert [master.stdout.readline() for _ in range(5)] == ["decided\n"] * 5
    assert len(list(directory.glob("*.lock"))) == 5
    master.stdin.write("\n")
    master.stdin.flush()
    assert master.wait(20) == -signal.SIGKILL
    deliver(amplitude, directory, 600)
    arrived = users(amplitude)
    for kind in ("parent", "after", *(f"child_{number}" for number in range(4))):
        assert [user for user in arrived if user.startswith(f"{kind}_")] == names(kind, 100), "in order"


def test_a_child_that_lives_on_keeps_no_lock(amplitude: Amplitude, directory: pathlib.Path) -> None:
    amplitude.answer = down
    code, output = run("fork_and_outlive", amplitude, directory)
    assert code == -signal.SIGKILL
    child = int(output)
    try:
        deliver(amplitude, directory, 50)
        os.kill(child, 0)  # it is there
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.usefixtures("storage")
def test_a_fork_while_a_request_gets_no_answer(amplitude: Amplitude, directory: pathlib.Path) -> None:
    amplitude.answer = lambda body: None
    code, output = run("fork_while_sending", amplitude, directory)
    assert code == -signal.SIGKILL, output
    deliver(amplitude, directory, 20)
    assert Counter(users(amplitude)) == Counter(names("parent", 10) + names("child", 10))


@pytest.mark.usefixtures("storage")
def test_a_fork_that_python_does_not_see(amplitude: Amplitude, directory: pathlib.Path) -> None:
    amplitude.answer = down
    code, output = run("fork_beside_python", amplitude, directory)
    assert code == -signal.SIGKILL, output
    deliver(amplitude, directory, 20)
    assert users(amplitude) == names("parent", 10) + names("after", 10)


def test_children_of_children(amplitude: Amplitude, directory: pathlib.Path) -> None:
    amplitude.answer = down
    code, output = run("fork_of_a_fork", amplitude, directory)  # waits for all: they have its pipe
    assert code == 0, output
    deliver(amplitude, directory, 30)
    assert Counter(users(amplitude)) == Counter(names("first", 10) + names("second", 10) + names("third", 10))


APPLICATION = """
import os, sys
sys.path.insert(0, {here!r})
from conftest import API_KEY, make_client
from optimizely_amplitude import Dispatcher

client = make_client()
dispatcher = Dispatcher(api_key=API_KEY, server_url={url!r}, spool={{"directory": {directory!r}}})
dispatcher.attach(client)


def application(environ, start_response):
    client.create_user_context(environ["PATH_INFO"].strip("/")).decide("checkout_flow")
    start_response("200 OK", [("Content-Length", "2"), ("X-Process", str(os.getpid()))])
    return [b"ok"]
"""


def test_gunicorn_preloads_and_is_killed(
    amplitude: Amplitude, directory: pathlib.Path, tmp_path: pathlib.Path, request: Any
) -> None:
    import requests

    amplitude.answer = down
    text = APPLICATION.format(here=str(HERE), url=amplitude.url, directory=str(directory))
    (tmp_path / "application.py").write_text(text)
    master = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--preload", "--workers", "4", "--bind", "127.0.0.1:0", "application"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    request.addfinalizer(lambda: master.poll() is None and os.killpg(master.pid, signal.SIGKILL))
    assert master.stderr is not None
    url = ""
    booted = 0
    for line in master.stderr:
        if "Listening at: " in line:
            url = line.split("Listening at: ")[1].split()[0]
        booted += "Booting worker" in line
        if booted == 4:
            break
    processes = set()
    for i in range(200):
        answer = requests.get(f"{url}/user_{i}", timeout=20)
        assert answer.text == "ok"
        processes.add(answer.headers["X-Process"])
    assert len(list(directory.glob("*.lock"))) == 1 + len(processes)
    os.killpg(master.pid, signal.SIGKILL)
    master.wait(20)
    deliver(amplitude, directory, 200)
    assert sorted(users(amplitude)) == sorted(names("user", 200))


# ---- with Node.js -----------------------------------------------------------------------------------

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")


def node(case: str, amplitude: Amplitude, directory: pathlib.Path, count: int) -> Tuple[int, str]:
    script = str(HERE / "spooler.js")
    done = subprocess.run(
        ["node", script, case, amplitude.url, str(directory), str(count)], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@needs_node
def test_node_delivers_what_python_left(amplitude: Amplitude, directory: pathlib.Path) -> None:
    expected = direct_ids(amplitude, 50)
    amplitude.answer = down
    run("os_exit", amplitude, directory)
    take_again(amplitude)
    code, output = node("deliver", amplitude, directory, 50)
    assert code == 0 and json.loads(output)["spool"]["found"] == 50, output
    assert users(amplitude) == names("user", 50)
    assert insert_ids(amplitude) == expected
    assert list(directory.iterdir()) == []


@needs_node
def test_python_delivers_what_node_left(amplitude: Amplitude, directory: pathlib.Path) -> None:
    expected = direct_ids(amplitude, 50)
    amplitude.answer = down
    code, output = node("kill", amplitude, directory, 50)
    assert code == -signal.SIGKILL, output
    deliver(amplitude, directory, 50)
    assert users(amplitude) == names("user", 50)
    assert insert_ids(amplitude) == expected


# ---- in one process ---------------------------------------------------------------------------------


def test_a_purge_deletes_what_is_pending(amplitude: Amplitude, directory: pathlib.Path, make: Any) -> None:
    amplitude.answer = down
    dispatcher = make(spool={"directory": directory})
    for user_id in names("user", 20):
        dispatcher.on_decision("flag", user_id, {}, flag())
    dispatcher.flush(0.2)
    dispatcher.set_opt_out(True, purge=True)
    amplitude.wait_for(lambda: True)
    assert dispatcher.flush(5).pending == 0
    assert reconcile(dispatcher)["dropped"]["opted_out"] == 20
    dispatcher.close(5)
    assert list(directory.iterdir()) == []
    for wrong in ((1,), ("yes",)):
        with pytest.raises(OptionError):
            dispatcher.set_opt_out(*wrong)
    with pytest.raises(OptionError):
        dispatcher.set_opt_out(True, purge=1)


def test_memory_is_a_window_on_the_spool(amplitude: Amplitude, directory: pathlib.Path, make: Any) -> None:
    amplitude.answer = down
    dispatcher = make(spool={"directory": directory}, max_queue_bytes=50_000, dedupe=False)
    for i in range(5_000):
        dispatcher.on_decision("flag", f"user_{i}", {}, flag())
    counts: Any = dispatcher.stats()
    assert counts["spool"]["disk_only"] > 3_000 and counts["spool"]["unwritten"] == 0, counts
    assert reconcile(dispatcher)["pending"] == 5_000
    take_again(amplitude)
    assert dispatcher.flush(30).delivered == 5_000
    assert users(amplitude) == names("user", 5_000)


def test_a_flush_waits_for_the_disk(amplitude: Amplitude, directory: pathlib.Path, make: Any) -> None:
    amplitude.answer = down
    dispatcher = make(spool={"directory": directory, "sync_interval_millis": "always"})
    dispatcher.on_decision("flag", "user_1", {}, flag())
    assert dispatcher.flush(0.2).pending == 1
    take_again(amplitude)
    assert dispatcher.flush(10).delivered == 1
    assert dispatcher.close(10).pending == 0


def test_figures(amplitude: Amplitude, directory: pathlib.Path, make: Any) -> None:
    dispatcher = make(spool={"directory": str(directory), "max_bytes": 4 * 2**20})
    dispatcher.on_decision("flag", "user_1", {}, flag())
    stats = dispatcher.stats()["spool"]
    assert set(stats) == {"bytes", "segments", "found", "missing", "unwritten", "disk_only", "error"}
    assert stats["bytes"] >= 2**20 and stats["error"] is None
    assert make().stats()["spool"] is None
    assert oct(directory.stat().st_mode & 0o777) == "0o700"
    assert {oct(file.stat().st_mode & 0o777) for file in directory.iterdir()} == {"0o600"}


def test_a_child_that_gets_no_journal_goes_on_in_memory(amplitude: Amplitude, directory: pathlib.Path) -> None:
    done = subprocess.run(command("fork_without", amplitude, directory), cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "there is no spool, so decisions are in memory alone" in done.stderr
    stats, delivered = json.loads(done.stdout)
    assert "run chmod 700" in stats["error"] and stats["unwritten"] == 10, stats
    assert delivered == 10


REFUSED = [
    (True, "False, or a dict with directory"),
    ("/var/spool", "False, or a dict with directory"),
    ({}, "'spool.directory': expected the path of a directory"),
    ({"directory": ""}, "the path of a directory"),
    ({"directory": b"/tmp"}, "the path of a directory"),
    ({"directory": "a\0b"}, "the path of a directory"),
    ({"directory": "x" * 1001}, "at most 1000 characters"),
    ({"directory": "/tmp", "maxBytes": 5}, "did you mean 'spool.max_bytes'"),
    ({"directory": "/tmp", "max_bytes": 1024}, "from 4194304"),
    ({"directory": "/tmp", "sync_interval_millis": "never"}, "or 'always'"),
    ({"directory": "/tmp", "sync_interval_millis": True}, "or 'always'"),
    ({"directory": "/no/such/parent/spool"}, "cannot be made: No such file or directory"),
    ({"directory": "/proc/self"}, "the directory /proc/self cannot be a spool: "),
    ({"directory": "/dev/null"}, "Not a directory"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_named(value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Dispatcher(api_key=API_KEY, spool=value)


def test_a_directory_that_others_can_read_is_refused(directory: pathlib.Path) -> None:
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    with pytest.raises(OptionError, match=r"option 'spool.directory': .* others have access to it: run chmod 700"):
        Dispatcher(api_key=API_KEY, spool={"directory": directory})


def test_a_directory_that_is_read_only_is_refused() -> None:
    """By a process without rights, since root may write anywhere."""
    code = (
        "import os, sys\n"
        "from optimizely_amplitude import Dispatcher, OptionError\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "try:\n"
        f"    Dispatcher(api_key={API_KEY!r}, spool={{'directory': sys.argv[1]}})\n"
        "except OptionError as error:\n"
        "    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as parent:
        directory = pathlib.Path(parent, "spool")
        directory.mkdir(mode=0o500)
        if os.geteuid() == 0:
            pathlib.Path(parent).chmod(0o711)
            os.chown(directory, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", code, str(directory)], capture_output=True, text=True, timeout=60, cwd="/"
        )
    assert f"no spool can be kept in {directory}: Permission denied" in done.stdout, done


def test_dispatchers_of_a_process_have_a_journal_each(amplitude: Amplitude, directory: pathlib.Path, make: Any) -> None:
    amplitude.answer = down
    first, second = make(spool={"directory": directory}), make(spool={"directory": directory})
    first.on_decision("flag", "user_1", {}, flag())
    second.on_decision("flag", "user_2", {}, flag())
    assert len(list(directory.glob("*.lock"))) == 2
    assert first.stats()["spool"]["found"] == second.stats()["spool"]["found"] == 0
    take_again(amplitude)
    assert first.flush(10).delivered == second.flush(10).delivered == 1
