"""The seams to the kernel's network: addresses, routes, packet filter, echoes."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Protocol

from pltfrms.model.addresses import Address, Interface
from pltfrms.model.network.ports import SeenPort
from pltfrms.model.running.machine import NetworkState, Route


class HostRoutes(Protocol):
    """The IPv6 routes of a table that lead to one address, followed as they change."""

    @property
    def unsure(self) -> bool:
        """Whether only an `audit` can say what is there: something that was told is lost."""
        ...

    async def wait(self) -> None:
        """Return when something was told that `news` may not have returned yet."""
        ...

    def news(self) -> Mapping[IPv6Address, tuple[int, ...]]:
        """Return at once whose routes may have changed since this was asked last.

        With the metrics that each address has now; () if it has no route any more. All that
        was there before we listened is news of the first audit.
        """
        ...

    async def audit(self) -> None:
        """Read the whole table: what nobody has told is news. Others have turns meanwhile.

        Raises:
            UnavailableError: the kernel does not answer.
        """
        ...

    def close(self) -> None:
        """Listen no more. Nobody may `wait`."""
        ...


class PortReader(Protocol):
    """Looks at the network interfaces of the machine."""

    async def ports(self) -> tuple[SeenPort, ...]:
        """Return all of them.

        Raises:
            NetlinkError: the kernel refuses to say.
        """
        ...


class Network(PortReader, Protocol):
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

    async def leading(self, address: Address) -> Route | None:
        """Return the route by which packets to an address leave this machine.

        None: they do not. A route that leads nowhere (`unreachable`), or by devices without
        carrier alone, is none; nor is an address of this machine reached by one.
        """
        ...

    async def attach_instance(self, device: str, pid: int) -> None:
        """Make a veth whose near end is `device` (up, fe80::1/64).

        The far end is `eth0` in the network namespace of process `pid`. An old device of
        that name is deleted first.
        """
        ...

    async def attach_here(self, device: str, addresses: Sequence[Interface]) -> None:
        """Make a veth whose near end is `device` as above, for what runs in this namespace.

        The far end is `here_end(device)`, beside it, with fe80::2/64 and `addresses`.
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

    def follow(self, table: int) -> HostRoutes:
        """Follow the host routes of one table from now on, whatever others do.

        Raises:
            UnavailableError: the kernel does not let us.
        """
        ...

    async def close(self) -> None:
        """Release sockets."""
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


class LinkPinger(Protocol):
    """Asks the far end of a link for an echo."""

    async def ping(
        self, interface: str, address: IPv6Address, in_doubt: Callable[[], bool]
    ) -> float | None:
        """Return the round trip time in milliseconds; None if no echo came in 0.9 s.

        While it is `in_doubt`, half of that is enough.

        Raises:
            OSError: there is no such interface, or it is down.
        """
        ...
