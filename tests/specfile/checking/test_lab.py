"""Mistakes in the networks around a platform of every kind of peer."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from pltfrms.model.network.lab import Daemon, Lab, LabRoa
from pltfrms.model.network.peering import OriginValidation
from pltfrms.model.network.topology import Platform
from pltfrms.specfile import load_lab, load_platform
from pltfrms.specfile.checking.labs.lab import lab_findings

EXAMPLE = Path("examples/mixed-internet")
PLATFORM = load_platform(EXAMPLE / "platform.yaml")
LAB = load_lab(EXAMPLE / "lab.yaml", PLATFORM)


def said(lab: Lab, platform: Platform = PLATFORM) -> list[str]:
    return [
        f"{'.'.join(map(str, one.where))}: {one.what}" for one in lab_findings(lab, platform)
    ]


def test_the_example_is_right() -> None:
    assert said(LAB) == []


def transit(daemon: Daemon) -> Lab:
    first, *others = LAB.transits
    return replace(LAB, transits=(replace(first, daemon=daemon), *others))


def ixp(daemon: Daemon) -> Lab:
    first, *others = LAB.ixps
    return replace(LAB, ixps=(replace(first, daemon=daemon), *others))


def network(machine: str, **changes: object) -> Lab:
    return replace(
        LAB,
        networks=tuple(
            replace(one, **changes) if one.name == machine else one  # type: ignore[arg-type] # by test
            for one in LAB.networks
        ),
    )


def roa(max_length: int) -> Lab:
    return replace(
        LAB, roas=(LabRoa(prefix=LAB.roas[0].prefix, asn=64500, max_length=max_length),)
    )


@pytest.mark.parametrize(
    ("lab", "finding"),
    [
        (lambda: transit(Daemon.GOBGP), "transits.transit1.daemon: gobgp puts no route into"),
        (lambda: transit(Daemon.OPENBGPD), "daemon: openbgpd has no BFD, and the session with"),
        (lambda: ixp(Daemon.FRR), "ixps.ixp1.daemon: frr is no route server"),
        (lambda: ixp(Daemon.GOBGP), "ixps.ixp1.daemon: gobgp says no BGP role"),
        (
            lambda: network("customer1", daemon=Daemon.FRR),
            "networks.customer1.daemon: the BFD of frr finds nobody where there is gtsm",
        ),
        (lambda: network("pni1", member_of="ixp1"), "a pni has lines of its own to us"),
        (lambda: network("member1", member_of=""), "member_of: there is no ixp ''"),
        (lambda: network("member1", member_of="ixp2"), "is not in the network of ixp2"),
        (lambda: network("member1", delays_us={"fra-e2": 5}), "sessions have none"),
        (lambda: network("pni1", asn=64899), "64899 is not its ASN in the platform (64813)"),
        (lambda: network("pni1", delays_us={"fra-e1": 5}), "there is no session of pni1 with"),
        (lambda: network("pni1", name="pni2"), "no customer, pni or member of an ixp 'pni2'"),
        (lambda: replace(LAB, networks=LAB.networks[1:]), "networks: the peer member1 of the"),
        (
            lambda: network("pni1", prefixes=LAB.eyeballs[0].prefixes),
            "198.18.1.0/24 overlaps 198.18.1.0/24 of berlin",
        ),
        (lambda: roa(23), "roas.0.max_length: 23 is outside 24..32"),
    ],
)
def test_a_mistake_is_found(lab: Callable[[], Lab], finding: str) -> None:
    found = said(lab())
    assert any(finding in one for one in found), found


def test_roas_that_nobody_asks_for_are_found() -> None:
    platform = replace(PLATFORM, origin_validation=OriginValidation())
    assert said(LAB, platform) == [
        "rpki.roas: no machine of the platform is a cache, so nobody asks for them"
    ]


def test_two_route_servers_need_bird_without_bfd() -> None:
    def platform(theirs: str, *, bfd: bool = False) -> Platform:
        ixp1 = next(peer for peer in PLATFORM.peers if peer.name == "ixp1")
        _, *others = ixp1.sessions[0].theirs
        second = replace(ixp1.sessions[0], theirs=(ip_address(theirs), *others), bfd=bfd)
        both = replace(ixp1, sessions=(*ixp1.sessions, second))
        return replace(PLATFORM, peers=tuple(both if p is ixp1 else p for p in PLATFORM.peers))

    bird, where = ixp(Daemon.BIRD), "internet.ixps.ixp1.daemon:"
    assert said(LAB, platform("192.0.2.1")) == []
    assert said(LAB, platform("192.0.2.2")) == [
        f"{where} openbgpd is one route server, and ixp1 has several addresses"
    ]
    assert said(bird, platform("192.0.2.2")) == []
    assert said(bird, platform("192.0.2.1", bfd=True)) == []
    assert said(bird, platform("192.0.2.2", bfd=True)) == [
        f"{where} bird has no BFD with a neighbour of several addresses of ixp1"
    ]


def test_two_neighbours_behind_one_port_are_found() -> None:
    platform = replace(
        PLATFORM,
        peers=tuple(
            replace(
                peer,
                sessions=tuple(
                    replace(one, interface="eth0") if one.edge == "fra-e1" else one
                    for one in peer.sessions
                ),
            )
            for peer in PLATFORM.peers
        ),
    )
    assert said(LAB, platform) == [
        "internet.networks.customer1: eth0 of fra-e1 already leads to transit1"
    ]
