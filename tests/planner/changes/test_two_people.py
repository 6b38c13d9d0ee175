"""Which changes one operator alone may not make."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from pltfrms.model.messages.api import Change, InterventionChange, Verb
from pltfrms.model.messages.guards import Guard
from pltfrms.model.messages.requests import Wanted
from pltfrms.model.network.interventions import Blackhole, Drain, Freeze, Interventions, Release
from pltfrms.model.network.topology import Guards, Operator, Platform, TwoPeople
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.changes.two_people import wanted_sentence, why_two
from tests.strategies import make_platform, make_spec

OPERATORS = (Operator(name="ada", keys=("k1",)), Operator(name="bob", keys=("k2",)))
DRAIN = Drain(peer="transit1", edge="fra-e1", since_ms=5, wait_ms=0)
HOLE = Blackhole(prefix=ip_network("198.51.100.7/32"), until_ms=99)


def platform(*rules: TwoPeople) -> Platform:
    return replace(
        make_platform({"fra": 2}), operators=OPERATORS, guards=Guards(two_people=rules)
    )


def snapshot(of: Platform, interventions: Interventions | None = None) -> Snapshot:
    return Snapshot(
        revision=1, platform=of, interventions=interventions or Interventions(), now_ms=0
    )


@pytest.mark.parametrize("rule", TwoPeople)
def test_each_rule_is_about_one_thing(rule: TwoPeople) -> None:
    before = snapshot(platform(rule))
    changed = replace(before.platform, director=False)
    cases: dict[TwoPeople, tuple[Snapshot, Sequence[Guard], str]] = {
        TwoPeople.PLATFORM: (replace(before, platform=changed), (), "it changes the platform"),
        TwoPeople.DRAINS: (
            replace(before, interventions=Interventions(drains=(DRAIN,))),
            (),
            "it drains transit1@fra-e1",
        ),
        TwoPeople.BLACKHOLES: (
            replace(before, interventions=Interventions(blackholes=(HOLE,))),
            (),
            "it blackholes 198.51.100.7/32",
        ),
        TwoPeople.OVERRIDES: (
            before,
            (Guard.SHRINK_GUARD, Guard.HEADROOM),
            "it overrides headroom and overrides shrink_guard",
        ),
    }
    for about, (after, overridden, words) in cases.items():
        assert why_two(before, after, overridden) == (words if about is rule else "")


def test_without_a_rule_one_is_enough() -> None:
    after = replace(
        snapshot(platform()), interventions=Interventions(drains=(DRAIN,), blackholes=(HOLE,))
    )
    assert why_two(snapshot(platform()), after, (Guard.ROA,)) == ""


def test_to_end_something_and_to_freeze_need_nobody_else() -> None:
    busy = Interventions(freeze=Freeze(since_ms=1), drains=(DRAIN,), blackholes=(HOLE,))
    with_all = platform(*TwoPeople)
    assert why_two(snapshot(with_all, busy), snapshot(with_all), ()) == ""
    frozen = Interventions(freeze=Freeze(since_ms=1))
    assert why_two(snapshot(with_all), snapshot(with_all, frozen), ()) == ""


def test_to_release_a_brake_is_to_override_a_guard() -> None:
    of = platform(TwoPeople.OVERRIDES)
    released = Interventions(releases=(Release(datacenter="fra", until_ms=10**12),))
    one, other = snapshot(of), snapshot(of, released)
    assert why_two(one, other, ()) == "it releases the brake of fra"
    assert why_two(other, one, ()) == ""


def test_a_longer_drain_is_a_drain() -> None:
    of = platform(TwoPeople.DRAINS)
    longer = replace(DRAIN, until_ms=10**12)
    one, other = (snapshot(of, Interventions(drains=(each,))) for each in (DRAIN, longer))
    assert why_two(one, other, ()) == "it drains transit1@fra-e1"


@pytest.mark.parametrize("rules", [(TwoPeople.DRAINS,), (TwoPeople.OVERRIDES,)])
def test_nobody_alone_changes_who_must_approve(rules: tuple[TwoPeople, ...]) -> None:
    before = snapshot(platform(*rules))
    for changed in (platform(), replace(before.platform, operators=OPERATORS[:1])):
        words = why_two(before, replace(before, platform=changed), ())
        assert words == "it changes who must approve what"
    # To begin with the rule needs one.
    assert why_two(snapshot(platform()), before, ()) == ""


def test_what_is_wanted_is_a_sentence() -> None:
    change = Change(
        services=(make_spec(),),
        platform=make_platform({"fra": 2}),
        despite=(Guard.SHRINK_GUARD,),
    )
    wanted = Wanted(platform="p", expires_ms=1, change=change)
    assert wanted_sentence(wanted) == "apply platform, service/web; despite shrink_guard"
    drain = InterventionChange(verb=Verb.DRAIN, datacenter="fra", why="new cooling")
    wanted = Wanted(platform="p", expires_ms=1, intervention=drain)
    assert wanted_sentence(wanted) == "drain datacenter/fra; new cooling"
    hole = InterventionChange(verb=Verb.BLACKHOLE, prefix="198.51.100.7/32")
    wanted = Wanted(platform="p", expires_ms=1, intervention=hole)
    assert wanted_sentence(wanted) == "blackhole 198.51.100.7/32"
