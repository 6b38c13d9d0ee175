"""Wait until every edge has the wanted routing policy in force, and saw that it is good."""

import time
from dataclasses import dataclass

from pltfrms.cli.shared.output import timed_progress
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, RoutingState, Snapshot

POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProgress:
    """How far one edge is with the wanted policy."""

    edge: str
    state: str
    """A `RoutingState`, or `unknown` while the edge is out of contact."""
    detail: str = ""

    @property
    def line(self) -> str:
        """It in words."""
        return f"{self.edge}: {self.state}{f': {self.detail}' if self.detail else ''}"


def wait_for_edges(client: OperatorClient, revision: int, timeout_ms: int) -> None:
    """Wait until every edge has confirmed the policy of the platform as of `revision`.

    Edges go one after the other: `timeout_ms` is for each of them.

    Raises:
        UnavailableError: an edge reverted, the network is frozen, or nothing went on in time.
    """
    say = timed_progress()
    shown: dict[str, str] = {}
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        snapshot = client.snapshot().snapshot
        if snapshot.revision >= revision:
            rows = progress(snapshot, revision)
            news = [row for row in rows if shown.get(row.edge) != row.line]
            for row in news if shown or _open(rows) else ():
                say(row.line)
            shown = {row.edge: row.line for row in rows}
            if _finished(snapshot, rows):
                return
            if news:
                deadline = time.monotonic() + timeout_ms / 1000
        if time.monotonic() > deadline:
            raise UnavailableError(_late(shown, revision, timeout_ms))
        time.sleep(POLL_SECONDS)


def progress(snapshot: Snapshot, revision: int) -> tuple[EdgeProgress, ...]:
    """Return how far each edge of ours is with the platform as of `revision`."""
    edges = [edge for edge in snapshot.platform.machines_of(Role.EDGE) if not edge.external]
    return tuple(_progress(snapshot, edge.name, revision) for edge in edges)


def _progress(snapshot: Snapshot, edge: str, revision: int) -> EdgeProgress:
    status = snapshot.statuses.get(edge)
    if status is None or snapshot.contact(edge) is not Contact.PRESENT:
        return EdgeProgress(edge=edge, state="unknown", detail="out of contact")
    routing = status.routing
    # What an edge wants is for it to say: of another version, it may render otherwise than we.
    if status.generation < revision or not routing.wanted:
        return EdgeProgress(edge=edge, state=RoutingState.WAITING.value)
    if routing.state is RoutingState.CONFIRMED and routing.running != routing.wanted:
        return EdgeProgress(edge=edge, state=RoutingState.WAITING.value)
    return EdgeProgress(edge=edge, state=routing.state.value, detail=routing.detail)


def _open(rows: tuple[EdgeProgress, ...]) -> tuple[EdgeProgress, ...]:
    return tuple(row for row in rows if row.state != RoutingState.CONFIRMED)


def _finished(snapshot: Snapshot, rows: tuple[EdgeProgress, ...]) -> bool:
    """Return whether all have confirmed; UnavailableError if that will not come."""
    for row in rows:
        if row.state == RoutingState.REVERTED:
            raise UnavailableError(
                f"{row.line}. What ran before runs again there, and no further edge is "
                "changed; mend the spec and apply again"
            )
    left = _open(rows)
    if left and snapshot.interventions.freeze:
        raise UnavailableError(
            "the network is frozen: edges change nothing until pltfrms network unfreeze"
        )
    return not left


def _late(shown: dict[str, str], revision: int, timeout_ms: int) -> str:
    if not shown:
        return f"the controllers have not seen revision {revision}; try: pltfrms status"
    lines = [f"  {line}" for line in shown.values()]
    return "\n".join([f"edges stand still for {timeout_ms / 1000:g} s", *lines])
