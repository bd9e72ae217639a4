"""Is checked by mypy and pyright, and not run: how an application uses the package."""

from __future__ import annotations

import pathlib
from typing import Any, Dict, Mapping, Optional

from optimizely import optimizely

from optimizely_amplitude import Audiences, Dispatcher, Drop, FlushReport, Notification, Rule, User
from optimizely_amplitude.aws_lambda import with_flush


def resolve_user(notification: Notification) -> Optional[User]:
    return {"user_id": str(notification.user_id), "groups": {"company": ["acme"]}}


def event_properties(notification: Notification, rule: Rule) -> Mapping[str, Any]:
    return {"rule_type": rule.rule_type, "experiment_id": notification.decision_info["experiment_id"]}


def before_send(event: Dict[str, Any]) -> Optional[Mapping[str, Any]]:
    return {**event, "user_id": None} if "user_id" in event else None


def on_drop(drop: Drop) -> None:
    for decision in drop.decisions:
        flag_key: str = decision["flag_key"]
        print(drop.reason, flag_key)


dispatcher = Dispatcher(
    api_key="key",
    server_zone="EU",
    flush_interval_millis=10_000,
    dedupe={"window_millis": 1000, "store": {"send": lambda argv, key: None, "buckets": 8}},
    format=["exposure", "identify"],
    event_type=False,
    resolve_user=resolve_user,
    event_properties=event_properties,
    before_send=before_send,
    on_drop=on_drop,
    plan={"branch": "main"},
    spool={"directory": pathlib.Path("/var/lib/my-app"), "sync_interval_millis": "always"},
)
detach = dispatcher.attach(optimizely.Optimizely())
detach()
report: FlushReport = dispatcher.flush(2.0, abort=True)
delivered: int = report.delivered
total: int = dispatcher.stats()["decisions"]["dropped"]["total"]
spool = dispatcher.stats()["spool"]
unwritten: int = 0 if spool is None else spool["unwritten"]
dispatcher.set_opt_out(True, purge=True)
receive = Audiences(cohorts={"power": "id"}, api_key="key", secret_key="secret").webhook(secret="a" * 16)
status: int = receive({"X-Webhook-Secret": "secret"}, b"{}").status
dispatcher.track("Purchase", {"amount": 5}, user_id="user_1")
dispatcher.identify({"plan": "pro"}, user_id="user_1")


@with_flush(dispatcher, timeout_millis=1500)
def handler(event: Dict[str, Any], context: Any) -> int:
    return 5


result: int = handler({}, None)


async def main() -> None:
    async with Dispatcher(api_key="key") as other:
        await other.flush_async(1.0)


Dispatcher(api_key="key", flush_interval=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Dispatcher()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
