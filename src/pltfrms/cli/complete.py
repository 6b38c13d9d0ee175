"""What the shell completes from the running platform. Best effort: silent on every error."""

from collections.abc import Callable, Iterable

import click

from pltfrms.cli.connect import connect, current_lab
from pltfrms.cli.options import Settings
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
        for m in platform.machines
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


def _snapshot(settings: Settings) -> Snapshot:
    return connect(settings).snapshot().snapshot


def _machines(settings: Settings) -> list[str]:
    return [machine.name for machine in current_lab(settings).machines()]
