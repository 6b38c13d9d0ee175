"""From the operator's platform and lab to the parts of every machine."""

from collections.abc import Iterable
from pathlib import Path

from pltfrms.lab.parts import LabParts, MachineParts, Unit
from pltfrms.lab.wiring import make_wiring
from pltfrms.model.lab import Lab
from pltfrms.model.machine import NetworkState
from pltfrms.model.topology import Interface, Machine, Platform, Role
from pltfrms.render.etcd import etcd_command
from pltfrms.render.internet import render_internet
from pltfrms.render.kernel import internet_network_state

BIRD_CONFIG = "/run/pltfrms/bird.conf"
BIRD_SOCKET = "/run/pltfrms/bird.ctl"
ETCD_DATA = Path("/var/lib/pltfrms/etcd")
PLATFORM_FILE = "/etc/pltfrms/platform.yaml"
MACHINE_FILE = "/etc/pltfrms/machine"

_BIRD = Unit(
    name="bird",
    command=("bird", "-f", "-c", BIRD_CONFIG, "-s", BIRD_SOCKET),
    needs=BIRD_CONFIG,
)
_AGENT = Unit(name="agent", entry="pltfrms.agent.main:main")
_CONTROLLER = Unit(name="controller", entry="pltfrms.api.main:main")


def make_parts(platform: Platform, lab: Lab, platform_text: str) -> LabParts:
    """Return the parts of the whole lab; `platform_text` is the operator's platform.yaml."""
    return LabParts(
        wiring=make_wiring(platform, lab),
        machines=(
            *(_machine(platform, machine, platform_text) for machine in platform.machines),
            *(_internet_machine(platform, lab, name) for name in lab.machines),
        ),
    )


def _machine(platform: Platform, machine: Machine, platform_text: str) -> MachineParts:
    units = [_AGENT, _BIRD]
    if machine.role is Role.CONTROLLER:
        command = etcd_command(platform, machine.name, ETCD_DATA)
        units += [Unit(name="etcd", command=command), _CONTROLLER]
    return MachineParts(
        name=machine.name,
        units=tuple(units),
        files=((PLATFORM_FILE, platform_text), (MACHINE_FILE, f"{machine.name}\n")),
    )


def _internet_machine(platform: Platform, lab: Lab, name: str) -> MachineParts:
    state = internet_network_state(platform, lab, name)
    return MachineParts(
        name=name,
        units=(_BIRD,),
        files=((BIRD_CONFIG, render_internet(platform, lab, name)),),
        sysctls=state.sysctls,
        network=tuple(_network_lines(state)),
    )


def _network_lines(state: NetworkState) -> Iterable[str]:
    for device in state.devices:
        yield f"link set {device.name} up"
        for address in device.addresses:
            yield f"address add {address} dev {device.name}{_address_options(address)}"
    for rule in state.rules:
        for family in ("-4", "-6"):
            yield f"{family} rule add pref {rule.preference} lookup {rule.table}"


def _address_options(address: Interface) -> str:
    return " nodad" if address.version == 6 else ""  # noqa: PLR2004 - of IP
