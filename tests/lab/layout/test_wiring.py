import dataclasses
import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.lab.layout.assembly import make_parts
from pltfrms.lab.layout.wiring import make_wiring
from pltfrms.lab.parts import LabParts, SegmentKind, Wiring
from pltfrms.model.network.lab import Lab, LabEyeball, LabIxp, LabTransit
from pltfrms.model.network.links import LinkKind
from pltfrms.model.network.topology import Role
from pltfrms.specfile import load_lab, load_platform

EXAMPLE = Path(__file__).parents[3] / "examples" / "three-datacenters"
MIXED = EXAMPLE.parent / "mixed-internet"


PLATFORM = load_platform(EXAMPLE / "platform.yaml")


@pytest.fixture(scope="module")
def parts() -> LabParts:
    return make_parts(PLATFORM, load_lab(EXAMPLE / "lab.yaml", PLATFORM), "text")


@pytest.fixture(scope="module")
def wiring(parts: LabParts) -> Wiring:
    return parts.wiring


def ports(wiring: Wiring, name: str) -> list[tuple[str, str, int]]:
    segment = next(one for one in wiring.segments if one.name == name)
    return [(port.machine, port.interface, port.delay_us) for port in segment.ports]


def test_each_kind_of_segment_is_wired_as_the_example_says(wiring: Wiring) -> None:
    assert ports(wiring, "link/fra-e1--ams-e2") == [
        ("fra-e1", "bb-ams-e2", 5_000),
        ("ams-e2", "bb-fra-e1", 0),
    ]
    assert ports(wiring, "link/ams-e2--transit1") == [
        ("ams-e2", "x-transit1", 9_000),
        ("transit1", "to-ams-e2", 0),
    ]
    assert ports(wiring, "link/transit1--transit2") == [
        ("transit1", "to-transit2", 4_000),
        ("transit2", "to-transit1", 0),
    ]
    assert ports(wiring, "link/berlin--transit2") == [
        ("berlin", "to-transit2", 12_000),
        ("transit2", "to-berlin", 0),
    ]
    assert ports(wiring, "lan/ixp1") == [
        ("ixp1", "lan-ixp1", 0),
        ("lon-e1", "x-ixp1", 1_000),
        ("lon-e2", "x-ixp1", 1_000),
        ("fra-e2", "x-ixp1", 6_000),
        ("reading", "lan-ixp1", 2_000),
    ]
    members = [machine for machine, _, _ in ports(wiring, "fabric/ams/b")]
    assert members == ["ams-e1", "ams-e2", "ams-n1", "ams-n2", "ams-n3", "ams-c1"]


def test_inner_segments_have_room_for_another_header(wiring: Wiring) -> None:
    mtus = {segment.name: segment.mtu for segment in wiring.segments}
    assert mtus["fabric/fra/a"] == mtus["link/fra-e1--ams-e2"] == 1600
    assert mtus["lan/ixp1"] == mtus["link/fra-e1--transit1"] == 1500


def test_no_interface_is_plugged_twice_and_names_fit_the_kernel(wiring: Wiring) -> None:
    keys = [port.key for segment in wiring.segments for port in segment.ports]
    assert len(keys) == len(set(keys))
    assert all(len(interface) <= 15 for _, interface in keys)


def test_every_machine_has_parts_and_every_address_an_interface(parts: LabParts) -> None:
    assert [one.name for one in parts.machines] == [one.name for one in parts.wiring.machines]
    for machine in parts.machines:
        plugged = {port.interface for _, port in parts.wiring.ports_of(machine.name)} | {"lo"}
        named = {line.split()[2] for line in machine.network if line.startswith("link set")}
        assert named <= plugged


def test_machines_run_what_their_role_says(parts: LabParts) -> None:
    units = {one.name: [unit.name for unit in one.units] for one in parts.machines}
    assert units["fra-n1"] == units["fra-e1"] == ["agent", "bird"]
    assert units["fra-c1"] == ["agent", "bird", "etcd", "controller"]
    assert units["transit1"] == units["ixp1"] == units["berlin"] == ["bird"]


@pytest.fixture(scope="module")
def mixed() -> LabParts:
    platform = load_platform(MIXED / "platform.yaml")
    return make_parts(platform, load_lab(MIXED / "lab.yaml", platform), "text")


def test_neighbours_have_lines_and_members_have_ports(mixed: LabParts) -> None:
    assert ports(mixed.wiring, "link/ams-e1--customer1") == [
        ("ams-e1", "x-customer1", 2_000),
        ("customer1", "to-ams-e1", 0),
    ]
    assert ports(mixed.wiring, "lan/ixp1") == [
        ("ixp1", "lan-ixp1", 0),
        ("fra-e2", "x-ixp1", 1_000),
        ("mainz", "lan-ixp1", 1_000),
        ("member1", "lan-ixp1", 0),
    ]
    keys = [port.key for segment in mixed.wiring.segments for port in segment.ports]
    assert len(keys) == len(set(keys))


def test_each_machine_runs_the_software_that_it_is_said_to_have(mixed: LabParts) -> None:
    units = {one.name: [unit.name for unit in one.units] for one in mixed.machines}
    assert units["transit1"] == units["pni1"] == ["zebra", "bfdd", "bgpd"]
    assert units["transit2"] == units["customer1"] == units["member1"] == ["bird"]
    assert units["ixp1"] == ["openbgpd"]
    assert units["ixp2"] == ["gobgpd"]


def test_controllers_that_are_caches_answer_routers_with_the_roas(mixed: LabParts) -> None:
    units = {one.name: [unit.name for unit in one.units] for one in mixed.machines}
    caches = [name for name, names in units.items() if "stayrtr" in names]
    assert caches == ["fra-c1", "ams-c1"]
    text = dict(mixed.machine("fra-c1").files)["/etc/pltfrms/roas.json"]
    assert json.loads(text)["roas"][0] == {
        "prefix": "198.51.100.0/24",
        "maxLength": 24,
        "asn": "AS64500",
    }


@given(
    st.lists(st.integers(0, 3), max_size=4, unique=True),
    st.lists(st.integers(0, 2), max_size=3, unique=True),
)
def test_an_eyeball_gets_one_port_per_upstream(transits: list[int], ixps: list[int]) -> None:
    upstreams = {f"transit{n}": n for n in transits} | {f"ixp{n}": n for n in ixps}
    lab = Lab(
        transits=tuple(LabTransit(name=f"transit{n}", asn=64600 + n) for n in range(4)),
        ixps=tuple(LabIxp(name=f"ixp{n}", asn=64700 + n) for n in range(3)),
        eyeballs=(
            LabEyeball(name="eye", asn=64800, prefixes=(), upstreams=upstreams, nearest="fra"),
        ),
    )
    wiring = make_wiring(PLATFORM, lab)
    mine = wiring.ports_of("eye")
    far_ends = {other.machine for segment, _ in mine for other in segment.ports} - {"eye"}
    assert len(mine) == len(upstreams)
    assert set(upstreams) <= far_ends
    assert sorted(port.delay_us for _, port in mine) == sorted(upstreams.values())
    cables = [segment for segment, _ in mine if segment.kind is SegmentKind.LINK]
    assert all(len(segment.ports) == 2 for segment in cables)


def test_a_tunnel_has_a_wire_between_its_endpoints_and_a_secret() -> None:
    link, *others = PLATFORM.links
    tunnel = dataclasses.replace(
        link,
        kind=LinkKind.WIREGUARD,
        endpoints=(ip_address("2001:db8:f::1"), ip_address("2001:db8:f::2")),
        mtu=1480,
    )
    platform = dataclasses.replace(PLATFORM, links=(tunnel, *others))
    parts = make_parts(platform, load_lab(EXAMPLE / "lab.yaml", PLATFORM), "text")
    assert ports(parts.wiring, "link/fra-e1--ams-e2") == [
        ("fra-e1", "to-ams-e2", 5_000),
        ("ams-e2", "to-fra-e1", 0),
    ]
    wire = next(one for one in parts.wiring.segments if one.name == "link/fra-e1--ams-e2")
    assert wire.mtu == 1480
    here, there = parts.machine("fra-e1"), parts.machine("ams-e2")
    assert here.network == (
        "link set to-ams-e2 up",
        "address add 2001:db8:f::1 peer 2001:db8:f::2/128 dev to-ams-e2 nodad",
    )
    secret = dict(here.files)["/etc/pltfrms/backbone.secret"]
    assert secret == dict(there.files)["/etc/pltfrms/backbone.secret"]
    assert len(secret) >= 32
    assert parts.machine("fra-e2").network == ()


def test_store_controllers_and_agents_do_not_wait_for_what_else_a_busy_machine_does(
    parts: LabParts,
) -> None:
    for machine in PLATFORM.managed:
        units = {unit.name: unit for unit in parts.machine(machine.name).units}
        assert units["agent"].nice < 0
        if machine.role is Role.CONTROLLER:
            assert units["etcd"].nice < 0
            assert units["controller"].nice < 0
