"""A datacenter in network namespaces, with flows through it: client, router, edges, nodes.

    client - router - edges - fabric (a switch, MTU 1600) - nodes - instances

Machines of ours have the addresses, sysctls and routes that the platform gives them; what BIRD
does in a real one (routes to and from the others) the rig does itself, so that a test decides
when whom hears what. Build it inside of `tests.namespaces.in_machine`: nothing stays behind.
"""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from pltfrms.drivers.workload.instance.ip_commands import ip_commands
from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.balancer import (
    BalancedService,
    BalancerCounts,
    BalancerTable,
    CandidateState,
    Hook,
)
from pltfrms.planner.balancing.balancing import hooks_of, settings_of
from pltfrms.planner.balancing.rendezvous import Ranking, make_table
from pltfrms.render.kernel import network_state
from tests.balancer import layout
from tests.balancer.actors import Actor, Part, start
from tests.balancer.flows import Client, Server
from tests.balancer.host import Host
from tests.balancer.layout import API, FABRIC, FABRIC_MTU, WEB, Instance, addresses

NOTICED_AFTER_SECONDS = 0.3
"""How long BFD takes to notice that a machine is silent."""
_FORWARDING = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/fib_multipath_hash_policy": "1",
    "net/ipv6/fib_multipath_hash_policy": "1",
}
_CLIENT = {"net/ipv4/ip_local_port_range": "10000 65000", "net/ipv4/tcp_tw_reuse": "1"}
_ANY_PATH = {
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/default/accept_dad": "0",
}
_NO_BRIDGE_FILTERS = """
for file in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $file ] || echo 0 >$file; done
"""
_SILENCE = """
table inet silence {
  chain in { type filter hook prerouting priority -300; policy drop; }
  chain out { type filter hook postrouting priority -300; policy drop; }
}
"""


class Rig:
    """All machines of one run, and what can happen to them."""

    def __init__(self, edges: int = 2, nodes: int = 3) -> None:
        self.platform = layout.make_platform(edges, nodes)
        self.edges = self.platform.machines_of(Role.EDGE)
        self.nodes = self.platform.machines_of(Role.NODE)
        self.instances: dict[str, Instance] = {}
        self.hosts: dict[str, Actor] = {}
        self.silent: set[str] = set()
        self.directed = False
        """Whether the director is attached; else the kernel's ECMP does the work."""
        self._entry = tuple(edge.name for edge in self.edges[:1])
        self._rankings: dict[int, Ranking] = {}
        self.router = start("router", Part)
        self.client = start(
            "client", partial(Client, layout.client_addresses(), addresses(WEB))
        )
        self._switch = start("switch", Part)
        for machine in self.platform.machines:
            self.hosts[machine.name] = start(machine.name, self._host(machine.name))
        self._switch.call("run", "sh", "-c", _NO_BRIDGE_FILTERS)
        self.router.call("sysctls", _FORWARDING | _ANY_PATH)
        self.client.call("sysctls", _CLIENT | _ANY_PATH)
        self._wire()
        self._configure()

    # ---- what can happen -------------------------------------------------------------------

    def start_director(self, stale_after_ms: int = 5000) -> dict[str, str]:
        """Let the director work on all machines; return what its drivers said."""
        said = {
            machine.name: self._start_driver(machine, stale_after_ms)
            for machine in self.platform.machines
        }
        self.directed = True
        self.apply()
        return said

    def detach_director(self) -> None:
        """Leave all packets to the kernel's routes."""
        self.directed = False
        self.apply()

    def restart_driver(self, name: str, stale_after_ms: int = 5000) -> str:
        """Crash the process that has the driver, and let a new one take over."""
        machine = self.platform.machine(name)
        self.hosts[name] = self.hosts[name].replaced(self._host(name))
        return self._start_driver(machine, stale_after_ms)

    def add_instances(
        self, nodes: Sequence[Machine], service: BalancedService = WEB, *, weight: int = 10
    ) -> list[Instance]:
        """Start an instance on each of these nodes, then tell all."""
        added = [self._make_instance(node, service, weight) for node in nodes]
        self._get_ready(added)
        return added

    def drain(self, *instances: Instance, told: Sequence[Sequence[Machine]] = ()) -> None:
        """Let instances keep their flows, but get no new ones."""
        for instance in instances:
            instance.state = CandidateState.DRAINING
        self.apply(*told)

    def undrain(self, *instances: Instance, told: Sequence[Sequence[Machine]] = ()) -> None:
        """Cancel that. Only the machines in `told` hear of it, if there are any."""
        for instance in instances:
            instance.state = CandidateState.ACTIVE
        self.apply(*told)

    def set_weights(self, weights: dict[str, int]) -> None:
        """Change weights, by instance."""
        for name, weight in weights.items():
            self.instances[name].weight = weight
        self.apply()

    def kill(self, instance: Instance) -> None:
        """End an instance as a crash would; its node notices at once."""
        instance.server.kill()
        instance.actor, instance.ready = None, False
        self.apply()

    def revive(self, *instances: Instance) -> None:
        """Start instances again, with the addresses they had."""
        for instance in instances:
            if instance.actor:
                instance.actor.kill()
            self._start_instance(instance)
        self._get_ready(instances)

    def switch_edge(self, *edges: str) -> None:
        """Let packets from outside come through these edges."""
        self._entry = edges
        self.router.call("ip", list(layout.entry_lines(self.platform, self._entry)))

    def edge_down(self, edge: str) -> None:
        """Let an edge neither receive nor send; the others notice a little later."""
        self._silence(edge)
        time.sleep(NOTICED_AFTER_SECONDS)
        self.switch_edge(*(each.name for each in self.edges if each.name not in self.silent))
        self.apply()

    def edge_up(self, edge: str) -> None:
        """Let it work again; packets do not come through it yet."""
        self._speak(edge)
        self.apply()

    def node_down(self, node: str) -> None:
        """Let a node neither receive nor send; the others notice a little later."""
        self._silence(node)
        time.sleep(NOTICED_AFTER_SECONDS)
        for instance in self._on(node):
            instance.ready = False
        self.apply()

    def node_up(self, node: str) -> None:
        """Start a node and its instances again: they know no flow of before."""
        self._speak(node)
        self.revive(*self._on(node))

    def blackout(self, seconds: float) -> None:
        """Cut the client off for a while; nobody else notices."""
        self.router.call("run", "nft", "-f", "-", stdin=_SILENCE)
        time.sleep(seconds)
        self.router.call("run", "nft", "delete", "table", "inet", "silence")

    def narrow_client_path(self, mtu: int) -> None:
        """Let the router's way to the client, of which the client knows nothing, be narrow."""
        self.router.call("ip", [f"link set to-client mtu {mtu}"])

    # ---- questions -------------------------------------------------------------------------

    def counts(self, name: str) -> BalancerCounts:
        counted: BalancerCounts = self.hosts[name].call("counts")
        return counted

    def total(self, counter: str, machines: Iterable[Machine] = ()) -> int:
        """Return a counter, added up over some or all machines."""
        names = [each.name for each in machines] or list(self.hosts)
        return sum(self.counts(name).totals.get(counter, 0) for name in names)

    def received(self, machine: str, device: str) -> int:
        """Return how many packets a machine has received from a device."""
        words = ("cat", f"/proc/{self.hosts[machine].pid}/net/dev")
        line = next(
            line for line in self.router.call("run", *words).splitlines() if device in line
        )
        return int(line.split(":")[1].split()[1])

    def ping(self, target: str) -> bool:
        try:
            self.client.call("run", "ping", "-c3", "-i0.2", "-W2", target)
        except RuntimeError:
            return False
        return True

    def far_ends(self, edge: str) -> tuple[tuple[Actor, str], ...]:
        """Return who has the other ends of an edge's two cables, and their names there."""
        return (self.router, f"to-{edge}"), (self._switch, edge)

    def actors(self) -> list[Actor]:
        """Return all that run; clients and servers first."""
        servers = [each.actor for each in self.instances.values() if each.actor]
        return [self.client, *servers, *self.hosts.values(), self.router, self._switch]

    def close(self) -> None:
        """End all actors."""
        for actor in self.actors():
            actor.kill()

    # ---- telling all machines --------------------------------------------------------------

    def apply(self, *only: Sequence[Machine]) -> None:
        """Tell machines what is true now: all at once, or one group after the other."""
        tables = self._tables()
        for group in only or (self.platform.machines,):
            asked = [each for each in group if each.name not in self.silent]
            for machine in asked:
                self.hosts[machine.name].ask("update", *self._words_for(machine), tables)
            for machine in asked:
                self.hosts[machine.name].answer()

    def _words_for(self, machine: Machine) -> tuple[object, ...]:
        """Return what a machine must make true: lines, routes, hooks."""
        reachable = [i for i in self.instances.values() if i.node.name not in self.silent]
        hooks = self._hooks(machine) if self.directed else ()
        if machine.role is Role.EDGE:
            return list(layout.edge_lines(reachable)), (), hooks
        edges = [edge for edge in self.edges if edge.name not in self.silent]
        lines = list(layout.node_lines(machine, edges, reachable))
        return lines, tuple(layout.service_table(self._on(machine.name))), hooks

    def _tables(self) -> list[BalancerTable]:
        if not self.directed:
            return []
        tables = []
        for each in (WEB, API):
            candidates = [instance.candidate() for instance in self._of(each) if instance.ready]
            if candidates:
                before = self._rankings.get(each.id)
                table, self._rankings[each.id] = make_table(each, candidates, before)
                tables.append(table)
        return tables

    def _hooks(self, machine: Machine) -> tuple[Hook, ...]:
        mine = {each.device: each.address for each in self._on(machine.name) if each.actor}
        return hooks_of(self.platform, machine.name, mine)

    # ---- building --------------------------------------------------------------------------

    def _host(self, name: str) -> Callable[[], Host]:
        return partial(Host, Path(f"/run/director-{name}"))

    def _start_driver(self, machine: Machine, stale_after_ms: int) -> str:
        settings = settings_of(self.platform, machine.name)
        settings = replace(settings, stale_after_ms=stale_after_ms)
        said: str = self.hosts[machine.name].call("start", settings)
        return said

    def _wire(self) -> None:
        ports = [f"link add fabric mtu {FABRIC_MTU} type bridge mcast_snooping 0"]
        for name, host in self.hosts.items():
            far = f"peer name {FABRIC} mtu {FABRIC_MTU} netns {host.pid}"
            ports.append(f"link add {name} mtu {FABRIC_MTU} type veth {far}")
            ports.append(f"link set {name} master fabric up")
        self._switch.call("ip", [*ports, "link set fabric up"])
        links = [f"link add to-client type veth peer name eth0 netns {self.client.pid}"]
        for edge in self.edges:
            far = f"peer name {layout.EDGE_PORT} netns {self.hosts[edge.name].pid}"
            links.append(f"link add to-{edge.name} type veth {far}")
        self.router.call("ip", links)

    def _configure(self) -> None:
        for machine in self.platform.machines:
            host = self.hosts[machine.name]
            host.call("apply_state", network_state(self.platform, machine.name))
            host.call("ip", list(layout.fixed_lines(self.platform, machine)))
        self.router.call("ip", list(layout.router_lines(self.platform)))
        self.switch_edge(*self._entry)
        self.client.call("ip", list(layout.client_lines()))
        self.apply()

    def _make_instance(self, node: Machine, service: BalancedService, weight: int) -> Instance:
        number = len(self.instances) + 1
        address4 = self.platform.instance4(node, number)
        assert address4, "this platform has IPv4"
        instance = Instance(
            name=f"{service.name}{number}",
            service=service,
            node=node,
            slot=number,
            address=self.platform.instance6(node, service.id, number),
            address4=address4,
            weight=weight,
        )
        self._start_instance(instance)
        self.instances[instance.name] = instance
        return instance

    def _get_ready(self, instances: Sequence[Instance]) -> None:
        """Let nodes be prepared for packets to instances before anybody sends any."""
        self.apply(self.nodes)
        for instance in instances:
            instance.ready = True
        self.apply()

    def _start_instance(self, instance: Instance) -> None:
        """Start it as a node does, but for what the rig wants to know of it."""
        instance.ready = False
        instance.actor = start(instance.name, partial(Server, instance.name))
        here = self.hosts[instance.node.name]
        here.call("attach_instance", instance.device, instance.server.pid)
        instance.server.call("ip", list(ip_commands(layout.spec_of(instance))))
        instance.server.call("serve", addresses(instance.service))

    def _silence(self, name: str) -> None:
        self.silent.add(name)
        self.hosts[name].call("run", "nft", "-f", "-", stdin=_SILENCE)

    def _speak(self, name: str) -> None:
        self.silent.discard(name)
        self.hosts[name].call("run", "nft", "delete", "table", "inet", "silence")

    def _on(self, node: str) -> list[Instance]:
        return [each for each in self.instances.values() if each.node.name == node]

    def _of(self, service: BalancedService) -> list[Instance]:
        return [each for each in self.instances.values() if each.service == service]


@contextmanager
def rig(edges: int = 2, nodes: int = 3) -> Iterator[Rig]:
    """Build it, hand it out, and end it. Call it inside of `in_machine`."""
    subprocess.run(("mount", "-t", "tmpfs", "none", "/run"), check=True)
    made = Rig(edges, nodes)
    try:
        yield made
    finally:
        made.close()
