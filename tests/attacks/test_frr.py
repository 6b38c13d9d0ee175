"""The same attacks by FRR: what another BGP speaker makes of them must come to nothing, too."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pltfrms.model.network.peering import Reject
from tests.attacks.frr import BGPD, FLOOD, FRRS, WITH_FRR, Frr, Said
from tests.attacks.world import AGGREGATES, OUR_ASN, VICTIM, World, world
from tests.render.namespaces import eventually

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not BGPD.exists(), reason="FRR is not installed"),
]
_FLOODED = f"peer.{FLOOD}.ipv4"
_LONG = " ".join(["64611"] * 69)


class Attack(NamedTuple):
    """An FRR announces something that we must refuse, for this reason."""

    speaker: str
    prefix: str
    path: str
    reject: Reject
    more: str = ""


ATTACKS = {
    "our own prefix": Attack("frr-transit", AGGREGATES[0], "64666", Reject.OURS),
    "our own IPv6 prefix": Attack("frr-transit", AGGREGATES[1], "64666", Reject.OURS),
    "our own prefix by a route server": Attack("frr-ixp", AGGREGATES[0], "64777", Reject.OURS),
    "our own prefix by a customer": Attack("frr-customer", AGGREGATES[0], "", Reject.OURS),
    "more specific than our prefix": Attack(
        "frr-pni", "2001:db8:100:8000::/49", "64666", Reject.LENGTH
    ),
    "a default route": Attack("frr-transit", "0.0.0.0/0", "", Reject.LENGTH),
    "an IPv6 default route": Attack("frr-ixp", "::/0", "64777", Reject.LENGTH),
    "our infrastructure": Attack("frr-transit", "10.1.0.0/16", "", Reject.BOGON),
    "private addresses": Attack("frr-pni", "192.168.4.0/24", "", Reject.BOGON),
    "a /25": Attack("frr-transit", "45.62.0.0/25", "64666", Reject.LENGTH),
    "a hijack that RPKI knows": Attack("frr-transit", VICTIM, "64999", Reject.RPKI_INVALID),
    "a transit's route by a route server": Attack(
        "frr-ixp", "45.63.0.0/16", "64777 64602 64666", Reject.TRANSIT_IN_PATH
    ),
    "a transit's route at a PNI": Attack(
        "frr-pni", "45.64.0.0/16", "64601 64666", Reject.TRANSIT_IN_PATH
    ),
    "a private ASN in the path": Attack(
        "frr-transit", "45.65.0.0/16", "4200000001 64666", Reject.PRIVATE_ASN
    ),
    "a path that is too long": Attack("frr-transit", "45.67.0.0/16", _LONG, Reject.PATH_LENGTH),
    "foreign space by a customer": Attack(
        "frr-customer", "45.69.0.0/16", "", Reject.NOT_ALLOWED
    ),
    "a foreign origin by a customer": Attack(
        "frr-customer", "45.50.1.0/24", "64666", Reject.ORIGIN_ASN
    ),
    "a blackhole for our own space": Attack(
        "frr-customer", "198.51.100.1/32", "", Reject.BLACKHOLE, "community blackhole"
    ),
}
FORGED = "45.80.0.0/16"
"""By a transit, which says that it is an aggregate, a customer's, a service of weight 200."""
_FORGED = f"large-community {OUR_ASN}:1:1 {OUR_ASN}:1:3 {OUR_ASN}:12:1 {OUR_ASN}:10:200"
ALLOWED = "45.50.0.0/24"
"""By a customer, to whom it belongs."""


def _said() -> dict[str, list[Said]]:
    said: dict[str, list[Said]] = {name: [] for name in FRRS}
    for attack in ATTACKS.values():
        word = Said(prefix=attack.prefix, path=attack.path, more=attack.more)
        said[attack.speaker].append(word)
    said["frr-transit"].append(Said(prefix=FORGED, path="64666", more=_FORGED))
    said["frr-customer"].append(Said(prefix=ALLOWED))
    said[FLOOD] = _flood(100)
    return said


def _flood(count: int) -> list[Said]:
    return [Said(prefix=f"45.{100 + (n >> 8)}.{n & 255}.0/24") for n in range(count)]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Frr]]:
    directory = tmp_path_factory.mktemp("frr")
    with world(directory, WITH_FRR, frozenset(FRRS)) as made:
        assert eventually(lambda: VICTIM in made.birdc("fra-e1", "show route table rpki4"), 20)
        with Frr(directory, made.outside).running(_said()) as frr:
            assert eventually(lambda: _all_up(made), 20), made.birdc("fra-e1", "show protocols")
            yield made, frr


def _all_up(world: World) -> bool:
    return all(
        "Established" in world.birdc("fra-e1", f"show protocols 'peer.{name}.ipv{family}'")
        for name in FRRS
        for family in (4, 6)
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_its_reason(attacked: tuple[World, Frr], name: str) -> None:
    world, frr = attacked
    attack = ATTACKS[name]

    def refused() -> bool:
        text = world.filtered("fra-e1", attack.prefix)
        (*_, mine) = text.partition(f"[peer.{attack.speaker}.")
        (mine, *_) = mine.partition("\t\tvia [peer.")
        return f"({OUR_ASN}, 15, {attack.reject.number})" in mine

    assert eventually(refused, 5), (
        world.filtered("fra-e1", attack.prefix)
        or world.birdc("fra-e1", f"show route all where net = {attack.prefix}")
        or frr.log(attack.speaker)
    )
    assert "unicast" not in world.filtered("ams-e1", attack.prefix)


def test_forged_communities_of_ours_are_taken_off(attacked: tuple[World, Frr]) -> None:
    world, _ = attacked
    show = f"show route all where net = {FORGED}"
    assert eventually(lambda: "64611 64666" in world.birdc("fra-e1", show), 5)
    text = world.birdc("fra-e1", show)
    assert f"({OUR_ASN}, 1, 7)" in text
    for number in ("1, 1)", "1, 3)", "12, 1)", "10, 200)"):
        assert f"({OUR_ASN}, {number}" not in text


def test_the_others_heard_of_what_is_allowed_and_had_no_trace_of_the_attacks(
    attacked: tuple[World, Frr],
) -> None:
    world, _ = attacked
    flood = {said.prefix for said in _flood(100)}
    time.sleep(1)
    heard = [one for one in world.heard() if one.prefix not in flood]
    assert not [one for one in heard if one.withdrawn]
    told: dict[str, set[str]] = {}
    for one in heard:
        told.setdefault(one.prefix, set()).add(one.speaker)
        assert f"{OUR_ASN}:" not in str(one.attributes.get("large-community", ""))
    everybody = {"transit1", "transit2", "ixp1", "pni1", "customer1"}
    assert told == {
        **dict.fromkeys((*AGGREGATES, ALLOWED), everybody),
        FORGED: {"customer1"},  # a transit's route is for customers alone
    }
    to_customers = {one.speaker for one in world.heard() if one.prefix in flood}
    assert to_customers == {"customer1"}
    attacks = {attack.prefix for attack in ATTACKS.values()} - {*AGGREGATES}
    for edge in ("fra-e1", "ams-e1"):
        assert not world.learned(edge) & attacks


def test_a_full_table_closes_one_session_which_heals_by_itself(
    attacked: tuple[World, Frr],
) -> None:
    world, frr = attacked
    others = world.other_sessions(FLOOD)

    def limited() -> bool:
        return "limit" in world.birdc("fra-e1", f"show protocols '{_FLOODED}'").lower()

    def up() -> bool:
        return "Established" in world.birdc("fra-e1", f"show protocols '{_FLOODED}'")

    frr.start(FLOOD, _flood(10_000))
    assert eventually(limited, 20), world.birdc("fra-e1", f"show protocols '{_FLOODED}'")
    assert world.other_sessions(FLOOD) == others, "another session was touched"
    frr.start(FLOOD, _flood(100))
    assert eventually(up, 30), "it must come back without a human"
    assert world.other_sessions(FLOOD) == others
