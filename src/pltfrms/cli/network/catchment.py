"""`catchment`: which datacenter answers whom, as expected and as measured.

In a lab networks of clients are asked from; elsewhere vantage points say what they see.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import click

from pltfrms.cli.shared.complete import complete_services
from pltfrms.cli.shared.connect import current_lab, is_lab, read_view
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import bad, write_json, write_table
from pltfrms.cli.shared.specs import load_lab, load_platform, read_change
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.lab.client.client import LabClient
from pltfrms.lab.client.probing import Measurement, find_service, probe_service
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.network.lab import Lab
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.routing.catchment import catchments
from pltfrms.planner.routing.serving import announced_now, serving_datacenters

_ASK_MS = 1000
_RATE = 40.0
_UNKNOWN = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchmentRow:
    """One network of clients; datacenters joined by `|` share its traffic, `-` is none."""

    client: str
    nearest: str
    """What lab.yaml wishes; `-` outside a lab."""
    expected: str
    """With `?` if that depends on edges that are not heard of: then such as may be, not all.
    Outside a lab nothing else."""
    measured: str
    """`?`: not measured."""
    after: str = ""
    """Expected after the change that was asked about."""

    @property
    def surprising(self) -> bool:
        """Whether something was measured that was not expected."""
        expected = set(self.expected.split("|"))
        known = self.measured != _UNKNOWN and _UNKNOWN not in expected
        return known and not set(self.measured.split("|")) <= expected


@click.command(cls=Command)
@click.argument("service", shell_complete=complete_services)
@click.option(
    "--change",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE|DIR",
    help="Also show what would be expected after applying it.",
)
@click.option("--measure/--no-measure", default=True, help="Ask from every client network.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")
@pass_settings
def catchment(
    settings: Settings, service: str, change: Path | None, *, measure: bool, as_json: bool
) -> None:
    """Show which datacenter answers whom.

    In a lab, for every network of clients. Expected: computed from announcements, overrides,
    drains, sessions and the delays of the lab. Measured: a second of requests from every client
    network. Exit code 4 if something was measured that was not expected; with `?`, more may be
    than is said.

    Elsewhere, for every vantage point: measured is who answered it lately, `-` is nobody, `?`
    that answers do not say it. What is expected is not known there.

    Example: pltfrms catchment web --change examples/three-datacenters
    """
    if is_lab(settings):
        rows = _of_lab(settings, service, change, measure=measure)
    elif change:
        raise UsageError("--change: what it does to clients is known in a lab only")
    else:
        rows = of_vantage_points(read_view(settings), service)
    if as_json:
        write_json(rows)
    else:
        _show(rows, with_change=change is not None)
    if any(row.surprising for row in rows):
        click.get_current_context().exit(4)


def of_vantage_points(view: SnapshotView, service: str) -> tuple[CatchmentRow, ...]:
    """Return who answers the vantage points that ask a service.

    Raises:
        NotFoundError: there is no such service.
        UnavailableError: nobody says anything of it.
    """
    view.snapshot.service(service)
    known = view.clients.services if view.clients else ()
    said = next((each for each in known if each.service == service), None)
    if said is None or not said.asked_from:
        why = f": {said.why}" if said and said.why else ""
        raise UnavailableError(f"who answers clients of {service} is not known{why}")
    return tuple(
        CatchmentRow(
            client=where,
            nearest="-",
            expected=_UNKNOWN,
            measured="|".join(said.answered_by.get(where, ()))
            or ("-" if where in said.missed_from else _UNKNOWN),
        )
        for where in said.asked_from
    )


def _of_lab(
    settings: Settings, service: str, change: Path | None, *, measure: bool
) -> tuple[CatchmentRow, ...]:
    """Return what is expected for each network of clients, and what was measured."""
    lab = current_lab(settings)
    snapshot = read_view(settings).snapshot
    known = find_service(snapshot.services, service)
    directory = Path(lab.info().directory)
    words = load_lab(directory / "lab.yaml", load_platform(directory / "platform.yaml"))
    measured = _measure(lab, words, known) if measure else {}
    before = expected_answers(snapshot, words, known)
    after = expected_answers(changed(snapshot, change), words, known) if change else {}
    return tuple(
        CatchmentRow(
            client=eyeball.name,
            nearest=eyeball.nearest,
            expected=before[eyeball.name],
            measured=measured.get(eyeball.name, _UNKNOWN),
            after=after.get(eyeball.name, ""),
        )
        for eyeball in words.eyeballs
    )


def _show(rows: tuple[CatchmentRow, ...], *, with_change: bool) -> None:
    columns = ["client", "nearest", "expected", "measured", "after the change"]
    table = [
        (
            row.client,
            row.nearest,
            row.expected,
            bad(row.measured) if row.surprising else row.measured,
            bad(row.after) if row.after != row.expected else row.after,
        )
        for row in rows
    ]
    width = len(columns) if with_change else len(columns) - 1
    write_table(tuple(columns[:width]), [row[:width] for row in table])


def changed(snapshot: Snapshot, path: Path) -> Snapshot:
    """Return a snapshot after what spec files say, whatever has changed meanwhile.

    Machines that come with it are there: that nobody has heard of them yet says nothing.
    """
    after = apply_change(snapshot, replace(read_change(path), revision=None)).snapshot
    come = {each.name for each in after.platform.managed}
    come -= {each.name for each in snapshot.platform.managed}
    there = MachineView(contact=Contact.PRESENT, since_seconds=0.0)
    return replace(after, machines={**after.machines, **dict.fromkeys(come, there)})


def expected_answers(snapshot: Snapshot, lab: Lab, service: Service) -> dict[str, str]:
    """Return which datacenters should answer each network of clients; see `CatchmentRow`."""
    now_ms = time.time_ns() // 1_000_000
    said = tuple(announced_now(snapshot, now_ms))
    sure = tuple(announced_now(snapshot, now_ms, not_known=False))
    serving = serving_datacenters(snapshot, service)
    found: dict[str, list[str]] = {eyeball.name: [] for eyeball in lab.eyeballs}
    for prefix in map(ip_network, service.prefixes):
        at_least = catchments(snapshot.platform, lab, sure, prefix, serving)
        expected = catchments(snapshot.platform, lab, said, prefix, serving)
        for each, surely in zip(expected, at_least, strict=True):
            found[each.client] += each.datacenters
            if each.datacenters != surely.datacenters:
                found[each.client] += (*surely.datacenters, _UNKNOWN)
    return {client: "|".join(dict.fromkeys(names)) or "-" for client, names in found.items()}


def _measure(lab: LabClient, words: Lab, service: Service) -> dict[str, str]:
    def ask(client: str) -> str:
        wanted = Measurement(client=client, rate=_RATE, duration_ms=_ASK_MS)
        report = probe_service(lab, service, wanted)
        answered = {dc for part in report.answered_by.values() for dc in part}
        return "|".join(sorted(answered)) or "-"

    names = [eyeball.name for eyeball in words.eyeballs]
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))
