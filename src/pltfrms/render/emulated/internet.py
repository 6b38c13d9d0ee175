"""Write the configuration of the daemons on the machines of the emulated internet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.lab import (
    Daemon,
    Lab,
    LabIxp,
    LabStub,
    LabTransit,
    Sends,
    client_addresses,
)
from pltfrms.model.network.topology import Platform
from pltfrms.render.emulated.internet_sessions import (
    FarEnd,
    FarSession,
    far_ends,
    host_length,
    route_server_sessions,
    stub_sessions,
    transit_sessions,
)
from pltfrms.render.text import fill

FRR_DISCARD = {4: "192.0.0.8", 6: "100::1"}
"""Nexthops of blackhole routes in FRR, which has no other way to blackhole a route that it
learned: the lab makes blackhole routes for them (RFC 7600 and RFC 6666 keep them free)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    number: int
    prefixes: tuple[Prefix, ...]
    client: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speaker:
    """A machine of the emulated internet, as its template needs it."""

    name: str
    asn: int
    kind: str
    template: str
    """Of BIRD."""
    sessions: tuple[FarSession, ...]
    stub: LabStub | None = None
    """Itself, if it is a network with clients."""
    far_ends: tuple[FarEnd, ...] = ()
    """Transit: addresses of ours that it is hops away from."""
    sends: Sends = Sends.TABLE
    """Transit: what it tells us."""


def render_internet(platform: Platform, lab: Lab, machine: str) -> str:
    """Return the whole configuration of what speaks BGP on a machine of the lab's internet.

    KeyError if the lab has no such machine.
    """
    speaker = _speaker(platform, lab, machine)
    daemon = lab.daemon(machine)
    values = _values(platform, lab, speaker, daemon)
    if daemon is Daemon.BIRD:
        return fill(speaker.template, **values)
    return fill(f"{daemon}.j2", **values)


def render_companions(platform: Platform, lab: Lab, machine: str) -> dict[str, str]:
    """Return the configuration of each daemon that FRR needs beside the one that speaks BGP.

    By the daemon's name; empty for other software than FRR. KeyError if the lab has no such
    machine.
    """
    daemon = lab.daemon(machine)
    speaker = _speaker(platform, lab, machine)
    if daemon is not Daemon.FRR:
        return {}
    values = _values(platform, lab, speaker, daemon)
    return {"zebra": fill("frr-zebra.j2", **values), "bfdd": fill("frr-bfd.j2", **values)}


def _speaker(platform: Platform, lab: Lab, machine: str) -> _Speaker:
    for transit in lab.transits:
        if transit.name == machine:
            sessions = transit_sessions(platform, lab, transit)
            speaker = _described(transit, "transit", "transit.j2", sessions)
            ends = far_ends(platform, transit)
            return replace(speaker, far_ends=ends, sends=transit.sends)
    for ixp in lab.ixps:
        if ixp.name == machine:
            sessions = route_server_sessions(platform, lab, ixp)
            return _described(ixp, "route server", "route-server.j2", sessions)
    for stub in lab.stubs:
        if stub.name == machine:
            sessions = stub_sessions(platform, lab, stub)
            kind = "eyeball" if stub in lab.eyeballs else "network"
            return _described(stub, kind, "eyeball.j2", sessions, stub)
    raise KeyError(machine)


def _described(
    network: LabTransit | LabIxp | LabStub,
    kind: str,
    template: str,
    sessions: Iterable[FarSession],
    stub: LabStub | None = None,
) -> _Speaker:
    return _Speaker(
        name=network.name,
        asn=network.asn,
        kind=kind,
        template=template,
        sessions=tuple(sessions),
        stub=stub,
    )


_SOFTWARE: Mapping[Daemon, str] = {
    Daemon.BIRD: "BIRD",
    Daemon.FRR: "FRR",
    Daemon.GOBGP: "GoBGP",
    Daemon.OPENBGPD: "OpenBGPD",
}


def _values(
    platform: Platform, lab: Lab, speaker: _Speaker, daemon: Daemon
) -> dict[str, object]:
    number = lab.machines.index(speaker.name) + 1
    own = speaker.stub.prefixes if speaker.stub else ()
    clients = client_addresses(speaker.stub) if speaker.stub else ()
    software = _SOFTWARE[daemon]
    return {
        "title": f"{software} on {speaker.name}: {speaker.kind} of the emulated internet",
        "hostname": speaker.name,
        "router_id": IPv4Address((15 << 16) | number),
        "asn": speaker.asn,
        "bfd_interval_ms": platform.timers.external_bfd_interval_ms,
        "bfd_multiplier": platform.timers.bfd_multiplier,
        "families": tuple(_family(own, clients, version) for version in (4, 6)),
        "own": own,
        "far_ends": speaker.far_ends,
        "sends": speaker.sends.value,
        "clients": clients,
        "sessions": speaker.sessions,
        "host_length": host_length,
        "patterns": _patterns,
        "discard": FRR_DISCARD,
    }


def _family(own: Iterable[Prefix], clients: Iterable[Address], number: int) -> _Family:
    return _Family(
        number=number,
        prefixes=tuple(prefix for prefix in own if prefix.version == number),
        client=next((client for client in clients if client.version == number), None),
    )


def _patterns(prefixes: Iterable[Prefix]) -> str:
    """Return single addresses in these prefixes as elements of a prefix set of BIRD."""
    return ", ".join(
        f"{prefix}{{{prefix.max_prefixlen},{prefix.max_prefixlen}}}" for prefix in prefixes
    )
