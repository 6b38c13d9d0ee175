"""From the operator's platform and lab to the parts of every machine."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pltfrms.drivers.sealing import CONTROLLERS_KEYS
from pltfrms.lab.layout.speakers import (
    BIRD,
    ROAS_FILE,
    external_files,
    roas_text,
    rtr_unit,
    speaker_files,
    speaker_preparations,
    speaker_reload,
    speaker_units,
)
from pltfrms.lab.layout.tunnels import with_tunnels
from pltfrms.lab.layout.uplinks import with_uplinks
from pltfrms.lab.layout.wiring import make_wiring
from pltfrms.lab.parts import LabParts, MachineParts, Unit
from pltfrms.model.addresses import Interface
from pltfrms.model.network.lab import Daemon, Lab, cache_of
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.machine import NetworkState
from pltfrms.render.kernel import internet_network_state, network_state

PLATFORM_FILE = "/etc/pltfrms/platform.yaml"
MACHINE_FILE = "/etc/pltfrms/machine"
FIRST_FILE = "/etc/pltfrms/first-members"
"""The members make the store together at their first start."""
SECRETS_FILE = f"/var/lib/pltfrms/{CONTROLLERS_KEYS}"

_NICE = -10
"""On machines of their own, these would not wait for other machines' work. Late heartbeats and
elections would be faults that nobody asked for."""
_AGENT = Unit(name="agent", entry="pltfrms.agent.main:main", nice=_NICE)
_ETCD = Unit(name="etcd", entry="pltfrms.api.store.member:main", becomes=True, nice=_NICE)
_CONTROLLER = Unit(name="controller", entry="pltfrms.api.main:main", nice=_NICE)


def make_parts(
    platform: Platform,
    lab: Lab,
    platform_text: str,
    *,
    first: bool = True,
    trees: Mapping[str, str] = MappingProxyType({}),
) -> LabParts:
    """Return the parts of the whole lab; `platform_text` is the operator's platform.yaml.

    `first`: the controllers are to make a store together; else there is one. `trees`: the files
    of a Debian, by machine, of those that boot its systemd and get the package.
    """
    ours = (
        _booting(platform, machine, trees[machine.name])
        if machine.name in trees
        else _machine(platform, lab, machine, platform_text, first=first)
        for machine in platform.machines
    )
    return LabParts(
        wiring=make_wiring(platform, lab),
        machines=(
            *ours,
            *(_internet_machine(platform, lab, name) for name in lab.machines),
        ),
    )


def _machine(
    platform: Platform, lab: Lab, machine: Machine, platform_text: str, *, first: bool
) -> MachineParts:
    if machine.external:
        return _external_edge(platform, machine)
    units = [_AGENT, BIRD]
    files = [(PLATFORM_FILE, platform_text), (MACHINE_FILE, f"{machine.name}\n")]
    if machine.has(Role.CONTROLLER):
        units += [_ETCD, _CONTROLLER]
        files.append((SECRETS_FILE, f"{_secrets_key(platform)}\n"))
    if machine.has(Role.CONTROLLER) and first:
        members = (each.name for each in platform.machines_of(Role.CONTROLLER))
        files.append((FIRST_FILE, " ".join((f"pltfrms-{platform.name}", *members))))
    cache = cache_of(platform, machine)
    if cache is not None:
        units.append(rtr_unit(cache))
        files.append((ROAS_FILE, roas_text(lab.roas)))
    parts = MachineParts(name=machine.name, units=tuple(units), files=tuple(files))
    return with_uplinks(platform, with_tunnels(platform, parts))


def _secrets_key(platform: Platform) -> str:
    """Return what controllers open secrets with; without identities none gives it to another.

    The same at every start of a lab: it protects nothing.
    """
    digest = hashlib.sha256(f"lab {platform.name} secrets".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _booting(platform: Platform, machine: Machine, tree: str) -> MachineParts:
    """Return a machine with what its owner brings: ports, addresses and ways out."""
    daemons = [_AGENT, BIRD, *((_ETCD, _CONTROLLER) if machine.has(Role.CONTROLLER) else ())]
    units = tuple(Unit(name=each.name) for each in daemons)
    parts = MachineParts(name=machine.name, tree=tree, units=units)
    # The secret of tunnels comes with who the machine is.
    return replace(with_uplinks(platform, with_tunnels(platform, parts)), files=())


def _external_edge(platform: Platform, edge: Machine) -> MachineParts:
    """Return a router of others: FRR with the text that we would give them."""
    state = network_state(platform, edge.name)
    return MachineParts(
        name=edge.name,
        units=speaker_units(Daemon.FRR),
        files=external_files(platform, edge.name),
        sysctls=state.sysctls,
        network=tuple(network_lines(state)),
        prepare=speaker_preparations(Daemon.FRR),
        reload=speaker_reload(Daemon.FRR),
    )


def _internet_machine(platform: Platform, lab: Lab, name: str) -> MachineParts:
    state = internet_network_state(platform, lab, name)
    daemon = lab.daemon(name)
    return MachineParts(
        name=name,
        units=speaker_units(daemon),
        files=speaker_files(platform, lab, name),
        sysctls=state.sysctls,
        network=tuple(network_lines(state)),
        prepare=speaker_preparations(daemon),
        reload=speaker_reload(daemon),
    )


def network_lines(state: NetworkState) -> Iterable[str]:
    """Yield the lines of `ip -batch` that make a machine's network as it must look."""
    for device in state.devices:
        yield f"link set {device.name} up"
        for address in device.addresses:
            yield f"address add {address} dev {device.name}{_address_options(address)}"
    for rule in state.rules:
        for family in ("-4", "-6"):
            yield f"{family} rule add pref {rule.preference} lookup {rule.table}"


def _address_options(address: Interface) -> str:
    return " nodad" if address.version == 6 else ""  # noqa: PLR2004 - of IP
