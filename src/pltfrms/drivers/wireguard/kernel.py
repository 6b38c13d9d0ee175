"""WireGuard interfaces, in the kernel or in a process of their own, by WireGuard's own tools.

A kernel without WireGuard gets `wireguard-go`, one process per interface. It is no child of
ours: it goes on when the agent ends, and is found again by its socket in /run/wireguard.
"""

import contextlib
import shutil
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from pltfrms.drivers.kernel.nftables import NftTable
from pltfrms.drivers.tool import run_tool
from pltfrms.drivers.wireguard.ports import Sight, TunnelPeer
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.addresses import Address
from pltfrms.model.network.tunnels import FRESH_SECONDS, MIN_SECRET_BYTES, Tunnel, TunnelKeys

PREFIX: Final = "bb-"
"""Interfaces whose names begin so are ours."""
_KEEPALIVE_SECONDS = 15
_EVERYWHERE = ("0.0.0.0/0", "::/0")
TUNNEL_TABLE: Final = "inet pltfrms_tunnels"
"""The nftables table of this driver."""
_IPV6 = 6
_OTHERS = 0o077
"""Mode bits of everybody but the owner."""


class WireGuard:
    """`agent.tunnels.TunnelDriver` of the network namespace it runs in."""

    def __init__(self, secret_file: Path) -> None:
        """`secret_file` is the same on all edges; see `read_secret`."""
        self._secret_file = secret_file
        self._public: dict[str, str] = {}
        self._clamp = NftTable(TUNNEL_TABLE)

    def secret(self) -> bytes:
        """Return what all keys are made of; see `read_secret`."""
        return read_secret(self._secret_file)

    async def look(self, interface: str) -> Sight | None:
        """Return how an interface is; None if there is none.

        Raises:
            UnavailableError: it is no WireGuard interface, or does not answer.
        """
        if not _exists(interface):
            return None
        return _sight(await run_tool("wg", "show", interface, "dump"))

    async def apply(self, tunnel: Tunnel, keys: TunnelKeys, now: float) -> tuple[str, ...]:
        """Make the interface be there with these keys; return a sentence per change.

        Its MTU, its addresses and whether it is up are not looked at. `now` is in Unix
        seconds.

        Raises:
            UnavailableError: neither kernel nor wireguard-go makes it, or a tool fails.
        """
        done: list[str] = []
        if not _exists(tunnel.interface):
            done.append(await _make(tunnel.interface))
        sight = _sight(await run_tool("wg", "show", tunnel.interface, "dump"))
        public_key = await self._public_key(keys.theirs)
        if not _is_so(sight, tunnel, keys.ours, public_key, now):
            text = _configuration(tunnel, keys.ours, public_key)
            await run_tool("wg", "syncconf", tunnel.interface, "/dev/stdin", text=text)
            done.append(f"set keys and endpoint of {tunnel.interface}")
        return tuple(done)

    async def remove_others(self, wanted: Collection[str]) -> tuple[str, ...]:
        """Delete our WireGuard interfaces that are not wanted; return a sentence for each."""
        if shutil.which("wg") is None:
            return ()  # then nothing of ours can be there
        present = (await run_tool("wg", "show", "interfaces")).split()
        ours = [name for name in present if name.startswith(PREFIX) and _exists(name)]
        extra = [name for name in ours if name not in wanted]
        for name in extra:
            await run_tool("ip", "link", "delete", name)
        return tuple(f"deleted {name}" for name in extra)

    async def clamp(self, interfaces: Sequence[str]) -> tuple[str, ...]:
        """Let TCP through these interfaces choose segments that fit; return what was done.

        Without interfaces there is no rule. Other packets that are too big are answered with
        `packet too big`; not everybody heeds that, or hears it.
        """
        wanted = sorted(interfaces)
        if not await self._clamp.apply(_clamp(wanted)):
            return ()
        return (f"fitted TCP segments to {', '.join(wanted)}",) if wanted else ()

    async def _public_key(self, private_key: str) -> str:
        known = self._public.get(private_key)
        if known is None:
            known = (await run_tool("wg", "pubkey", text=private_key)).strip()
            self._public[private_key] = known
        return known


def read_secret(file: Path) -> bytes:
    """Return the secret of the backbone.

    Raises:
        UsageError: there is none, it is too short, or others than its owner may read it.
    """
    try:
        mode, secret = file.stat().st_mode, file.read_bytes().strip()
    except OSError as error:
        raise UsageError(
            f"WireGuard links need {file}, the same on every edge: {error.strerror}"
            " (`pltfrms network make-secret` makes it)"
        ) from error
    if mode & _OTHERS:
        raise UsageError(f"{file} must be for its owner alone: `chmod 600 {file}`")
    if len(secret) < MIN_SECRET_BYTES:
        raise UsageError(f"{file} must have at least {MIN_SECRET_BYTES} bytes")
    return secret


def _exists(interface: str) -> bool:
    with contextlib.suppress(OSError):
        return socket.if_nametoindex(interface) > 0
    return False


async def _make(interface: str) -> str:
    """Make the interface and return in one sentence how."""
    try:
        await run_tool("ip", "link", "add", "name", interface, "type", "wireguard")
    except UnavailableError as refused:
        await run_tool("wireguard-go", interface)
        return f"made {interface} with wireguard-go, since the kernel has none: {refused}"
    return f"made {interface} in the kernel"


def _sight(dump: str) -> Sight:
    ours, *peers = (line.split("\t") for line in dump.splitlines())
    return Sight(
        key="" if ours[0] == "(none)" else ours[0],
        port=int(ours[2]),
        peers=tuple(
            TunnelPeer(
                public_key=words[0],
                endpoint=words[2],
                allowed=frozenset(words[3].split(",")),
                handshake_at=int(words[4]),
                keepalive=words[7],
            )
            for words in peers
        ),
    )


def _is_so(sight: Sight, tunnel: Tunnel, key: str, public_key: str, now: float) -> bool:
    if (sight.key, sight.port, len(sight.peers)) != (key, tunnel.port, 1):
        return False
    peer = sight.peers[0]
    # WireGuard follows a far end that speaks from another address: right, while it works.
    reached = (
        peer.endpoint == _endpoint(tunnel.far_endpoint, tunnel.port)
        or now - peer.handshake_at <= FRESH_SECONDS
    )
    fixed = (peer.public_key, peer.allowed, peer.keepalive)
    return reached and fixed == (
        public_key,
        frozenset(_EVERYWHERE),
        str(_KEEPALIVE_SECONDS),
    )


def _configuration(tunnel: Tunnel, key: str, public_key: str) -> str:
    return f"""[Interface]
PrivateKey = {key}
ListenPort = {tunnel.port}
[Peer]
PublicKey = {public_key}
AllowedIPs = {", ".join(_EVERYWHERE)}
Endpoint = {_endpoint(tunnel.far_endpoint, tunnel.port)}
PersistentKeepalive = {_KEEPALIVE_SECONDS}
"""


def _endpoint(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == _IPV6 else f"{address}:{port}"


def _clamp(interfaces: Sequence[str]) -> str:
    if not interfaces:
        return ""
    names = ", ".join(f'"{name}"' for name in interfaces)
    return f"""table {TUNNEL_TABLE} {{
  chain forward {{
    type filter hook forward priority mangle; policy accept;
    oifname {{ {names} }} tcp flags syn tcp option maxseg size set rt mtu
  }}
}}
"""
