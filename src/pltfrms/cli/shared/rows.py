"""Services and machines as lines of tables, for whoever shows some."""

from pltfrms.cli.shared.output import echo, write_table
from pltfrms.model.durations import short_duration
from pltfrms.model.running.state import Contact
from pltfrms.seen.summary import MachineRow, ServiceRow


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
