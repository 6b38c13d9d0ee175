"""Shape of `lab.yaml` -> words of the model."""

from pltfrms.model.network.lab import (
    Daemon,
    Lab,
    LabEyeball,
    LabIxp,
    LabNetwork,
    LabRoa,
    LabTransit,
    Sends,
)
from pltfrms.model.network.topology import Platform
from pltfrms.specfile.shapes.lab import LabShape, NetworkShape, RoaShape


def build_lab(shape: LabShape, platform: Platform) -> Lab:
    """Return the lab; delays that are not said are 0."""
    edges = {
        peer.name: {session.edge: 0 for session in peer.sessions} for peer in platform.peers
    }
    internet = shape.internet
    return Lab(
        link_delays_us={link.name: 0 for link in platform.links} | shape.links,
        transits=tuple(
            LabTransit(
                name=name,
                asn=entry.asn,
                delays_us=edges.get(name, {}) | entry.delays,
                peerings=entry.peerings,
                daemon=Daemon(entry.daemon),
                sends=Sends(entry.sends),
            )
            for name, entry in internet.transits.items()
        ),
        ixps=tuple(
            LabIxp(
                name=name,
                asn=entry.asn,
                delays_us=edges.get(name, {}) | entry.delays,
                daemon=Daemon(entry.daemon),
            )
            for name, entry in internet.ixps.items()
        ),
        eyeballs=tuple(
            LabEyeball(
                name=name,
                asn=entry.asn,
                prefixes=tuple(entry.prefixes),
                upstreams=entry.upstreams,
                nearest=entry.nearest,
            )
            for name, entry in internet.eyeballs.items()
        ),
        networks=tuple(_network(name, entry) for name, entry in internet.networks.items()),
        roas=tuple(_roa(entry) for entry in shape.rpki.roas),
    )


def _network(name: str, entry: NetworkShape) -> LabNetwork:
    return LabNetwork(
        name=name,
        asn=entry.asn,
        prefixes=tuple(entry.prefixes),
        delays_us=entry.delays,
        upstreams=entry.upstreams,
        member_of=entry.member_of,
        daemon=Daemon(entry.daemon),
    )


def _roa(entry: RoaShape) -> LabRoa:
    length = entry.prefix.prefixlen if entry.max_length is None else entry.max_length
    return LabRoa(prefix=entry.prefix, asn=entry.asn, max_length=length)
