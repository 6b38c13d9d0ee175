"""What replicas have on the disks of nodes, kept over their instances."""

from dataclasses import dataclass
from enum import StrEnum


class VolumeState(StrEnum):
    """Whose a volume is."""

    HELD = "held"
    """Its replica's: that runs nowhere else, whether it is wanted now or not."""
    GIVEN_UP = "given-up"
    """Nobody's: its node was lost for too long, so the replica began elsewhere with nothing."""
    RELEASED = "released"
    """Nobody's, and its node is to delete it, as an operator says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """All directories that a replica has on a node. Never moves: elsewhere is another one."""

    id: str
    """`SERVICE.DATACENTER.REPLICA@GENERATION`, such as `db.fra.1@3`."""
    service: str
    datacenter: str
    replica: int
    generation: int
    """The number of the allocation that it was made for, so it rises and never comes back."""
    node: str
    state: VolumeState = VolumeState.HELD
    since_ms: int = 0
    """Unix time at which it was given up or released; 0: it is held."""
    why: str = ""
    """Why it was given up or released, one sentence."""
    begun_ms: int = 0
    """Unix time since which its replica has it; 0: not known."""
    made: bool = False
    """Whether its node has said that it is on the disk. From then on it makes it no more."""

    @property
    def about(self) -> str:
        """The replica's name."""
        return f"{self.service}.{self.datacenter}.{self.replica}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStatus:
    """A volume as its node sees it on its disk."""

    volume: str
    bytes: int | None = None
    """How much is in it, rounded; None: it was not on the disk when that was looked at last."""
    limited: bool = False
    """Whether the file system refuses more than it may have."""


def generation_of(volume: str) -> int:
    """Return the generation of a volume, by its id; 0: it is none."""
    number = volume.rpartition("@")[2]
    return int(number) if number.isdecimal() else 0


def volume_id(about: str, generation: int) -> str:
    """Return the id of a volume that an allocation of a replica is the first to have."""
    return f"{about}@{generation}"
