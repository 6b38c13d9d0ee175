"""One edge after the other puts a new routing policy in force."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.network.interventions import Freeze, Interventions
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.state import (
    Contact,
    MachineStatus,
    MachineView,
    RoutingState,
    RoutingStatus,
    Snapshot,
)
from pltfrms.planner.routing.turns import Turn, routing_turn
from tests.planner.networks import NETWORK, without_sessions

# ams has one session, lon two, fra three.
PLATFORM = without_sessions(NETWORK, "transit1@ams-e2", "transit2@ams-e2", "transit2@lon-e2")
ORDER = ["ams-e2", "ams-e1", "lon-e1", "lon-e2", "fra-e1", "fra-e2"]
NEEDED = 7
"""The generation of the first target with the new platform."""
OLD = RoutingStatus(wanted="old", running="old")
"""Of an edge that has not heard of the new platform."""
DUE = RoutingStatus(wanted="new", running="old", state=RoutingState.WAITING)


def _done(edge: str) -> RoutingStatus:
    return RoutingStatus(wanted=f"new-{edge}", running=f"new-{edge}")


def _in_state(edge: str, state: RoutingState, detail: str = "") -> RoutingStatus:
    return RoutingStatus(wanted=f"new-{edge}", running="old", state=state, detail=detail)


def _snapshot(
    routing: Mapping[str, RoutingStatus],
    contacts: Mapping[str, Contact] | None = None,
    *,
    platform: Platform = PLATFORM,
    since_seconds: float = 3600.0,
    unheard: Collection[str] = (),
) -> Snapshot:
    return Snapshot(
        revision=NEEDED + 1,
        platform=platform,
        statuses={
            edge: MachineStatus(
                machine=edge, generation=NEEDED - (edge in unheard), routing=status
            )
            for edge, status in routing.items()
        },
        machines={
            edge: MachineView(
                contact=(contacts or {}).get(edge, Contact.PRESENT),
                since_seconds=since_seconds,
            )
            for edge in ORDER
        },
    )


def _turn(snapshot: Snapshot) -> Turn:
    return routing_turn(snapshot, snapshot.statuses, NEEDED)


def _after(*done: str, **others: RoutingStatus) -> dict[str, RoutingStatus]:
    """Return the routing of all edges; in keywords, `_` stands for `-`."""
    named = {name.replace("_", "-"): status for name, status in others.items()}
    return {edge: _done(edge) if edge in done else DUE for edge in ORDER} | named


def test_the_datacenter_with_the_fewest_sessions_goes_first() -> None:
    for index, edge in enumerate(ORDER):
        assert _turn(_snapshot(_after(*ORDER[:index]))).machine == edge
    turn = _turn(_snapshot(_after(*ORDER)))
    assert turn == Turn(reason="every edge runs what is wanted")


def test_who_is_trying_keeps_the_turn() -> None:
    trying = _in_state("fra-e1", RoutingState.TRYING)
    assert _turn(_snapshot(_after(fra_e1=trying))).machine == "fra-e1"
    lost = _snapshot(_after(fra_e1=trying), {"fra-e1": Contact.LOST})
    assert _turn(lost).machine == "fra-e1", "it may be lost because of what it tried"
    older = _snapshot(_after(fra_e1=trying), unheard={"fra-e1"})
    assert _turn(older).machine == "fra-e1"
    away = {"fra-e1": Contact.LOST}
    gone = _snapshot(_after(fra_e1=trying), away, unheard={"fra-e1"})
    assert _turn(gone).machine == "ams-e2"


def test_what_was_tried_and_was_not_good_stops_everybody() -> None:
    reverted = _in_state("ams-e2", RoutingState.REVERTED, "2 sessions were lost")
    turn = _turn(_snapshot(_after(ams_e2=reverted)))
    assert turn.machine == ""
    assert "ams-e2" in turn.reason
    assert "2 sessions were lost" in turn.reason
    lost = _snapshot(_after(ams_e2=reverted), {"ams-e2": Contact.LOST})
    assert _turn(lost).machine == ""
    older = _turn(_snapshot(_after(ams_e2=reverted), unheard={"ams-e2"}))
    assert older == Turn(reason="ams-e2 has not heard of the present platform yet")


def test_who_is_lost_is_passed_over() -> None:
    contacts = {"ams-e2": Contact.LOST}
    assert _turn(_snapshot(_after(), contacts)).machine == "ams-e1"
    turn = _turn(_snapshot(_after(*ORDER[1:]), contacts))
    assert turn == Turn(reason="nobody else is left; out of contact: ams-e2")
    assert _turn(_snapshot(_after(*ORDER[1:]))).machine == "ams-e2", "it is back"
    lately = _snapshot(_after(), contacts, since_seconds=20.0)
    assert _turn(lately).machine == "", "it may have begun to try, and not have said so"


def test_what_is_not_known_blocks() -> None:
    unknown = _snapshot(_after(), {"fra-e2": Contact.UNKNOWN})
    turn = _turn(unknown)
    assert turn == Turn(reason="it is not known what fra-e2 does now")
    done = _snapshot(_after("fra-e2"), {"fra-e2": Contact.UNKNOWN})
    assert _turn(done).machine == "ams-e2"
    for strange in (replace(_done("fra-e2"), running=""), replace(DUE, wanted="")):
        assert _turn(_snapshot(_after(fra_e2=strange))).machine == ""
    silent = _after(fra_e2=RoutingStatus(wanted="old", running=""))
    assert _turn(_snapshot(silent)).machine == ""
    assert _turn(_snapshot(silent, {"fra-e2": Contact.LOST})).machine == "ams-e2"
    without_status = {edge: status for edge, status in _after().items() if edge != "lon-e1"}
    assert _turn(_snapshot(without_status)).machine == ""


def test_who_has_not_heard_of_the_platform_may_still_try_an_older_one() -> None:
    snapshot = _snapshot(_after(fra_e2=OLD), unheard={"fra-e2"})
    assert _turn(snapshot) == Turn(reason="fra-e2 has not heard of the present platform yet")
    lost = _snapshot(_after(fra_e2=OLD), {"fra-e2": Contact.LOST}, unheard={"fra-e2"})
    assert _turn(lost).machine == "ams-e2"


def test_a_new_edge_that_nobody_has_heard_holds_up_no_other() -> None:
    routing = {edge: status for edge, status in _after().items() if edge != "ams-e2"}
    new = {"ams-e2"}
    for contact, why, expected in (
        (Contact.LOST, "", "ams-e1"),
        (Contact.UNKNOWN, "no other edge is in contact, which could say if it lives", "ams-e1"),
        (Contact.UNKNOWN, "", ""),  # nobody has looked for long enough yet
        (Contact.PRESENT, "", ""),  # it has come, and is about to say what it does
    ):
        snapshot = _snapshot(routing)
        view = MachineView(contact=contact, since_seconds=0.0, why=why)
        snapshot = replace(snapshot, machines={**snapshot.machines, "ams-e2": view})
        turn = routing_turn(snapshot, snapshot.statuses, NEEDED, new)
        assert turn.machine == expected, (contact, why)
        assert not _turn(snapshot).machine, "who has reported once may be trying something"
    done = {edge: _done(edge) for edge in ORDER if edge != "ams-e2"}
    snapshot = _snapshot(done, {"ams-e2": Contact.LOST}, since_seconds=0.0)
    turn = routing_turn(snapshot, snapshot.statuses, NEEDED, new)
    assert turn == Turn(reason="nobody else is left; not in contact yet: ams-e2")
    said = {
        **snapshot.statuses,
        "ams-e2": MachineStatus(machine="ams-e2", generation=NEEDED, routing=DUE),
    }
    came = replace(
        snapshot,
        machines={
            **snapshot.machines,
            "ams-e2": MachineView(contact=Contact.PRESENT, since_seconds=0.0),
        },
    )
    assert routing_turn(came, said, NEEDED, new).machine == "ams-e2", (
        "it has its turn when it comes"
    )


def test_a_controller_that_knows_less_than_an_edge_gives_no_turn() -> None:
    snapshot = _snapshot(_after())
    ahead = replace(snapshot.statuses["ams-e2"], generation=snapshot.revision + 1)
    newer = {**snapshot.statuses, "ams-e2": ahead}
    assert routing_turn(snapshot, newer, NEEDED).machine == ""
    level = {**newer, "ams-e2": replace(ahead, generation=snapshot.revision)}
    assert routing_turn(snapshot, level, NEEDED).machine == "ams-e2"


def test_freeze() -> None:
    frozen = Interventions(freeze=Freeze(since_ms=1, why="storm"))
    turn = _turn(replace(_snapshot(_after()), interventions=frozen))
    assert turn == Turn(reason="an operator has frozen the network: storm")


def test_edges_of_others_do_not_count() -> None:
    machines = tuple(
        replace(machine, external=machine.name == "ams-e2") for machine in PLATFORM.machines
    )
    platform = replace(PLATFORM, machines=machines)
    routing = _after()
    del routing["ams-e2"]
    assert _turn(_snapshot(routing, platform=platform)).machine == "ams-e1"


# ---- what holds for every course of events -------------------------------------------------


@dataclass
class World:
    """Edges as they are, and every set of statuses that ever was in the store."""

    real: dict[str, RoutingStatus] = field(default_factory=_after)
    history: list[Snapshot] = field(default_factory=lambda: [_snapshot(_after())])
    contacts: Mapping[str, Contact] = field(default_factory=dict)

    def asks(self, edge: str, age: int) -> None:
        """Ask a controller whose view is so many changes old; begin if it is the turn."""
        view = self.history[-1 - min(age, len(self.history) - 1)]
        idle = self.real[edge] == DUE
        if idle and _turn(view).machine == edge:
            self.real[edge] = _in_state(edge, RoutingState.TRYING)

    def reports(self, edge: str) -> None:
        """Bring the edge's own status into the store."""
        routing = {e: s.routing for e, s in self.history[-1].statuses.items()}
        self.history.append(_snapshot(routing | {edge: self.real[edge]}, self.contacts))

    def ends(self, edge: str, *, good: bool) -> None:
        """End a try."""
        if self.real[edge].state is RoutingState.TRYING:
            self.real[edge] = (
                _done(edge) if good else _in_state(edge, RoutingState.REVERTED, "bad")
            )

    def count(self, state: RoutingState) -> int:
        return sum(status.state is state for status in self.real.values())


_ACTIONS = st.tuples(
    st.sampled_from(["asks", "asks", "reports", "reports", "good", "bad"]),
    st.sampled_from(ORDER),
    st.integers(0, 20),
)


@settings(max_examples=150)
@given(st.lists(_ACTIONS, max_size=60), st.sets(st.sampled_from(ORDER), max_size=2))
def test_never_two_are_trying(actions: list[tuple[str, str, int]], lost: set[str]) -> None:
    contacts = dict.fromkeys(lost, Contact.LOST)
    world = World(contacts=contacts, history=[_snapshot(_after(), contacts)])
    for what, edge, age in actions:
        if edge in lost:
            continue
        if what == "asks":
            world.asks(edge, age)
        elif what == "reports":
            world.reports(edge)
        else:
            world.ends(edge, good=what == "good")
        assert world.count(RoutingState.TRYING) <= 1
        assert world.count(RoutingState.REVERTED) <= 1, "a bad policy is tried once"


@given(st.permutations(ORDER))
def test_all_get_their_turn(order: list[str]) -> None:
    world = World()
    for _ in ORDER:
        for edge in order:
            world.asks(edge, 0)
            world.reports(edge)
            world.ends(edge, good=True)
            world.reports(edge)
    assert world.real == _after(*ORDER)
    assert len(ORDER) == len(PLATFORM.machines_of(Role.EDGE))
