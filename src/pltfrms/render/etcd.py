"""Write the command line of the store's member on a controller machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pltfrms.model.network.topology import (
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    Machine,
    Platform,
    Role,
)

_HEARTBEAT_MS = 100
"""About the longest round trip between two datacenters that we expect."""
_ELECTION_MS = 1000
"""Ten heartbeats, as etcd asks for: a slow path must not look like a dead leader."""
_QUOTA_BYTES = 2 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """Whom a member without data begins with; one that has data ignores it."""

    members: tuple[tuple[str, str], ...]
    """(name, URL for other members), with itself."""
    word: str = "joins"
    """Who begins with another one is never of the same store; who joins needs none."""
    new: bool = False
    """They make the store together; else it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFaces:
    """What a member shows by TLS, and whom it believes: files."""

    own: Path
    """Key and certificate. etcd takes a newer one with the next handshake."""
    trusted: Path


def scheme_of(*, secure: bool) -> str:
    """Return how one speaks with members of a store."""
    return "https" if secure else "http"


def peer_url(platform: Platform, machine: Machine, *, secure: bool = False) -> str:
    """Return where other members reach that of a controller machine; `secure`: by TLS."""
    return f"{scheme_of(secure=secure)}://[{platform.loopback6(machine)}]:{ETCD_PEER_PORT}"


def etcd_command(
    platform: Platform,
    machine: str,
    data_dir: Path,
    beginning: Beginning,
    faces: StoreFaces | None = None,
) -> tuple[str, ...]:
    """Return the command that runs the member on `machine`, a controller machine.

    Members talk over the IPv6 loopbacks, plainly without `faces`. KeyError if the platform has
    no such machine.
    """
    me, scheme = platform.machine(machine), scheme_of(secure=faces is not None)
    loopback, local = f"{scheme}://[{platform.loopback6(me)}]", f"{scheme}://[::1]"
    members = ",".join(f"{name}={url}" for name, url in beginning.members)
    return (
        "etcd",
        f"--name={me.name}",
        f"--data-dir={data_dir}",
        f"--listen-peer-urls={loopback}:{ETCD_PEER_PORT}",
        f"--initial-advertise-peer-urls={loopback}:{ETCD_PEER_PORT}",
        f"--listen-client-urls={loopback}:{ETCD_CLIENT_PORT},{local}:{ETCD_CLIENT_PORT}",
        f"--advertise-client-urls={loopback}:{ETCD_CLIENT_PORT}",
        f"--initial-cluster={members}",
        f"--initial-cluster-token={beginning.word}",
        f"--initial-cluster-state={'new' if beginning.new else 'existing'}",
        f"--heartbeat-interval={_HEARTBEAT_MS}",
        f"--election-timeout={_ELECTION_MS}",
        "--pre-vote",  # a member that comes back does not unseat the leader
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1h",
        f"--quota-backend-bytes={_QUOTA_BYTES}",
        "--logger=zap",
        "--log-level=warn",
        *(by_tls(faces) if faces else ()),
    )


def by_tls(faces: StoreFaces) -> tuple[str, ...]:
    """Return what makes etcd believe those alone whom the store's own authority has signed."""
    options = (
        ("cert-file", faces.own),
        ("key-file", faces.own),
        ("trusted-ca-file", faces.trusted),
    )
    return (
        *(f"--{name}={path}" for name, path in options),
        *(f"--peer-{name}={path}" for name, path in options),
        "--client-cert-auth",
        "--peer-client-cert-auth",
        # Between members either end may have several addresses.
        "--experimental-peer-skip-client-san-verification",
    )


def recovering_command(
    command: Iterable[str], client_url: str, peer_url: str, *, keep_data: bool
) -> tuple[str, ...]:
    """Return the command of a member that nobody but us reaches, and that is the only one.

    `keep_data`: it goes on with its data, and all other members are removed.
    """
    alone = [word for word in command if not word.startswith("--listen-")]
    alone += [f"--listen-client-urls={client_url}", f"--listen-peer-urls={peer_url}"]
    return tuple(alone + (["--force-new-cluster"] if keep_data else []))


def etcd_endpoints(
    platform: Platform, machine: str, *, secure: bool = False
) -> tuple[str, ...]:
    """Return the client URLs of all members, nearest first; `secure`: by TLS.

    Own machine, then own datacenter, then the others in the order of the spec. KeyError if
    the platform has no such machine.
    """
    me, scheme = platform.machine(machine), scheme_of(secure=secure)

    def distance(member: Machine) -> int:
        if member == me:
            return 0
        return 1 if member.datacenter == me.datacenter else 2

    return tuple(
        f"{scheme}://[::1]:{ETCD_CLIENT_PORT}"
        if member == me
        else f"{scheme}://[{platform.loopback6(member)}]:{ETCD_CLIENT_PORT}"
        for member in sorted(platform.machines_of(Role.CONTROLLER), key=distance)
    )
