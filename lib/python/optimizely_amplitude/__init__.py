"""Delivers the decisions of Optimizely Feature Experimentation to Amplitude.

from optimizely import optimizely
from optimizely_amplitude import Dispatcher

client = optimizely.Optimizely(sdk_key=...)
dispatcher = Dispatcher(api_key=...)
dispatcher.attach(client)
"""

from ._native import VERSION as __version__
from .audiences import Audiences, CohortStatus
from .dispatcher import Dispatcher
from .errors import ClientError, ClosedError, OptimizelyAmplitudeError, OptionError
from .types import (
    DispatcherOptions,
    Drop,
    DroppedDecision,
    FlushReport,
    Notification,
    Rule,
    Stats,
    User,
)

__all__ = [
    "Audiences",
    "ClientError",
    "ClosedError",
    "CohortStatus",
    "Dispatcher",
    "DispatcherOptions",
    "Drop",
    "DroppedDecision",
    "FlushReport",
    "Notification",
    "OptimizelyAmplitudeError",
    "OptionError",
    "Rule",
    "Stats",
    "User",
    "__version__",
]
