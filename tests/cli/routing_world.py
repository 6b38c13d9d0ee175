"""The platform of `world`, with what its edges say of peers and of their routing."""

from collections.abc import Callable
from dataclasses import replace

from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import (
    MachineStatus,
    RoutingState,
    RoutingStatus,
    SessionStatus,
    Snapshot,
)
from pltfrms.render.bird import policy_fingerprint
from tests.cli.world import HEALTHY, PLATFORM

EDGES = tuple(edge.name for edge in PLATFORM.machines_of(Role.EDGE))
POLICIES = {edge: policy_fingerprint(PLATFORM, edge) for edge in EDGES}


def edge_status(edge: str) -> MachineStatus:
    """Return what an edge says that runs what is wanted, with all its sessions up."""
    sessions = tuple(
        SessionStatus(
            name=f"peer.{name}.ipv{ours.version}",
            up=True,
            imported=900,
            exported=1,
            filtered=3,
            rejects={"bogon": 2, "rpki-invalid": 1},
        )
        for name, (_, session) in zip(
            PLATFORM.session_names(edge), PLATFORM.sessions_of(edge), strict=True
        )
        for ours in session.ours
    )
    routing = RoutingStatus(wanted=POLICIES[edge], running=POLICIES[edge])
    return replace(HEALTHY.statuses[edge], sessions=sessions, routing=routing)


SETTLED = replace(
    HEALTHY, statuses={**HEALTHY.statuses, **{edge: edge_status(edge) for edge in EDGES}}
)


def with_status(
    snapshot: Snapshot, edge: str, change: Callable[[MachineStatus], MachineStatus]
) -> Snapshot:
    """Return the snapshot with another status of one edge."""
    changed = change(snapshot.statuses[edge])
    return replace(snapshot, statuses={**snapshot.statuses, edge: changed})


def with_routing(
    snapshot: Snapshot, edge: str, state: RoutingState, detail: str = ""
) -> Snapshot:
    """Return the snapshot with an edge that does not run what is wanted."""
    routing = RoutingStatus(wanted=POLICIES[edge], running="before", state=state, detail=detail)
    return with_status(snapshot, edge, lambda status: replace(status, routing=routing))


def with_interventions(snapshot: Snapshot, interventions: Interventions) -> Snapshot:
    """Return the snapshot with something done to the network."""
    return replace(snapshot, interventions=interventions)


def with_silent(snapshot: Snapshot, peer: str) -> Snapshot:
    """Return the snapshot in which the sessions with a peer are up and carry nothing."""

    def silence(status: MachineStatus) -> MachineStatus:
        return replace(
            status,
            sessions=tuple(
                replace(each, imported=0, exported=0)
                if each.name.startswith(f"peer.{peer}.")
                else each
                for each in status.sessions
            ),
        )

    for edge in EDGES:
        snapshot = with_status(snapshot, edge, silence)
    return snapshot
