"""`hand-over`: have another replica become primary, one that lacks nothing; or fail."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pltfrms_postgres.replica import OwnReplica, RefusedError, run_hook

_STANDBYS: Final = ("sync_standby", "quorum_standby")
_CHECKPOINT_S: Final = 25.0
_SWITCH_S: Final = 30.0
_DONE: Final = 200


def hand_over(here: Path) -> str:
    """Let the best candidate be primary; return what was done.

    Both write down first what is only in their memory, so that the old one stops, and the new
    one begins, soon.
    """
    replica = OwnReplica(here)
    cluster, settings = replica.look("/cluster"), replica.look("/config")
    if leader_of(cluster) != replica.name:
        return f"nothing to hand over: {leader_of(cluster) or 'nobody'} is primary"
    candidate = candidate_of(cluster, settings)
    for server in (candidate, None):
        replica.tell(server, "CHECKPOINT;", _CHECKPOINT_S)
    wanted = {"leader": replica.name, "candidate": candidate["name"]}
    status, text = replica.ask("POST", "/switchover", wanted, _SWITCH_S)
    if status != _DONE:
        raise RefusedError(f"Patroni does not switch: {text.strip()[:300]}")
    return text.strip()


def leader_of(cluster: Mapping[str, Any]) -> str:
    """Return who is primary; empty: nobody is."""
    leaders = (each["name"] for each in cluster["members"] if each["role"] == "leader")
    return next(leaders, "")


def candidate_of(cluster: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return who is to be primary next: the most wanted one, of those the nearest one.

    RefusedError: there is nobody; it says of each why.
    """
    if cluster.get("pause"):
        raise RefusedError("Patroni is paused: nobody is to become primary")
    leader = leader_of(cluster)
    timeline = next(
        (each.get("timeline") for each in cluster["members"] if each["name"] == leader), None
    )
    others = [each for each in cluster["members"] if each["name"] != leader]
    faults = {each["name"]: _fault(each, timeline, settings) for each in others}
    good = [each for each in others if not faults[each["name"]]]
    if not good:
        raise RefusedError(f"nobody can take over: {_listed(faults)}")
    return min(good, key=_rank)


def _fault(member: Mapping[str, Any], timeline: object, settings: Mapping[str, Any]) -> str:
    """Return why a replica cannot be primary next; empty: it can."""
    if (member.get("tags") or {}).get("nofailover"):
        return "may not become primary"
    if member["state"] != "streaming":
        return f"is {member['state'] or 'silent'}, and not streaming"
    if member.get("timeline") != timeline:
        return "has not followed the last change of primary yet"
    if settings.get("synchronous_mode"):
        return "" if member["role"] in _STANDBYS else "is no synchronous standby"
    lag, most = member.get("lag"), settings["maximum_lag_on_failover"]
    if not isinstance(lag, int) or lag > most:
        return f"is {lag} bytes behind"
    return ""


def _rank(member: Mapping[str, Any]) -> tuple[int, int, str]:
    priority = (member.get("tags") or {}).get("failover_priority", 1)
    lag = member.get("lag")
    return -priority, lag if isinstance(lag, int) else 0, member["name"]


def _listed(faults: Mapping[str, str]) -> str:
    said: Sequence[str] = [f"{name} {what}" for name, what in sorted(faults.items())]
    return "; ".join(said) or "there is no other replica"


if __name__ == "__main__":
    run_hook(hand_over)
