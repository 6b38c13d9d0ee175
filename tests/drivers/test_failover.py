"""The order in which endpoints are asked."""

import pytest

from pltfrms.drivers.failover import Failover
from pltfrms.errors import UsageError


class Now:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_last_that_answered_is_asked_first() -> None:
    failover = Failover(["a", "b", "c"], monotonic=Now())
    assert failover.order() == ("a", "b", "c")
    failover.failed("a")
    assert failover.order() == ("b", "c", "a")
    failover.answered("c")
    assert failover.order() == ("c", "a", "b")
    failover.failed("a")  # not the current one: nothing new
    assert failover.order() == ("c", "a", "b")


def test_home_is_tried_again_from_time_to_time_and_kept_if_it_answers() -> None:
    now = Now()
    failover = Failover(["a", "b", "c"], monotonic=now, home_after_seconds=30)
    now.seconds = 100
    failover.failed("a")
    now.seconds = 129
    assert failover.order() == ("b", "c", "a")
    now.seconds = 130
    assert failover.order() == ("a", "b", "c")
    assert failover.order() == ("b", "c", "a"), "once per interval"
    now.seconds = 160
    assert failover.order() == ("a", "b", "c")
    failover.answered("a")
    assert failover.order() == ("a", "b", "c")


def test_every_endpoint_is_always_in_the_order() -> None:
    now = Now()
    failover = Failover(["a", "b", "c", "b"], monotonic=now, home_after_seconds=1)
    for endpoint in ("a", "b", "c", "a"):
        failover.failed(endpoint)
        now.seconds += 5
        assert sorted(failover.order()) == ["a", "b", "c"]


def test_no_endpoints_make_no_sense() -> None:
    with pytest.raises(UsageError):
        Failover([], monotonic=Now())
