"""Network interfaces as a machine has them, and what is wrong with them."""

from dataclasses import dataclass
from enum import StrEnum

from pltfrms.model.addresses import Interface


class Manager(StrEnum):
    """What sets addresses and routes of interfaces, and removes those of others."""

    NETWORK_MANAGER = "NetworkManager"
    NETWORKD = "systemd-networkd"
    DHCPCD = "dhcpcd"
    DHCLIENT = "dhclient"
    IFUPDOWN = "ifupdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPort:
    """A network interface, whoever made it."""

    name: str
    kind: str = ""
    """As `ip -details link` calls it, such as vlan or bond; empty: hardware, or not said."""
    up: bool = True
    carrier: bool = True
    mtu: int = 1500
    addresses: tuple[Interface, ...] = ()
    master: str = ""
    """The bond or bridge that it is a part of."""
    parent: str = ""
    """Of a VLAN or MACVLAN: what it runs over."""
    ipv6: bool = True
    """False: the kernel speaks no IPv6 there."""
    hears_as_host: bool = False
    """The kernel heeds RAs of routers (RFC 4861) only while it does not forward."""
    managers: tuple[Manager, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMachine:
    """What an operating system has, as far as ports need it."""

    ports: tuple[SeenPort, ...]
    flushes: bool = False
    """systemd-networkd runs, and removes routes and rules of others when it starts anew."""


class PortGrade(StrEnum):
    """How bad a finding is."""

    WRONG = "wrong"
    """It does not work so."""
    DOUBTFUL = "doubtful"
    """It may work, or not for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFinding:
    """One thing to do on a machine."""

    port: str
    """Empty: the whole machine."""
    use: str
    """What for, such as `fabric a`, `link fra-e1--ams-e1` or `session transit1`."""
    grade: PortGrade
    what: str
    hint: str
