"""What the shell completes from the running platform. Best effort: silent on every error."""

import functools
from collections.abc import Callable, Iterable

import click

from pltfrms.cli.shared.connect import connect, current_lab
from pltfrms.cli.shared.contexts import read_contexts
from pltfrms.cli.shared.options import Settings
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.state import Snapshot

_DAEMONS = ("bird", "agent", "etcd", "controller")
_KINDS = ("kill", "hang", "cut", "silent", "loss=5%", "delay=50ms")


Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _completer(find: Callable[[Settings], Iterable[str]]) -> Completer:
    """Make what click asks for of what finds all names."""

    @functools.wraps(find)
    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        try:
            settings = context.find_object(Settings) or Settings()
            return [name for name in find(settings) if name.startswith(incomplete)]
        except Exception:  # noqa: BLE001 - a completion must never disturb who is typing
            return []

    return complete


def _of_snapshot(find: Callable[[Snapshot], Iterable[str]]) -> Completer:
    """Make a completer of what finds all names in what controllers know."""

    @functools.wraps(find)
    def look(settings: Settings) -> Iterable[str]:
        return find(connect(settings).snapshot().snapshot)

    return _completer(look)


# ---- of the lab ----------------------------------------------------------------------------


@_completer
def complete_machines(settings: Settings) -> Iterable[str]:
    """Complete the name of a machine of the lab."""
    return [machine.name for machine in current_lab(settings).machines()]


@_of_snapshot
def complete_faults(snapshot: Snapshot) -> Iterable[str]:
    """Complete the target of a fault."""
    return fault_targets(snapshot)


@_of_snapshot
def complete_losses(snapshot: Snapshot) -> Iterable[str]:
    """Complete what `what-if` may lose."""
    from pltfrms.planner.foresight.losing import loss_words  # noqa: PLC0415 - few need it

    return loss_words(snapshot.platform)


def complete_kinds(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the kind of a fault."""
    return [kind for kind in _KINDS if kind.startswith(incomplete)]


# ---- of services ---------------------------------------------------------------------------


@_of_snapshot
def complete_services(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a service."""
    return sorted(snapshot.services)


@_of_snapshot
def complete_volumes(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a volume."""
    return sorted(snapshot.volumes)


@_of_snapshot
def complete_explained(snapshot: Snapshot) -> Iterable[str]:
    """Complete `service/NAME` and `job/NAME`."""
    jobs = sorted(job.name for job in snapshot.jobs.values() if not job.deleted)
    return [*(f"service/{n}" for n in sorted(snapshot.services)), *(f"job/{n}" for n in jobs)]


@_of_snapshot
def complete_jobs(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a job."""
    return sorted(job.name for job in snapshot.jobs.values() if not job.deleted)


@_of_snapshot
def complete_secrets(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a secret."""
    return sorted(snapshot.secrets)


@_completer
def complete_requests(settings: Settings) -> Iterable[str]:
    """Complete the id of a change request."""
    return [each.id for each in connect(settings).requests()]


@_completer
def complete_contexts(_settings: Settings) -> Iterable[str]:
    """Complete the name of a context."""
    return [each.name for each in read_contexts().known]


# ---- of the platform -----------------------------------------------------------------------


@_of_snapshot
def complete_datacenters(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a datacenter."""
    return [each.name for each in snapshot.platform.datacenters]


@_of_snapshot
def complete_platform_machines(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a machine of the platform."""
    return [machine.name for machine in snapshot.platform.managed]


@_of_snapshot
def complete_nodes(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a node."""
    return [node.name for node in snapshot.platform.machines_of(Role.NODE)]


@_of_snapshot
def complete_edges(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of an edge."""
    return [edge.name for edge in snapshot.platform.machines_of(Role.EDGE)]


@_of_snapshot
def complete_links(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a backbone link, `A--B`."""
    return [link.name for link in snapshot.platform.links]


# ---- of the outside ------------------------------------------------------------------------


@_of_snapshot
def complete_peers(snapshot: Snapshot) -> Iterable[str]:
    """Complete the name of a peer."""
    return [peer.name for peer in snapshot.platform.peers]


@_of_snapshot
def complete_drainable(snapshot: Snapshot) -> Iterable[str]:
    """Complete `PEER` or `PEER@EDGE`."""
    return drainable(snapshot.platform)


def complete_ports(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the interface of an edge's sessions with the outside."""
    edge = context.params.get("edge") or ""

    @_of_snapshot
    def ports(snapshot: Snapshot) -> Iterable[str]:
        sessions = [each for peer in snapshot.platform.peers for each in peer.sessions]
        return sorted({each.interface for each in sessions if edge in {"", each.edge}})

    return ports(context, parameter, incomplete)


@_of_snapshot
def complete_sessions(snapshot: Snapshot) -> Iterable[str]:
    """Complete `NAME@MACHINE` of a BGP session, or the machine alone."""
    names = [
        f"{session.name}@{machine}"
        for machine, status in snapshot.statuses.items()
        for session in status.sessions
    ]
    return [*names, *(machine.name for machine in snapshot.platform.machines)]


@_of_snapshot
def complete_blackholes(snapshot: Snapshot) -> Iterable[str]:
    """Complete the prefix of a blackhole."""
    return [str(each.prefix) for each in snapshot.interventions.blackholes]


# ---- all names of a kind -------------------------------------------------------------------


def drainable(platform: Platform) -> list[str]:
    """Return what `peer drain` takes: peers, and peers at one edge."""
    names = [peer.name for peer in platform.peers]
    places = [f"{peer.name}@{s.edge}" for peer in platform.peers for s in peer.sessions]
    return [*names, *dict.fromkeys(places)]


def fault_targets(snapshot: Snapshot) -> list[str]:
    """Return everything of the platform that a fault may hit."""
    platform = snapshot.platform
    instances = sorted(
        {
            f"instance/{a.service}/{a.datacenter}/{a.replica}"
            for a in snapshot.allocations.values()
        }
    )
    return [*instances, *_machine_targets(platform), *_network_targets(platform), "controllers"]


def _machine_targets(platform: Platform) -> list[str]:
    nodes = [f"node/{node.name}" for node in platform.machines_of(Role.NODE)]
    edges = [f"edge/{edge.name}" for edge in platform.machines_of(Role.EDGE)]
    daemons = [
        f"daemon/{m.name}/{daemon}"
        for m in platform.managed
        for daemon in _DAEMONS
        if daemon in {"bird", "agent"} or m.has(Role.CONTROLLER)
    ]
    return [*nodes, *edges, *daemons]


def _network_targets(platform: Platform) -> list[str]:
    fabrics = [
        f"fabric/{dc.name}/{fabric}" for dc in platform.datacenters for fabric in dc.fabrics
    ]
    datacenters = [f"datacenter/{dc.name}" for dc in platform.datacenters]
    return [*datacenters, *(f"link/{link.name}" for link in platform.links), *fabrics]
