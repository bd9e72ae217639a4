"""The kind of rule that decided. Notifications of the older APIs tell it; for a flag it is looked up.

That is in the SDK's own project configuration, by which decide() has just decided. It is replaced as a whole with each
datafile, so a look-up is right at any moment. A client that hides it, such as a wrapper, is asked for
get_optimizely_config().
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional

from .types import Rule

EXPERIMENT = Rule("experiment")
ROLLOUT = Rule("rollout")
HOLDOUT = Rule("holdout")
NO_RULE = Rule(None)
"""No rule decided: the user is in none of the flag's, or the decision is forced."""

_RULES_OF_SOURCES = {
    "feature-test": EXPERIMENT,
    "experiment": EXPERIMENT,
    "rollout": ROLLOUT,
    "holdout": HOLDOUT,
}


def notified_rule(kind: str, info: Mapping[str, Any]) -> Optional[Rule]:
    """Return the rule as far as a notification tells it by itself; None: it does not."""
    if kind == "flag":
        return NO_RULE if info.get("rule_key") is None else None
    if kind in ("ab-test", "feature-test"):
        return NO_RULE if info.get("variation_key") is None else EXPERIMENT
    return _RULES_OF_SOURCES.get(info.get("source") or "")


def project_of(client: Any) -> Any:
    """Return the parsed datafile of a client, None if it has none yet, and False if it cannot be reached."""
    manager: Any = getattr(client, "config_manager", None)
    if not hasattr(manager, "get_config"):
        return False
    project = manager.get_config()
    if project is not None and not hasattr(project, "feature_key_map"):
        return False
    return project


def is_unready(client: Any) -> bool:
    """Whether a client has no datafile yet, as far as can be detected."""
    try:
        project = project_of(client)
        return client.get_optimizely_config() is None if project is False else project is None
    except Exception:
        return False


def find_rule(client: Any, flag_key: str, info: Mapping[str, Any]) -> Rule:
    """Return the rule of a flag's decision. Raises an error that says why it is unknown."""
    key, experiment_id = info.get("rule_key"), info.get("experiment_id")
    project = project_of(client)
    found = (
        _find_in_config(client.get_optimizely_config(), flag_key, key)
        if project is False
        else _find_in_project(project, flag_key, key, experiment_id)
    )
    if found is None:
        raise LookupError("it is not in the client's datafile")
    return found


def _member(entity: Any, name: str) -> Any:
    return entity.get(name) if isinstance(entity, Mapping) else getattr(entity, name, None)


def _has_rule(candidates: Iterable[Any], key: Any, experiment_id: Any = None) -> bool:
    """Keys are unique within a flag, but for holdouts."""
    return any(
        _member(each, "key") == key
        and (experiment_id is None or _member(each, "id") is None or _member(each, "id") == experiment_id)
        for each in candidates
    )


def _find_in_project(project: Any, flag_key: str, key: Any, experiment_id: Any) -> Optional[Rule]:
    if project is None:
        return None
    flag = project.feature_key_map.get(flag_key)
    experiments = (project.experiment_id_map.get(each) for each in getattr(flag, "experimentIds", ()))
    if _has_rule(filter(None, experiments), key, experiment_id):
        return EXPERIMENT
    rollout = project.rollout_id_map.get(getattr(flag, "rolloutId", None))
    if rollout is not None and _has_rule(rollout.experiments, key, experiment_id):
        return ROLLOUT
    if _has_rule(getattr(project, "holdouts", None) or (), key, experiment_id):
        return HOLDOUT
    return None


def _find_in_config(config: Any, flag_key: str, key: Any) -> Optional[Rule]:
    """An OptimizelyConfig lists all rules but the holdouts."""
    flag = config.features_map.get(flag_key) if config is not None else None
    if flag is None:
        return None
    if _has_rule(flag.experiment_rules, key):
        return EXPERIMENT
    return ROLLOUT if _has_rule(flag.delivery_rules, key) else HOLDOUT
