"""A datacenter with many nodes and sessions is checked, and numbered, in no time."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_interface, ip_network
from pathlib import Path
from time import thread_time

from pltfrms.model.network.homes import free_prefix, spoken_for
from pltfrms.model.network.topology import Aggregate, Machine, Platform, Role
from pltfrms.specfile import load_platform
from pltfrms.specfile.checking.platforms.egress import check_unicast, unicast_notes

EXAMPLE = load_platform(Path("examples/three-datacenters/platform.yaml"))
SOON = 3.0
"""Seconds: many times what it takes, a third of what a look at all for each one takes."""


def large(prefix: str, unicast: str, count: int) -> Platform:
    """Return a platform of 200 nodes and sessions numbered from the end of a prefix."""
    aggregate = Aggregate(prefix=ip_network(prefix), unicast=unicast)
    nodes = tuple(
        Machine(name=f"n{number}", datacenter="fra", role=Role.NODE, id=number)
        for number in range(1, 201)
    )
    peer, last = EXAMPLE.peers[0], aggregate.prefix.broadcast_address
    sessions = tuple(
        replace(
            peer.sessions[0],
            ours=(ip_interface(f"{last - 2 * number}/31"),),
            theirs=(last - 2 * number - 1,),
        )
        for number in range(count)
    )
    return replace(
        EXAMPLE,
        aggregates=(aggregate,),
        machines=nodes,
        peers=(replace(peer, sessions=sessions),),
    )


def test_the_room_of_many_nodes_is_checked_in_no_time() -> None:
    platform = large("203.0.0.0/16", "fra", 2000)
    begun = thread_time()
    assert list(check_unicast(platform, 0)) == []
    assert thread_time() - begun < SOON


def test_each_address_in_use_in_a_nodes_part_is_found() -> None:
    platform = large("198.51.100.0/24", "fra", 100)  # its upper 200 addresses are in use
    found = [one.what for one in unicast_notes(platform, 0)]
    nodes = {node.id for node in platform.machines}
    used = [address for address in spoken_for(platform) if int(address) % 256 in nodes]
    assert len(found) == len(used) == 145
    assert all(any(f"where {address} is in use" in what for what in found) for address in used)


def test_an_address_is_found_behind_many_that_are_taken_in_no_time() -> None:
    platform = large("10.1.0.0/16", "", 2000)
    first = ip_address("10.1.0.0")
    taken = {ip_network(first + number) for number in range(1, 4001)}
    begun = thread_time()
    found = free_prefix(platform, platform.aggregates[0], 1, taken)
    assert thread_time() - begun < SOON
    assert found == IPv4Network("10.1.15.161/32")
