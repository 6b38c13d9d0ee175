"""Who becomes primary next when the old one goes on purpose: somebody who lacks nothing."""

from typing import Any

import pytest

from pltfrms_postgres.hand_over import candidate_of, leader_of
from pltfrms_postgres.replica import RefusedError

QUORUM = {"synchronous_mode": "quorum", "maximum_lag_on_failover": 1000}
ASYNC = {"synchronous_mode": False, "maximum_lag_on_failover": 1000}


def member(name: str, role: str = "quorum_standby", **more: Any) -> dict[str, Any]:
    return {"name": name, "role": role, "state": "streaming", "timeline": 3, "lag": 0} | more


def cluster(*others: dict[str, Any]) -> dict[str, Any]:
    return {"members": [member("fra-1", "leader", state="running"), *others]}


def test_who_is_wanted_most_is_next_then_who_lacks_least() -> None:
    low, high = {"failover_priority": 1}, {"failover_priority": 3}
    found = cluster(member("ams-1", tags=low), member("lon-1", tags=high, lag=500))
    assert candidate_of(found, QUORUM)["name"] == "lon-1"
    found = cluster(member("ams-1", lag=500), member("lon-1"))
    assert candidate_of(found, QUORUM)["name"] == "lon-1"
    assert candidate_of(cluster(member("lon-1"), member("ams-1")), QUORUM)["name"] == "ams-1"


@pytest.mark.parametrize(
    ("more", "settings", "says"),
    [
        ({"state": "in archive recovery"}, QUORUM, "is in archive recovery, and not streaming"),
        ({"state": "stopped"}, ASYNC, "is stopped, and not streaming"),
        ({"state": ""}, ASYNC, "is silent, and not streaming"),
        ({"role": "replica"}, QUORUM, "is no synchronous standby"),
        ({"timeline": 2}, QUORUM, "has not followed the last change of primary yet"),
        ({"tags": {"nofailover": True}}, QUORUM, "may not become primary"),
        ({"role": "replica", "lag": 1001}, ASYNC, "is 1001 bytes behind"),
        ({"role": "replica", "lag": "unknown"}, ASYNC, "is unknown bytes behind"),
    ],
)
def test_who_lacks_something_is_not_asked(
    more: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedError, match=f"nobody can take over: ams-1 {says}"):
        candidate_of(cluster(member("ams-1", **more)), settings)


def test_who_is_near_enough_does_without_quorum() -> None:
    found = cluster(member("ams-1", "replica", lag=1000))
    assert candidate_of(found, ASYNC)["name"] == "ams-1"


def test_a_replica_alone_and_a_pause_are_said() -> None:
    with pytest.raises(RefusedError, match="there is no other replica"):
        candidate_of(cluster(), QUORUM)
    with pytest.raises(RefusedError, match="paused"):
        candidate_of({**cluster(member("ams-1")), "pause": True}, QUORUM)


def test_nobody_is_primary_where_none_says_so() -> None:
    assert leader_of({"members": [member("ams-1")]}) == ""
