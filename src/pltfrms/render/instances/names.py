"""Say what a hosts file says of services."""

from collections.abc import Iterable

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.names import Addressed, names_of


def render_hosts(platform: Platform, services: Iterable[Addressed]) -> tuple[str, ...]:
    """Return the lines for services, oldest first, so that a new one comes last."""
    return tuple(
        f"{address} {each.name} {each.short}"
        for each in names_of(platform, services)
        for address in each.addresses
    )
