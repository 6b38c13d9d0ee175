"""What a machine carries is moved away before it leaves the platform."""

from collections import UserDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.topology import FurtherRole, Machine, Platform, Role
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.planner.changes.removals import judge_removals, judge_signers
from tests.planner.networks import NETWORK
from tests.strategies import make_allocation, make_snapshot, renamed_datacenter

NOW_MS = 1_893_535_200_000
BASE = replace(
    make_snapshot(NETWORK),
    allocations={"web.fra.1-1": make_allocation("web.fra.1-1", "fra-n1")},
)

NODE = NETWORK.machine("fra-n1")
WIDER = replace(
    BASE,
    platform=replace(NETWORK, machines=(*NETWORK.machines, replace(NODE, name="fra-n9", id=9))),
)
"""With one more node, which is empty."""


def without(*names: str) -> Platform:
    peers = tuple(
        replace(peer, sessions=tuple(each for each in peer.sessions if each.edge not in names))
        for peer in NETWORK.peers
    )
    left = tuple(machine for machine in NETWORK.machines if machine.name not in names)
    return replace(NETWORK, machines=left, peers=peers)


def said(before: Snapshot, *names: str) -> dict[str, str]:
    verdicts = judge_removals(before, replace(before, platform=without(*names)), NOW_MS)
    assert all(each.guard is Guard.MAINTENANCE_LOCK for each in verdicts)
    return {each.about: each.sentence for each in verdicts}


def drained(**words: Any) -> Snapshot:
    drain = Drain(since_ms=NOW_MS - 60_000, wait_ms=1000, **words)
    return replace(BASE, interventions=Interventions(drains=(drain,)))


def controllers(*datacenters: str) -> tuple[Machine, ...]:
    base = NETWORK.machines[0]
    return tuple(
        replace(base, name=f"{name}-c1", datacenter=name, role=Role.CONTROLLER, further=())
        for name in datacenters
    )


def test_a_node_with_instances_is_drained_first() -> None:
    others = tuple(each for each in WIDER.platform.machines if each.name != "fra-n1")
    left = replace(WIDER.platform, machines=others)
    (verdict,) = judge_removals(WIDER, replace(WIDER, platform=left), NOW_MS)
    assert verdict.sentence == (
        "1 instance on it would lose connections: drain it first, "
        "`pltfrms node drain fra-n1`, until it is empty"
    )
    assert said(replace(BASE, allocations={}), "fra-n1") == {}
    assert said(BASE, "ams-n1") == {}
    assert said(BASE) == {}


def test_a_node_that_has_volumes_is_not_taken_out_unless_it_is_lost() -> None:
    volume = Volume(
        id="db.fra.1@1", service="db", datacenter="fra", replica=1, generation=1, node="fra-n1"
    )
    holding = replace(drained(node="fra-n1"), allocations={}, volumes={volume.id: volume})
    (why,) = said(holding, "fra-n1").values()
    assert why.startswith("its volumes would be given up: db.fra.1@1")
    lost = MachineView(contact=Contact.LOST, since_seconds=60)
    gone = replace(holding, machines={**holding.machines, "fra-n1": lost})
    assert said(gone, "fra-n1") == {}


def test_the_last_nodes_of_a_datacenter_are_drained_with_it_as_they_never_get_empty() -> None:
    (sentence,) = said(BASE, "fra-n1").values()
    assert sentence == (
        "1 instance on it would lose connections: its datacenter keeps no other node, so drain"
        " that first, `pltfrms datacenter drain fra`"
    )
    assert said(drained(datacenter="fra"), "fra-n1") == {}
    verdicts = judge_removals(WIDER, replace(WIDER, platform=without("fra-n1")), NOW_MS)
    assert [each.sentence for each in verdicts] == [sentence], "both leave"


class Counting(UserDict[str, Allocation]):
    """Counts how often somebody goes through all of it."""

    walks = 0

    def __iter__(self) -> Iterator[str]:
        self.walks += 1
        return super().__iter__()


def test_allocations_are_gone_through_once_however_many_machines_leave() -> None:
    counting = Counting(BASE.allocations)
    said(replace(BASE, allocations=counting), "fra-n1", "fra-n2", "ams-n1")
    assert counting.walks == 1
    said(replace(BASE, allocations=counting))
    assert counting.walks == 1, "nobody leaves"


def test_an_edge_with_open_sessions_is_drained_first() -> None:
    (sentence,) = said(BASE, "fra-e1").values()
    assert (
        "with the outside would be left open: drain it first, `pltfrms edge drain" in sentence
    )
    assert said(drained(edge="fra-e1"), "fra-e1") == {}
    assert said(drained(datacenter="fra"), "fra-e1", "fra-n1") == {}
    begun = Drain(edge="fra-e1", since_ms=NOW_MS, wait_ms=60_000)
    early = replace(BASE, interventions=Interventions(drains=(begun,)))
    assert said(early, "fra-e1"), "it has only begun"


@pytest.mark.parametrize("name", ["fra-e1", "fra-n1"])
def test_who_is_lost_may_be_taken_out_and_who_may_live_not(name: str) -> None:
    for contact in Contact:
        view = MachineView(contact=contact, since_seconds=100)
        before = replace(BASE, machines={**BASE.machines, name: view})
        assert bool(said(before, name)) is (contact is not Contact.LOST)


def test_a_new_name_is_a_removal_and_a_server_is_both() -> None:
    server = replace(
        next(each for each in NETWORK.machines if each.name == "fra-e1"),
        further=(FurtherRole(role=Role.NODE, id=9),),
    )
    others = tuple(each for each in NETWORK.machines if each.name != "fra-e1")
    before = replace(
        BASE,
        platform=replace(NETWORK, machines=(server, *others)),
        allocations={"web.fra.1-1": make_allocation("web.fra.1-1", "fra-e1")},
    )
    renamed = replace(without("fra-e1"), machines=(replace(server, name="fra-x1"), *others))
    verdicts = judge_removals(before, replace(before, platform=renamed), NOW_MS)
    assert [each.about for each in verdicts] == ["machine/fra-e1"] * 2


def test_a_datacenter_is_drained_before_its_replicas_are_called_otherwise() -> None:
    def refused(before: Snapshot) -> list[tuple[str, str]]:
        after = replace(before, platform=renamed_datacenter(NETWORK, "fra", "xyz"))
        return [(v.about, v.sentence) for v in judge_removals(before, after, NOW_MS)]

    sentence = (
        "1 replica would end at once and begin anew as those of xyz: drain it first, "
        "`pltfrms datacenter drain fra`"
    )
    assert refused(BASE) == [("datacenter/fra", sentence)]
    assert refused(drained(datacenter="fra")) == []
    assert refused(drained(datacenter="ams")) == [("datacenter/fra", sentence)]
    assert refused(replace(BASE, allocations={})) == []
    begun = Drain(datacenter="fra", since_ms=NOW_MS, wait_ms=60_000)
    early = replace(BASE, interventions=Interventions(drains=(begun,)))
    assert refused(early), "clients still come"
    volume = Volume(
        id="db.fra.1@1", service="db", datacenter="fra", replica=1, generation=1, node="fra-n1"
    )
    holding = replace(drained(datacenter="fra"), volumes={volume.id: volume})
    ((about, why),) = refused(holding)
    assert about == "datacenter/fra"
    assert why.startswith("the replicas of xyz would begin with nothing")
    assert "db.fra.1@1" in why
    given_up = replace(volume, state=VolumeState.GIVEN_UP)
    elsewhere = replace(volume, id="db.ams.1@1", datacenter="ams", node="ams-n1")
    for other in (given_up, elsewhere):
        assert refused(replace(holding, volumes={other.id: other})) == []


def test_of_the_controllers_that_can_sign_one_stays() -> None:
    def left(*names: str) -> Platform:
        return replace(NETWORK, machines=controllers(*names))

    def refused(before: Platform, after: Platform, **until_ms: int) -> str:
        signing = {name.replace("_", "-"): NOW_MS + until for name, until in until_ms.items()}
        verdicts = judge_signers(before, after, signing, NOW_MS)
        assert all(each.about == "platform" for each in verdicts)
        return "".join(each.sentence for each in verdicts)

    both, ams = left("fra", "ams"), left("ams")
    assert refused(both, ams) == "", "none has said that it can"
    assert refused(both, both, fra_c1=1) == ""
    assert refused(both, ams, fra_c1=1).startswith("of the controllers only fra-c1 can sign")
    assert refused(both, ams, fra_c1=1, ams_c1=1) == ""
    assert refused(both, ams, fra_c1=1, ams_c1=0), "its authority has ended"
    assert refused(both, ams, fra_c1=0) == "", "it cannot, either"
    assert refused(ams, ams, fra_c1=1) == "", "it went before"


@pytest.mark.parametrize("contact", list(Contact))
def test_of_the_controllers_one_stays_that_is_in_contact(contact: Contact) -> None:
    """Else nobody would know the store, nor whom to add to it."""
    fra, ams = controllers("fra", "ams")
    plain = tuple(each for each in NETWORK.machines if not each.has(Role.CONTROLLER))
    machines = (*plain, fra, ams)
    view = MachineView(contact=contact, since_seconds=100)
    before = replace(
        BASE,
        platform=replace(NETWORK, machines=machines),
        machines={**BASE.machines, "ams-c1": view},
    )
    after = replace(before, platform=replace(NETWORK, machines=(*plain, ams)))
    verdicts = judge_removals(before, after, NOW_MS)
    refused = [each.sentence for each in verdicts if each.about == "platform"]
    assert bool(refused) is (contact is not Contact.PRESENT)
    assert all("only ams-c1 would stay" in sentence for sentence in refused)
