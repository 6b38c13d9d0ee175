"""The seam to the director, the balancer's program in the kernel."""

from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Protocol

from pltfrms.model.running.balancer import BalancerCounts, BalancerSettings, BalancerTable, Hook


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
        a sentence that starts with `missing `; one at which the kernel does not let us, in
        `refused NAME: why`.
        """
        ...

    def put(self, table: BalancerTable) -> None:
        """Make this the table of its service, for both of its prefixes.

        UnavailableError also if there are too many services or instances; all others stay.
        """
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
