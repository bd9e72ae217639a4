"""Amplitude's addresses and the limits of its two APIs: the only place that names its hosts, zones and paths.

lib/endpoints.js has the same.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit


class Api(NamedTuple):
    path: str
    max_bytes: int
    """Below which a request body has to stay, before compression."""
    throttle_millis: int
    """How long a throttled user has to wait."""


HTTP_V2 = Api("/2/httpapi", 1_000_000, 30_000)
BATCH = Api("/batch", 20_000_000, 15_000)
ORIGINS = {"US": "https://api2.amplitude.com", "EU": "https://api.eu.amplitude.com"}
COHORT_ORIGINS = {"US": "https://cohort-v2.lab.amplitude.com", "EU": "https://cohort-v2.lab.eu.amplitude.com"}
COHORT_PATH = "/sdk/v1/cohort/"
# The last one is an older name of the zone US.
AMPLITUDE_HOSTS = {urlsplit(origin).hostname for origin in (*ORIGINS.values(), *COHORT_ORIGINS.values())} | {
    "api.amplitude.com"
}
