"""Amplitude's cohort webhook, for any framework: who may send, what is a message, and what is answered.

Amplitude takes any answer but 200 for a failure, and sends the message again, some times. So a message that is no use
here, of another cohort or an earlier moment, is answered with 200.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

from . import _native, lifecycle
from .checks import Option, Unexpected, describe, resolve_table
from .errors import OptionError
from .log import Log
from .text import is_text

MAX_BODY_BYTES = 32 * 1024 * 1024
"""The largest body: 10,000 users with 50 properties each have less."""
MIN_SECRET_LENGTH = 16


class Answer(NamedTuple):
    """What is to be answered: `return {"message": answer.message}, answer.status`."""

    status: int
    message: str


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _describe_secret(value: Any) -> str:
    if value in (None, ""):
        return f"{describe(value)}: is its environment variable set?"
    return "a str that is shorter, or has others" if isinstance(value, str) else "another value"


def _secrets(value: Any) -> List[bytes]:
    """One secret, or two while one is replaced by the other."""
    every = list(value) if isinstance(value, (list, tuple)) else [value]
    pattern = re.compile(rf"[\x21-\x7e]{{{MIN_SECRET_LENGTH},}}")
    if not every or not all(isinstance(each, str) and pattern.fullmatch(each) for each in every):
        raise Unexpected(
            f"a secret of at least {MIN_SECRET_LENGTH} visible ASCII characters, or a list of such",
            _describe_secret(value),
        )
    return [_hash(each) for each in every]


def _header(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[\w!#$%&'*+.^`|~-]{1,100}", value, re.A) is None:
        raise Unexpected("the name of a header, such as 'X-Webhook-Secret'")
    return value.lower()


def _cohorts(value: Any) -> Dict[str, str]:
    if not isinstance(value, Mapping) or not value or not all(is_text(each, 1) for each in value.values()):
        raise Unexpected("a dict {attribute: id of the cohort}, as Amplitude's messages name it")
    if len(set(value.values())) < len(value):
        raise Unexpected("another cohort for each attribute", "the same for two of them")
    return dict(value)


TABLE = {
    "secret": Option(_secrets, is_required=True, describe=_describe_secret),
    "header": Option(_header, "x-webhook-secret"),
    "cohorts": Option(_cohorts),
}

Headers = Union[Mapping[str, str], Iterable[Tuple[Any, Any]]]


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _lowered(headers: Any) -> Dict[str, str]:
    """Headers of a framework, or the pairs of bytes of ASGI, by their names in lower case."""
    pairs = headers.items() if hasattr(headers, "items") else headers
    return {_text(name).lower(): _text(value) for name, value in pairs}


class Webhook:
    """What webhook() returns: call it with the headers and the body of each request, and answer what it returns."""

    def __init__(
        self,
        options: Mapping[str, Any],
        slots: Mapping[str, int],
        ids: Optional[Mapping[str, str]],
        native: _native.Cohorts,
        log: Log,
        on_moved: Callable[[int, int], bool],
    ) -> None:
        """`ids` has the cohorts of Audiences(); None where they are files. `on_moved` of (slot, time) returns
        whether the audiences are open."""
        resolved = resolve_table(TABLE, options, "webhook.")
        named = resolved["cohorts"] or ids
        if named is None:
            raise OptionError(
                "option 'webhook.cohorts': expected {attribute: id of the cohort}, because the cohorts are files"
            )
        for attribute in named:
            if attribute not in slots:
                raise OptionError(f"option 'webhook.cohorts': Audiences() has no attribute {describe(attribute)}")
        self._slots = {cohort: slots[attribute] for attribute, cohort in named.items()}
        self._secrets: List[bytes] = resolved["secret"]
        self._header: str = resolved["header"]
        self._native = native
        self._log = log
        self._on_moved = on_moved
        native.take_messages()

    def __call__(self, headers: Headers, body: bytes) -> Answer:
        """Take a message. Never raises."""
        lifecycle.renew_if_forked()
        try:
            answer = self._answer(_lowered(headers), body)
        except Exception as error:
            answer = Answer(500, f"that is no request: {type(error).__name__}")
        if answer.status != 200:
            self._log.warning(
                f"webhook {answer.status}",
                f"a request to the webhook is answered with {answer.status}: {answer.message}",
            )
        return answer

    def _answer(self, headers: Dict[str, str], body: bytes) -> Answer:
        given = _hash(headers.get(self._header, ""))
        if not any([hmac.compare_digest(given, each) for each in self._secrets]):  # each comparison is made
            return Answer(401, f"the header {self._header} does not have the secret")
        if headers.get("content-encoding", "identity") != "identity":
            return Answer(415, "expected a body that is not compressed")
        if len(body) > MAX_BODY_BYTES:
            return Answer(413, "the body is too large: choose a smaller batch size")
        status, problem, slot, *applied = self._native.receive(bytes(body), self._slots)
        if status == "other":
            self._log.warning(
                "webhook cohort",
                f"the webhook got a message of cohort {problem!r}, which no attribute has: it is not used",
            )
            return Answer(200, "no attribute has this cohort")
        if slot < 0:
            too_large = status == "too_large"
            return (
                Answer(413, "it has too many users: choose a smaller batch size")
                if too_large
                else Answer(400 if status == "malformed" else 503, f"that is no message: {problem}")
            )
        time_millis, done, late, users = applied
        if not self._on_moved(slot, time_millis):
            return Answer(503, "the audiences are closed")
        if done < users:
            return Answer(503, "there is no room before a merge is over")
        return Answer(200, "something later is known" if late == users and late > 0 else "done")
