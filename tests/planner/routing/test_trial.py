"""The judgement of a routing configuration on trial."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.machine import BgpState
from pltfrms.planner.routing.trial import (
    Before,
    Expectation,
    Observation,
    Trial,
    TrialAction,
    expect,
    judge,
)
from tests.strategies import make_platform

FOUR, SIX = ip_network("198.51.100.0/24"), ip_network("2001:db8:100::/48")
SESSION = Session(
    edge="fra-e1",
    ours=(ip_interface("203.0.113.1/31"), ip_interface("2001:db8:f::1/64")),
    theirs=(ip_address("203.0.113.0"), ip_address("2001:db8:f::2")),
    interface="x-transit1",
)
TRANSIT = Peer(name="transit1", kind=PeerKind.TRANSIT, asn=64999, sessions=(SESSION,))
CUSTOMER = Peer(name="cust", kind=PeerKind.CUSTOMER, asn=64998, sessions=(SESSION,))
PLATFORM = replace(make_platform({"fra": 1}), peers=(TRANSIT,))
T4, T6, NODE = "peer.transit1.ipv4", "peer.transit1.ipv6", "node.fra-n1.a"
STATES = (
    BgpState(name=T4, up=True, detail="Established", imported=9, exported=1),
    BgpState(name=T6, up=True, detail="Established", imported=9, exported=1),
    BgpState(name=NODE, up=True, detail="Established", imported=3, exported=2),
)
BEFORE = Before(sessions=STATES, announced={FOUR, SIX}, controller=True)
NAMES = frozenset(state.name for state in STATES)


def _expect(
    new: Platform,
    before: Before = BEFORE,
    *,
    old: Platform = PLATFORM,
    interventions: Interventions | None = None,
) -> Expectation:
    situation = (interventions or Interventions(), 1_000_000)
    return expect("fra-e1", (old, new), before, NAMES, situation)


def _trial(expectation: Expectation) -> Trial:
    return Trial(expectation=expectation, begun_at=100.0, deadline_at=120.0)


def _look(
    trial: Trial, at: float, states: Sequence[BgpState] | None = STATES, *, heard: bool = True
) -> tuple[Trial, TrialAction]:
    sessions = None if states is None else tuple(states)
    controller_at = at if heard else 99.0
    return judge(trial, Observation(at=at, sessions=sessions, controller_at=controller_at))


def _changed(name: str, **changes: object) -> tuple[BgpState, ...]:
    return tuple(
        replace(state, **changes) if state.name == name else state  # type: ignore[arg-type]  # words of BgpState
        for state in STATES
    )


def test_what_stays_as_it_was_is_good_after_two_seconds_in_a_row() -> None:
    trial, judgement = _look(_trial(_expect(PLATFORM)), 101.5)
    assert (judgement, trial.lack) == (TrialAction.WAITING, "")
    trial, judgement = _look(trial, 103.0, _changed(T4, up=False))
    assert (judgement, trial.lack) == (TrialAction.WAITING, f"{T4} is not up")
    trial, judgement = _look(trial, 103.5)
    assert judgement is TrialAction.WAITING
    trial, judgement = _look(trial, 105.4)
    assert judgement is TrialAction.WAITING
    assert _look(trial, 105.5)[1] is TrialAction.GOOD


def test_each_loss_has_its_words_and_is_bad_in_the_end() -> None:
    losses = {
        f"{T4} is not up": _changed(T4, up=False),
        f"{NODE} is not up": tuple(state for state in STATES if state.name != NODE),
        f"{T6} announces 0 routes, not 1": _changed(T6, exported=0),
        f"{T4} brings no routes": _changed(T4, imported=0),
        "the routing daemon does not answer": None,
    }
    for sentence, states in losses.items():
        trial, judgement = _look(_trial(_expect(PLATFORM)), 118.9, states)
        assert (judgement, trial.lack) == (TrialAction.WAITING, sentence)
        assert _look(trial, 119.0, states)[1] is TrialAction.BAD


def test_controllers_count_only_if_one_answered_before() -> None:
    trial, judgement = _look(_trial(_expect(PLATFORM)), 119.0, heard=False)
    assert (judgement, trial.lack) == (TrialAction.BAD, "no controller has answered since")
    alone = replace(BEFORE, controller=False)
    trial, _ = _look(_trial(_expect(PLATFORM, alone)), 110.0, heard=False)
    assert _look(trial, 112.0, heard=False)[1] is TrialAction.GOOD
    early = Observation(at=100.6, sessions=STATES, controller_at=100.5)
    assert judge(_trial(_expect(PLATFORM)), early)[0].lack


def test_what_the_change_takes_away_is_not_missed() -> None:
    silent = replace(PLATFORM, traffic=(Override(prefix=FOUR, announce=False),))
    assert _expect(silent).exported == {T6: 1, NODE: 1}
    assert _expect(PLATFORM, old=silent).exported == {T6: 1, NODE: 1}
    assert T4 in _expect(silent).up
    fewer = replace(PLATFORM, aggregates=PLATFORM.aggregates[1:])
    assert _expect(fewer).exported == {T6: 1, NODE: 1}
    quiet = replace(BEFORE, announced={SIX}, sessions=_changed(T4, exported=0))
    assert _expect(PLATFORM, quiet).exported == {T6: 1, NODE: 1}


def test_a_drained_session_announces_nothing_before_and_after() -> None:
    drain = Drain(peer="transit1", since_ms=0, wait_ms=1)
    before = replace(BEFORE, sessions=_changed(T4, exported=0, imported=0))
    expectation = _expect(PLATFORM, before, interventions=Interventions(drains=(drain,)))
    assert T4 not in expectation.exported
    assert T4 not in expectation.imported


def test_routes_of_others_may_shrink_but_not_vanish() -> None:
    many = replace(BEFORE, sessions=_changed(T4, exported=1001))
    assert _expect(PLATFORM, many).exported[T4] == 501
    without = replace(PLATFORM, peers=(TRANSIT,))
    both = replace(PLATFORM, peers=(TRANSIT, CUSTOMER))
    assert _expect(without, many, old=both).exported[T4] == 1


def test_a_session_that_gets_another_name_must_come_up_by_it() -> None:
    other = replace(PLATFORM, peers=(replace(TRANSIT, name="upstream"),))
    new = {T4: "peer.upstream.ipv4", T6: "peer.upstream.ipv6"}
    before = replace(BEFORE, renamed=new)
    names = frozenset({NODE, *new.values()})
    expected = expect("fra-e1", (PLATFORM, other), before, names, (Interventions(), 1_000_000))
    assert expected.up == names
    assert expected.exported["peer.upstream.ipv4"] == 1
    assert expected.imported >= set(new.values())


def test_of_two_that_swap_places_the_one_that_stays_is_expected() -> None:
    second = BgpState(name="peer.transit1:2.ipv4", up=True, detail="Established", imported=5)
    before = replace(
        BEFORE,
        sessions=(*STATES, second),
        renamed={"peer.transit1:2.ipv4": T4},
    )
    expected = expect(
        "fra-e1", (PLATFORM, PLATFORM), before, NAMES, (Interventions(), 1_000_000)
    )
    assert expected.up == NAMES
    assert expected.exported.get(T4, 0) == 0, "it announced nothing before"


def test_a_customer_may_bring_nothing() -> None:
    platform = replace(PLATFORM, peers=(replace(CUSTOMER, name="transit1"),))
    assert _expect(platform, old=platform).imported == {NODE}


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0.0, max_value=3.0), st.booleans(), st.booleans(), st.booleans()
        ),
        max_size=40,
    )
)
def test_good_and_bad_keep_their_promises(
    looks: list[tuple[float, bool, bool, bool]],
) -> None:
    """GOOD only after two good seconds without a bad look; never WAITING past the margin."""
    trial, at, good_since = _trial(_expect(PLATFORM)), 101.0, None
    for wait, up, exports, heard in looks:
        at += wait
        states = _changed(T4, up=up, exported=1 if exports else 0)
        trial, judgement = _look(trial, at, states, heard=heard)
        well = up and exports and heard
        good_since = (at if good_since is None else good_since) if well else None
        long_enough = good_since is not None and at - good_since >= 2.0
        assert (judgement is TrialAction.GOOD) == long_enough
        assert (judgement is TrialAction.WAITING) == (not long_enough and at < 119.0)
        assert bool(trial.lack) == (not well or judgement is TrialAction.BAD)
