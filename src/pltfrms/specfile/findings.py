"""What a check finds wrong, before anybody knows in which file and line it stands."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from pltfrms.errors import Problem
from pltfrms.model.addresses import Address, Prefix, contains, scope_of
from pltfrms.model.network.asns import AS_TRANS, LAST_ASNS
from pltfrms.model.network.topology import SECTIONS, Machine, Platform
from pltfrms.model.network.traffic import Community
from pltfrms.model.services.replicas import CORES_MAX

_ROUTABLE6 = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))
"""Global unicast addresses (RFC 4291) and unique local ones (RFC 4193)."""
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
Where = tuple[str | int, ...]
"""Path inside a document: keys and list indexes from 0."""

_PARTS = {2: ("two", 0xFFFF), 3: ("three", 0xFFFF_FFFF)}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
_MACHINE = re.compile(r"(?=[^a-zA-Z]*[a-zA-Z])[a-zA-Z0-9][a-zA-Z0-9-]*(\.[a-zA-Z0-9-]+)*\Z")
_MACHINE_LENGTH = 40
"""With the words around it, it is the name of a protocol in BIRD, which takes 63 characters."""
MAX_LENGTH = {4: 24, 6: 48}
"""Longest prefixes that the internet accepts, by IP version."""
MIN_LENGTH = {4: 8, 6: 12}
"""Shortest prefixes that anybody has, by IP version."""
INTERFACE_NAME_BYTES = 15
"""Longest name of a network interface in Linux."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what, what to do."""

    where: Where
    what: str
    hint: str = ""
    absent: str | Where | None = None
    """Set if something is not there: its name, or the path under which too few things are,
    or `` if that is `where`.

    Such a finding is not believed when that part of the document could not be read.
    """
    row: int | None = None
    """Line inside a text of several lines, from 0; None if it is not about the text."""
    source: tuple[str, int] | None = None
    """File and line (0: the whole file), if it is about a file that the document names."""

    def problem(self, file: str = "", line: int = 0) -> Problem:
        """Return it as a problem of that file and line."""
        where = ".".join(str(part) for part in self.where)
        return Problem(
            file, line, _printable(where), _printable(self.what), _printable(self.hint)
        )


def _printable(text: str) -> str:
    """Escape what could play tricks with a terminal: names come from the file."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint that names the word meant, or all there are."""
    known = sorted(words)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}" if known else "there is none"


def where_of(machine: Machine) -> Where:
    """Return the path of a machine in the spec."""
    return ("datacenters", machine.datacenter, SECTIONS[machine.role], machine.name)


def check_name(where: Where, name: str) -> Iterator[Finding]:
    """Find a name that is not one: it goes into configurations, addresses and file names."""
    if not _NAME.match(name):
        yield Finding(
            where,
            f"{name!r} is not a name",
            "a small letter, then at most 30 small letters, digits or -",
        )


def check_machine_name(where: Where, name: str) -> Iterator[Finding]:
    """Find a name that no host has; as `check_name`, but hosts have dots and capitals, too."""
    if not _MACHINE.match(name) or len(name) > _MACHINE_LENGTH:
        yield Finding(
            where,
            f"{name!r} is not a machine's name",
            f"letters, digits, - and dots, as in fra-e1 or edge1.fra1.example.net, at most"
            f" {_MACHINE_LENGTH} of them",
        )


def check_interface(where: Where, interface: str, hint: str) -> Iterator[Finding]:
    """Find a network interface whose name the kernel would refuse."""
    size = len(interface.encode(errors="replace"))
    if size > INTERFACE_NAME_BYTES:
        yield Finding(
            where,
            f"the interface {interface} has {size} bytes, at most {INTERFACE_NAME_BYTES} fit",
            hint,
        )


def check_range(where: Where, value: int, low: int, high: int) -> Iterator[Finding]:
    """Find a number that is not in low..high."""
    if not low <= value <= high:
        yield Finding(where, f"{value} is outside {low}..{high}")


def check_cores(where: Where, cores: float, hint: str) -> Iterator[Finding]:
    """Find a number of cores that nothing has."""
    if not 0 < cores <= CORES_MAX:
        what = "must be more than 0" if not cores > 0 else f"is more than {CORES_MAX}"
        yield Finding(where, what, hint)


def check_asn(where: Where, asn: int) -> Iterator[Finding]:
    """Find a number that is no ASN, or that no network can have."""
    if not 1 <= asn <= 4_294_967_295:  # noqa: PLR2004 (the size of an ASN)
        yield Finding(where, f"{asn} is not an ASN", "ASNs are 1..4294967295")
    elif asn == AS_TRANS:
        what = f"{asn} stands for any ASN of more than 16 bits (RFC 6793)"
        yield Finding(where, what, "say the network's own ASN")
    elif asn in LAST_ASNS:
        yield Finding(where, f"{asn} is nobody's (RFC 7300)", "say the network's own ASN")


def community_text(community: Community) -> str:
    """Return a community as people write it."""
    return ":".join(str(part) for part in community)


def check_community(
    platform: Platform, where: Where, community: Community
) -> Iterator[Finding]:
    """Find numbers that are no community, and one of ours, which never leaves us."""
    text = community_text(community)
    words, largest = _PARTS.get(len(community), ("", 0))
    if not words:
        yield Finding(where, f"{text} is not two or three numbers")
    elif not all(0 <= part <= largest for part in community):
        what = f"{text}: {words} numbers are 0..{largest} each"
        yield Finding(where, what, "an ASN above 65535 needs a large community: A:B:C")
    elif len(community) == 3 and community[0] == platform.asn:  # noqa: PLR2004 (large)
        what = f"{text} is ours: {platform.asn}:…:… is removed on the way out"
        yield Finding(where, what, "use a community of the peer")


def not_routable(prefix: Prefix) -> bool:
    """Return whether no network could ever route a prefix, not even one of its own."""
    if isinstance(prefix, IPv6Network):
        return not any(contains(each, prefix) for each in _ROUTABLE6)
    first = prefix.network_address
    return (
        first.is_multicast
        or first.is_loopback
        or first.is_link_local
        or first.is_reserved
        or contains(_THIS_NETWORK, prefix)
    )


def check_end(where: Where, address: Address) -> Iterator[Finding]:
    """Find an address that no end of a session can have; of its own link it may be."""
    reserved = address.version == 4 and address.is_reserved  # noqa: PLR2004 (of IPv6: not yet)
    if address.is_unspecified or address.is_loopback or address.is_multicast or reserved:
        yield Finding(where, f"{address} is no address of a machine on a network")


def check_scope(where: Where, thing: Address | Prefix) -> Iterator[Finding]:
    """Find an address or a prefix that means something on one machine alone."""
    scope = scope_of(thing)
    if scope:
        yield Finding(where, f"{thing} has a scope", f"leave out %{scope}")


def check_unicast(where: Where, address: Address) -> Iterator[Finding]:
    """Find an address that is not that of one machine, or only means one on some link."""
    if (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or scope_of(address)
    ):
        yield Finding(where, f"{address} is no address at which others reach a machine")
