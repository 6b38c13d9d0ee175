"""The seams to instances: run them, and ask whether they can serve."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Protocol

from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import (
    Instance,
    InstanceSpec,
    ProbeAnswer,
)
from pltfrms.model.services.service import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedRecord:
    """A record of an instance could not be read, and now there is an answer to that."""

    allocation: str
    detail: str
    """One sentence what was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReport:
    """What is wrong with the records of instances."""

    wrong: str = ""
    """Which cannot be read now, and what to do; empty if none is."""
    mended: tuple[MendedRecord, ...] = ()
    """Since the last report, oldest first."""


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """How full a directory of a volume is."""

    bytes: int
    limited: bool
    """Whether the file system refuses more than it may have."""


class Workload(Protocol):
    """The instances of this machine."""

    async def running(self) -> Mapping[str, Instance]:
        """Return the running instances by allocation id, found again after any restart."""
        ...

    def know(self, names: Sequence[str]) -> None:
        """Let instances that are started from now on have these lines in their hosts file."""
        ...

    async def tell(self) -> None:
        """Let instances that run have the same lines, too."""
        ...

    async def fetch(self, spec: InstanceSpec) -> None:
        """Have on this machine what a start needs; it may take minutes, and goes on alone."""
        ...

    def doing(self, spec: InstanceSpec) -> str:
        """Say in one sentence what is done before a start; empty if that is nothing."""
        ...

    async def start(self, spec: InstanceSpec) -> Instance:
        """Start an instance with its network; it survives our own end."""
        ...

    async def renumber(self, instance: Instance, spec: InstanceSpec) -> None:
        """Give a running instance the addresses towards the internet that its spec has now."""
        ...

    async def answer_on(self, instance: Instance, spec: InstanceSpec) -> None:
        """Let a running instance answer on the ports of its spec, and whom that says."""
        ...

    async def renew_secrets(self, instance: Instance, spec: InstanceSpec) -> bool:
        """Give a running instance the values of files for which it gets a signal.

        Return whether one was another, so that it was signalled.
        """
        ...

    async def rewrite(self, spec: InstanceSpec) -> bool:
        """Let a running instance have the `live` files of its spec; return if any was not."""
        ...

    async def signal(self, instance: Instance, name: str) -> None:
        """Send a running instance a signal, such as HUP; nothing happens if it is gone."""
        ...

    async def refused(self, instance: Instance) -> Mapping[str, int]:
        """Return how many packets an instance refused since its table was made, by why."""
        ...

    async def stop(self, instance: Instance, grace_ms: int) -> str:
        """End an instance: SIGTERM, wait, SIGKILL; return when it is gone.

        With a sentence if it did not end before SIGKILL.
        """
        ...

    async def wait(self, instance: Instance) -> str:
        """Return when the instance has ended, with one sentence how (pidfd: no polling)."""
        ...

    async def rotate_logs(self, images: AbstractSet[str] | None = None) -> None:
        """Bound the size of every instance's log (call it every few seconds).

        And remove images that nothing runs; `images` are to stay. None: it is not known which.
        """
        ...

    def records(self) -> RecordReport:
        """Say what the last look at `running` found wrong with records, and what was mended."""
        ...

    def cpu_seconds(self, instance: Instance) -> float | None:
        """Return the processor seconds that an instance has used; None: not known."""
        ...

    def io_free(self, instance: Instance) -> str:
        """Return why what it does to the disk has no limit, if it should; empty: it has one."""
        ...

    def hogs(self) -> Mapping[str, str]:
        """Say of instances that take too much what that is, as of the last `rotate_logs`."""
        ...

    async def volumes(self) -> Mapping[str, Mapping[str, VolumeUse]]:
        """Return what each volume here has, by directory; it may take long."""
        ...

    async def remove_volume(self, volume: str) -> None:
        """Delete a volume; nothing happens if it is not there.

        Raises:
            UnavailableError: an instance has it, or it cannot be deleted.
        """
        ...

    def accepted(self, instance: Instance) -> int | None:
        """Return how many TCP connections an instance has accepted; None: not known."""
        ...

    def arrived(self, instance: Instance) -> int | None:
        """Return how many connections and datagrams came to it, in all; None: not known."""
        ...

    def limits(self) -> str:
        """Say in one sentence how cpu and memory limits are enforced, or why not."""
        ...


def kept_on(grace_ms: int) -> str:
    """Say that an instance had to be killed."""
    return f"did not end within {grace_ms / 1000:g} s of SIGTERM, and was killed"


CONNECTIONS_UNKNOWN: Final = -1
"""Instead of a number of connections: it cannot be known now."""


class Asker(Protocol):
    """Asks services at their own addresses, from where we are, as their clients do."""

    async def ask(self, address: Address, probe: Probe) -> ProbeAnswer:
        """Ask once.

        Raises:
            UnavailableError: it cannot be asked from here, whether it answers or not.
        """
        ...


class Prober(Protocol):
    """Asks instances whether they can serve, from inside their own namespaces."""

    async def probe(
        self, instance: Instance, probe: Probe, addresses: Sequence[Address]
    ) -> ProbeAnswer:
        """Ask once on every address, and say what failed.

        Raises:
            UnavailableError: it cannot be asked by us, whether it is well or not.
        """
        ...

    async def connections(self, instance: Instance, addresses: Sequence[Address]) -> int:
        """Return how many TCP connections with these local addresses an instance still has.

        Half-closed ones count too, those with itself do not; CONNECTIONS_UNKNOWN if it cannot
        be known.
        """
        ...
