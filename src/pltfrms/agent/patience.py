"""A disk that may refuse: what cannot be written is kept in mind, said, and tried again."""

from pltfrms.agent.problems import Problems
from pltfrms.drivers.ports import Clock, Disk

AGAIN_SECONDS = 1.0


class PatientDisk:
    """`ports.Disk` for all parts of an agent. It never fails them.

    A machine with a full or broken disk goes on with what it knows. Only an agent that starts
    anew before the disk is well again knows less.
    """

    def __init__(self, disk: Disk, problems: Problems) -> None:
        """Stand before a disk."""
        self._disk = disk
        self._problems = problems
        self._late: dict[str, bytes] = {}
        """What the disk has refused, newest only."""

    def read(self, name: str) -> bytes | None:
        """See `ports.Disk`. What is there and cannot be read is empty, which is no document."""
        if name in self._late:
            return self._late[name]
        try:
            text = self._disk.read(name)
        except OSError as error:
            text = b""
            self._problems.set(_part(name), f"cannot be read: {error}")
        else:
            if text == b"":  # we never write that
                self._problems.set(_part(name), "is empty: what was in it is lost")
        return text

    def write(self, name: str, value: bytes) -> None:
        """See `ports.Disk`; but it may be done later."""
        self._late[name] = value
        self._try(name)

    def late(self, name: str) -> bool:
        """See `ports.Disk`."""
        return name in self._late

    async def run(self, clock: Clock) -> None:
        """Write what is late as soon as it can be, for ever."""
        while True:
            for name in tuple(self._late):
                self._try(name)
            await clock.sleep(AGAIN_SECONDS)

    def _try(self, name: str) -> None:
        try:
            self._disk.write(name, self._late[name])
        except OSError as error:
            self._problems.set(_part(name), f"cannot be written, and is tried again: {error}")
        else:
            del self._late[name]
            self._problems.set(_part(name), "")


def _part(name: str) -> str:
    return f"disk, {name}"
