"""What applications pass and get: option names, notifications, reports and counters, for readers and type checkers."""

from __future__ import annotations

import logging
import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, TypedDict, Union


class Notification(NamedTuple):
    """Optimizely's message to a listener, as callbacks get it."""

    type: str
    user_id: Any
    attributes: Mapping[str, Any]
    decision_info: Mapping[str, Any]


class Rule(NamedTuple):
    """The rule that decided."""

    rule_type: Optional[str]
    """'experiment', 'rollout', 'holdout', or None: no rule decided, or its kind cannot be found out."""


class FlushReport(NamedTuple):
    """What became of the decisions that were undelivered at the call."""

    delivered: int
    dropped: int
    pending: int
    duration: float
    """In seconds."""


class DroppedDecision(TypedDict):
    user_id: Optional[str]
    device_id: Optional[str]
    flag_key: str
    variation_key: Optional[str]
    rule_key: Optional[str]
    enabled: bool
    time: int
    insert_id: str


class Drop(NamedTuple):
    """Decisions, and events of track(), that will not be delivered, for one reason: at most 64 at a time."""

    reason: str
    message: str
    status_code: int
    """0: there was no answer."""
    decisions: List[DroppedDecision]
    events: List[Dict[str, Any]]


class User(TypedDict, total=False):
    """What resolve_user returns."""

    user_id: Optional[str]
    device_id: Optional[str]
    session_id: Optional[int]
    app_version: Optional[str]
    platform: Optional[str]
    country: Optional[str]
    language: Optional[str]
    ip: Optional[str]
    groups: Optional[Mapping[str, Union[str, Sequence[str]]]]


class StoreOptions(TypedDict, total=False):
    client: Any
    """A client of redis or valkey (redis-py, valkey-py), synchronous."""
    send: Optional[Callable[[List[str], str], Any]]
    """send(argv, routing_key) for any other client."""
    prefix: str
    buckets: int
    timeout_millis: int


class DedupeOptions(TypedDict, total=False):
    window_millis: int
    refresh_millis: int
    max_entries: int
    store: Any
    """StoreOptions, a client, or a function that sends."""


class _RequiredSpoolOptions(TypedDict):
    directory: Union[str, os.PathLike[str]]
    """For this application's user alone. It is made if its parent is there; several processes may share it."""


class SpoolOptions(_RequiredSpoolOptions, total=False):
    """Decisions in files, which outlive the process: docs/spool.md."""

    max_bytes: int
    sync_interval_millis: Union[int, str]
    """0: when the kernel writes it; 'always': a flush() that leaves something pending waits for the disk."""


class IngestionMetadata(TypedDict, total=False):
    source_name: str
    source_version: str


class Plan(TypedDict, total=False):
    branch: str
    source: str
    version: str
    version_id: str


Properties = Optional[Mapping[str, Any]]
Logger = Union[logging.Logger, "logging.LoggerAdapter[Any]"]


class _RequiredOptions(TypedDict):
    api_key: str


class DispatcherOptions(_RequiredOptions, total=False):
    """The options of Dispatcher(); docs/options.md describes them. Durations are in milliseconds."""

    server_zone: str
    use_batch: bool
    server_url: str
    min_id_length: int
    flush_queue_size: int
    flush_interval_millis: int
    flush_max_retries: int
    max_age_millis: int
    flush_timeout_millis: int
    request_timeout_millis: int
    max_queue_bytes: int
    compression: bool
    dedupe: Union[bool, DedupeOptions]
    spool: Union[bool, SpoolOptions]
    format: Union[str, Sequence[str]]
    event_type: Union[str, bool]
    property_prefix: str
    disabled_value: str
    decision_types: Sequence[str]
    resolve_user: Callable[[Notification], Optional[User]]
    event_properties: Callable[[Notification, Rule], Properties]
    user_properties: Callable[[Notification, Rule], Properties]
    before_send: Callable[[Dict[str, Any]], Optional[Mapping[str, Any]]]
    send: str
    groups: Mapping[str, Union[str, Sequence[str]]]
    ingestion_metadata: IngestionMetadata
    plan: Plan
    partner_id: str
    opt_out: bool
    logger: Logger
    on_drop: Callable[[Drop], object]
    proxy: str
    no_proxy: str
    ca_file: str


class Counts(TypedDict):
    seen: int
    ignored: int
    invalid: int
    accepted: int
    delivered: int
    pending: int
    dropped: Dict[str, int]
    """By reason, and in 'total'."""


class DecisionCounts(Counts):
    deduplicated: int


class LeftOut(TypedDict):
    fields: int
    properties: int
    events: int
    ids: int


class Requests(TypedDict):
    sent: int
    retried: int
    failed: int
    bytes: int


class Events(TypedDict):
    sent: int


class Queue(TypedDict):
    bytes: int
    high_water_bytes: int


class LastError(TypedDict):
    message: str
    status_code: int
    time: int


class StoreError(TypedDict):
    message: str
    time: int


class StoreStats(TypedDict):
    checks: int
    failures: int
    skipped: int
    state: str
    last_error: Optional[StoreError]
    repeats: int
    conflicts: int


class SpoolStats(TypedDict):
    """What docs/spool.md lists."""

    bytes: int
    segments: int
    found: int
    missing: int
    unwritten: int
    disk_only: int
    error: Optional[str]


class Stats(TypedDict):
    """The counters of a dispatcher. For decisions, at every moment:

    seen = ignored + invalid + deduplicated + accepted, and accepted = delivered + dropped['total'] + pending.
    """

    decisions: DecisionCounts
    tracked: Counts
    left_out: LeftOut
    requests: Requests
    events: Events
    store: Optional[StoreStats]
    spool: Optional[SpoolStats]
    queue: Queue
    last_error: Optional[LastError]
    health: str
    failures_in_a_row: int
    failing_since: Optional[int]
    oldest_pending_millis: int
