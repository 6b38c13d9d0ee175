"""Attackers that run FRR: each a network of its own beside those that ExaBGP speaks for.

FRR makes its messages its own way: other attributes in another order, several prefixes in one
UPDATE, its own idea of a route server. ExaBGP's neighbours go on listening meanwhile.
"""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

from pltfrms.model.network.peering import Allowed, Peer, PeerKind
from tests.attacks.world import OUR_ASN, PLATFORM, SPEAKERS, make_session

BGPD = Path("/usr/lib/frr/bgpd")
FRRS = {
    "frr-transit": (PeerKind.TRANSIT, 64611),
    "frr-ixp": (PeerKind.IXP, 64711),
    "frr-pni": (PeerKind.PNI, 64811),
    "frr-customer": (PeerKind.CUSTOMER, 64911),
    "frr-flood": (PeerKind.TRANSIT, 64612),
}
FLOOD = "frr-flood"
_ALLOWED = (Allowed(prefix=ip_network("45.50.0.0/22"), max_length=24),)


def _peer(number: int, name: str) -> Peer:
    kind, asn = FRRS[name]
    return Peer(
        name=name,
        kind=kind,
        asn=asn,
        sessions=(make_session(number, "fra-e1", name),),
        max_prefixes4=5_000,
        max_prefixes6=5_000,
        blackhole=kind is PeerKind.CUSTOMER,
        allowed=_ALLOWED if kind is PeerKind.CUSTOMER else (),
    )


WITH_FRR = replace(
    PLATFORM,
    peers=(
        *PLATFORM.peers,
        *(_peer(number, name) for number, name in enumerate(FRRS, 2 * len(SPEAKERS))),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an FRR announces: a prefix, and what is set on it."""

    prefix: str
    path: str = ""
    """After its own ASN, which FRR puts in front; a route server does not."""
    more: str = ""
    """Another `set` of a route map."""


class Frr:
    """The bgpds."""

    def __init__(self, directory: Path, namespace: str) -> None:
        """Start nothing yet."""
        self._directory = directory
        self._namespace = namespace
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, words: Iterable[Said]) -> None:
        """Let one of them announce all this; ends what it ran before."""
        self.stop(name)
        place = self._directory / name
        place.mkdir(exist_ok=True)
        config = place / "bgpd.conf"
        config.write_text(_config(name, tuple(words)))
        enter = ("ip", "netns", "exec", self._namespace)
        options = ("--no_zebra", "--skip_runas", "--no_kernel", "-p", "0", "-P", "0")
        files = ("-f", str(config), "-i", str(place / "pid"), "--vty_socket", str(place))
        with (place / "log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                (*enter, str(BGPD), *options, *files), stdout=log, stderr=log
            )

    def log(self, name: str) -> str:
        """Return what it has complained of."""
        return (self._directory / name / "log").read_text()

    def stop(self, name: str) -> None:
        """End one that may run."""
        process = self._processes.pop(name, None)
        if process:
            process.kill()
            process.wait()

    @contextmanager
    def running(self, said: dict[str, list[Said]]) -> Iterator["Frr"]:
        """Run one for each name."""
        try:
            for name, words in said.items():
                self.start(name, words)
            yield self
        finally:
            for name in list(self._processes):
                self.stop(name)


def _config(name: str, words: tuple[Said, ...]) -> str:
    kind, asn = FRRS[name]
    peer = next(peer for peer in WITH_FRR.peers if peer.name == name)
    (session,) = peer.sessions
    lines = ["frr defaults traditional", "log stdout errors"]
    for number, each in enumerate(words):
        sets = [f" set as-path prepend {each.path}"] if each.path else []
        sets += [f" set {each.more}"] if each.more else []
        lines += [f"route-map said{number} permit 10", *sets, "!"] if sets else []
    lines += [
        f"router bgp {asn}",
        f" bgp router-id 192.0.2.{100 + list(FRRS).index(name)}",
        " no bgp ebgp-requires-policy",
        " no bgp network import-check",
        " no bgp default ipv4-unicast",
    ]
    for family, (ours, theirs) in enumerate(zip(session.ours, session.theirs, strict=True)):
        neighbor = f"  neighbor {ours.ip}"
        lines += [
            f"{neighbor} remote-as {OUR_ASN}",
            f"{neighbor} disable-connected-check",
            f"{neighbor} update-source {theirs}",
            f"{neighbor} timers connect 1",
            f" address-family ipv{6 if family else 4} unicast",
            f"{neighbor} activate",
            *([f"{neighbor} route-server-client"] if kind is PeerKind.IXP else []),
            *(
                f"  network {each.prefix}{_route_map(each, number)}"
                for number, each in enumerate(words)
                if (":" in each.prefix) == bool(family)
            ),
            " exit-address-family",
        ]
    return "\n".join([*lines, "!", ""])


def _route_map(said: Said, number: int) -> str:
    return f" route-map said{number}" if said.path or said.more else ""
