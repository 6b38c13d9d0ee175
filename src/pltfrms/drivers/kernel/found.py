"""What a machine has of interfaces, and who beside us manages them."""

import configparser
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from pltfrms.drivers.kernel.devices import RUNNING, UP
from pltfrms.model.addresses import Interface
from pltfrms.model.network.ports import Manager, SeenPort

Ask = Callable[..., Awaitable[list[Any]]]
"""Does one request of rtnetlink and returns all answers."""
_MANAGED_LINKS: Final = frozenset({"configuring", "configured", "pending", "failed", "linger"})
_KEEPS: Final = re.compile(r"(?im)^\s*KeepConfiguration\s*=\s*(yes|true|on|1|static)\b")
_IFACE: Final = re.compile(r"(?m)^\s*iface\s+(\S+)\s+inet6?\s+(\S+)")
_DENIED: Final = re.compile(r"(?m)^\s*denyinterfaces\s+(.+)$")
_ALLOWED: Final = re.compile(r"(?m)^\s*allowinterfaces\s+(.+)$")
_LEFT_ALONE: Final = frozenset({"manual", "loopback"})
_FAMILIES: Final = ("", "-4", "-6")
"""Ends of names of dhcpcd's files."""
_NO: Final = frozenset({"no", "false", "off", "0"})
_FOREIGN: Final = ("ManageForeignRoutes", "ManageForeignRoutingPolicyRules")
_NETWORKD: Final = tuple(Path(each) / "systemd" for each in ("usr/lib", "run", "etc"))
"""Later ones win."""


async def read_ports(
    ask: Ask, addresses: Mapping[int, set[Interface]], root: Path = Path("/")
) -> tuple[SeenPort, ...]:
    """Return all interfaces in the order of the kernel; `addresses` by index of interface.

    Raises what `ask` does.
    """
    links = await ask("link", "dump")
    names = {link["index"]: _name(link) for link in links}
    return tuple(
        SeenPort(
            name=_name(link),
            kind=link.get(("linkinfo", "kind")) or "",
            up=bool(link["flags"] & UP),
            carrier=bool(link["flags"] & RUNNING),
            mtu=link.get("mtu") or 0,
            addresses=tuple(sorted(addresses.get(link["index"], ()), key=str)),
            master=names.get(link.get("master") or 0, ""),
            parent=_parent(link, names),
            ipv6=_sysctl(root, _name(link), "disable_ipv6") != "1",
            hears_as_host=_sysctl(root, _name(link), "accept_ra") == "1",
            managers=tuple(managers_of(root, link["index"], _name(link))),
        )
        for link in links
    )


def _name(link: Any) -> str:
    return str(link.get("ifname"))


def _parent(link: Any, names: Mapping[int, str]) -> str:
    if link.get("link_netnsid") is not None:
        return ""  # the index is that of another namespace
    return names.get(link.get("link") or 0, "")


def managers_of(root: Path, index: int, name: str) -> Iterator[Manager]:
    """Yield who manages an interface, as their files below `root` tell."""
    if "managed=true" in text_of(root / f"run/NetworkManager/devices/{index}").split():
        yield Manager.NETWORK_MANAGER
    if _is_networkds(root, index):
        yield Manager.NETWORKD
    run = root / "run"
    if _is_dhcpcds(root, name):
        yield Manager.DHCPCD
    if (run / f"dhclient.{name}.pid").exists():
        yield Manager.DHCLIENT
    if name in _configured(root):
        yield Manager.IFUPDOWN


def _is_networkds(root: Path, index: int) -> bool:
    words = _assignments(text_of(root / f"run/systemd/netif/links/{index}").splitlines())
    if words.get("ADMIN_STATE") not in _MANAGED_LINKS:
        return False
    file = words.get("NETWORK_FILE", "").lstrip("/")
    return not (file and _KEEPS.search(text_of(root / file)))


def _is_dhcpcds(root: Path, name: str) -> bool:
    """Return whether dhcpcd cares for an interface: for this one alone, or for all."""
    run = root / "run"
    own = (f"dhcpcd{between}{name}{family}.pid" for between in "/-" for family in _FAMILIES)
    if any((run / each).exists() for each in own):
        return True
    if not any((run / each).exists() for each in ("dhcpcd/pid", "dhcpcd.pid")):
        return False
    text = text_of(root / "etc/dhcpcd.conf")
    denied, allowed = (
        [word for line in pattern.findall(text) for word in line.split()]
        for pattern in (_DENIED, _ALLOWED)
    )
    if any(fnmatchcase(name, each) for each in denied):
        return False
    return not allowed or any(fnmatchcase(name, each) for each in allowed)


def _configured(root: Path) -> frozenset[str]:
    """Return the interfaces to which ifupdown gives addresses."""
    etc = root / "etc/network"
    files = (etc / "interfaces", *sorted((etc / "interfaces.d").glob("*")))
    pairs = (pair for file in files for pair in _IFACE.findall(text_of(file)))
    return frozenset(name for name, method in pairs if method not in _LEFT_ALONE)


def networkd_flushes(root: Path = Path("/")) -> bool:
    """Return whether systemd-networkd runs and removes routes or rules that it did not set."""
    if not (root / "run/systemd/netif/state").exists():
        return False
    said: dict[str, str] = {}
    for directory in _NETWORKD:
        files = sorted((root / directory / "networkd.conf.d").glob("*.conf"))
        for file in (root / directory / "networkd.conf", *files):
            said |= _networkd_words(text_of(file))
    return any(said.get(name.lower(), "yes").lower() not in _NO for name in _FOREIGN)


def _networkd_words(text: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    section = dict(parser["Network"]) if parser.has_section("Network") else {}
    return {name: value or "" for name, value in section.items()}


def _assignments(lines: Iterable[str]) -> Mapping[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


def _sysctl(root: Path, port: str, name: str) -> str:
    return text_of(root / "proc/sys/net/ipv6/conf" / port / name)


def text_of(file: Path) -> str:
    """Return a file's text without the blanks around it; empty if it cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
