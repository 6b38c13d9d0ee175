"""What becomes of flows through the director, with real packets, edges and instances."""

from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address

import pytest

from pltfrms.model.running.balancer import ServiceCounts
from tests.balancer import packets
from tests.balancer.flows import PORT, Verdict
from tests.balancer.layout import API, FABRIC, WEB, Instance, addresses, client_addresses
from tests.balancer.rig import Rig, rig
from tests.namespaces import in_machine

FLOWS = 300
Scene = Callable[[Rig, list[Instance]], None]

pytestmark = pytest.mark.root


def play(scene: Scene, *, flows: int = FLOWS, director: bool = True, nodes: int = 3) -> None:
    """Play a scene with six instances on three nodes, behind two edges, with flows open."""

    async def scenario() -> None:
        with rig(edges=2, nodes=nodes) as made:
            if director:
                made.start_director()
            instances = made.add_instances([*made.nodes, *made.nodes])
            if flows:
                made.client.call("open_flows", flows)
                assert sum(verdict(made).alive.values()) == flows
            scene(made, instances)

    in_machine(scenario)


def verdict(made: Rig) -> Verdict:
    said: Verdict = made.client.call("verdict")
    return said


def nothing_broke(made: Rig) -> None:
    said = verdict(made)
    assert not said.broken, said


def new_flows(made: Rig, count: int = 40) -> Counter[str]:
    """Return who gets new flows, so many of each family."""
    return Counter(made.client.call("connect", count))


# ---- 0 flows broken ------------------------------------------------------------------------


def test_flows_survive_other_edges_and_the_death_of_one() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        assert verdict(made).alive.keys() == {each.name for each in instances}
        made.switch_edge("edge2")
        nothing_broke(made)
        made.switch_edge("edge1", "edge2")
        nothing_broke(made)
        made.edge_down("edge2")
        nothing_broke(made)
        made.edge_up("edge2")
        made.edge_down("edge1")
        nothing_broke(made)

    play(scene)


def test_flows_survive_a_drain_and_the_death_of_an_edge_in_it() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        leaving = instances[0]
        made.drain(leaving)
        nothing_broke(made)
        assert leaving.name not in new_flows(made)
        made.edge_down("edge1")
        nothing_broke(made)
        assert verdict(made).alive[leaving.name] > 0
        made.undrain(leaving)
        nothing_broke(made)
        assert new_flows(made)[leaving.name] > 0

    play(scene)


def test_flows_survive_two_that_drain_while_one_fills() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        before = verdict(made).alive
        added = made.add_instances(made.nodes[:1])[0]
        made.drain(*instances[1:3])
        nothing_broke(made)
        assert verdict(made).alive == before
        got = new_flows(made)
        assert got[added.name] > 0
        assert not got.keys() & {each.name for each in instances[1:3]}

    play(scene)


def test_flows_survive_two_new_instances_at_once() -> None:
    def scene(made: Rig, _instances: Sequence[Instance]) -> None:
        before = verdict(made).alive
        added = made.add_instances(made.nodes[:2])
        nothing_broke(made)
        assert verdict(made).alive == before
        got = new_flows(made)
        assert all(got[each.name] > 0 for each in added)
        assert made.total("second_chance") > 0

    play(scene)


def test_flows_survive_machines_that_hear_of_a_drain_one_after_the_other() -> None:
    """Routes reach machines at different times: for some packets, half of them are behind."""

    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        nodes, edges = made.nodes, made.edges
        for begin in (made.drain, made.undrain):
            begin(instances[0], told=[nodes[2:], edges])
            nothing_broke(made)
            made.apply(nodes[1:2])
            nothing_broke(made)
            made.apply()
            nothing_broke(made)

    play(scene)


def test_flows_survive_a_crash_of_the_driver_on_every_machine() -> None:
    def scene(made: Rig, _instances: Sequence[Instance]) -> None:
        for machine in ("edge1", "node1"):
            made.restart_driver(machine)
            assert made.hosts[machine].call("installed") == {WEB.id}
            nothing_broke(made)
        assert len(new_flows(made)) == 6
        before = made.counts("edge1").services[WEB.id].new_flows
        made.apply()
        nothing_broke(made)
        assert before > 0

    play(scene)


def test_flows_survive_a_blackout() -> None:
    def scene(made: Rig, _instances: Sequence[Instance]) -> None:
        made.blackout(1.3)
        nothing_broke(made)

    play(scene)


# ---- only flows of the dead broken ---------------------------------------------------------


def test_the_death_of_an_instance_breaks_its_own_flows_only() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        dead = instances[2]
        made.kill(dead)
        said = verdict(made)
        assert said.broken.keys() == {dead.name}, said
        assert dead.name not in new_flows(made)
        made.client.call("open_flows", FLOWS // 2)
        made.revive(dead)
        after = verdict(made)
        assert after.broken == said.broken, after
        assert new_flows(made)[dead.name] > 0

    play(scene)


def test_the_death_of_a_node_breaks_flows_of_its_instances_only() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        node = made.nodes[1].name
        dead = {each.name for each in instances if each.node.name == node}
        made.node_down(node)
        said = verdict(made)
        assert said.broken.keys() == dead, said
        made.node_up(node)
        after = verdict(made)
        assert after.broken == said.broken, after
        assert dead <= new_flows(made).keys()

    play(scene)


def test_the_kernels_ecmp_breaks_flows_of_others() -> None:
    """That tests of the director can fail, and why there is one."""

    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        dead = instances[0]
        made.kill(dead)
        assert verdict(made).broken.keys() - {dead.name}

    play(scene, director=False)


# ---- who gets what -------------------------------------------------------------------------


def test_shares_follow_weights_and_a_change_moves_only_flows_of_the_changed() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        for one in instances[4:]:
            made.kill(one)
        names = [each.name for each in instances[:4]]
        made.set_weights(dict(zip(names, (10, 20, 30, 40), strict=True)))
        ports = range(20_000, 24_000)
        before = {version: made.client.call("who_gets", version, ports) for version in (4, 6)}
        for answers in before.values():
            assert len(answers) == len(ports)
            got = Counter(answers.values())
            for name, share in zip(names, (0.1, 0.2, 0.3, 0.4), strict=True):
                assert abs(got[name] / len(ports) - share) < 0.02, got
        made.set_weights({names[3]: 20})
        for version, answers in before.items():
            after = made.client.call("who_gets", version, ports)
            moved = [port for port in ports if after[port] != answers[port]]
            assert moved
            assert {answers[port] for port in moved} == {names[3]}

    play(scene, flows=0)


def test_answers_come_whole_through_a_narrow_path() -> None:
    def scene(made: Rig, _instances: Sequence[Instance]) -> None:
        made.narrow_client_path(1300)
        assert made.client.call("fetch", 40, 60_000) == {4: 40, 6: 40}
        assert made.total("icmp_error") > 0

    play(scene, flows=0)


def test_an_instance_reaches_another_service_without_the_edges() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        other = made.add_instances(made.nodes[1:], API)
        before = [made.received(edge.name, FABRIC) for edge in made.edges]
        got = instances[0].server.call("dial", addresses(API), 60)
        assert got.keys() == {each.name for each in other}
        assert sum(got.values()) == 120
        for edge, packets_before in zip(made.edges, before, strict=True):
            counted = made.counts(edge.name).services.get(API.id, ServiceCounts())
            assert counted.packets == 0
            # What else goes over a fabric: neighbour discovery.
            assert made.received(edge.name, FABRIC) - packets_before < 60

    play(scene, flows=0)


def test_service_addresses_answer_pings_and_udp() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        for version, address in zip((4, 6), addresses(WEB), strict=True):
            assert made.ping(address)
            answers = made.client.call("who_gets", version, range(20_000, 20_200))
            assert len(answers) == 200
            assert set(answers.values()) == {each.name for each in instances}
        assert made.counts("edge1").services[WEB.id].packets >= 400

    play(scene, flows=0)


# ---- what the kernel does alone ------------------------------------------------------------


def test_without_a_heartbeat_the_kernel_spreads_the_load() -> None:
    def scene(made: Rig, _instances: Sequence[Instance]) -> None:
        for machine in made.platform.machines:
            made.restart_driver(machine.name, stale_after_ms=500)
        assert len(new_flows(made)) == 6
        assert made.total("stale") == 0
        for host in made.hosts.values():
            host.call("fall_silent", 0.7)
        assert sum(new_flows(made).values()) == 80
        assert made.total("stale") > 0
        made.apply()
        before = made.total("stale")
        assert len(new_flows(made)) == 6
        assert made.total("stale") == before

    play(scene, flows=0)


# ---- forged packets ------------------------------------------------------------------------


def inner_packets(port: int) -> list[bytes]:
    """Return a question over UDP from the client's port, of each family."""
    four, six = client_addresses()[0], client_addresses()[-1]
    return [
        packets.udp(str(source), port, target, PORT, b"1 x")
        for source, target in zip((four, six), addresses(WEB), strict=True)
    ]


def test_an_outer_packet_counts_only_if_it_is_from_us() -> None:
    def scene(made: Rig, instances: Sequence[Instance]) -> None:
        target = instances[0].address
        ours = made.platform.balancer_source(made.edges[0]).network_address
        for inner in inner_packets(33_000):
            packet = packets.outer(ours, target, inner)
            # The first packet of a new way may be lost.
            assert any(heard(made, "edge1", target, packet, 1) for _ in range(5))
            forged = made.total("forged")
            assert not heard(made, "client", target, packet)
            assert made.total("forged") == forged + 1
            assert not heard(made, instances[1].name, target, packet)
            assert made.total("forged") == forged + 2
            other = packets.outer(IPv6Address("2001:db8::1"), target, inner)
            assert not heard(made, "edge1", target, other)
            assert made.total("forged") == forged + 3

    play(scene, flows=0)


def heard(
    made: Rig, sender: str, target: IPv6Address, packet: bytes, seconds: float = 0.4
) -> bool:
    """Let somebody send a packet; tell whether the client gets an answer to what is in it."""
    actors = {each.name: each.server for each in made.instances.values()} | made.hosts
    if sender == "client":
        return bool(made.client.call("heard_after", 33_000, seconds, packet, str(target)))
    made.client.ask("heard_after", 33_000, seconds, b"", "")
    actors[sender].call("send_raw6", str(target), packet)
    return bool(made.client.answer())
