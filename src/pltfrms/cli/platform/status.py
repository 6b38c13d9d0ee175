"""`status`: how the platform is, on one screen, from one call."""

import click

from pltfrms.cli.platform.redundant import redundancy_line
from pltfrms.cli.shared.connect import connect
from pltfrms.cli.shared.options import Command, Settings, pass_settings
from pltfrms.cli.shared.output import (
    bad,
    echo,
    good,
    unix_ms,
    write_json,
    write_line,
    write_table,
)
from pltfrms.model.durations import short_duration
from pltfrms.model.running.state import Contact
from pltfrms.seen.announced import aggregate_sentence
from pltfrms.seen.summary import (
    DatacenterRow,
    MachineRow,
    ServiceRow,
    Summary,
    summarize,
)

_UNFREEZE = "pltfrms network unfreeze"


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Write the whole snapshot as JSON.")
@pass_settings
def status(settings: Settings, *, as_json: bool) -> None:
    """Show how the platform is, on one screen.

    Example: pltfrms status
    """
    view = connect(settings).snapshot()
    if as_json:
        write_json(view)
    else:
        show_summary(summarize(view, unix_ms()))


def show_summary(summary: Summary) -> None:
    """Write verdict, datacenters, services, and whatever is not as it should be."""
    if summary.frozen:
        write_line(bad(f"{summary.frozen}; nothing changes a route until: {_UNFREEZE}"))
    if summary.redundancy:
        write_line(redundancy_line(summary.redundancy))
    write_line((good if summary.fine else bad)(summary.verdict))
    for datacenter in summary.datacenters:
        echo()
        show_datacenter(datacenter, summary.machines)
    if summary.services:
        echo()
        show_services(summary.services)
    for title, lines in (
        ("rollouts", summary.rollouts),
        ("network", summary.network),
        (bad("problems"), summary.problems),
        (bad("not fulfilled"), summary.notes),
    ):
        if lines:
            echo(f"\n{title}")
            for line in lines:
                write_line(f"  {line}")


def show_datacenter(datacenter: DatacenterRow, machines: tuple[MachineRow, ...]) -> None:
    """Write one datacenter: its machines, and which aggregates its edges announce."""
    city = f" ({datacenter.city})" if datacenter.city else ""
    echo(f"{datacenter.name}{city}")
    rows = [
        (f"  {m.name}", *machine_cells(m)) for m in machines if m.datacenter == datacenter.name
    ]
    write_table(("  machine", "role", "contact", "since", "sessions", "instances"), rows)
    for aggregate in datacenter.aggregates:
        write_line(f"  {aggregate_sentence(aggregate)}")


def machine_cells(machine: MachineRow) -> tuple[str, ...]:
    """Return the cells of a machine's line, after its name."""
    roles = "+".join(machine.roles)
    if machine.external:
        return (roles, "external", "-", "-", "-")
    last = _last_known(machine)
    instances = f"{machine.instances_ready}/{machine.instances} ready{last}"
    return (
        roles,
        _contact_word(machine),
        _since_words(machine),
        f"{machine.sessions_up}/{machine.sessions} up{last}",
        instances if machine.instances else "-",
    )


def _contact_word(machine: MachineRow) -> str:
    if machine.last_seconds is None or machine.contact is Contact.UNKNOWN:
        return machine.contact.value
    return f"was {machine.contact.value}"


def _since_words(machine: MachineRow) -> str:
    if not machine.heard and machine.contact is not Contact.PRESENT:
        return "never heard of"
    if machine.last_seconds is not None:
        return f"{short_duration(machine.last_seconds)} ago"
    return "-" if machine.since_seconds is None else short_duration(machine.since_seconds)


def _last_known(machine: MachineRow) -> str:
    """Say that the numbers are old, where they are."""
    new = machine.contact is Contact.PRESENT and machine.last_seconds is None
    return "" if new else " (last known)"


def show_services(services: tuple[ServiceRow, ...]) -> None:
    """Write a line per service."""
    rows = [
        (
            service.name,
            f"{service.ready}/{service.wanted}"
            + (f" ({service.unknown} unknown)" if service.unknown else ""),
            str(service.version),
            " ".join(service.prefixes),
            " ".join(service.ports) or "-",
            " ".join(service.datacenters) or "-",
        )
        for service in services
    ]
    write_table(("service", "ready", "version", "prefixes", "ports", "datacenters"), rows)
    roles = [
        (
            service.name,
            role.name,
            role.who,
            "-" if role.epoch is None else str(role.epoch),
            " ".join(role.prefixes),
        )
        for service in services
        for role in service.roles
    ]
    if roles:
        echo("")
        write_table(("service", "role", "who has it", "epoch", "prefixes"), roles)
