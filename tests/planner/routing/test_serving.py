"""What is really announced, as far as agents have told."""

from dataclasses import replace

from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import (
    AggregateStatus,
    Contact,
    MachineStatus,
    MachineView,
    SessionStatus,
    Snapshot,
)
from pltfrms.planner.routing.serving import announced_now
from tests.render.platforms import SMALL

PREFIX = str(SMALL.aggregates[0].prefix)
EVERYTHING = Snapshot(revision=1, platform=SMALL)


def sessions(snapshot: Snapshot) -> set[str]:
    return {
        each.session for each in announced_now(snapshot, 1000) if str(each.prefix) == PREFIX
    }


def told(status: MachineStatus) -> Snapshot:
    return replace(EVERYTHING, statuses={status.machine: status})


def test_who_has_not_reported_counts_as_announcing() -> None:
    assert sessions(EVERYTHING) == {"transit1@fra-e1", "ixp1@fra-e2", "ixp1@ams-e1"}


def test_what_an_edge_withholds_or_cannot_say_is_left_out() -> None:
    without = {"ixp1@fra-e2", "ixp1@ams-e1"}
    withheld = AggregateStatus(prefix=PREFIX, announced=False, reason=Reason.NO_LOCAL_SERVICE)
    assert sessions(told(MachineStatus(machine="fra-e1", aggregates=(withheld,)))) == without
    down = SessionStatus(name="peer.transit1.ipv4", up=False)
    assert sessions(told(MachineStatus(machine="fra-e1", sessions=(down,)))) == without
    other = SessionStatus(name="peer.transit1.ipv6", up=False)
    assert len(sessions(told(MachineStatus(machine="fra-e1", sessions=(other,))))) == 3


def test_an_edge_out_of_contact_may_still_announce_and_that_is_told_apart() -> None:
    said = told(MachineStatus(machine="fra-e1"))
    views = {
        machine.name: MachineView(contact=Contact.PRESENT, since_seconds=1.0)
        for machine in SMALL.managed
    }
    others = {"ixp1@fra-e2", "ixp1@ams-e1"}
    for contact in (Contact.LOST, Contact.UNKNOWN):
        view = MachineView(contact=contact, since_seconds=1.0)
        snapshot = replace(said, machines={**views, "fra-e1": view})
        surely = {
            each.session
            for each in announced_now(snapshot, 1000, not_known=False)
            if str(each.prefix) == PREFIX
        }
        assert surely == others
        assert sessions(snapshot) == {"transit1@fra-e1", *others}


def test_a_drained_session_announces_until_it_is_withdrawn() -> None:
    def drained(wait_ms: int) -> Snapshot:
        drain = Drain(peer="transit1", since_ms=0, wait_ms=wait_ms)
        return replace(EVERYTHING, interventions=Interventions(drains=(drain,)))

    assert "transit1@fra-e1" in sessions(drained(2000))
    assert "transit1@fra-e1" not in sessions(drained(500))
