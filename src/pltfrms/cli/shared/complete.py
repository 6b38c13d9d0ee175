"""What the shell completes from the running platform. Best effort: silent on every error."""

from collections.abc import Callable, Iterable

import click

from pltfrms.cli.shared.connect import connect, current_lab
from pltfrms.cli.shared.options import Settings
from pltfrms.model.state import Snapshot
from pltfrms.model.topology import Platform, Role

_DAEMONS = ("bird", "agent", "etcd", "controller")
_KINDS = ("kill", "hang", "cut", "silent", "loss=5%", "delay=50ms")


def _guarded(
    find: Callable[[Settings], Iterable[str]], context: click.Context, incomplete: str
) -> list[str]:
    try:
        settings = context.find_object(Settings) or Settings()
        return [name for name in find(settings) if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a completion must never disturb who is typing
        return []


def complete_services(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of a service."""
    return _guarded(lambda settings: sorted(_snapshot(settings).services), context, incomplete)


def complete_service_targets(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete `service/NAME`."""
    return _guarded(
        lambda settings: [f"service/{name}" for name in sorted(_snapshot(settings).services)],
        context,
        incomplete,
    )


def complete_machines(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of a machine of the lab."""
    return _guarded(_machines, context, incomplete)


def complete_requests(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the id of a change request."""
    return _guarded(
        lambda settings: [each.id for each in connect(settings).requests()],
        context,
        incomplete,
    )


def complete_peers(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of a peer."""
    return _guarded(
        lambda settings: [peer.name for peer in _snapshot(settings).platform.peers],
        context,
        incomplete,
    )


def complete_drainable(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete `PEER` or `PEER@EDGE`."""
    return _guarded(lambda s: drainable(_snapshot(s).platform), context, incomplete)


def complete_edges(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of an edge."""
    return _guarded(
        lambda settings: [
            edge.name for edge in _snapshot(settings).platform.machines_of(Role.EDGE)
        ],
        context,
        incomplete,
    )


def complete_nodes(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of a node."""
    return _guarded(
        lambda settings: [
            node.name for node in _snapshot(settings).platform.machines_of(Role.NODE)
        ],
        context,
        incomplete,
    )


def complete_datacenters(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of a datacenter."""
    return _guarded(
        lambda settings: [each.name for each in _snapshot(settings).platform.datacenters],
        context,
        incomplete,
    )


def complete_ports(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the interface of an edge's sessions with the outside."""
    edge = context.params.get("edge") or ""
    return _guarded(
        lambda settings: sorted(
            {
                session.interface
                for peer in _snapshot(settings).platform.peers
                for session in peer.sessions
                if edge in {"", session.edge}
            }
        ),
        context,
        incomplete,
    )


def complete_sessions(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete `NAME@MACHINE` of a BGP session, or the machine alone."""
    return _guarded(lambda settings: _sessions(_snapshot(settings)), context, incomplete)


def complete_platform_machines(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of a machine of the platform."""
    return _guarded(
        lambda settings: [machine.name for machine in _snapshot(settings).platform.managed],
        context,
        incomplete,
    )


def complete_blackholes(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the prefix of a blackhole."""
    return _guarded(
        lambda settings: [
            str(each.prefix) for each in _snapshot(settings).interventions.blackholes
        ],
        context,
        incomplete,
    )


def drainable(platform: Platform) -> list[str]:
    """Return what `peer drain` takes: peers, and peers at one edge."""
    names = [peer.name for peer in platform.peers]
    places = [f"{peer.name}@{s.edge}" for peer in platform.peers for s in peer.sessions]
    return [*names, *dict.fromkeys(places)]


def complete_links(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the name of a backbone link, `A--B`."""
    return _guarded(
        lambda settings: [link.name for link in _snapshot(settings).platform.links],
        context,
        incomplete,
    )


def complete_faults(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the target of a fault."""
    return _guarded(lambda s: fault_targets(_snapshot(s)), context, incomplete)


def complete_kinds(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Complete the kind of a fault."""
    return [kind for kind in _KINDS if kind.startswith(incomplete)]


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
        if daemon in {"bird", "agent"} or m.role is Role.CONTROLLER
    ]
    return [*nodes, *edges, *daemons]


def _network_targets(platform: Platform) -> list[str]:
    fabrics = [
        f"fabric/{dc.name}/{fabric}" for dc in platform.datacenters for fabric in dc.fabrics
    ]
    datacenters = [f"datacenter/{dc.name}" for dc in platform.datacenters]
    return [*datacenters, *(f"link/{link.name}" for link in platform.links), *fabrics]


def _sessions(snapshot: Snapshot) -> list[str]:
    names = [
        f"{session.name}@{machine}"
        for machine, status in snapshot.statuses.items()
        for session in status.sessions
    ]
    return [*names, *(machine.name for machine in snapshot.platform.machines)]


def _snapshot(settings: Settings) -> Snapshot:
    return connect(settings).snapshot().snapshot


def _machines(settings: Settings) -> list[str]:
    return [machine.name for machine in current_lab(settings).machines()]
