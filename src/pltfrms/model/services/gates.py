"""Where instances ask for their part of the store."""

from collections.abc import Iterable

from pltfrms.model.identity.words import machine_server_name
from pltfrms.model.network.topology import CONTROLLER_PORT, Machine, Platform


def gate_of(platform: Platform, controller: Machine, *, secure: bool) -> str:
    """Return host and port at which a controller is asked; by TLS under its name there."""
    if secure:
        return f"{machine_server_name(platform.name, controller.name)}:{CONTROLLER_PORT}"
    return f"[{platform.loopback6(controller)}]:{CONTROLLER_PORT}"


def gate_hosts(platform: Platform, controllers: Iterable[Machine]) -> tuple[str, ...]:
    """Return the lines of a hosts file by which instances find these gates."""
    return tuple(
        f"{platform.loopback6(each)} {machine_server_name(platform.name, each.name)}"
        for each in controllers
    )
