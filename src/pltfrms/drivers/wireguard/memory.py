"""The twin of WireGuard in memory, for tests and simulation."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from pltfrms.drivers.wireguard.ports import Sight, TunnelPeer
from pltfrms.errors import UnavailableError
from pltfrms.model.network.tunnels import Tunnel, TunnelKeys


class MemoryWireGuard:
    """`agent.tunnels.TunnelDriver` without a kernel; `handshake` is the world's, not ours."""

    def __init__(self, secret: bytes = b"0" * 32) -> None:
        """Have no interfaces."""
        self._secret = secret
        self.sights: dict[str, Sight] = {}
        """The interfaces."""
        self.clamped: tuple[str, ...] = ()
        self.refuses = ""
        """Why no interface can be made; empty: they can."""

    def secret(self) -> bytes:
        """Return what all keys are made of."""
        return self._secret

    async def look(self, interface: str) -> Sight | None:
        """Return how an interface is; None if there is none."""
        return self.sights.get(interface)

    async def apply(self, tunnel: Tunnel, keys: TunnelKeys, now: float) -> tuple[str, ...]:
        """Make the interface be there with these keys; return a sentence per change."""
        del now
        have = self.sights.get(tunnel.interface)
        if have is None and self.refuses:
            raise UnavailableError(self.refuses)
        if have is not None and have.key == keys.ours:
            return ()
        self.sights[tunnel.interface] = _sight(tunnel, keys)
        done = f"set keys and endpoint of {tunnel.interface}"
        return (done,) if have is not None else (f"made {tunnel.interface}", done)

    async def remove_others(self, wanted: Collection[str]) -> tuple[str, ...]:
        """Delete interfaces that are not wanted; return a sentence for each."""
        extra = sorted(self.sights.keys() - set(wanted))
        for name in extra:
            del self.sights[name]
        return tuple(f"deleted {name}" for name in extra)

    async def clamp(self, interfaces: Sequence[str]) -> tuple[str, ...]:
        """Remember the interfaces."""
        before, self.clamped = self.clamped, tuple(sorted(interfaces))
        return () if before == self.clamped else (f"fitted TCP segments to {self.clamped}",)

    # ---- what the world does ---------------------------------------------------------------

    def handshake(self, interface: str, at: int) -> None:
        """Let a handshake succeed at this Unix second."""
        sight = self.sights[interface]
        peers = tuple(replace(peer, handshake_at=at) for peer in sight.peers)
        self.sights[interface] = replace(sight, peers=peers)


def _sight(tunnel: Tunnel, keys: TunnelKeys) -> Sight:
    peer = TunnelPeer(
        public_key=f"of {keys.theirs}",
        endpoint=str(tunnel.far_endpoint),
        allowed=frozenset(),
        handshake_at=0,
        keepalive="15",
    )
    return Sight(key=keys.ours, port=tunnel.port, peers=(peer,))
