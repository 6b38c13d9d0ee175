"""The seam to WireGuard interfaces."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pltfrms.model.network.tunnels import Tunnel, TunnelKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPeer:
    """The far end, as WireGuard knows it."""

    public_key: str
    endpoint: str
    allowed: frozenset[str]
    handshake_at: int
    keepalive: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a WireGuard interface is like."""

    key: str = field(repr=False)
    """Its private key in base64; empty if it has none yet."""
    port: int
    peers: tuple[TunnelPeer, ...]

    @property
    def handshake_at(self) -> int:
        """Unix seconds of the last handshake; 0 if there was none."""
        return max((peer.handshake_at for peer in self.peers), default=0)


class TunnelDriver(Protocol):
    """The WireGuard interfaces of this machine. Raises UnavailableError when tools fail."""

    def secret(self) -> bytes:
        """Return what all keys are made of; UsageError if there is nothing usable."""
        ...

    async def look(self, interface: str) -> Sight | None:
        """Return how an interface is; None if there is none."""
        ...

    async def apply(self, tunnel: Tunnel, keys: TunnelKeys, now: float) -> tuple[str, ...]:
        """Make the interface be there with these keys; return a sentence per change."""
        ...

    async def remove_others(self, wanted: Collection[str]) -> tuple[str, ...]:
        """Delete our WireGuard interfaces that are not wanted; return a sentence for each."""
        ...

    async def clamp(self, interfaces: Sequence[str]) -> tuple[str, ...]:
        """Let TCP through these interfaces choose segments that fit; return what was done."""
        ...
