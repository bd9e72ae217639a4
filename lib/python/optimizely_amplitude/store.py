"""The store of exposures that a fleet shares, in Redis or Valkey: the core asks and writes by two scripts.

They are those of lib/store.js, so services in Python and in Node.js may share one store. The store is a help and never
a condition: a call that takes too long or fails leaves its pairs unknown, and they are sent; then the store is left
alone for some seconds.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .log import Log
from .text import reason_of

UNKNOWN = -2
ABSENT = -1
"""What the core takes as an answer: see OA_STORE_UNKNOWN in src/core/oa.h."""

MOST_PAIRS = 250
"""Short enough for other users of the server: a script of so many pairs takes a fraction of a millisecond."""
MAX_VERSION = 2**30
CONNECT_SECONDS = 0.5
"""The least deadline of the first call: a client that was just made may still connect."""
FIRST_PAUSE_SECONDS = 2.0
LAST_PAUSE_SECONDS = 30.0
LONG_PAUSE_SECONDS = 60.0
"""For what has to be fixed by someone."""
MAX_MESSAGE_CHARACTERS = 400

Send = Callable[[List[str], str], Any]


class Script(NamedTuple):
    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode()).hexdigest())


ASK = _script(
    """local out = {}
for i, key in ipairs(KEYS) do
  local fields, values = {}, {}
  for field, value in string.gmatch(ARGV[i], '(............)(............)') do
    fields[#fields + 1], values[#values + 1] = field, value
  end
  for n, stored in ipairs(redis.call('HMGET', key, unpack(fields))) do
    local version = stored and string.match(stored, '^............(%d+)$')
    if not version then
      out[#out + 1] = 'n'
    else
      out[#out + 1] = (string.sub(stored, 1, 12) == values[n] and 'r' or 'c') .. version
    end
  end
end
return table.concat(out, ',')"""
)
"""A hash for each user and window: field -> 12 digits of the value, and its version. The answer has a letter for each
pair: n for none, r or c and the version for the same value or another."""

WRITE = _script(
    """local out = {}
for i, key in ipairs(KEYS) do
  local sets = {}
  local items = string.gmatch(ARGV[2 * i], '(............)(............)(%d+):(%d*),')
  for field, value, turn, base in items do
    local stored = redis.call('HGET', key, field)
    local version = stored and string.match(stored, '^............(%d+)$')
    local same = version and string.sub(stored, 1, 12) == value
    if version and version ~= base and not same then
      out[#out + 1] = 'x' .. version
    else
      if not same or tonumber(version) < tonumber(turn) then
        sets[#sets + 1], sets[#sets + 2] = field, value .. turn
      end
      out[#out + 1] = 'k'
    end
  end
  if #sets > 0 then
    redis.call('HSET', key, unpack(sets))
    redis.call('PEXPIREAT', key, ARGV[2 * i - 1])
  end
end
return table.concat(out, ',')"""
)
"""Write a value if the version is still the one that was asked about, or the value is the same: k. Otherwise another
process wrote meanwhile: x, and its version."""

_SERVER_REFUSALS = [
    ("NOPERM", "refuses its scripts", "allow its user the commands and keys of docs/fleet.md"),
    (
        "NOAUTH|WRONGPASS|ERR invalid password|invalid username-password",
        "refuses the client's credentials",
        "check the user name and password that the application's client has",
    ),
    (
        "CROSSSLOT",
        "refuses its scripts",
        "it is a cluster: set dedupe.store.buckets, the same for the whole fleet",
    ),
    ("unknown command", "refuses its scripts", "it needs a server, or a proxy, that runs scripts (EVALSHA)"),
    ("WRONGTYPE", "refuses its scripts", "another program uses its keys: set dedupe.store.prefix"),
]
"""By words of an error of the server that someone has to mend: what it does, and what helps."""


class _Part(NamedTuple):
    """What the core asks or writes of one user in one window."""

    key: str
    bucket: int
    text: str
    pairs: int
    expires_millis: int


class _Call(NamedTuple):
    """The parts of one bucket, by their numbers, that are in one call."""

    parts: List[int]
    pairs: int


def sender_of(client: Any) -> Send:
    """How a client of redis or valkey sends a command; that of a cluster finds the node by the keys."""
    return lambda argv, routing_key: client.execute_command(*argv)


def _read_version(token: str, letters: str) -> int:
    if token[:1] not in letters or re.fullmatch(r".\d{1,10}", token) is None or int(token[1:]) >= MAX_VERSION:
        raise ValueError(f"an answer that is not the script's: {token[:40]!r}")
    return int(token[1:])


def _read_asked(token: str) -> int:
    """The version twice, and 1 more for the same value."""
    return ABSENT if token == "n" else 2 * _read_version(token, "rc") + (token[0] == "r")


def _read_written(token: str) -> int:
    return ABSENT if token == "k" else _read_version(token, "x")


class Store:
    """Called on the sender's thread alone."""

    def __init__(self, options: Mapping[str, Any], log: Log) -> None:
        self._send: Send = options["send"] or sender_of(options["client"])
        self._prefix: str = options["prefix"]
        self._buckets: int = options["buckets"]
        self._timeout = options["timeout_millis"] / 1000
        self._log = log
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child."""
        self._is_first = True
        self._failing: Dict[str, bool] = {}  # what failed last, of 'ask' and 'write'
        self._is_refusal_told = False
        self._failures_in_a_row = 0
        self._failing_since = 0.0
        self._skip_until = 0.0
        self._last_error: Optional[Dict[str, Any]] = None
        self._counts = {"checks": 0, "failures": 0, "skipped": 0}

    def stats(self) -> Dict[str, Any]:
        """Its part of Dispatcher.stats()."""
        state = "failing" if self._failing else "ok"
        return {**self._counts, "state": state, "last_error": self._last_error and dict(self._last_error)}

    def is_ready(self) -> bool:
        """Whether it may be called now."""
        is_ready = time.monotonic() >= self._skip_until
        self._counts["skipped"] += not is_ready
        return is_ready

    def call(self, writes: bool, parts: List[Any]) -> List[int]:
        """Ask about pairs, or write them, and return the answers to all of them in order. Never raises."""
        listed = [_Part(*part) for part in parts]
        starts = [sum(part.pairs for part in listed[:i]) for i in range(len(listed))]
        answers = [UNKNOWN] * sum(part.pairs for part in listed)
        kind = "write" if writes else "ask"
        calls = self._split(listed)
        deadline = max(self._timeout, CONNECT_SECONDS) if self._is_first else self._timeout
        self._is_first = False
        done: List[Tuple[_Call, List[int]]] = []
        failed: List[BaseException] = []

        def run() -> None:
            try:
                for call in calls:
                    done.append((call, self._run(writes, [listed[i] for i in call.parts], call.pairs)))
            except Exception as error:
                failed.append(error)

        # The client may wait for longer than a decision should, so it is left behind at the deadline.
        thread = threading.Thread(target=run, name="optimizely-amplitude-store", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # since 3.12 none starts once the functions of atexit are called
            failed.append(error)
        else:
            thread.join(deadline)
        for call, values in list(done):
            for i in call.parts:
                answers[starts[i] : starts[i] + listed[i].pairs] = values[: listed[i].pairs]
                del values[: listed[i].pairs]
        if failed:
            self._fail(kind, reason_of(failed[0]))
        elif thread.is_alive():
            self._fail(kind, f"the client gave no answer in {deadline * 1000:.0f} ms")
        else:
            self._counts["checks"] += not writes
            self._succeed(kind)
        return answers

    def _split(self, parts: List[_Part]) -> List[_Call]:
        """Group the parts by bucket, in calls of so many pairs."""
        calls: List[_Call] = []
        open_calls: Dict[int, int] = {}
        for i, part in enumerate(parts):
            bucket = part.bucket % self._buckets
            at = open_calls.get(bucket)
            if at is None or calls[at].pairs + part.pairs > MOST_PAIRS:
                at = open_calls[bucket] = len(calls)
                calls.append(_Call([], 0))
            calls[at] = _Call([*calls[at].parts, i], calls[at].pairs + part.pairs)
        return calls

    def _key_of(self, part: _Part) -> str:
        """All keys of a call are in one slot of a cluster: what is in braces decides on it."""
        tag = f"{{{self._prefix}1}}:" if self._buckets == 1 else None
        return (tag or f"{{{self._prefix}1:{self._buckets}.{part.bucket % self._buckets}}}:") + part.key

    def _run(self, writes: bool, parts: List[_Part], pairs: int) -> List[int]:
        """Make one call. Servers forget scripts, so each may have to send the text."""
        script = WRITE if writes else ASK
        keys = [self._key_of(part) for part in parts]
        arguments: List[str] = []
        for part in parts:
            arguments += [str(min(part.expires_millis, 2**53 - 1)), part.text] if writes else [part.text]
        rest = [str(len(keys)), *keys, *arguments]
        try:
            reply = self._send(["EVALSHA", script.sha, *rest], keys[0])
        except Exception as error:
            if "noscript" not in f"{type(error).__name__} {error}".lower():
                raise
            reply = self._send(["EVAL", script.text, *rest], keys[0])
        tokens = (reply.decode() if isinstance(reply, bytes) else str(reply)).split(",")
        if len(tokens) != pairs:
            raise ValueError(f"an answer to {len(tokens)} pairs, and not to {pairs}")
        return [(_read_written if writes else _read_asked)(token) for token in tokens]

    def _succeed(self, kind: str) -> None:
        if self._failing.pop(kind, None) is None or self._failing:
            return
        self._failures_in_a_row = 0
        self._is_refusal_told = False
        seconds = round(time.monotonic() - self._failing_since)
        self._log.warning("store-back", f"the store of exposures works again, after {seconds} s")

    def _fail(self, kind: str, reason: str) -> None:
        reason = reason[:MAX_MESSAGE_CHARACTERS]
        self._last_error = {"message": reason, "time": int(time.time() * 1000)}
        refusal = next((each for each in _SERVER_REFUSALS if re.search(each[0], reason, re.IGNORECASE)), None)
        begins = not self._failing
        if begins:
            self._failing_since = time.monotonic()
        self._failing[kind] = True
        self._counts["failures"] += 1
        self._failures_in_a_row += 1
        pause = (
            min(FIRST_PAUSE_SECONDS * 2 ** (self._failures_in_a_row - 1), LAST_PAUSE_SECONDS)
            if refusal is None
            else LONG_PAUSE_SECONDS
        )
        self._skip_until = time.monotonic() + pause * (0.5 + random.random() / 2)
        if refusal is not None and not self._is_refusal_told:
            self._is_refusal_told = True
            self._log.error(
                "store-refuses",
                f"the store of exposures {refusal[1]} ({reason}): {refusal[2]}; decisions are sent without it",
            )
        elif refusal is None and begins:
            does = "cannot be written to" if kind == "write" else "fails"
            self._log.warning(
                "store", f"the store of exposures {does} ({reason}): decisions are sent without it until it works"
            )
