"""The target in force: which one is taken, and how it is remembered."""

from collections.abc import Callable
from dataclasses import replace

from pltfrms import codec
from pltfrms.drivers.ports import Disk
from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Target
from pltfrms.model.services.service import Service
from pltfrms.planner.instances.instances import service_versions, with_secrets
from pltfrms.planner.upkeep.lineage import why_not_followed

TARGET_FILE = "target.json"
VERSIONS_FILE = "versions.json"


class Targets:
    """The last good target, in memory and on disk."""

    def __init__(self, machine: str, disk: Disk, bootstrap: Callable[[], Platform]) -> None:
        """Read the disk; `bootstrap` gives the platform if no usable target is there.

        Raises:
            Whatever `bootstrap` raises.
        """
        self._disk = disk
        self.machine = machine
        self.loss = ""
        """One sentence if a target was on disk and could not be read."""
        stored = self._stored()
        if stored is None:
            stored = Target(machine=machine, generation=0, platform=bootstrap())
        self.current = stored
        self.as_of = stored.generation
        """Of the last commit that is known to want nothing else of this machine."""
        self.versions = service_versions(stored, self._stored_versions())
        """Services in the versions that run here; see `planner.instances`."""

    def remember_on(self, disk: Disk) -> None:
        """Write to this disk from now on.

        It must not fail: a full disk must not hold back what controllers decide.
        """
        self._disk = disk

    @property
    def lacks_secrets(self) -> bool:
        """Whether a value was not given that the current target names."""
        return not all(each.sealed for each in self.current.secrets)

    def ask_again(self) -> None:
        """Take the same target once more: there may be values in it that cannot be used now."""
        if self.current.secrets:
            self.current = replace(self.current, made_of="")
            self.as_of = min(self.as_of, self.current.generation - 1)

    def accept(self, target: Target) -> None:
        """Make `target` the current one, in memory and on disk.

        Guard `monotonic_intent`: nothing older than what was ever done is done again.

        Raises:
            ConflictError: it is not newer than what the current one was confirmed for, or of
                another recovery of the store.
            UsageError: it is not for this machine.
        """
        if why := why_not_followed(self.current.lineage, target.lineage):
            raise ConflictError(
                f"target of generation {target.generation} refused: {why}; if that was done on"
                f" purpose, remove {TARGET_FILE} from the agent's state directory and restart"
                " the agent"
            )
        if target.generation <= self.as_of:
            raise ConflictError(
                f"target of generation {target.generation} refused: generation"
                f" {self.as_of} is in force; if the store was rebuilt on purpose,"
                f" remove {TARGET_FILE} from the agent's state directory and restart the agent"
            )
        if target.machine != self.machine:
            raise UsageError(f"target for {target.machine} refused: this is {self.machine}")
        try:
            target.platform.machine(self.machine)
        except KeyError:
            raise UsageError(
                f"target of generation {target.generation} refused: its platform has no"
                f" machine {self.machine}"
            ) from None
        versions = service_versions(target, self.versions)
        target = with_secrets(target, versions, self.current.secrets)
        changed, self.versions, self.current = versions != self.versions, versions, target
        self.as_of = target.generation
        if changed:
            self._disk.write(VERSIONS_FILE, codec.encode(versions, tuple[Service, ...]))
        self._disk.write(TARGET_FILE, codec.encode(target))

    def confirm(self, generation: int, made_of: str) -> bool:
        """Hear what the target of a generation is made of; return whether it is no news."""
        if made_of and made_of == self.current.made_of:
            self.as_of = max(self.as_of, generation)
        return generation <= self.as_of

    def _stored(self) -> Target | None:
        try:
            text = self._disk.read(TARGET_FILE)
            if text is None:
                return None
            target = codec.decode(Target, text)
            if target.machine == self.machine:
                target.platform.machine(self.machine)
                return target
            self.loss = f"{TARGET_FILE} is of {target.machine}, not of {self.machine}"
        except (UsageError, KeyError, OSError) as error:
            self.loss = f"{TARGET_FILE} cannot be used: {error}"
        return None

    def _stored_versions(self) -> tuple[Service, ...]:
        try:
            text = self._disk.read(VERSIONS_FILE)
            return codec.decode(tuple[Service, ...], text) if text is not None else ()
        except (UsageError, OSError):
            self.loss = f"{VERSIONS_FILE} cannot be read; old versions are not remembered"
            return ()
