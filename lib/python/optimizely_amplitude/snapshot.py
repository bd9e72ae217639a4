"""Where the members of cohorts are kept for the next process: one file for each project, in a directory."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, List, Mapping, Optional, Tuple

from . import _native
from .log import Log

REFUSALS = {
    "malformed": "it is damaged",
    "foreign": "it was made with another key, or by another version of this package",
}


class Snapshot:
    def __init__(self, native: _native.Cohorts, options: Mapping[str, Any], base: str, log: Log) -> None:
        project = json.dumps([options["source"], base, options["api_key"]])
        name = f"cohorts-python-{hashlib.sha256(project.encode()).hexdigest()[:16]}.snapshot"
        self._path = os.path.join(options["snapshot"]["directory"], name)
        self._native = native
        self._log = log
        try:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        except OSError as error:
            self._warn(error.strerror)

    def restore(self) -> List[Optional[Tuple[int, int]]]:
        """Use the members of the last process; return (last modified, fetched) of each cohort that it had."""
        restored = self._native.restore(os.fsencode(self._path))
        if not isinstance(restored, str):
            return restored
        if restored != "unavailable":  # there simply is none
            self._log.warning("restore", f"the snapshot of cohorts is not used: {REFUSALS.get(restored, restored)}")
        return []

    def save(self) -> None:
        """Write what is loaded now."""
        reason = self._native.save(os.fsencode(self._path))
        if reason is not None:
            self._warn(reason)

    def _warn(self, reason: Optional[str]) -> None:
        self._log.warning("snapshot", f"no snapshot can be kept in {os.path.dirname(self._path)}: {reason}")
