"""What the software of the emulated internet cannot do, and the platform asks of it."""

from collections.abc import Iterator, Sequence

from pltfrms.model.network.lab import Daemon, Lab, LabIxp, LabNetwork, LabTransit, Sends
from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import Platform
from pltfrms.specfile.findings import Finding, Where

_SECTIONS = {LabTransit: "transits", LabIxp: "ixps", LabNetwork: "networks"}
_Peer = LabTransit | LabIxp | LabNetwork
_ROUTE_SERVERS = {Daemon.BIRD, Daemon.GOBGP, Daemon.OPENBGPD}


def check_daemons(lab: Lab, platform: Platform) -> Iterator[Finding]:
    """Yield what a network cannot do with the software that it is said to have."""
    sessions = {peer.name: peer.sessions for peer in platform.peers}
    networks: tuple[_Peer, ...] = (*lab.transits, *lab.ixps, *lab.networks)
    for network in networks:
        where = ("internet", _SECTIONS[type(network)], network.name, "daemon")
        daemon = network.daemon
        if isinstance(network, LabIxp):
            if daemon not in _ROUTE_SERVERS:
                what = f"{daemon} is no route server in a lab"
                yield Finding(where, what, "bird, openbgpd or gobgp")
            yield from _check_servers(where, network, sessions.get(network.name, ()))
        elif not daemon.forwards:
            what = f"{daemon} puts no route into the kernel: no packet would pass through"
            hint = "bird or frr; openbgpd and gobgp can be the route server of an ixp"
            yield Finding(where, what, hint)
        for session in sessions.get(network.name, ()):
            yield from _check_session(where, daemon, session)
            yield from _check_hops(where, network, session)
        sends = network.sends if isinstance(network, LabTransit) else Sends.TABLE
        if sends is not Sends.TABLE and daemon is not Daemon.BIRD:
            what = f"{daemon} sends its whole table in a lab"
            yield Finding((*where[:-1], "sends"), what, "daemon: bird")


def _check_servers(where: Where, ixp: LabIxp, sessions: Sequence[Session]) -> Iterator[Finding]:
    """Find what one daemon cannot be if it has the addresses of several route servers."""
    servers = {theirs for session in sessions for theirs in session.theirs}
    if len(servers) == len({theirs.version for theirs in servers}):
        return
    if ixp.daemon is not Daemon.BIRD:
        what = f"{ixp.daemon} is one route server, and {ixp.name} has several addresses"
        yield Finding(where, what, "bird")
    elif any(session.bfd for session in sessions):
        what = f"bird has no BFD with a neighbour of several addresses of {ixp.name}"
        yield Finding(where, what, "bfd: false in platform.yaml")


def _check_hops(where: Where, network: _Peer, session: Session) -> Iterator[Finding]:
    """Find a session over hops that a lab cannot have."""
    if not session.multihop:
        return
    if not isinstance(network, LabTransit) or network.daemon is not Daemon.BIRD:
        what = f"the session with {session.edge} is multihop"
        yield Finding(where, what, "in a lab only a transit with daemon: bird has such")
    if session.device == "lo" and {v.version for v in session.ours} != {
        v.version for v in session.via
    }:
        what = f"the session with {session.edge} is between loopbacks, and names no gateway"
        yield Finding(where, what, "a lab needs via: in platform.yaml")


def _check_session(where: Where, daemon: Daemon, session: Session) -> Iterator[Finding]:
    edge = session.edge
    if session.bfd and not daemon.has_bfd:
        what = f"{daemon} has no BFD, and the session with {edge} wants it"
        yield Finding(where, what, "bfd: false in platform.yaml, or another daemon")
    if session.require_role and not daemon.has_roles:
        what = f"{daemon} says no BGP role, and the session with {edge} requires it"
        yield Finding(where, what, "require_role: false in platform.yaml, or another daemon")
    if daemon is Daemon.FRR and session.bfd and session.gtsm:
        what = f"the BFD of frr finds nobody where there is gtsm, as with {edge}"
        yield Finding(where, what, "bfd or gtsm: false in platform.yaml, or another daemon")
