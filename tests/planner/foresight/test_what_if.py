"""What is foreseen is what the planner does when it happens."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import UsageError
from pltfrms.model.running.plan import Place, Reason
from pltfrms.model.running.redundancy import Survival
from pltfrms.model.running.state import Contact, Load, MachineView, Snapshot
from pltfrms.planner.foresight.losing import loss_words, lost_of, without
from pltfrms.planner.foresight.settling import settle
from pltfrms.planner.foresight.what_if import what_if
from pltfrms.planner.routing.serving import announced_now
from pltfrms.specfile import load_platform
from tests.planner.redundancy.test_verdict import platform_where
from tests.planner.world import histories
from tests.planner.world import settle as settle_whole
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

EXAMPLE = load_platform(Path("examples/three-datacenters/platform.yaml"))
TWO = {"web.fra.1-1": "fra-n1", "web.ams.1-1": "ams-n2"}


def settled(nodes: dict[str, int], replicas: int = 2, cpu: float = 0.2) -> Snapshot:
    service = make_service(make_spec(replicas=replicas, cpu=cpu))
    return settle_whole(make_snapshot(make_platform(nodes, cpu=1.0), (service,)))


def counts(snapshot: Snapshot, *losses: str) -> dict[str, tuple[int, int, int, int]]:
    found, _ = what_if(snapshot, losses)
    return {
        each.datacenter: (each.wanted, each.now, each.at_once, each.settled)
        for each in found.counts
    }


def test_a_lost_node_is_replaced_where_there_is_room() -> None:
    snapshot = settled({"fra": 3, "ams": 2})
    node = next(a.node for a in snapshot.allocations.values() if a.datacenter == "fra")
    assert counts(snapshot, f"node/{node}") == {"fra": (2, 2, 1, 2), "ams": (2, 2, 2, 2)}
    found, after = what_if(snapshot, [f"node/{node}"])
    places = [step for step in found.steps if isinstance(step, Place)]
    assert [step.reason for step in places] == [Reason.NODE_LOST]
    assert not [a for a in after.allocations.values() if a.node == node]
    assert found.short == ()


def test_what_finds_no_room_is_short_with_its_reason() -> None:
    snapshot = settled({"fra": 2, "ams": 2})
    found, _ = what_if(snapshot, ["node/fra-n1"])
    assert found.short == ("web has 1 of 2 in fra",)
    assert Reason.NO_NODE_WITHIN_SPREAD in {note.reason for note in found.notes}


def test_a_lost_datacenter_is_not_placed_elsewhere_and_not_called_short() -> None:
    snapshot = settled({"fra": 2, "ams": 2, "lon": 2})
    assert counts(snapshot, "datacenter/fra")["fra"] == (2, 2, 0, 0)
    found, _ = what_if(snapshot, ["datacenter/fra"])
    assert found.short == ()
    assert Reason.MASS_LOSS in {note.reason for note in found.notes}
    assert found.steps == ()
    assert {"fra-n1", "fra-n2", "fra-e1", "fra-c1"} == set(found.lost)


def test_without_a_majority_of_controllers_nothing_is_foreseen_to_be_done() -> None:
    snapshot = settled({"fra": 3, "ams": 3, "lon": 3})
    found, _ = what_if(snapshot, ["controller/fra-c1", "controller/ams-c1", "node/lon-n1"])
    assert found.undecided.startswith("1 of 3 controllers are left")
    assert found.steps == ()
    assert found.redundancy.survival is Survival.NOT_SURVIVED


def test_a_service_that_is_ready_nowhere_is_said() -> None:
    snapshot = settled({"fra": 1, "ams": 1, "lon": 1})
    found, _ = what_if(snapshot, [f"datacenter/{name}" for name in ("fra", "ams", "lon")])
    assert found.short == ("web is ready nowhere",)


def test_lost_edges_announce_nothing_and_others_what_they_did() -> None:
    snapshot = platform_where(EXAMPLE, TWO)
    after = without(snapshot, lost_of(EXAMPLE, ["datacenter/fra", "edge/ams-e1"]))
    announcing = {each.edge for each in announced_now(after, 0)}
    before = {each.edge for each in announced_now(snapshot, 0)}
    assert announcing == {name for name in before if name[:3] != "fra"} - {"ams-e1"}


def test_room_for_the_traffic_that_moves_is_judged_as_of_a_drain() -> None:
    peers = tuple(
        replace(peer, sessions=tuple(replace(s, capacity_mbps=1000) for s in peer.sessions))
        for peer in EXAMPLE.peers
    )
    snapshot = platform_where(replace(EXAMPLE, peers=peers), TWO)
    busy = Load(received_bps=900 * 10**6, sent_bps=900 * 10**6)
    statuses = {
        name: replace(
            status,
            loads={s.interface: busy for p in peers for s in p.sessions if s.edge == name},
        )
        for name, status in snapshot.statuses.items()
    }
    loaded = replace(snapshot, statuses=statuses)
    found, _ = what_if(loaded, ["datacenter/fra"])
    assert any("fra-e1" in each and "%" in each for each in found.shortages)
    assert not any(" out; " in each for each in found.shortages), "nobody is left there to send"
    assert not any("backbone of fra" in each for each in (*found.shortages, *found.doubts))
    edges, _ = what_if(loaded, ["edge/fra-e1", "edge/fra-e2"])
    assert any(" out; " in each for each in edges.shortages)


@pytest.mark.parametrize("word", ["node/fra-e1", "fra", "datacenter/fr", "link/x", "rack/r1"])
def test_what_is_not_there_cannot_be_lost(word: str) -> None:
    with pytest.raises(UsageError, match=f"there is no {word} to lose"):
        lost_of(EXAMPLE, [word])


def test_everything_that_is_named_can_be_lost() -> None:
    for word in loss_words(EXAMPLE):
        lost = lost_of(EXAMPLE, [word])
        assert lost.machines or lost.links


@given(histories(), st.data())
def test_what_is_foreseen_is_what_happens(snapshot: Snapshot, data: st.DataObject) -> None:
    """A planner that is asked again and again, and nodes that obey, end at the same place."""
    snapshot = settle_whole(snapshot)
    nodes = [each.name for each in snapshot.platform.machines if each.role == "node"]
    lost = data.draw(st.sampled_from(nodes))
    _, after = what_if(snapshot, [f"node/{lost}"])
    gone = MachineView(contact=Contact.LOST, since_seconds=0.0)
    statuses = {name: status for name, status in snapshot.statuses.items() if name != lost}
    machines = {**snapshot.machines, lost: gone}
    real = settle_whole(replace(snapshot, statuses=statuses, machines=machines))
    assert {a.id: a.node for a in after.allocations.values()} == {
        a.id: a.node for a in real.allocations.values()
    }


def test_settling_ends_where_nothing_is_to_be_done() -> None:
    snapshot = settled({"fra": 3})
    assert settle(snapshot) == (snapshot, (), ())
