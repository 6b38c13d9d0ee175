"""What a controller makes of reports: questions, evidence and sums that can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import cast

import pytest

from pltfrms.controller.contact import vantages
from pltfrms.controller.contact.vantages import Vantages
from pltfrms.controller.contact.view import View
from pltfrms.controller.records.state import Stored
from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.vantage import VantageSpec
from pltfrms.model.running.vantage import ClientVerdict, Recent, VantageReport, VantageTally
from pltfrms.model.services.service import Service
from pltfrms.planner.vantage.asking import Circle, circle_of
from tests.simulation.virtual import EPOCH_MS
from tests.strategies import make_platform, make_service, make_spec

PLATFORM = replace(
    make_platform({"fra": 1, "ams": 1}), vantage=VantageSpec(nodes=True, outside=("berlin",))
)
WEB = {"web": make_service(make_spec())}
PLACE = ("fra", "web", 4)


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now

    def unix_ms(self) -> int:
        return EPOCH_MS + round(1000 * self.now)


@dataclass
class Known:
    """What a `View` knows."""

    platform: Platform
    commit: int = 1
    services: Mapping[str, Service] = field(default_factory=lambda: WEB)

    def last_stored(self) -> Stored:
        return Stored(
            revision=9,
            commit=self.commit,
            platform=self.platform,
            services=dict(self.services),
        )


class Place:
    """A controller that hears vantage points."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.known = Known(PLATFORM)
        self.vantages = Vantages(cast("View", self.known), self.clock)  # type: ignore[arg-type]

    def take(self, vantage: str, *tallies: VantageTally, began_ms: int = 0) -> None:
        said = VantageReport(vantage=vantage, began_ms=began_ms, tallies=tallies)
        self.reply = self.vantages.take(said, "fra-c1")

    def totals(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        return {key: (each.asked, each.failed) for key, each in self.vantages.totals()}

    @property
    def young_ms(self) -> int:
        return self.clock.unix_ms()


def tally(asked: int, failed: int = 0, **said: object) -> VantageTally:
    made = VantageTally(
        service="web",
        address=ip_address("198.51.100.1"),
        port=80,
        kind="http",
        asked=asked,
        failed=failed,
        latencies=(asked - failed, *(0,) * 8),
        seconds=0.001 * (asked - failed),
        recent=Recent(asked=min(asked, 30), failed=min(failed, 30)),
    )
    return replace(made, **said)  # type: ignore[arg-type]


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_vantage_point_is_told_what_to_ask_until_it_has_it(place: Place) -> None:
    place.take("fra-e1")
    assert place.reply.questions
    assert [each.service for each in place.reply.questions.questions] == ["web", "web"]
    said = VantageReport(vantage="fra-e1", began_ms=0, made_of=place.reply.questions.made_of)
    assert place.vantages.take(said, "fra-c1").questions is None
    place.known.commit, place.known.platform = (
        2,
        replace(PLATFORM, vantage=VantageSpec(off=True)),
    )
    nothing = place.vantages.take(said, "fra-c1").questions
    assert nothing
    assert nothing.questions == ()


def test_who_is_no_vantage_point_is_not_heard(place: Place) -> None:
    with pytest.raises(NotFoundError, match="madrid"):
        place.take("madrid", tally(3))


def test_who_is_not_named_any_more_is_forgotten(place: Place) -> None:
    place.take("berlin", tally(3))
    place.known.platform = replace(PLATFORM, vantage=VantageSpec())
    assert place.vantages.heard() == ()
    place.take("fra-e1", tally(3))
    assert [each.report.vantage for each in place.vantages.heard()] == ["fra-e1"]


def test_what_was_not_asked_is_not_kept(place: Place) -> None:
    others = (
        tally(3, service="bank"),
        tally(3, address=ip_address("192.0.2.1")),
        tally(3, port=81),
    )
    place.take("fra-e1", *others, tally(2))
    (heard,) = place.vantages.heard()
    assert [each.asked for each in heard.report.tallies] == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        tally(3, latencies=(3, 0)),
        tally(3, latencies=(4, *(0,) * 8)),
        tally(3, latencies=(4, -1, *(0,) * 7)),
        tally(3, failed=-1, latencies=(4, *(0,) * 8)),
        tally(3, seconds=-1.0),
        tally(3, recent=Recent(asked=2, failed=3)),
        tally(3, recent=Recent(asked=1000)),
        tally(3, recent=Recent(by={f"i{n}": 1 for n in range(9)})),
        tally(3, recent=Recent(by={"i" * 200: 1})),
        tally(3, 1, recent=Recent(asked=3, failed=1, answered_in_a_row=3)),
    ],
)
def test_counts_that_cannot_be_are_refused(place: Place, wrong: VantageTally) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        place.take("fra-e1", wrong)
    assert place.totals() == {}


def test_what_is_the_same_for_all_is_worked_out_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[int] = []

    def counted(*what: object) -> Circle:
        worked.append(1)
        return circle_of(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(vantages, "circle_of", counted)
    for name in ("fra-e1", "ams-e1", "berlin", "fra-e1"):
        place.known.commit += 1  # of something else
        place.take(name, tally(1))
        place.vantages.heard()
    assert len(worked) == 1
    place.known.platform = replace(PLATFORM, vantage=VantageSpec(nodes=True))
    place.take("fra-e1", tally(1))
    assert len(worked) == 2


def test_long_texts_are_cut(place: Place) -> None:
    place.take("fra-e1", tally(1, recent=Recent(failure="x" * 10_000)))
    (heard,) = place.vantages.heard()
    assert len(heard.report.tallies[0].recent.failure) <= 200
    said = VantageReport(vantage="fra-e1", began_ms=0, made_of="x" * 10_000)
    place.vantages.take(said, "fra-c1")
    (heard,) = place.vantages.heard()
    assert len(heard.report.made_of) <= 200


def test_machines_of_a_datacenter_are_added_up_and_nothing_twice(place: Place) -> None:
    began = place.young_ms
    place.clock.now += 100
    place.take("fra-e1", tally(10, 1), began_ms=began)
    place.take("fra-e1", tally(10, 1), began_ms=began)  # it came twice
    place.take("fra-e1", tally(14, 2), began_ms=began)
    place.take("fra-n1", tally(5, 0), began_ms=began)
    place.take("berlin", tally(7, 7), began_ms=began)
    assert place.totals() == {("berlin", "web", 4): (7, 7), PLACE: (19, 2)}


def test_what_was_counted_before_a_controller_began_is_not_its_own(place: Place) -> None:
    place.take("fra-e1", tally(9000, 500), began_ms=EPOCH_MS)
    assert place.totals() == {PLACE: (0, 0)}
    place.clock.now += 100
    place.take("fra-e1", tally(9010, 500), began_ms=EPOCH_MS)
    assert place.totals() == {PLACE: (10, 0)}


def test_a_vantage_point_that_begins_anew_takes_nothing_away(place: Place) -> None:
    began = place.young_ms
    place.clock.now += 100
    place.take("fra-e1", tally(10, 1), began_ms=began)
    place.clock.now += 60
    place.take("fra-e1", tally(2, 0), began_ms=place.young_ms)
    assert place.totals() == {PLACE: (12, 1)}


@pytest.mark.parametrize(
    "more",
    [
        tally(9_000_000, 1),
        tally(9_000_000, 8_000_000),
        tally(14, 0),
        tally(14, 1, latencies=(6, 7, *(0,) * 7)),
        tally(14, 1, seconds=1e300),
        tally(14, 1, seconds=0.0),
    ],
)
def test_who_says_more_than_can_be_changes_no_sum(place: Place, more: VantageTally) -> None:
    """It is one of many in its datacenter, and alarms are rung by what they say together."""
    began = place.young_ms
    place.clock.now += 100
    place.take("fra-e1", tally(10, 1), began_ms=began)
    place.take("fra-n1", tally(10, 0), began_ms=began)
    place.clock.now += 40
    place.take("fra-e1", more, began_ms=began)
    assert place.totals() == {PLACE: (20, 1)}
    later = replace(more, asked=more.asked + 2, failed=more.failed + 2)
    place.take("fra-e1", later, began_ms=began)
    assert place.totals() == {PLACE: (22, 3)}


def test_a_clock_that_is_ahead_makes_nothing_young(place: Place) -> None:
    place.take("fra-e1", tally(9000, 500), began_ms=place.young_ms + 3_600_000)
    assert place.totals() == {PLACE: (0, 0)}


def test_sums_of_what_is_gone_are_forgotten(place: Place) -> None:
    place.take("fra-e1", tally(1), began_ms=place.young_ms)
    place.take("berlin", tally(1), began_ms=place.young_ms)
    place.known.platform = replace(PLATFORM, vantage=VantageSpec(nodes=True))
    assert place.totals() == {PLACE: (1, 0)}
    place.known.services = {}
    assert place.totals() == {}
    place.known.services = WEB
    assert place.totals() == {}


def test_evidence_gets_old_by_itself(place: Place) -> None:
    place.take("fra-e1", tally(5))
    assert place.vantages.evidence(PLATFORM, WEB).served is ClientVerdict.YES
    assert place.vantages.silent() == (1, 0)
    place.clock.now += 101
    assert place.vantages.evidence(PLATFORM, WEB).served is ClientVerdict.UNKNOWN
    assert place.vantages.silent() == (0, 2)
