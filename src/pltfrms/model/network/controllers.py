"""Which controllers somebody asks, and in which order."""

from pltfrms.model.network.topology import Machine, Platform, Role


def controllers_for(platform: Platform, machine: str) -> list[Machine]:
    """Return the controllers as a machine should ask them: its own datacenter's first."""
    home = platform.machine(machine).datacenter
    return sorted(
        platform.machines_of(Role.CONTROLLER), key=lambda each: each.datacenter != home
    )
