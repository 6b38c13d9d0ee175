"""WireGuard links: their two ends, and the keys that every edge computes for itself.

All edges share one secret. The private key of an end of a link in an epoch is a function of
the secret, so an edge knows its own key and, from that of the far end, the far end's public
key: nothing has to be exchanged, and nothing is stored but the secret.
"""

import hashlib
import hmac
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from pltfrms.model.addresses import Address
from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.topology import Machine, Platform

BACKBONE_FILE: Final = "backbone.secret"
"""Beside the machine's other configuration: the secret, the same on every edge."""
ROTATION_SECONDS: Final = 30 * 24 * 3600
"""How long an epoch lasts: as long as a pair of keys is used."""
FRESH_SECONDS: Final = 180
"""A tunnel that works has a handshake at most this old: WireGuard makes one every 120 s."""
MIN_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """One end of a WireGuard link."""

    link: str
    interface: str
    far_end: str
    far_endpoint: Address
    port: int
    """UDP, at both ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelKeys:
    """The private keys of both ends in base64, as WireGuard's tools write them."""

    ours: str = field(repr=False)
    theirs: str = field(repr=False)


def tunnels_of(platform: Platform, machine: str) -> tuple[Tunnel, ...]:
    """Return our ends of the WireGuard links of a machine, in spec order."""
    return tuple(
        Tunnel(
            link=link.name,
            interface=link.interface_at(machine),
            far_end=link.far_end(machine),
            far_endpoint=endpoint_of(link, link.far_end(machine)),
            port=link.port,
        )
        for link in platform.links_of(machine)
        if link.kind is LinkKind.WIREGUARD
    )


def endpoint_of(link: Link, machine: str) -> Address:
    """Return the address of one end of a WireGuard link."""
    return link.endpoints[0] if machine == link.a else link.endpoints[1]


def far_endpoints(platform: Platform, me: Machine) -> tuple[Address, ...]:
    """Return the addresses that a machine's tunnels lead to, each once."""
    return tuple(dict.fromkeys(tunnel.far_endpoint for tunnel in tunnels_of(platform, me.name)))


def tunnel_keys(secret: bytes, machine: str, tunnel: Tunnel, epoch: int) -> TunnelKeys:
    """Return the keys of a tunnel of `machine` in an epoch."""
    return TunnelKeys(
        ours=_private_key(secret, machine, tunnel.link, epoch),
        theirs=_private_key(secret, tunnel.far_end, tunnel.link, epoch),
    )


def _private_key(secret: bytes, machine: str, link: str, epoch: int) -> str:
    words = ("pltfrms wireguard", machine, link, str(epoch))
    key = bytearray(hmac.digest(secret, "\0".join(words).encode(), hashlib.sha256))
    # As RFC 7748 wants a private key of X25519; WireGuard would do the same.
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return b64encode(key).decode()
