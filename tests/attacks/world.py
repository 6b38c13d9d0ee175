"""Two edges of ours in namespaces, and around them networks that mean no good.

The edges run the configuration that the renderer writes. All their neighbours are one ExaBGP,
which says what a test tells it to and writes down every UPDATE that it hears: a route that is
leaked for a millisecond is in there too.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from pathlib import Path

from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import (
    Allowed,
    OriginValidation,
    Peer,
    PeerKind,
    RtrCache,
    Session,
)
from pltfrms.model.network.topology import Aggregate, Datacenter, Machine, Platform, Role
from pltfrms.render.bird import render_bird
from pltfrms.render.kernel import network_state
from tests.render.namespaces import eventually, run

OUR_ASN = 64500
AGGREGATES = ("198.51.100.0/24", "2001:db8:100::/48")
VICTIM = "45.10.0.0/16"
"""Somebody's prefix; RPKI says that AS 64666 originates it."""
CUSTOMER_PREFIX = "45.20.0.0/22"
SPEAKERS = {
    "transit1": (PeerKind.TRANSIT, 64601),
    "transit2": (PeerKind.TRANSIT, 64602),
    "ixp1": (PeerKind.IXP, 64700),
    "pni1": (PeerKind.PNI, 64801),
    "customer1": (PeerKind.CUSTOMER, 64901),
    "rude1": (PeerKind.TRANSIT, 64603),
}
RUDE = "rude1"
"""Not spoken by ExaBGP but by `speaker.py`, which can break the rules."""
CACHE = RtrCache(address=ip_address("203.0.113.0"))
"""An RTR server beside transit1: a link address, as the edges route nowhere else."""


def make_session(number: int, edge: str, name: str) -> Session:
    """Return the session with the number, of both families, on a wire of its own."""
    low = 2 * number
    return Session(
        edge=edge,
        ours=(
            ip_interface(f"203.0.113.{low + 1}/31"),
            ip_interface(f"2001:db8:f000:{number + 1:x}::1/127"),
        ),
        theirs=(
            ip_address(f"203.0.113.{low}"),
            ip_address(f"2001:db8:f000:{number + 1:x}::"),
        ),
        interface=f"x-{name}",
    )


def _peer(number: int, name: str) -> Peer:
    kind, asn = SPEAKERS[name]
    customer = kind is PeerKind.CUSTOMER
    edges = ("fra-e1", "ams-e1") if name == "transit2" else ("fra-e1",)
    return Peer(
        name=name,
        kind=kind,
        asn=asn,
        sessions=tuple(
            make_session(2 * number + index, edge, name) for index, edge in enumerate(edges)
        ),
        max_prefixes4=5_000,
        max_prefixes6=5_000,
        blackhole=customer or name == "transit2",
        allowed=(
            Allowed(prefix=ip_network(CUSTOMER_PREFIX), max_length=24),
            Allowed(prefix=ip_network("2a0c:1::/32"), max_length=48),
        )
        if customer
        else (),
    )


def _machine(name: str, datacenter: str, role: Role) -> Machine:
    return Machine(name=name, datacenter=datacenter, role=role, id=1)


PLATFORM = Platform(
    name="attacked",
    asn=OUR_ASN,
    aggregates=tuple(Aggregate(prefix=ip_network(text)) for text in AGGREGATES),
    infrastructure4=IPv4Network("10.0.0.0/8"),
    infrastructure6=IPv6Network("fd00:a::/48"),
    datacenters=(
        Datacenter(name="fra", id=1, fabrics=("a",)),
        Datacenter(name="ams", id=2, fabrics=("a",)),
    ),
    machines=(_machine("fra-e1", "fra", Role.EDGE), _machine("ams-e1", "ams", Role.EDGE)),
    links=(Link(a="fra-e1", b="ams-e1"),),
    peers=tuple(_peer(number, name) for number, name in enumerate(SPEAKERS)),
    origin_validation=OriginValidation(caches=(CACHE,)),
)


@dataclass(frozen=True, slots=True)
class Heard:
    """One prefix of one UPDATE that a neighbour of ours got from us."""

    speaker: str
    prefix: str
    withdrawn: bool
    attributes: dict[str, object]


class Leaker:
    """A transit that announces as many prefixes as one likes."""

    def __init__(self, directory: Path, namespace: str, ends: tuple[str, str]) -> None:
        """Start nothing yet; `ends` are its address and ours."""
        self._config = directory / "leaker.conf"
        self._control = str(directory / "leaker.ctl")
        self._namespace = namespace
        self._ends = ends
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, count: int) -> None:
        """Start with so many prefixes."""
        self._write(count)
        command = ["ip", "netns", "exec", self._namespace, "bird", "-f"]
        command += ["-c", str(self._config), "-s", self._control]
        self._process = subprocess.Popen(command)
        eventually(lambda: Path(self._control).exists(), 5)

    def announce(self, count: int) -> None:
        """Have so many prefixes from now on."""
        self._write(count)
        run("birdc", "-s", self._control, "configure")

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def _write(self, count: int) -> None:
        theirs, ours = self._ends
        prefixes = (f"{45 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}.0/24" for n in range(count))
        routes = "\n".join(f"  route {prefix} blackhole;" for prefix in prefixes)
        self._config.write_text(f"""router id 192.0.2.99;
protocol device {{ }}
protocol static leak {{ ipv4;
{routes}
}}
protocol bgp up {{
  local {theirs} as {SPEAKERS[RUDE][1]}; neighbor {ours} as {OUR_ASN};
  connect delay time 1; connect retry time 2; error wait time 1, 2;
  ipv4 {{ import all; export where source = RTS_STATIC; }};
}}
""")


class World:
    """The namespaces, the edges' BIRDs and the ExaBGP around them."""

    def __init__(
        self,
        directory: Path,
        platform: Platform = PLATFORM,
        others: frozenset[str] = frozenset(),
    ) -> None:
        """Build nothing yet; for the peers of `others` something else than ExaBGP speaks."""
        self.directory = directory
        self.platform = platform
        self._others = others | {RUDE}
        self._tag = f"at{os.getpid()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._commands = directory / "commands"
        self._heard = directory / "heard"
        self._addresses = {
            str(ours.ip): peer.name
            for peer in platform.peers
            for session in peer.sessions
            for ours in session.ours
        }

    # ---- what tests ask --------------------------------------------------------------------

    def birdc(self, edge: str, words: str) -> str:
        """Return what an edge's BIRD answers."""
        return run("birdc", "-s", str(self.directory / f"{edge}.ctl"), words)

    def ip(self, place: str, words: str) -> str:
        """Run iproute2 in a namespace."""
        return run("ip", "-n", f"{self._tag}-{place}", *words.split())

    def say(self, speaker: str, words: str, edge: str = "fra-e1") -> None:
        """Let a neighbour speak to an edge, in both or one family as the words need."""
        peer = next(peer for peer in self.platform.peers if peer.name == speaker)
        session = next(each for each in peer.sessions if each.edge == edge)
        family = 1 if ":" in words.split("route ", 1)[1].split(maxsplit=1)[0] else 0
        with self._commands.open("a") as file:
            file.write(f"neighbor {session.ours[family].ip} {words}\n")

    def announce(self, speaker: str, prefix: str, path: str, more: str = "") -> None:
        """Let a neighbour announce a prefix with an AS path."""
        self.say(
            speaker, f"announce route {prefix} next-hop self as-path [ {path} ] {more}".strip()
        )

    def withdraw(self, speaker: str, prefix: str) -> None:
        """Let a neighbour withdraw a prefix."""
        self.say(speaker, f"withdraw route {prefix} next-hop self")

    def heard(self) -> list[Heard]:
        """Return everything that the neighbours were told by us so far, oldest first."""
        found: list[Heard] = []
        written = self._heard.read_text()
        whole = written[: written.rfind("\n") + 1]  # the last line may be half written yet
        for line in whole.splitlines():
            message = json.loads(line)
            if message.get("type") == "update":
                found += self._updates(message["neighbor"])
        return found

    def learned(self, edge: str) -> set[str]:
        """Return the prefixes that an edge's kernel forwards because BIRD said so."""
        texts = (self.ip(edge, f"-j -{family} route show proto bird") for family in "46")
        return {
            route["dst"]
            for text in texts
            for route in json.loads(text)
            if route.get("type") != "unreachable"
        }

    def filtered(self, edge: str, prefix: str) -> str:
        """Return what an edge knows of routes to a prefix that it has refused."""
        try:
            return self.birdc(edge, f"show route filtered all where net = {prefix}")
        except RuntimeError:
            return ""

    @property
    def outside(self) -> str:
        """The namespace of all neighbours."""
        return self._namespace("outside")

    def _namespace(self, place: str) -> str:
        return f"{self._tag}-{place}"

    def _places(self) -> tuple[str, ...]:
        return ("fra-e1", "ams-e1", "outside")

    def other_sessions(self, name: str) -> list[tuple[str, str]]:
        """Return the sessions that are up but those of one peer, and since when.

        BIRD's last digits wobble.
        """
        lines = self.birdc("fra-e1", "show protocols").splitlines()
        words = [line.split() for line in lines if "Established" in line and name not in line]
        return [(one, f"{day} {at[:-5]}") for one, _, _, _, day, at, *_ in words]

    def rude(self, *words: str) -> str:
        """Run `speaker.py` against the edge's session with it; return what it prints."""
        peer = next(peer for peer in self.platform.peers if peer.name == RUDE)
        theirs, ours = peer.sessions[0].theirs[0], peer.sessions[0].ours[0].ip
        enter = ("ip", "netns", "exec", f"{self._tag}-outside")
        speaker = str(Path(__file__).with_name("speaker.py"))
        return run(
            *enter, sys.executable, speaker, str(theirs), str(ours), str(peer.asn), *words
        )

    @contextmanager
    def leaking(self, count: int) -> Iterator["Leaker"]:
        """Let a BIRD speak for the rude one, and announce `count` prefixes."""
        peer = next(peer for peer in self.platform.peers if peer.name == RUDE)
        ends = (str(peer.sessions[0].theirs[0]), str(peer.sessions[0].ours[0].ip))
        leaker = Leaker(self.directory, f"{self._tag}-outside", ends)
        leaker.start(count)
        try:
            yield leaker
        finally:
            leaker.stop()

    def _updates(self, neighbor: dict[str, object]) -> Iterator[Heard]:
        address = neighbor["address"]["peer"]  # type: ignore[index]  # JSON of ExaBGP
        update = neighbor["message"].get("update", {})  # type: ignore[attr-defined]
        speaker = self._addresses[str(address)]
        attributes = update.get("attribute", {})
        for by_nexthop in update.get("announce", {}).values():
            for prefixes in by_nexthop.values():
                for entry in prefixes:
                    if "nlri" in entry:
                        yield Heard(
                            speaker, entry["nlri"], withdrawn=False, attributes=attributes
                        )
        for prefixes in update.get("withdraw", {}).values():
            for entry in prefixes:
                if "nlri" in entry:
                    yield Heard(speaker, entry["nlri"], withdrawn=True, attributes={})

    # ---- building --------------------------------------------------------------------------

    def build(self) -> None:
        """Start everything and wait until every session is up."""
        for place in ("fra-e1", "ams-e1", "outside"):
            run("ip", "netns", "add", f"{self._tag}-{place}")
            self.ip(place, "link set lo up")
        self.ip(
            "fra-e1",
            f"link add bb-ams-e1 type veth peer name bb-fra-e1 netns {self._tag}-ams-e1",
        )
        for peer in self.platform.peers:
            for session in peer.sessions:
                self._wire(peer, session)
        for edge in ("fra-e1", "ams-e1"):
            self._start_edge(edge)
        self._start_cache()
        self._start_exabgp()
        if not eventually(self._all_up, 40):
            raise RuntimeError(self.birdc("fra-e1", "show protocols"))

    def _wire(self, peer: Peer, session: Session) -> None:
        far = f"{peer.name}-{session.edge}"[:15]
        self.ip(
            session.edge,
            f"link add {session.interface} type veth peer name {far} netns {self._tag}-outside",
        )
        self.ip("outside", f"link set {far} up")
        for ours, theirs in zip(session.ours, session.theirs, strict=True):
            nodad = " nodad" if theirs.version == 6 else ""
            self.ip("outside", f"addr add {theirs}/{ours.network.prefixlen} dev {far}{nodad}")

    def _start_edge(self, edge: str) -> None:
        self.ip(edge, "link add fab-a type bridge")
        self._configure(edge)
        for aggregate in AGGREGATES:
            words = f"route add unreachable {aggregate} table 101 proto 181 metric 1"
            self.ip(edge, f"-{ip_network(aggregate).version} {words}")
        self._start_bird(edge)

    def _configure(self, machine: str) -> None:
        """Give a machine its addresses and settings; its devices are there."""
        state = network_state(self.platform, machine)
        for device in state.devices:
            self.ip(machine, f"link set {device.name} up")
            for address in device.addresses:
                nodad = " nodad" if address.version == 6 else ""
                self.ip(machine, f"addr replace {address} dev {device.name}{nodad}")
        sysctls = "\n".join(f"{name} = {value}" for name, value in state.sysctls)
        enter = ("ip", "netns", "exec", self._namespace(machine))
        run(*enter, "sysctl", "-q", "-p", "-", stdin=sysctls)

    def _start_bird(self, machine: str) -> None:
        config = self.directory / f"{machine}.conf"
        log = self.directory / f"{machine}.log"
        text = render_bird(self.platform, machine)
        config.write_text(text.replace("/var/log/pltfrms/bird.log", str(log)))
        control = str(self.directory / f"{machine}.ctl")
        enter = ("ip", "netns", "exec", self._namespace(machine))
        self._processes.append(
            subprocess.Popen([*enter, "bird", "-f", "-c", str(config), "-s", control])
        )
        eventually(lambda: Path(control).exists(), 5)

    def _start_cache(self) -> None:
        roas = [{"prefix": VICTIM, "maxLength": 16, "asn": "AS64666"}]
        file = self.directory / "roas.json"
        file.write_text(
            json.dumps({"metadata": {"buildtime": "2026-01-01T00:00:00Z"}, "roas": roas})
        )
        command = ["ip", "netns", "exec", f"{self._tag}-outside", "stayrtr"]
        command += ["-bind", f"{CACHE.address}:{CACHE.port}", "-cache", str(file)]
        command += ["-metrics.addr", "", "-checktime=false", "-refresh", "5"]
        with (self.directory / "stayrtr.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stderr=log, stdout=log))

    def _start_exabgp(self) -> None:
        self._commands.touch()
        self._heard.touch()
        config = self.directory / "exabgp.conf"
        config.write_text(self._exabgp_config())
        environment = {
            **os.environ,
            "exabgp.daemon.user": "root",
            "exabgp.api.ack": "false",
            "exabgp.api.cli": "false",
            "exabgp.log.level": "WARNING",
            "exabgp.log.destination": str(self.directory / "exabgp.log"),
            "exabgp.tcp.bind": "",
        }
        command = ["ip", "netns", "exec", f"{self._tag}-outside", "exabgp", str(config)]
        self._processes.append(subprocess.Popen(command, env=environment))

    def _exabgp_config(self) -> str:
        blocks = [
            f"process listen {{ run /bin/sh -c 'cat >> {self._heard}'; encoder json; }}",
            f"process speak {{ run /usr/bin/tail -n +1 -F {self._commands}; encoder text; }}",
        ]
        for peer in self.platform.peers:
            for session in peer.sessions if peer.name not in self._others else ():
                pairs = zip(session.ours, session.theirs, strict=True)
                blocks += [self._neighbor(peer, str(a.ip), str(b)) for a, b in pairs]
        return "\n".join(blocks)

    def _neighbor(self, peer: Peer, ours: str, theirs: str) -> str:
        family = "ipv6" if ":" in ours else "ipv4"
        return f"""neighbor {ours} {{
  router-id 192.0.2.{1 + list(SPEAKERS).index(peer.name)};
  local-address {theirs};
  local-as {peer.asn};
  peer-as {OUR_ASN};
  hold-time 90;
  family {{ {family} unicast; }}
  api {{ processes [ listen, speak ]; receive {{ parsed; update; }} }}
}}"""

    def _all_up(self) -> bool:
        marks = ("Established", *(f".{name}." for name in self._others))
        return all(
            " BGP " not in line or any(mark in line for mark in marks)
            for edge in ("fra-e1", "ams-e1")
            for line in self.birdc(edge, "show protocols").splitlines()
        )

    def remove(self) -> None:
        """End and delete everything."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for place in self._places():
            name = self._namespace(place)
            pids = subprocess.run(
                ("ip", "netns", "pids", name), capture_output=True, text=True, check=False
            )
            for pid in pids.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)


@contextmanager
def world(
    directory: Path, platform: Platform = PLATFORM, others: frozenset[str] = frozenset()
) -> Iterator[World]:
    """Build it all, and remove it all."""
    made = World(directory, platform, others)
    try:
        made.build()
        yield made
    finally:
        made.remove()
