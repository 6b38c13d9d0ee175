"""Whether one more failure is survived, against what a walk over all machines finds."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.redundancy import Loss, Redundancy, Survival
from pltfrms.model.running.state import (
    AggregateStatus,
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    SessionStatus,
    Snapshot,
)
from pltfrms.planner.redundancy.verdict import redundancy
from pltfrms.specfile import load_platform
from tests.planner.networks import drain
from tests.strategies import make_allocation, make_service, make_spec

EXAMPLES = Path(__file__).parents[3] / "examples"
THREE = load_platform(EXAMPLES / "three-datacenters/platform.yaml")
SERVERS = load_platform(EXAMPLES / "three-servers/platform.yaml")
NOW_MS = 1_000_000_000
GONE = (Survival.NOT_SURVIVED, Survival.NOT_KNOWN)


def platform_where(
    platform: Platform,
    places: Mapping[str, str],
    contacts: Mapping[str, Contact] | None = None,
    silent: frozenset[str] = frozenset(),
) -> Snapshot:
    """Return a platform in which a service has instances: their names, and on which nodes.

    All else is well, but for `contacts`, and for edges that are `silent` to the outside.
    """
    allocations = {name: make_allocation(name, node) for name, node in places.items()}
    return Snapshot(
        revision=1,
        platform=platform,
        services={"web": make_service(make_spec())},
        allocations=allocations,
        statuses={
            machine.name: MachineStatus(
                machine=machine.name,
                instances=tuple(
                    InstanceStatus(allocation=name, phase=Phase.READY)
                    for name, node in places.items()
                    if node == machine.name
                ),
                sessions=tuple(
                    SessionStatus(
                        name=f"peer.{name}.ipv{family}",
                        up=machine.name not in silent,
                        exported=1,
                    )
                    for name in platform.session_names(machine.name)
                    for family in (4, 6)
                ),
                aggregates=tuple(
                    AggregateStatus(
                        prefix=str(each.prefix), announced=True, reason=Reason.LOCAL_SERVICE
                    )
                    for each in platform.aggregates
                ),
            )
            for machine in platform.machines
        },
        machines={
            machine.name: MachineView(
                contact=(contacts or {}).get(machine.name, Contact.PRESENT), since_seconds=99.0
            )
            for machine in platform.machines
        },
    )


def verdict(*args: object, **words: object) -> Redundancy:
    return redundancy(platform_where(*args, **words), NOW_MS)  # type: ignore[arg-type]


def lost(found: Redundancy, about: str = "service/web") -> set[tuple[str, str, str]]:
    """Return what something does not survive: (loss, what, `no` or `?`)."""
    return {
        (each.loss, each.what, "no" if each.survival is Survival.NOT_SURVIVED else "?")
        for each in found.weaknesses
        if each.about == about
    }


TWO = {"web.fra.1-1": "fra-n1", "web.ams.1-1": "ams-n2"}


def test_two_datacenters_that_answer_survive_everything() -> None:
    found = verdict(THREE, TWO)
    assert lost(found) == set()
    assert found.survival is Survival.SURVIVED
    assert found.by_subject["service/web"] is Survival.SURVIVED
    assert {each.about for each in found.weaknesses} <= {"datacenter/fra", "datacenter/ams"}


def test_one_instance_is_lost_with_its_node_and_its_datacenter() -> None:
    found = verdict(THREE, {"web.fra.1-1": "fra-n1"})
    assert found.survival is Survival.NOT_SURVIVED
    assert lost(found) == {
        ("instance", "web.fra.1-1", "no"),
        ("node", "fra-n1", "no"),
        ("datacenter", "fra", "no"),
    }


def test_a_datacenter_says_what_it_does_not_answer_itself_then() -> None:
    found = verdict(THREE, {**TWO, "web.fra.2-1": "fra-n2"})
    assert lost(found, "datacenter/fra") == set()
    assert lost(found, "datacenter/ams") == {
        ("instance", "web.ams.1-1", "no"),
        ("node", "ams-n2", "no"),
    }
    (one, _) = (each for each in found.weaknesses if each.about == "datacenter/ams")
    assert one.why == "it does not answer clients of web itself then"


def test_an_edge_without_a_second_is_named() -> None:
    found = verdict(
        THREE, TWO, silent=frozenset({"fra-e1", "fra-e2", "lon-e1", "lon-e2", "ams-e2"})
    )
    assert lost(found) == {("edge", "ams-e1", "no"), ("datacenter", "ams", "no")}
    assert lost(found, "aggregate/198.51.100.0/24") == {
        ("edge", "ams-e1", "no"),
        ("datacenter", "ams", "no"),
    }


def test_a_link_that_alone_leads_to_who_serves_is_named() -> None:
    """Only London announces, only Frankfurt serves, and Amsterdam's way round is cut off."""
    found = verdict(
        THREE,
        {"web.fra.1-1": "fra-n1", "web.fra.2-1": "fra-n2"},
        contacts={"ams-e1": Contact.LOST},
        silent=frozenset({"fra-e1", "fra-e2", "ams-e1", "ams-e2"}),
    )
    assert ("link", "lon-e1--fra-e2", "no") in lost(found)
    assert ("link", "ams-e1--lon-e2", "no") not in lost(found)
    assert ("edge", "fra-e2", "no") in lost(found)


def test_a_server_alone_in_its_datacenter_fails_as_one() -> None:
    found = verdict(SERVERS, {"web.fra.1-1": "fra1", "web.ams.1-1": "ams1"})
    assert found.survival is Survival.SURVIVED
    assert lost(found, "datacenter/fra") == {
        ("instance", "web.fra.1-1", "no"),
        ("edge", "fra1", "no"),
    }
    found = verdict(SERVERS, {"web.fra.1-1": "fra1"})
    assert ("edge", "fra1", "no") in lost(found)
    assert not {each for each in lost(found) if each[0] == "node"}


def test_what_nobody_knows_is_neither_survived_nor_not() -> None:
    found = verdict(THREE, TWO, contacts={"ams-n2": Contact.UNKNOWN})
    assert found.survival is Survival.NOT_KNOWN
    assert lost(found) == {
        ("instance", "web.fra.1-1", "?"),
        ("node", "fra-n1", "?"),
        ("datacenter", "fra", "?"),
    }
    nobody = {each.name: Contact.UNKNOWN for each in THREE.machines}
    found = verdict(THREE, TWO, contacts=nobody)
    assert found.survival is Survival.NOT_KNOWN
    assert ("nothing", "", "?") in lost(found)


def test_who_is_not_answered_now_is_told_that_alone() -> None:
    found = verdict(THREE, {})
    assert lost(found) == {("nothing", "", "no")}


def test_a_majority_of_controllers_must_be_left() -> None:
    assert lost(verdict(THREE, TWO), "store") == set()
    two = verdict(THREE, TWO, contacts={"ams-c1": Contact.LOST})
    assert two.survival is Survival.NOT_SURVIVED
    assert lost(two, "store") == {
        ("controller", "", "no"),
        ("datacenter", "fra", "no"),
        ("datacenter", "lon", "no"),
    }
    one = verdict(THREE, TWO, contacts={"ams-c1": Contact.LOST, "fra-c1": Contact.UNKNOWN})
    assert lost(one, "store") == {("nothing", "", "?")}


def test_a_ring_survives_each_link_and_a_line_does_not() -> None:
    assert lost(verdict(THREE, TWO), "backbone") == set()
    line = replace(THREE, links=THREE.links[:2])
    assert {each for each in lost(verdict(line, TWO), "backbone") if each[0] == "link"} == {
        ("link", "fra-e1--ams-e2", "no"),
        ("link", "ams-e1--lon-e2", "no"),
    }
    assert verdict(line, TWO).survival is Survival.SURVIVED


def test_a_drained_datacenter_does_not_count_as_announcing() -> None:
    snapshot = platform_where(THREE, TWO)
    snapshot = replace(snapshot, interventions=drain(datacenter="fra"), now_ms=NOW_MS)
    found = redundancy(snapshot, NOW_MS)
    assert found.by_subject["aggregate/198.51.100.0/24"] is Survival.SURVIVED
    assert "datacenter/fra" not in found.by_subject


# ---- against a walk over all machines ------------------------------------------------------


def neighbours(snapshot: Snapshot, loss: Loss, what: str) -> dict[str, set[str]]:
    """Return who is next to whom of the machines in contact, without what is lost."""
    platform = snapshot.platform
    alive = [
        each
        for each in platform.machines
        if snapshot.contact(each.name) is Contact.PRESENT
        and each.name != what
        and not (loss is Loss.DATACENTER and each.datacenter == what)
    ]
    near: dict[str, set[str]] = {each.name: set() for each in alive}
    for one, other in (pair for each in alive for pair in ((each, two) for two in alive)):
        fabrics = [
            fabric
            for fabric in platform.datacenter(one.datacenter).fabrics
            if f"{one.datacenter}/{fabric}" != what
        ]
        if one.datacenter == other.datacenter and fabrics:
            near[one.name].add(other.name)
    for link in platform.links:
        if link.name != what and {link.a, link.b} <= near.keys():
            near[link.a].add(link.b)
            near[link.b].add(link.a)
    return near


def walked(snapshot: Snapshot, near: Mapping[str, set[str]], edge: str) -> set[str]:
    """Return whom packets from an edge reach; only edges pass them on."""
    seen, ahead = {edge}, [edge]
    while ahead:
        place = ahead.pop()
        if snapshot.platform.machine(place).has(Role.EDGE):
            ahead += sorted(near[place] - seen)
            seen |= near[place]
    return seen


def is_answered(snapshot: Snapshot, silent: frozenset[str], loss: Loss, what: str) -> bool:
    near = neighbours(snapshot, loss, what)
    edges = [
        name for name in near if snapshot.platform.sessions_of(name) and name not in silent
    ]
    serving = {
        allocation.node
        for name, allocation in snapshot.allocations.items()
        if name != what and allocation.node in near
    }
    return any(walked(snapshot, near, edge) & serving for edge in edges)


def everything(snapshot: Snapshot) -> Iterator[tuple[Loss, str]]:
    platform = snapshot.platform
    for machine in platform.machines:
        if machine.role is not Role.CONTROLLER:
            yield Loss(machine.role), machine.name
    for datacenter in platform.datacenters:
        yield Loss.DATACENTER, datacenter.name
        yield from ((Loss.FABRIC, f"{datacenter.name}/{one}") for one in datacenter.fabrics)
    yield from ((Loss.LINK, link.name) for link in platform.links)
    yield from ((Loss.INSTANCE, name) for name in snapshot.allocations)


def some_platform(random: Random) -> Platform:
    """Return one of the examples with fewer links and fabrics."""
    platform = random.choice([THREE, THREE, SERVERS])
    kept = tuple(link for link in platform.links if random.random() < 0.8)
    fabrics = tuple(
        replace(each, fabrics=each.fabrics[: random.choice([1, 2])])
        for each in platform.datacenters
    )
    return replace(platform, links=kept, datacenters=fabrics)


@given(st.integers(0, 2**32))
def test_the_verdict_is_what_a_walk_over_all_machines_finds(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - of tests
    platform = some_platform(random)
    nodes = [each.name for each in platform.machines_of(Role.NODE)]
    edges = [each.name for each in platform.machines_of(Role.EDGE)]
    places = {
        f"web.fra.{number}-1": random.choice(nodes)
        for number in range(random.choice([0, 1, 2, 3]))
    }
    contacts = {each.name: Contact.LOST for each in platform.machines if random.random() < 0.15}
    silent = frozenset(edge for edge in edges if random.random() < 0.4)
    snapshot = platform_where(platform, places, contacts, silent)
    found = lost(redundancy(snapshot, NOW_MS))
    if not is_answered(snapshot, silent, Loss.NOTHING, ""):
        assert found == {("nothing", "", "no")}
        return
    assert found == {
        (loss, what, "no")
        for loss, what in everything(snapshot)
        if not is_answered(snapshot, silent, loss, what)
    }


def test_what_is_not_survived_comes_before_what_is_not_known() -> None:
    found = verdict(THREE, TWO, contacts={"ams-n2": Contact.UNKNOWN, "lon-c1": Contact.LOST})
    order = [GONE.index(each.survival) for each in found.weaknesses]
    assert order == sorted(order)
    assert set(order) == {0, 1}
