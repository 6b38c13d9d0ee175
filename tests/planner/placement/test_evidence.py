"""What edges say decides whether a machine without heartbeats is lost."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.topology import FurtherRole, Machine, Role
from pltfrms.model.running.state import MachineStatus, SessionStatus
from pltfrms.planner.placement.evidence import Evidence, judge
from tests.strategies import make_platform

_BASE = make_platform({"fra": 1, "ams": 1})
EDGES = ("fra-e1", "fra-e2", "fra-e3")
PLATFORM = replace(
    _BASE,
    machines=(
        *_BASE.machines,
        Machine(name="fra-e2", datacenter="fra", role=Role.EDGE, id=2),
        Machine(name="fra-e3", datacenter="fra", role=Role.EDGE, id=3),
    ),
)
NODE = "fra-n1"
SAYS = ("hears", "hears, old", "misses", "vanished", "nothing", "old", "no status")


def status(edge: str, says: str) -> MachineStatus:
    up = says.startswith("hears")
    return MachineStatus(
        machine=edge,
        sessions=(
            SessionStatus(name=f"node.{NODE}.a", up=False),
            SessionStatus(name=f"node.{NODE}.b", up=up),
            SessionStatus(name="node.fra-n12.a", up=True),
            SessionStatus(name=f"peer.{NODE}.ipv4", up=True),
        ),
        missed=None if says.endswith("old") else (NODE,) * (says in {"misses", "vanished"}),
        vanished=(NODE,) * (says == "vanished"),
    )


def evidence(present: dict[str, str], away: dict[str, str] | None = None) -> Evidence:
    said = {**present, **(away or {})}
    statuses = {edge: status(edge, says) for edge, says in said.items() if says != "no status"}
    return judge(PLATFORM, statuses, present.keys(), [NODE])[NODE]


def test_a_node_is_heard_by_its_whole_name_whatever_dots_are_in_it() -> None:
    name = "node1.fra1.example.net"
    machines = tuple(
        replace(each, name=name) if each.name == NODE else each for each in PLATFORM.machines
    )
    heard = MachineStatus(
        machine=EDGES[0], sessions=(SessionStatus(name=f"node.{name}.a", up=True),)
    )
    said = judge(
        replace(PLATFORM, machines=machines), {EDGES[0]: heard}, {EDGES[0]: None}.keys(), [name]
    )
    assert EDGES[0] in said[name].lives


edges_say = st.dictionaries(st.sampled_from(EDGES), st.sampled_from(SAYS))


@given(present=edges_say, away=edges_say)
def test_what_an_edge_out_of_contact_said_counts_for_nothing(
    present: dict[str, str], away: dict[str, str]
) -> None:
    away = {edge: says for edge, says in away.items() if edge not in present}
    assert evidence(present, away) == evidence(present)


@given(present=edges_say, hearer=st.sampled_from(EDGES), old=st.booleans())
def test_who_is_heard_by_one_edge_is_never_lost(
    present: dict[str, str], hearer: str, *, old: bool
) -> None:
    found = evidence({**present, hearer: "hears, old" if old else "hears"})
    assert hearer in found.lives
    assert found.why_not_lost
    assert not found.vanished


@given(present=edges_say)
def test_lost_takes_an_edge_in_contact_that_does_not_hear_it(present: dict[str, str]) -> None:
    says = set(present.values())
    found = evidence(present)
    hears = bool(says & {"hears", "hears, old"})
    misses = bool(says & {"misses", "vanished", "old"})
    assert bool(found.why_not_lost) == (hears or not misses)
    assert found.vanished == (says == {"vanished"})
    assert not (found.vanished and found.why_not_lost)


@given(present=edges_say, more=st.sampled_from(("nothing", "no status")))
def test_an_edge_that_says_nothing_changes_nothing_but_the_haste(
    present: dict[str, str], more: str
) -> None:
    others = {edge: says for edge, says in present.items() if edge != "fra-e3"}
    with_it, without = evidence({**others, "fra-e3": more}), evidence(others)
    assert bool(with_it.why_not_lost) == bool(without.why_not_lost)
    assert not with_it.vanished


def test_a_server_that_misses_all_other_sites_is_no_witness_against_any() -> None:
    def found(sites: list[str], missed: dict[str, tuple[str, ...]]) -> Evidence:
        base = make_platform(dict.fromkeys(sites, 0))
        servers = tuple(
            replace(
                machine,
                name=f"{machine.datacenter}1",
                further=(FurtherRole(role=Role.NODE, id=1),),
            )
            for machine in base.machines
            if machine.role is Role.EDGE
        )
        statuses = {
            name: MachineStatus(
                machine=name,
                sessions=tuple(
                    SessionStatus(name=f"edge.{site}1", up=True)
                    for site in sites
                    if f"{site}1" != name
                ),
                missed=missed.get(name, ()),
            )
            for name in missed
        }
        platform = replace(base, machines=servers)
        return judge(platform, statuses, missed.keys(), ["fra1"])["fra1"]

    three = ["fra", "ams", "lon"]
    cut_off = found(three, {"ams1": ("fra1", "lon1")})
    assert cut_off.unknown == "edge ams1 cannot say (yet) if it lives"
    assert not found(three, {"ams1": ("fra1",), "lon1": ("fra1",)}).why_not_lost
    assert not found(three, {"ams1": ("fra1", "lon1"), "lon1": ("fra1",)}).why_not_lost
    assert not found(["fra", "ams"], {"ams1": ("fra1",)}).why_not_lost, "of two, nobody knows"


def test_edges_that_do_not_say_what_they_miss_leave_it_to_heartbeats() -> None:
    assert evidence({"fra-e1": "old", "fra-e2": "old"}) == Evidence(alone=True)
    assert not evidence({"fra-e1": "old", "fra-e2": "misses"}).alone


def test_the_reason_is_a_sentence() -> None:
    assert evidence({"fra-e1": "hears"}).lives == "edge fra-e1 still has a session with it"
    both = evidence({"fra-e1": "hears", "fra-e2": "hears"})
    assert both.lives == "edges fra-e1, fra-e2 still have a session with it"
    assert evidence({}).unknown.startswith("no edge of fra is in contact")
    assert evidence({"fra-e1": "nothing"}).unknown == "edge fra-e1 cannot say (yet) if it lives"


def test_machines_without_workload_and_datacenters_without_an_edge_go_by_heartbeats() -> None:
    names = ["fra-e1", "fra-c1", "ams-n1", "gone"]
    external = tuple(
        replace(machine, external=True) if machine.name == "ams-e1" else machine
        for machine in PLATFORM.machines
    )
    found = judge(replace(PLATFORM, machines=external), {}, {"fra-e2"}, names)
    idle = Evidence(alone=True, idle=True)
    assert found == {"fra-e1": idle, "fra-c1": idle, "ams-n1": Evidence(alone=True)}
