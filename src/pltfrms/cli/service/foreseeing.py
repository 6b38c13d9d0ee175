"""What would be if something failed: found out, and shown."""

from dataclasses import dataclass
from pathlib import Path

from pltfrms.cli.network.catchment import changed, expected_answers
from pltfrms.cli.platform.redundant import load_rows, redundancy_line
from pltfrms.cli.service.apply import plan_lines
from pltfrms.cli.shared.connect import current_lab, read_view
from pltfrms.cli.shared.options import Settings
from pltfrms.cli.shared.output import (
    bad,
    echo,
    good,
    paint,
    write_json,
    write_line,
    write_table,
)
from pltfrms.cli.shared.specs import load_lab, load_platform, located
from pltfrms.errors import PltfrmsError
from pltfrms.model.network.lab import Lab
from pltfrms.model.running.foresight import CountForesight, Foresight, Gap, RoomForesight
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.foresight.n_minus_one import n_minus_one
from pltfrms.planner.foresight.settling import settle
from pltfrms.planner.foresight.what_if import what_if
from pltfrms.planner.redundancy.loads import Loads, service_loads


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMove:
    """A network of clients of a lab, and which datacenters should answer it."""

    service: str
    client: str
    now: str
    then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfReport:
    """What is foreseen."""

    foresight: Foresight
    clients: tuple[ClientMove, ...] = ()
    """Of a lab: those whom others answer then."""

    @property
    def is_short(self) -> bool:
        """Whether something has no room, or nothing is decided any more."""
        found = self.foresight
        return bool(found.short or found.undecided or found.shortages)


def foresee(settings: Settings, losses: tuple[str, ...], change: Path | None) -> WhatIfReport:
    """Ask what is, and work out what would be; spec files that are wrong are told as such.

    Raises:
        PltfrmsError: nobody answers, the change is none, or there is nothing of such a name.
    """
    snapshot, loads = _base(settings, change)
    found, after = what_if(snapshot, losses, loads)
    lab = _lab(settings)
    return WhatIfReport(foresight=found, clients=_moves(snapshot, after, lab) if lab else ())


def _base(settings: Settings, change: Path | None) -> tuple[Snapshot, Loads]:
    """Return what is, after a change if there is one, and what was measured before it."""
    snapshot = read_view(settings).last_known
    if not change:
        return snapshot, service_loads(snapshot)
    with located(change):
        snapshot = changed(snapshot, change)
        return settle(snapshot)[0], service_loads(snapshot)


def show_gaps(settings: Settings, change: Path | None, *, as_json: bool) -> bool:
    """Write what is short after any one loss; return whether anything is."""
    gaps = n_minus_one(*_base(settings, change))
    if as_json:
        write_json(gaps, tuple[Gap, ...])
    elif gaps:
        write_table(("lost", "short", "why"), [(g.lost, bad(g.about), g.why) for g in gaps])
    else:
        write_line(good("any one node, and any one datacenter, may be lost: nothing is short"))
    return bool(gaps)


def _lab(settings: Settings) -> Lab | None:
    """Return the words of the lab that is meant; None if none is."""
    if settings.controllers:
        return None
    try:
        directory = Path(current_lab(settings).info().directory)
        return load_lab(directory / "lab.yaml", load_platform(directory / "platform.yaml"))
    except PltfrmsError:
        return None


def _moves(now: Snapshot, then: Snapshot, lab: Lab) -> tuple[ClientMove, ...]:
    moves: list[ClientMove] = []
    for name, service in sorted(now.services.items()):
        before, after = (expected_answers(each, lab, service) for each in (now, then))
        moves += [
            ClientMove(service=name, client=client, now=before[client], then=after[client])
            for client in before
            if before[client] != after[client]
        ]
    return tuple(moves)


def show(report: WhatIfReport) -> None:
    """Write it for people."""
    found = report.foresight
    write_line(f"without {', '.join(found.lost)}:")
    if found.undecided:
        write_line(bad(found.undecided))
    if found.counts:
        echo()
        head = ("service", "datacenter", "wanted", "now", "at once", "then")
        write_table(head, [_count_cells(each) for each in found.counts])
    if found.rooms:
        echo()
        rows = [_room_cells(each) for each in found.rooms]
        write_table(("datacenter", "cpu promised", "memory promised"), rows)
    if found.loads:
        echo()
        write_table(("service", "has to do", "a replica can do"), load_rows(found.loads))
    if report.clients:
        echo()
        moves = [(each.service, each.client, each.now, each.then) for each in report.clients]
        write_table(("service", "clients", "answered by", "then by"), moves)
    lines = [
        *plan_lines(found.steps, found.notes),
        *(f"{bad('short:')} {each}" for each in found.short),
        *(f"{bad('no room:')} {each}" for each in found.shortages),
        *(f"{paint('not known:', 'yellow')} {each}" for each in found.doubts),
    ]
    if lines:
        echo()
    for line in lines:
        write_line(line)
    echo()
    write_line(f"then {redundancy_line(found.redundancy)}")


def _count_cells(count: CountForesight) -> tuple[str, ...]:
    then = str(count.settled)
    return (
        count.service,
        count.datacenter,
        str(count.wanted),
        str(count.now),
        str(count.at_once),
        good(then) if count.settled >= count.wanted else bad(then),
    )


def _room_cells(room: RoomForesight) -> tuple[str, ...]:
    cpu = f"{room.cpu_promised:g} of {room.cpu:g} ({_percent(room.cpu_promised, room.cpu)} %)"
    promised, have = room.memory_promised >> 20, room.memory_bytes >> 20
    memory = f"{promised} of {have} MiB ({_percent(promised, have)} %)"
    return (room.datacenter, cpu, memory)


def _percent(part: float, whole: float) -> int:
    return round(100 * part / whole) if whole else 0
