"""`lab probe`: measure a service as a client sees it, while something breaks."""

from collections.abc import Mapping

import click

from pltfrms.cli.shared.complete import complete_faults, complete_machines, complete_services
from pltfrms.cli.shared.connect import current_lab, read_view
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, good, write_json, write_table
from pltfrms.cli.shared.values import DURATION, LASTING, split_fault
from pltfrms.errors import UnavailableError
from pltfrms.lab.client.client import LabClient
from pltfrms.lab.client.prober import ProbeReport
from pltfrms.lab.client.probing import Measurement, PlannedFault, find_service, probe_service
from pltfrms.model.services.service import Service


@click.command(cls=Command)
@click.argument("service", shell_complete=complete_services)
@click.option(
    "--from",
    "client",
    required=True,
    metavar="CLIENT",
    shell_complete=complete_machines,
    help="An eyeball, a node, or an instance such as instance/web/fra/1.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1, max=5000),
    default=200,
    show_default=True,
    help="Requests per second, IPv4 and IPv6 together.",
)
@click.option("--duration", "duration_ms", type=LASTING, default="10s", show_default=True)
@click.option(
    "--fault",
    metavar="TARGET[:KIND]",
    shell_complete=complete_faults,
    help="Break this meanwhile, such as edge/fra-e1:silent.",
)
@click.option(
    "--at",
    "at_ms",
    type=DURATION,
    default="3s",
    show_default=True,
    help="When to break it, after the first request.",
)
@click.option(
    "--patience",
    "timeout_ms",
    type=LASTING,
    default="1s",
    show_default=True,
    help="How long a client waits for an answer until it counts as lost. TCP sends anew after "
    "1 s.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON.")
@pass_settings
def probe(  # noqa: PLR0913 - one parameter per option
    settings: Settings,
    *,
    service: str,
    client: str,
    rate: float,
    duration_ms: int,
    fault: str | None,
    at_ms: int,
    timeout_ms: int,
    as_json: bool,
) -> None:
    """Measure a service as a client sees it.

    Sends on an absolute schedule, each request on a connection of its own; what was lost,
    the longest gap, the latencies, and who answered before and after the fault. While no
    controller answers, the addresses are those that the lab's nodes were last told.

    Example: pltfrms lab probe web --from berlin --fault edge/fra-e1:silent
    """
    wanted = Measurement(
        client=client,
        rate=rate,
        duration_ms=duration_ms,
        timeout_ms=timeout_ms,
        fault=_planned(fault, at_ms) if fault else None,
    )
    lab = current_lab(settings)
    known = find_service(_known_services(settings, lab), service)
    report = probe_service(lab, known, wanted)
    if as_json:
        write_json(report)
    else:
        show_report(report, wanted)


def _known_services(settings: Settings, lab: LabClient) -> Mapping[str, Service]:
    """Return the services; without controllers, as the machines were last told of them."""
    try:
        return read_view(settings).snapshot.services
    except UnavailableError as error:
        echo(f"warning: {error}\nasking what its nodes were last told", err=True)
    return lab.told_services()


def _planned(fault: str, at_ms: int) -> PlannedFault:
    target, kind = split_fault(fault)
    return PlannedFault(target=target, kind=kind, at_ms=at_ms)


def show_report(report: ProbeReport, wanted: Measurement) -> None:
    """Write a report for people."""
    verdict = f"{report.sent} requests from {wanted.client}, {report.lost} lost"
    if report.lost:
        gap = f", longest gap {report.gap_max_ms:.0f} ms"
        families = [f"{name} {ms:.0f} ms" for name, ms in report.gap_max_ms_by_family.items()]
        echo(bad(f"{verdict}{gap} ({', '.join(families)})"))
        echo("lost: " + ", ".join(f"{n} {what}" for what, n in report.errors.items()))
    else:
        echo(good(verdict))
    p50, p99 = (_milliseconds(report.latency_ms.get(name)) for name in ("p50", "p99"))
    echo(f"latency: p50 {p50}, p99 {p99}")
    if wanted.fault:
        echo(_after_fault(report, wanted.fault))
    echo()
    show_answers(report.answered_by, with_fault=wanted.fault is not None)


def _after_fault(report: ProbeReport, fault: PlannedFault) -> str:
    what = f"fault {fault.target} ({fault.kind}) after {fault.at_ms / 1000:g} s"
    if report.lossless_after_s is None:
        return f"{what}; requests were still lost at the end"
    return f"{what}; nothing lost any more {report.lossless_after_s * 1000:.0f} ms later"


def show_answers(
    answered_by: Mapping[str, Mapping[str, Mapping[str, int]]], *, with_fault: bool
) -> None:
    """Write who answered how often, before and after the fault."""
    before, after = answered_by.get("before", {}), answered_by.get("after", {})
    pairs = sorted(
        {(dc, instance) for part in (before, after) for dc in part for instance in part[dc]}
    )
    rows = [
        (dc, instance, *(str(part.get(dc, {}).get(instance, 0)) for part in (before, after)))
        for dc, instance in pairs
    ]
    columns = ("datacenter", "instance", "before", "after")
    if with_fault:
        write_table(columns, rows)
    else:
        write_table(("datacenter", "instance", "answers"), [row[:3] for row in rows])


def _milliseconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} ms"
