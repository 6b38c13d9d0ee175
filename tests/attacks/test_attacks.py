"""What a neighbour may try against us, and what must come of it: nothing, with a reason."""

import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pltfrms.model.network.peering import Reject
from tests.attacks.world import AGGREGATES, OUR_ASN, RUDE, VICTIM, World, world
from tests.render.namespaces import eventually

pytestmark = pytest.mark.root
_LEAKED = f"peer.{RUDE}.ipv4"
_LONG = " ".join(["64601"] * 70)


class Attack(NamedTuple):
    """Somebody announces something that we must refuse, for this reason."""

    speaker: str
    prefix: str
    path: str
    reject: Reject
    more: str = ""


ATTACKS = {
    "our own prefix": Attack("transit1", AGGREGATES[0], "64601 64666", Reject.OURS),
    "our own IPv6 prefix": Attack("transit1", AGGREGATES[1], "64601 64666", Reject.OURS),
    "our own prefix at an IXP": Attack("ixp1", AGGREGATES[0], "64777", Reject.OURS),
    "our own prefix by a customer": Attack("customer1", AGGREGATES[0], "64901", Reject.OURS),
    "a part of our prefix": Attack("transit1", "198.51.100.128/25", "64601", Reject.LENGTH),
    "a default route": Attack("transit1", "0.0.0.0/0", "64601", Reject.LENGTH),
    "an IPv6 default route": Attack("ixp1", "::/0", "64777", Reject.LENGTH),
    "our infrastructure": Attack("transit1", "10.1.0.0/16", "64601", Reject.BOGON),
    "shared address space": Attack("transit1", "100.64.0.0/10", "64601", Reject.BOGON),
    "private addresses": Attack("pni1", "192.168.4.0/24", "64801", Reject.BOGON),
    "unique local addresses": Attack("transit1", "fd12:3456::/32", "64601", Reject.BOGON),
    "a /25": Attack("transit1", "45.12.0.0/25", "64601 64666", Reject.LENGTH),
    "a /49": Attack("transit1", "2a0c:2:3::/49", "64601 64666", Reject.LENGTH),
    "a hijack that RPKI knows": Attack("transit1", VICTIM, "64601 64999", Reject.RPKI_INVALID),
    "a part of what RPKI knows": Attack(
        "transit1", "45.10.7.0/24", "64601 64666", Reject.RPKI_INVALID
    ),
    "a transit's route at an IXP": Attack(
        "ixp1", "45.13.0.0/16", "64777 64602 64666", Reject.TRANSIT_IN_PATH
    ),
    "a transit's route at a PNI": Attack(
        "pni1", "45.14.0.0/16", "64801 64601 64666", Reject.TRANSIT_IN_PATH
    ),
    "a private ASN in the path": Attack(
        "transit1", "45.15.0.0/16", "64601 4200000001 64666", Reject.PRIVATE_ASN
    ),
    "AS_TRANS in the path": Attack(
        "transit1", "45.16.0.0/16", "64601 23456 64666", Reject.PRIVATE_ASN
    ),
    "a path that is too long": Attack("transit1", "45.17.0.0/16", _LONG, Reject.PATH_LENGTH),
    "a path with a set": Attack(
        "transit1", "45.18.0.0/16", "64601 ( 64666 64667 )", Reject.AS_SET
    ),
    "foreign space by a customer": Attack(
        "customer1", "45.19.0.0/16", "64901", Reject.NOT_ALLOWED
    ),
    "a foreign origin by a customer": Attack(
        "customer1", "45.20.1.0/24", "64901 64666", Reject.ORIGIN_ASN
    ),
    "a blackhole for foreign space": Attack(
        "customer1", "45.21.0.1/32", "64901", Reject.BLACKHOLE, "community [ 65535:666 ]"
    ),
    "a blackhole for our own space": Attack(
        "customer1", "198.51.100.1/32", "64901", Reject.BLACKHOLE, "community [ 65535:666 ]"
    ),
    "a blackhole by a transit": Attack(
        "transit1", "45.22.0.1/32", "64601", Reject.BLACKHOLE, "community [ 65535:666 ]"
    ),
}
TOLD = {*AGGREGATES}
"""The prefixes that we tell neighbours of, when nothing allowed was announced to us."""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("attacks")) as made:
        assert eventually(lambda: VICTIM in made.birdc("fra-e1", "show route table rpki4"), 20)
        yield made


def _mark(reject: Reject) -> str:
    return f"({OUR_ASN}, 15, {reject.number})"


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_its_reason(attacked: World, name: str) -> None:
    attack = ATTACKS[name]
    attacked.announce(attack.speaker, attack.prefix, attack.path, attack.more)
    mark = _mark(attack.reject)
    assert eventually(lambda: mark in attacked.filtered("fra-e1", attack.prefix), 5), (
        attacked.filtered("fra-e1", attack.prefix)
        or attacked.birdc("fra-e1", f"show route all where net = {attack.prefix}")
    )
    assert "unicast" not in attacked.filtered("ams-e1", attack.prefix)


@pytest.mark.parametrize("prefix", ["225.0.0.0/8", "0.8.0.0/16", "127.1.0.0/16"])
def test_what_no_router_may_forward_is_not_even_kept(attacked: World, prefix: str) -> None:
    attacked.announce("transit1", prefix, "64601")
    attacked.announce("transit1", "45.99.0.0/25", "64601")
    assert eventually(lambda: "45.99" in attacked.filtered("fra-e1", "45.99.0.0/25"), 5)
    assert prefix not in attacked.filtered("fra-e1", prefix)
    assert prefix not in attacked.birdc("fra-e1", "show route")


def test_no_update_on_any_wire_had_a_trace_of_the_attacks(attacked: World) -> None:
    time.sleep(1)
    heard = {(one.speaker, one.prefix) for one in attacked.heard()}
    assert {prefix for _, prefix in heard} == TOLD
    assert not [one for one in attacked.heard() if one.withdrawn]
    attacks = {attack.prefix for attack in ATTACKS.values()} - TOLD
    for edge in ("fra-e1", "ams-e1"):
        assert not attacked.learned(edge) & attacks


def test_forged_communities_of_ours_are_taken_off(attacked: World) -> None:
    forged = f"large-community [ {OUR_ASN}:1:1 {OUR_ASN}:1:3 {OUR_ASN}:12:1 {OUR_ASN}:10:200 ]"
    attacked.announce("transit1", "45.30.0.0/16", "64601 64666", forged)
    show = "show route all where net = 45.30.0.0/16"
    assert eventually(lambda: "64666" in attacked.birdc("fra-e1", show), 5)
    text = attacked.birdc("fra-e1", show)
    assert f"({OUR_ASN}, 1, 7)" in text
    for number in ("1, 1)", "1, 3)", "12, 1)", "10, 200)"):
        assert f"({OUR_ASN}, {number}" not in text
    time.sleep(0.5)
    told = {one.speaker for one in attacked.heard() if one.prefix == "45.30.0.0/16"}
    assert told == {"customer1"}, "a transit's route is for customers alone"


def test_what_is_allowed_goes_where_it_should(attacked: World) -> None:
    attacked.announce("customer1", "45.20.0.0/24", "64901")
    show = "show route all where net = 45.20.0.0/24"
    assert eventually(lambda: "64901" in attacked.birdc("ams-e1", show), 5)
    everybody = {"transit1", "transit2", "ixp1", "pni1"}
    heard = attacked.heard
    assert eventually(
        lambda: {one.speaker for one in heard() if one.prefix == "45.20.0.0/24"} == everybody, 5
    )


def test_a_customer_may_blackhole_what_is_its_own(attacked: World) -> None:
    attacked.announce("customer1", "45.20.2.9/32", "64901", "community [ 65535:666 ]")
    assert eventually(
        lambda: "blackhole 45.20.2.9" in attacked.ip("fra-e1", "route show table all"), 5
    )
    time.sleep(0.5)
    told = {one.speaker for one in attacked.heard() if one.prefix == "45.20.2.9/32"}
    assert told <= {"transit2"}, "at most those that speak blackhole"


# ---- neighbours that break the protocol ----------------------------------------------------


def _update(nlri: bytes, *attributes: bytes) -> str:
    joined = b"".join(attributes)
    return (struct.pack("!HH", 0, len(joined)) + joined + nlri).hex()


_NLRI = bytes([16, 45, 40])
_PREFIX = "45.40.0.0/16"
_ORIGIN = bytes([0x40, 1, 1, 0])
_PATH = bytes([0x40, 2, 6, 2, 1]) + struct.pack("!I", 64603)
_NEXTHOP = bytes([0x40, 3, 4, 203, 0, 113, 20])
MALFORMED = {
    "an unknown origin": _update(_NLRI, bytes([0x40, 1, 1, 9]), _PATH, _NEXTHOP),
    "an origin of two bytes": _update(_NLRI, bytes([0x40, 1, 2, 0, 0]), _PATH, _NEXTHOP),
    "no next hop": _update(_NLRI, _ORIGIN, _PATH),
    "no AS path": _update(_NLRI, _ORIGIN, _NEXTHOP),
    "an empty AS path": _update(_NLRI, _ORIGIN, bytes([0x40, 2, 0]), _NEXTHOP),
    "a path segment that is cut": _update(
        _NLRI, _ORIGIN, bytes([0x40, 2, 4, 2, 2, 0, 0]), _NEXTHOP
    ),
    "a next hop of three bytes": _update(
        _NLRI, _ORIGIN, _PATH, bytes([0x40, 3, 3, 203, 0, 113])
    ),
    "attributes that end too late": struct.pack("!HH", 0, 400).hex() + _ORIGIN.hex(),
    "a prefix of 77 bits": _update(bytes([77, 45, 40]), _ORIGIN, _PATH, _NEXTHOP),
    "a community of three bytes": _update(
        _NLRI, _ORIGIN, _PATH, _NEXTHOP, bytes([0xC0, 8, 3, 1, 2, 3])
    ),
    "an unknown well-known attribute": _update(
        _NLRI, _ORIGIN, _PATH, _NEXTHOP, bytes([0x40, 99, 1, 0])
    ),
    "a path that does not start with its sender": _update(
        _NLRI, _ORIGIN, bytes([0x40, 2, 6, 2, 1]) + struct.pack("!I", 64999), _NEXTHOP
    ),
}


def _ready_for_the_rude_one(world: World) -> None:
    world.birdc("fra-e1", f"restart '{_LEAKED}'")
    time.sleep(0.2)


def test_a_proper_speaker_is_heard(attacked: World) -> None:
    _ready_for_the_rude_one(attacked)
    good = _update(bytes([16, 45, 41]), _ORIGIN, _PATH, _NEXTHOP)
    said = attacked.rude("hold=2", good)
    assert "notification" not in said, said
    assert "update" in said


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_update_brings_no_route_and_ends_nothing(
    attacked: World, name: str
) -> None:
    others = attacked.other_sessions(RUDE)
    _ready_for_the_rude_one(attacked)
    attacked.rude("hold=1", MALFORMED[name])
    assert _PREFIX not in attacked.birdc("fra-e1", "show route")
    assert _PREFIX not in {one.prefix for one in attacked.heard()}
    assert attacked.other_sessions(RUDE) == others, "another session was touched"


@pytest.mark.parametrize(("role", "fits"), [(0, True), (1, False), (3, False), (4, False)])
def test_a_role_that_does_not_fit_keeps_the_session_down(
    attacked: World, role: int, *, fits: bool
) -> None:
    _ready_for_the_rude_one(attacked)
    said = attacked.rude(f"role={role}", "hold=1")
    assert ("notification 2/11" in said) is not fits, said


# ---- a full table --------------------------------------------------------------------------


def _is_up(world: World) -> bool:
    return "Established" in world.birdc("fra-e1", f"show protocols '{_LEAKED}'")


@pytest.mark.parametrize("count", [10_000, 200_000])
def test_a_leaked_full_table_closes_one_session_which_heals_by_itself(
    attacked: World, count: int
) -> None:
    others = attacked.other_sessions(RUDE)
    attacked.birdc("fra-e1", f"restart '{_LEAKED}'")
    with attacked.leaking(100) as leaker:
        assert eventually(lambda: _is_up(attacked), 30)
        leaker.announce(count)
        assert eventually(lambda: not _is_up(attacked), 30)
        assert attacked.other_sessions(RUDE) == others, "another session was touched"
        leaker.announce(100)
        assert eventually(lambda: _is_up(attacked), 90), "it must come back without a human"
    assert attacked.other_sessions(RUDE) == others
