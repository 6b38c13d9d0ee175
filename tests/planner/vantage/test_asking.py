"""Which vantage point asks what: bounded, however many edges and services there are."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.network.vantage import VantageSpec
from pltfrms.model.services.probes import ProbeHttp
from pltfrms.model.services.service import (
    PortClients,
    Probe,
    ProbeKind,
    Scale,
    Service,
    ServiceSpec,
)
from pltfrms.planner.vantage.asking import (
    ASKERS,
    asks_from,
    circle_of,
    questions_about,
    questions_of,
)
from tests.strategies import make_platform, make_service, make_spec

PLATFORM = make_platform({"fra": 1, "ams": 1, "lon": 1})


def with_edges(count: int, per_round: int = 0) -> Platform:
    """Return a platform with so many edges in each of three datacenters."""
    edges = [
        Machine(name=f"{site}-e{number}", datacenter=site, role=Role.EDGE, id=number)
        for site in ("fra", "ams", "lon")
        for number in range(2, count + 1)
    ]
    spec = VantageSpec(per_round=per_round, outside=("berlin",))
    return replace(PLATFORM, machines=(*PLATFORM.machines, *edges), vantage=spec)


def some_services(count: int) -> dict[str, Service]:
    usual = make_service(make_spec())
    made = [
        replace(
            usual,
            spec=replace(usual.spec, name=f"s{number}"),
            prefix4=IPv4Network(f"198.51.{100 + number // 256}.{number % 256}/32"),
            prefix6=IPv6Network(f"2001:db8:100::{number:x}/128"),
        )
        for number in range(1, count + 1)
    ]
    return {each.name: each for each in made}


def asked_by(platform: Platform, services: dict[str, Service]) -> dict[str, list[str]]:
    """Return the questions of each machine."""
    circle = circle_of(platform, services)
    return {
        each.name: [
            f"{question.service} {question.address}"
            for question in questions_of(circle, each.name).questions
        ]
        for each in platform.machines
    }


def ports_of(**said: object) -> list[tuple[str, int]]:
    spec = replace(make_spec(), **said)  # type: ignore[arg-type]
    found = questions_about(make_service(spec))
    return [(each.probe.kind, each.probe.port) for each in found if each.address.version == 4]


def test_questions_never_are_the_load_by_which_a_service_is_scaled() -> None:
    def scaled(platform: Platform, connections: int | None) -> dict[str, list[str]]:
        scale = Scale(min=1, max=9, cpu=0.7, connections=connections)
        service = make_service(replace(make_spec(), scale=scale))
        return asked_by(platform, {"web": service})

    assert len(scaled(PLATFORM, None)["fra-e1"]) == 2
    assert len(scaled(PLATFORM, 10)["fra-e1"]) == 2  # three edges: 0.6 connections a second
    often = replace(PLATFORM, vantage=VantageSpec(interval_ms=5000))
    assert scaled(often, 10)["fra-e1"] == []  # 1.2 of them
    assert len(scaled(often, 12)["fra-e1"]) == 2
    outside = replace(PLATFORM, vantage=VantageSpec(outside=("a", "b", "c")))
    assert scaled(outside, 11)["fra-e1"] == []
    assert scaled(with_edges(20), 60)["fra-e1"] == []
    assert len(scaled(with_edges(20), 64)["fra-e1"]) == 2  # 31 machines and one outside


def test_edges_ask_a_service_at_both_addresses() -> None:
    web = {"web": make_service(make_spec())}
    asked = asked_by(PLATFORM, web)
    both = ["web 198.51.100.1", "web 2001:db8:100::1"]
    assert asked["fra-e1"] == asked["ams-e1"] == asked["lon-e1"] == both
    assert asked["fra-n1"] == asked["fra-c1"] == []


def test_what_a_client_can_ask_is_asked() -> None:
    http, tcp = ("http", 80), ("tcp", 443)
    assert ports_of() == [http]
    assert ports_of(ports=("80/tcp", "443/tcp", "53/udp")) == [http, tcp]
    assert ports_of(ports=("443/tcp",)) == [tcp]
    assert ports_of(probe=Probe(kind=ProbeKind.EXEC, command=("ok",))) == []
    closed = (PortClients(port="80/tcp", clients=("192.0.2.0/24",)),)
    assert ports_of(ports=("80/tcp", "443/tcp"), clients=closed) == [tcp]


def test_what_a_probe_says_that_others_must_not_know_stays_here() -> None:
    secret = ProbeHttp(headers=(("Authorization", "Basic cGFzcw=="),))
    probe = Probe(kind=ProbeKind.HTTP, port=80, http=secret)
    assert ports_of(probe=probe, ports=("80/tcp",)) == [("tcp", 80)]


def test_a_spec_chooses_who_asks_and_whom() -> None:
    services = some_services(3)
    some = VantageSpec(services=("s2",), datacenters=("ams",), nodes=True)
    asked = asked_by(replace(PLATFORM, vantage=some), services)
    assert {name for name, questions in asked.items() if questions} == {"ams-e1", "ams-n1"}
    assert {question.split()[0] for question in asked["ams-n1"]} == {"s2"}
    off = replace(PLATFORM, vantage=VantageSpec(off=True))
    assert not any(asks_from(off, machine) for machine in off.machines)


def test_who_is_outside_asks_what_is_named_and_who_is_nobody_nothing() -> None:
    circle = circle_of(with_edges(1), some_services(3))
    assert len(questions_of(circle, "berlin").questions) == 6
    assert questions_of(circle, "madrid").questions == ()


def test_two_hundred_edges_and_five_hundred_services_stay_within_bounds() -> None:
    platform, services = with_edges(66), some_services(500)
    asked = asked_by(platform, services)
    counts = Counter(question for questions in asked.values() for question in questions)
    assert max(map(len, asked.values())) == 60
    assert len(counts) == 1000  # all of them
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(counts.values()) == 198 * 60


def test_one_service_is_not_asked_by_hundreds() -> None:
    asked = asked_by(with_edges(66), some_services(1))
    askers = [name for name, questions in asked.items() if questions]
    assert len(askers) == ASKERS
    assert Counter(name[:3] for name in askers) == {"fra": 10, "ams": 10, "lon": 10}


def test_what_is_told_has_a_fingerprint_of_its_own() -> None:
    def told(platform: Platform, services: int) -> str:
        return questions_of(circle_of(platform, some_services(services)), "fra-e1").made_of

    first = told(PLATFORM, 2)
    assert told(PLATFORM, 2) == first
    assert told(PLATFORM, 3) != first
    assert told(replace(PLATFORM, vantage=VantageSpec(interval_ms=1000)), 2) != first


@given(edges=st.integers(1, 12), services=st.integers(0, 30), per_round=st.integers(1, 70))
def test_nobody_asks_more_than_his_budget_and_nothing_is_left_out_that_fits(
    edges: int, services: int, per_round: int
) -> None:
    platform = with_edges(edges, per_round)
    asked = asked_by(platform, some_services(services))
    assert all(len(set(each)) == len(each) <= per_round for each in asked.values())
    counts = Counter(question for questions in asked.values() for question in questions)
    assert len(counts) == min(2 * services, 3 * edges * per_round)
    assert max(counts.values(), default=0) <= ASKERS + 1


@pytest.mark.parametrize("kind", [ProbeKind.UDP, ProbeKind.DNS])
def test_what_is_not_asked_by_tcp_is_not_asked(kind: ProbeKind) -> None:
    spec: ServiceSpec = replace(make_spec(), probe=Probe(kind=kind, port=53))
    assert questions_about(make_service(spec)) == []
