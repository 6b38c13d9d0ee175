"""What a wire does to the frames that cross it."""

from dataclasses import dataclass

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Impairment:
    """One direction."""

    delay_us: int = 0
    loss_ppm: int = 0
    """Frames lost, parts per million."""

    def plus(self, other: "Impairment") -> "Impairment":
        """Return what crossing both does: delays add up, losses are independent."""
        kept = (MILLION - self.loss_ppm) * (MILLION - other.loss_ppm) // MILLION
        return Impairment(self.delay_us + other.delay_us, MILLION - kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortShape:
    """Both directions of a port."""

    outward: Impairment = Impairment()
    """From the machine to the segment."""
    inward: Impairment = Impairment()
    """From the segment to the machine."""

    @property
    def plain(self) -> bool:
        """Whether frames just pass."""
        return self == PortShape()

    def plus(self, other: "PortShape") -> "PortShape":
        """Return what both do together."""
        return PortShape(
            outward=self.outward.plus(other.outward), inward=self.inward.plus(other.inward)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PortCondition:
    """How a port is to be: the sum of its own delay and all faults on it."""

    cut: bool = False
    """No carrier."""
    silent: bool = False
    """Carrier, but no frame passes."""
    shape: PortShape = PortShape()
