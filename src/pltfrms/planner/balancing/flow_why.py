"""Say in sentences which instance of a service a machine sends a flow to, and why. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from pltfrms.errors import UsageError
from pltfrms.model.addresses import Address
from pltfrms.model.network.topology import Role
from pltfrms.model.running.balancer import (
    ROWS,
    STALE_AFTER_MS,
    BalancerMode,
    BalancerView,
    Candidate,
    CandidateState,
    TableView,
)
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.balancing.flow_hash import flow_row
from pltfrms.planner.balancing.rendezvous import make_table, row_of

TCP, UDP = 6, 17
_PROTOCOLS = {TCP: "tcp", UDP: "udp"}
_NOBODY_ACTIVE = {
    CandidateState.BACKUP: "nothing else is active",
    CandidateState.DRAINING: "there is nobody else",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Packets from one port of a client to one port of a service."""

    client: Address
    client_port: int
    service: Service
    port: int
    protocol: int = TCP

    @property
    def address(self) -> Address:
        """The service address that it goes to: the main one of the client's family.

        Raises:
            UsageError: the service has none.
        """
        version = self.client.version
        mine = [each for each in self.service.prefixes if each.version == version]
        if not mine:
            raise UsageError(f"service {self.service.name} has no IPv{version} address")
        return mine[0].network_address

    @property
    def words(self) -> str:
        """All of it in one line."""
        client = _with_port(self.client, self.client_port)
        service = f"{self.service.name} {_with_port(self.address, self.port)}"
        return f"{_PROTOCOLS[self.protocol]} {client} -> {service}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLabel:
    """Whose a unicast address is."""

    allocation: str
    """Empty: none that is recorded (any more)."""
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A place of a row."""

    address: IPv6Address
    label: InstanceLabel
    state: CandidateState

    @property
    def words(self) -> str:
        """The instance as it is called."""
        return label_words(self.address, self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPath:
    """Who gets a flow, as far as the table says; without a row the kernel decides."""

    row: int | None = None
    chances: tuple[Chance, ...] = ()
    sentences: tuple[str, ...]


def instance_labels(snapshot: Snapshot, service: Service) -> dict[IPv6Address, InstanceLabel]:
    """Return whose the addresses are that instances of a service have."""
    platform = snapshot.platform
    nodes = {node.name: node for node in platform.machines_of(Role.NODE)}
    return {
        platform.instance6(nodes[each.node], service.id, each.slot): InstanceLabel(
            allocation=each.id, node=each.node
        )
        for each in snapshot.allocations.values()
        if each.service == service.name and each.node in nodes
    }


def label_of(
    snapshot: Snapshot, labels: Mapping[IPv6Address, InstanceLabel], address: IPv6Address
) -> InstanceLabel:
    """Return whose an address is; one that drains may have no allocation, but has a node."""
    if address in labels:
        return labels[address]
    platform = snapshot.platform
    nodes = platform.machines_of(Role.NODE)
    node = next((each.name for each in nodes if address in platform.pool6(each)), "")
    return InstanceLabel(allocation="", node=node)


def label_words(address: IPv6Address, label: InstanceLabel) -> str:
    """Return what an instance is called: by its allocation if it has one."""
    where = f" on {label.node}" if label.node else ""
    return f"{label.allocation}{where}" if label.allocation else f"{address}{where}"


def flow_path(snapshot: Snapshot, view: BalancerView, flow: Flow) -> FlowPath:
    """Return who gets the flow if it comes by the machine of a view."""
    why_kernel = _why_kernel(view)
    if why_kernel:
        return FlowPath(sentences=(why_kernel,))
    table = next((t for t in view.tables if t.service.id == flow.service.id), None)
    if table is None or not table.candidates:
        home = snapshot.platform.machine(view.machine).datacenter
        nobody = f"no instance of {flow.service.name} in {home} is known to {view.machine}: "
        return FlowPath(sentences=(f"{nobody}packets are left to the kernel's routes",))
    row = flow_row(flow.client, flow.client_port, flow.port, flow.protocol, flow.service.id)
    chances = _chances(snapshot, table, flow.service, row)
    return FlowPath(row=row, chances=chances, sentences=tuple(_sentences(flow, row, chances)))


def kernel_sentence(path: FlowPath, kernel: tuple[IPv6Address, ...]) -> str:
    """Return whether the kernel has in the row what the table says."""
    if kernel == tuple(chance.address for chance in path.chances):
        return "the kernel has the same in this row"
    words = {chance.address: chance.words for chance in path.chances}
    found = ", ".join(words.get(address, str(address)) for address in kernel) or "nobody"
    return f"the kernel has something else in this row, and that counts: {found}"


def _why_kernel(view: BalancerView) -> str:
    """Return why the director of a machine decides nothing; empty if it does."""
    because = f" ({view.detail})" if view.detail else ""
    if view.mode is BalancerMode.STARTING:
        return f"the director of {view.machine} has not started yet: kernel ECMP decides"
    if view.mode is BalancerMode.KERNEL:
        return (
            f"{view.machine} does not run the director{because}: kernel ECMP decides, by a "
            "hash of its own that cannot be foreseen here"
        )
    age_ms = view.heartbeat_age_ms
    if 0 <= age_ms <= STALE_AFTER_MS:
        return ""
    since = f"for {age_ms / 1000:.0f} s" if age_ms >= 0 else "ever"
    return (
        f"the agent of {view.machine} has given no heartbeat {since}: the program leaves "
        "packets to the kernel's routes"
    )


def _chances(
    snapshot: Snapshot, table: TableView, service: Service, row: int
) -> tuple[Chance, ...]:
    labels = instance_labels(snapshot, service)
    known: dict[IPv6Address, Candidate] = {each.address: each for each in table.candidates}
    built, _ = make_table(table.service, table.candidates)
    return tuple(
        Chance(
            address=address,
            label=label_of(snapshot, labels, address),
            state=known[address].state,
        )
        for address in row_of(built, row)
    )


def _sentences(flow: Flow, row: int, chances: tuple[Chance, ...]) -> Iterator[str]:
    yield f"the hash of addresses, ports and protocol leads to row {row} of {ROWS}"
    first, *others = chances
    because = _NOBODY_ACTIVE.get(first.state, "this row prefers it to all others")
    yield f"{first.words} gets it: it is {first.state.name.lower()}, and {because}"
    if flow.protocol != TCP:
        yield "nobody else is asked: only TCP shows whether an instance knows a flow"
    elif not others:
        yield "nobody else is asked: there is no other instance"
    else:
        asked = (f"{each.words} ({each.state.name.lower()})" for each in others)
        yield f"a packet of a flow that it does not know goes on to {', then '.join(asked)}"


def _with_port(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
