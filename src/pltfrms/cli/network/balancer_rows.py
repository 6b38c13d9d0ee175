"""Views of balancers as lines of tables. Pure."""

from dataclasses import dataclass, replace
from itertools import zip_longest

from pltfrms.model.running.balancer import BalancerMode, BalancerView, InstanceCounts, TableView
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.balancing.flow_why import InstanceLabel, instance_labels, label_of

_LEFT = ("stale", "no_table", "ttl", "unreadable", "failed")
"""Counters of packets to services that the kernel's routes got."""
_NOTHING = InstanceCounts()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLine:
    """The balancer of a machine in one line."""

    machine: str
    mode: BalancerMode
    services: int
    instances: int
    heartbeat: str
    packets: int
    """That it sent to an instance first."""
    second_chances: int
    """Packets that it passed on because an instance did not know their flow."""
    left_to_kernel: int
    because: str
    """Why it is not the director; empty if it is."""


def only_service(view: BalancerView, service: Service | None) -> BalancerView:
    """Return the view of one service alone; all of it without one."""
    if service is None:
        return view
    tables = tuple(table for table in view.tables if table.service.id == service.id)
    return replace(view, tables=tables, totals={})


def machine_line(view: BalancerView) -> MachineLine:
    """Return a view in one line."""
    counts = [table.counts for table in view.tables]
    each = [one for table in view.tables for one in table.instance_counts]
    left = sum(view.totals.get(name, 0) for name in _LEFT)
    return MachineLine(
        machine=view.machine,
        mode=view.mode,
        services=len(view.tables),
        instances=sum(len(table.candidates) for table in view.tables),
        heartbeat=heartbeat_words(view),
        packets=sum(one.packets for one in counts),
        second_chances=sum(one.second_chances for one in each),
        left_to_kernel=left + sum(one.no_instance for one in counts),
        because="" if view.mode is BalancerMode.DIRECTOR else view.detail,
    )


def heartbeat_words(view: BalancerView) -> str:
    """Return how long ago the agent of a machine last said that its tables are right."""
    if view.mode is not BalancerMode.DIRECTOR:
        return "-"
    return f"{view.heartbeat_age_ms} ms ago" if view.heartbeat_age_ms >= 0 else "never"


def service_lines(snapshot: Snapshot, table: TableView) -> list[tuple[str, ...]]:
    """Return a line per instance of a table, and one with the sums."""
    service = snapshot.services.get(table.service.name)
    labels = instance_labels(snapshot, service) if service else {}
    zipped = list(zip_longest(table.candidates, table.shares, table.instance_counts))
    lines = [
        (
            *_who(label_of(snapshot, labels, one.address)),
            str(one.address),
            one.state.name.lower(),
            str(one.weight),
            f"{share or 0.0:.1%}",
            *_counts(counts or _NOTHING),
        )
        for one, share, counts in zipped
    ]
    packets = sum(one.packets for one in table.instance_counts)
    chances = sum(one.second_chances for one in table.instance_counts)
    return [*lines, ("total", "", "", "", "", "", str(packets), str(chances))]


def _who(label: InstanceLabel) -> tuple[str, str]:
    return (label.allocation or "-", label.node or "-")


def _counts(counts: InstanceCounts) -> tuple[str, str]:
    return (str(counts.packets), str(counts.second_chances))
