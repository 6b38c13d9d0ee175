"""The seams between decisions and the world, as protocols.

Controllers and agents take these as parameters, so that the same code runs in production, in
the lab, and under a virtual clock with injected faults. All methods of effect are idempotent.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, Protocol

from pltfrms.model.addresses import Address
from pltfrms.model.api import Heartbeat, HeartbeatReply
from pltfrms.model.balancer import BalancerCounts, BalancerSettings, BalancerTable, Hook
from pltfrms.model.machine import (
    BgpState,
    HostRoute,
    Instance,
    InstanceSpec,
    NetworkState,
    Route,
)
from pltfrms.model.plan import Target
from pltfrms.model.service import Probe
from pltfrms.model.topology import Operator

# ---- time ----------------------------------------------------------------------------------


class Clock(Protocol):
    """Time and waiting."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def unix_ms(self) -> int:
        """Return the wall clock in milliseconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


# ---- store ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key of the store."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All entries under a prefix at one revision."""

    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write a key."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove a key; removing an absent one is not an error."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A condition of a transaction: the key has this `mod_revision` (0 = absent)."""

    key: str
    mod_revision: int


class Store(Protocol):
    """A linearizable key-value store with leases and watch (etcd).

    Every method raises UnavailableError when no endpoint answers, and after that the outcome
    of a write is unknown.
    """

    async def list(self, prefix: str) -> Listing:
        """Return all entries whose key starts with `prefix`, linearizably."""
        ...

    async def commit(
        self, writes: Sequence[Put | Delete], guards: Sequence[Guard] = ()
    ) -> int | None:
        """Do all writes if all guards hold; return the new revision, or None if not done.

        Raises:
            NotFoundError: a Put names a lease that is gone; nothing was done.
        """
        ...

    def changes(self, prefix: str, after: int) -> AsyncIterator[int]:
        """Yield revisions > `after` at which something under `prefix` changed.

        A hint to list again, never the data itself. May skip, may repeat; ends (normally or
        with UnavailableError) when the connection breaks; the caller lists and calls again.
        """
        ...

    async def grant(self, ttl_seconds: int) -> int:
        """Make a lease and return its id."""
        ...

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease; False if it does not exist any more."""
        ...

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


# ---- signatures ----------------------------------------------------------------------------


class Signatures(Protocol):
    """Who has signed a text."""

    async def signer(self, text: str, signature: str, operators: Sequence[Operator]) -> str:
        """Return the name of the operator whose key made this signature of this text.

        Raises:
            UsageError: none of them did.
            UnavailableError: it cannot be found out.
        """
        ...


# ---- controllers, as an agent sees them ----------------------------------------------------


class ControlPlane(Protocol):
    """Any controller that answers, nearest first. Raises UnavailableError when none does."""

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Say that the machine lives."""
        ...

    async def target(self, machine: str, after: int, wait_ms: int) -> Target | None:
        """Return a target newer than generation `after`, waiting up to `wait_ms`; else None."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


# ---- kernel network ------------------------------------------------------------------------


class Network(Protocol):
    """The kernel's network of the machine the agent runs on."""

    async def apply_state(self, state: NetworkState) -> tuple[str, ...]:
        """Make it so; return one sentence per thing that had to be changed.

        A device that is not there (yet) is skipped and named in a sentence that starts with
        `missing `.
        """
        ...

    async def apply_routes(
        self, tables: Sequence[int], routes: Sequence[Route]
    ) -> tuple[str, ...]:
        """Make the routes of our protocol numbers (181..184) in `tables` exactly `routes`.

        Adds before it deletes. Returns one sentence per change.
        """
        ...

    async def routes(self, table: int) -> tuple[Route, ...]:
        """Return all routes of a table (any protocol number), IPv4 and IPv6."""
        ...

    async def host_routes(self, table: int) -> tuple[HostRoute, ...]:
        """Return the IPv6 routes of a table that lead to one address; quick also for many."""
        ...

    async def attach_instance(self, device: str, pid: int) -> None:
        """Make a veth whose near end is `device` (up, fe80::1/64).

        The far end is `eth0` in the network namespace of process `pid`. An old device of
        that name is deleted first.
        """
        ...

    async def detach_instance(self, device: str) -> None:
        """Delete the veth, if it is there."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield whenever anybody changes routes, rules, addresses or links: a hint."""
        ...

    def table_changes(self, table: int) -> AsyncIterator[None]:
        """Yield whenever an IPv6 route of one table changes: a hint, and nothing else is."""
        ...

    async def close(self) -> None:
        """Release sockets."""
        ...


class Balancer(Protocol):
    """The director's program in the kernel of this machine.

    It and its tables outlive us: a new agent takes over what the one before it left, and
    packets notice nothing. All methods but `start` raise UnavailableError when the kernel
    refuses.
    """

    async def start(self, settings: BalancerSettings) -> str:
        """Load the program, or take over and update what runs; return one sentence how.

        Raises:
            UnavailableError: this kernel cannot run it, and why. Nothing is attached.
        """
        ...

    async def attach(self, hooks: Sequence[Hook]) -> tuple[str, ...]:
        """Let packets of exactly these devices pass the program.

        Returns one sentence per change. A device that is not there is skipped, and named in
        a sentence that starts with `missing `.
        """
        ...

    def put(self, table: BalancerTable) -> None:
        """Make this the table of its service, for both of its prefixes."""
        ...

    def remove(self, service_id: int) -> None:
        """Leave the packets of a service to the kernel's routes."""
        ...

    def installed(self) -> frozenset[int]:
        """Return the ids of the services that have a table."""
        ...

    def row(self, service_id: int, row: int) -> tuple[IPv6Address, ...]:
        """Return what the kernel has in a row, without empty places; () if no table."""
        ...

    def beat(self) -> None:
        """Say that somebody keeps the tables right."""
        ...

    def beat_age_ms(self) -> int:
        """Return how long ago the last beat was; -1 if there was none."""
        ...

    def counts(self) -> BalancerCounts:
        """Return what was counted since the program's maps were made."""
        ...

    async def stop(self) -> None:
        """Detach the program everywhere and forget its tables."""
        ...


class PacketFilter(Protocol):
    """What the machine drops, of packets that others send."""

    async def apply(self, text: str) -> bool:
        """Make our table of nftables be what the text says; return whether it was not.

        It is replaced in one step; an empty text is for no table.

        Raises:
            UnavailableError: there is no nftables, or it refuses the text; all stays as it is.
        """
        ...


# ---- workload ------------------------------------------------------------------------------


class Workload(Protocol):
    """The instances of this machine (`process` runtime)."""

    async def running(self) -> Mapping[str, Instance]:
        """Return the running instances by allocation id, found again after any restart."""
        ...

    async def start(self, spec: InstanceSpec) -> Instance:
        """Start an instance with its network; it survives our own end."""
        ...

    async def stop(self, instance: Instance, grace_ms: int) -> None:
        """End an instance: SIGTERM, wait, SIGKILL; return when it is gone."""
        ...

    async def wait(self, instance: Instance) -> str:
        """Return when the instance has ended, with one sentence how (pidfd: no polling)."""
        ...

    async def rotate_logs(self) -> None:
        """Bound the size of every instance's log (call it every few seconds)."""
        ...

    def limits(self) -> str:
        """Say in one sentence how cpu and memory limits are enforced, or why not."""
        ...


CONNECTIONS_UNKNOWN: Final = -1
"""Instead of a number of connections: it cannot be known now."""


class Prober(Protocol):
    """Asks instances whether they can serve, from inside their own namespaces."""

    async def probe(
        self, instance: Instance, probe: Probe, addresses: Sequence[Address]
    ) -> str:
        """Ask once on every address; return `` on success, else one sentence what failed."""
        ...

    async def connections(self, instance: Instance, addresses: Sequence[Address]) -> int:
        """Return how many TCP connections with these local addresses an instance still has.

        Half-closed ones count too, those with itself do not; CONNECTIONS_UNKNOWN if it cannot
        be known.
        """
        ...


# ---- BIRD ----------------------------------------------------------------------------------


class Bird(Protocol):
    """The routing daemon of this machine."""

    async def apply(self, config: str, *, revert_after_seconds: int = 0) -> str:
        """Check `config` with BIRD's own parser, swap it in atomically, tell BIRD.

        Returns one sentence: what was done. Works while BIRD is down: the file is in place
        for its next start. A config equal to the present one changes nothing.

        With `revert_after_seconds` it is on trial: BIRD itself goes back to what it ran before
        unless `confirm` comes in time, and the file in place stays the old one until then.

        Raises:
            InvariantError: BIRD refuses the text; the present configuration stays.
        """
        ...

    async def confirm(self) -> None:
        """Keep the configuration that is on trial; nothing if there is none.

        Raises:
            UnavailableError: BIRD does not answer.
            ConflictError: it has reverted already.
        """
        ...

    async def revert(self) -> str:
        """Go back to what ran before the trial at once; return one sentence what was done."""
        ...

    async def running(self) -> str:
        """Return the text that BIRD runs, as it was given to `apply`; `` if not known."""
        ...

    async def sessions(self) -> tuple[BgpState, ...]:
        """Return the BGP sessions with their counts; UnavailableError if BIRD is silent."""
        ...

    async def caches(self) -> tuple[BgpState, ...]:
        """Return the sessions with RPKI caches; UnavailableError if BIRD is silent."""
        ...

    async def liveness(self) -> frozenset[str]:
        """Return a word per BFD session, another one whenever it went down or came up.

        UnavailableError if BIRD is silent.
        """
        ...

    async def find_ways(self) -> None:
        """Let OSPF compute its routes anew; UnavailableError if BIRD is silent."""
        ...

    async def rejects(self, own_asn: int) -> Mapping[str, Mapping[int, int]]:
        """Return per session how many routes are refused, by number of the reason.

        The number is that of large community `own_asn:15:N` on the refused routes.
        UnavailableError if BIRD is silent.
        """
        ...


# ---- disk ----------------------------------------------------------------------------------


class Disk(Protocol):
    """What an agent remembers across restarts and reboots."""

    def read(self, name: str) -> bytes | None:
        """Return a document, or None."""
        ...

    def write(self, name: str, value: bytes) -> None:
        """Replace a document atomically and durably (write, fsync, rename)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """Where things are on a machine."""

    config: Path = Path("/etc/pltfrms")
    state: Path = Path("/var/lib/pltfrms")
    runtime: Path = Path("/run/pltfrms")
    log: Path = Path("/var/log/pltfrms")
