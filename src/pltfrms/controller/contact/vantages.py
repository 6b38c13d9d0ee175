"""What vantage points tell this controller; each tells every controller, and none the store.

200 edges that ask 60 questions each say 12 000 things twice a minute: a store would be busy
with that alone, and nobody needs to know tomorrow what they said today.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pltfrms.controller.contact.view import View
from pltfrms.drivers.ports import Clock
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.addresses import Address
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.texts import shortened, with_short_texts
from pltfrms.model.running.vantage import (
    ANSWERERS_MAX,
    BOUNDS_MS,
    WINDOW,
    ClientEvidence,
    HeardVantage,
    Questions,
    VantageReply,
    VantageReport,
    VantageTally,
)
from pltfrms.model.services.service import Service
from pltfrms.planner.vantage.asking import Circle, circle_of, questions_of
from pltfrms.planner.vantage.tallying import REPORT_ROUNDS
from pltfrms.planner.vantage.verdicts import evidence

_FRESH_SECONDS: Final = 1.0
_TEXT_MAX: Final = 200
_NAME_MAX: Final = 100
_LATE_SECONDS: Final = 10.0
"""A report may be under way for longer than the next one."""
_ANSWER_SECONDS_MAX: Final = 100.0
"""No probe waits for so long for one answer."""
_NOTHING: Final = (0,) * (len(BOUNDS_MS) + 1)
_Key = tuple[str, Address, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTotal:
    """What came of all questions of one place, service and family since we began to listen."""

    asked: int = 0
    failed: int = 0
    latencies: tuple[int, ...] = _NOTHING
    seconds: float = 0.0

    def plus(self, more: "ProbeTotal") -> "ProbeTotal":
        """Return both together."""
        both = zip(self.latencies, more.latencies, strict=True)
        return ProbeTotal(
            asked=self.asked + more.asked,
            failed=self.failed + more.failed,
            latencies=tuple(a + b for a, b in both),
            seconds=self.seconds + more.seconds,
        )

    def can_be(self, of_seconds: float, every_ms: int) -> bool:
        """Return whether one question, asked that often, can come to it in so long a time."""
        rounds = (of_seconds + _LATE_SECONDS) * 1000 / every_ms + REPORT_ROUNDS
        answered = self.asked - self.failed
        return (
            min(self.failed, *self.latencies) >= 0
            and self.asked <= rounds
            and 0 <= self.seconds <= answered * _ANSWER_SECONDS_MAX
        )


def what_came(now: VantageTally, before: VantageTally | None) -> ProbeTotal:
    """Return what a tally says that one of the same vantage point did not say before."""
    before = before or replace(now, asked=0, failed=0, latencies=_NOTHING, seconds=0.0)
    both = zip(before.latencies, now.latencies, strict=True)
    return ProbeTotal(
        asked=now.asked - before.asked,
        failed=now.failed - before.failed,
        latencies=tuple(b - a for a, b in both),
        seconds=now.seconds - before.seconds,
    )


@dataclass(frozen=True, slots=True)
class _Heard:
    report: VantageReport
    at: float
    tallies: Mapping[_Key, VantageTally]


@dataclass(slots=True)
class _AsOf:
    """What follows from a platform and its services, worked out once."""

    platform: Platform
    services: Mapping[str, Service]
    places: Mapping[str, str]
    circle: Circle
    _told: dict[str, Questions] = field(default_factory=dict)

    def questions(self, name: str) -> Questions:
        """Return what a vantage point is to ask."""
        if name not in self._told:
            self._told[name] = questions_of(self.circle, name)
        return self._told[name]


class Vantages:
    """What all of them said last, and what that comes to."""

    def __init__(self, view: View, clock: Clock) -> None:
        """Nobody has said anything yet."""
        self._view = view
        self._clock = clock
        self._began_at, self._began_ms = clock.monotonic(), clock.unix_ms()
        self._heard: dict[str, _Heard] = {}
        self._following: _AsOf | None = None
        self._totals: dict[tuple[str, str, int], ProbeTotal] = {}
        self._known: tuple[float, ClientEvidence] | None = None

    def take(self, report: VantageReport, controller: str) -> VantageReply:
        """Hear what a vantage point says, and return what it is to ask.

        Raises:
            NotFoundError: the platform has no such vantage point.
            UsageError: it says what cannot be.
            UnavailableError: no platform is known yet.
        """
        name, stored = report.vantage, self._view.last_stored()
        if stored.platform is None:
            raise UnavailableError("the store holds no platform yet; try again soon")
        known = self._as_of(stored.platform, stored.services)
        if name not in known.places:
            raise NotFoundError(f"{stored.platform.name} has no vantage point {name!r}")
        wanted = known.questions(name)
        asked = {(each.service, each.address, each.probe.port) for each in wanted.questions}
        tallies = {key: _short(each) for key, each in _keyed(report) if key in asked}
        _require_sound(tallies)
        made_of = shortened(report.made_of, _TEXT_MAX)
        kept = replace(report, made_of=made_of, tallies=tuple(tallies.values()))
        self._count(known, kept, tallies)
        self._heard[name] = _Heard(kept, self._clock.monotonic(), tallies)
        for gone in self._heard.keys() - known.places.keys():
            del self._heard[gone]
        news = None if wanted.made_of == report.made_of else wanted
        return VantageReply(controller=controller, questions=news)

    def heard(self) -> tuple[HeardVantage, ...]:
        """Return what each of them said last."""
        now, stored = self._clock.monotonic(), self._view.last_stored()
        if stored.platform is None:
            return ()
        places = self._as_of(stored.platform, stored.services).places
        return tuple(
            HeardVantage(
                report=each.report,
                datacenter=places[name],
                age_ms=round((now - each.at) * 1000),
            )
            for name, each in sorted(self._heard.items())
            if name in places
        )

    def evidence(self, platform: Platform, services: Mapping[str, Service]) -> ClientEvidence:
        """Return what that says of clients; worked out once a second at most."""
        now = self._clock.monotonic()
        if self._known is None or now - self._known[0] >= _FRESH_SECONDS:
            watched_ms = round((now - self._began_at) * 1000)
            self._known = now, evidence(platform, services, self.heard(), watched_ms)
        return self._known[1]

    def totals(self) -> Iterator[tuple[tuple[str, str, int], ProbeTotal]]:
        """Yield what came of all questions, by place, service and family."""
        stored = self._view.last_stored()
        if stored.platform:
            self._as_of(stored.platform, stored.services)
        yield from sorted(self._totals.items())

    def silent(self) -> tuple[int, int]:
        """Return how many vantage points say something now, and how many should and do not."""
        stored = self._view.last_stored()
        if stored.platform is None:
            return 0, 0
        found = self.evidence(stored.platform, stored.services)
        return found.points, len(found.silent)

    # ---- what is asked, and counted --------------------------------------------------------

    def _as_of(self, platform: Platform, services: Mapping[str, Service]) -> _AsOf:
        known = self._following
        if known is None or known.platform is not platform or known.services != services:
            places, circle = places_of(platform), circle_of(platform, services)
            known = self._following = _AsOf(platform, services, places, circle)
            there = {place or name for name, place in places.items()}
            self._totals = {
                key: total
                for key, total in self._totals.items()
                if key[0] in there and key[1] in services
            }
        return known

    def _count(
        self, known: _AsOf, report: VantageReport, tallies: Mapping[_Key, VantageTally]
    ) -> None:
        """Add what is new. What cannot be is not counted: the next report begins with it."""
        name, last = report.vantage, self._heard.get(report.vantage)
        place, every_ms = known.places[name] or name, known.platform.vantage.every_ms
        same = last is not None and last.report.began_ms == report.began_ms
        # What it counts since before our time is not ours to tell.
        ours = same or report.began_ms >= self._began_ms
        passed = self._clock.monotonic() - (last.at if last else self._began_at)
        for key, now in tallies.items():
            before = last.tallies.get(key) if last and same else None
            again = (
                before is not None and before.asked > now.asked
            )  # it was not asked meanwhile
            more = what_came(now, None if again else before)
            if not ours or not more.can_be(passed, every_ms):
                more = ProbeTotal()
            total = (place, now.service, now.address.version)
            self._totals[total] = self._totals.get(total, ProbeTotal()).plus(more)


def places_of(platform: Platform) -> Mapping[str, str]:
    """Return the datacenters of all that may be vantage points; empty: it is outside."""
    outside = dict.fromkeys(platform.vantage.outside, "")
    return outside | {each.name: each.datacenter for each in platform.managed}


def _keyed(report: VantageReport) -> Iterator[tuple[_Key, VantageTally]]:
    for each in report.tallies:
        yield (each.service, each.address, each.port), each


def _short(tally: VantageTally) -> VantageTally:
    """Return it with texts that are not too long; they rarely are, and to see that is quick."""
    texts = (tally.kind, tally.recent.failure, tally.recent.unable)
    return with_short_texts(tally, _TEXT_MAX) if max(map(len, texts)) > _TEXT_MAX else tally


def _require_sound(tallies: Mapping[_Key, VantageTally]) -> None:
    """Raise UsageError where counts contradict each other: they would be added up."""
    for each in tallies.values():
        if not _is_sound(each):
            raise UsageError(f"counts of {each.service} at {each.address} cannot be")


def _is_sound(tally: VantageTally) -> bool:
    recent = tally.recent
    return (
        len(tally.latencies) == len(BOUNDS_MS) + 1
        and min(tally.latencies) >= 0
        and sum(tally.latencies) == tally.asked - tally.failed
        and min(tally.failed, tally.seconds) >= 0
        and 0 <= recent.in_a_row <= recent.failed <= recent.asked <= WINDOW
        and 0 <= recent.answered_in_a_row <= recent.asked - recent.failed
        and len(recent.by) <= ANSWERERS_MAX
        and all(len(name) <= _NAME_MAX for name in recent.by)
    )
