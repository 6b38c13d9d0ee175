"""Reserved ASNs: who may have one, and who never hears of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.asns import hidden_asns, reserved_asns, visible_origins
from pltfrms.model.network.peering import Peer, PeerKind
from tests.strategies import make_platform

LABORATORY = make_platform({"fra": 1})
REAL = replace(LABORATORY, asn=8283)
PRIVATE = (64512, 65534)


def peer(kind: PeerKind, asn: int, *behind: int) -> Peer:
    return Peer(name="p", kind=kind, asn=asn, sessions=(), allowed_asns=behind)


@pytest.mark.parametrize("kind", PeerKind)
@pytest.mark.parametrize("asn", [64512, 65534, 4_200_000_000, 4_294_967_294, 64496])
def test_no_peer_makes_a_public_platform_believe_reserved_asns(
    kind: PeerKind, asn: int
) -> None:
    platform = replace(REAL, peers=(peer(kind, asn),))
    assert reserved_asns(platform) == reserved_asns(REAL)
    assert hidden_asns(platform, platform.peers[0]) == (asn,)


def test_a_laboratory_lives_among_reserved_asns_and_its_customers_change_nothing() -> None:
    assert LABORATORY.asn == 64500
    customers = (peer(PeerKind.CUSTOMER, 65010, 4_200_000_001),)
    assert PRIVATE in reserved_asns(replace(LABORATORY, peers=customers))[0]
    transits = (peer(PeerKind.TRANSIT, 64601), *customers)
    refused, spared = reserved_asns(replace(LABORATORY, peers=transits))
    assert spared == ((64496, 64511), PRIVATE)
    assert (4_200_000_000, 4_294_967_294) in refused


def test_what_is_behind_a_hidden_customer_comes_from_us() -> None:
    customer = peer(PeerKind.CUSTOMER, 65010, 3320, 65011)
    platform = replace(REAL, peers=(customer,))
    assert hidden_asns(platform, customer) == (65010, 65011)
    assert visible_origins(platform, customer, platform.asn) == (8283, 3320)


@given(asns=st.lists(st.integers(1, 4_294_967_295), min_size=1, max_size=5))
def test_nothing_that_others_see_is_refused(asns: list[int]) -> None:
    customer = peer(PeerKind.CUSTOMER, asns[0], *asns[1:])
    platform = replace(REAL, peers=(customer,))
    refused, _ = reserved_asns(platform)
    for seen in visible_origins(platform, customer, platform.asn):
        assert not any(first <= seen <= last for first, last in refused)
