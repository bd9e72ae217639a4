"""The option `spool`: decisions in files, which outlive the process. See docs/spool.md."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional

from . import _native
from .errors import OptionError


class Spool:
    """Has a core keep a journal: at once in the process that asks for it, in a forked child with its first decision."""

    def __init__(self, core: _native.Core, options: Mapping[str, Any]) -> None:
        self._core = core
        spool = options["spool"]
        self._arguments = (
            os.fsencode(spool["directory"]),
            options["api_key"],
            spool["max_bytes"],
            spool["sync_interval_millis"],
            spool["syncs_flushes"],
        )
        self.error: Optional[str] = None
        try:
            # Not with its parents: a mount that is missing should be noticed.
            os.mkdir(spool["directory"], 0o700)
        except FileExistsError:
            pass  # the core looks at what it is
        except OSError as error:
            raise OptionError(
                f"option 'spool.directory': {spool['directory']} cannot be made: {error.strerror}"
            ) from None
        if self.open() is not None:
            raise OptionError(f"option 'spool.directory': {self.error}")

    def open(self) -> Optional[str]:
        """Open a journal, unless there is one; return why that fails. Decisions are in memory alone then."""
        error = self._core.open_spool(*self._arguments)
        self.error = None if error is None else error.replace("maxBytes", "max_bytes")
        return self.error

    def end(self) -> None:
        """Give the journal up: what is left in it is for the next process."""
        self._core.end_spool()
