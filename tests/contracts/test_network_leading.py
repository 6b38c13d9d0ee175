"""What every `ports.Network` says of the way that packets would take."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from tests.contracts.test_network import ONE, TWO, V4, Play, World, play, with_two_devices

__all__ = ["play"]


def test_the_route_that_packets_leave_by_is_known(play: Play) -> None:
    async def scenario(world: World) -> None:
        network = await with_two_devices(world)
        everywhere = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
        for version, nobody in ((4, "240.0.0.1"), (6, "3ffe::1")):
            address = ip_address(nobody)
            assert await network.leading(address) is None
            way = replace(V4, prefix=everywhere[version], table=254, proto=4)
            for hops in ((ONE,), (ONE, TWO)):
                world.set_route(replace(way, nexthops=hops))
                found = await network.leading(address)
                assert found is not None
                assert (found.prefix, found.proto) == (way.prefix, 4)
            nearer = replace(way, prefix=ip_network(nobody), proto=12, nexthops=(TWO,))
            world.set_route(nearer)
            found = await network.leading(address)
            assert found is not None
            assert (found.prefix, found.proto) == (nearer.prefix, 12)
            world.delete_route(nearer)
            world.delete_route(way)
            world.set_route(replace(way, nexthops=()))
            assert await network.leading(address) is None, "it is unreachable"

    play(scenario)
