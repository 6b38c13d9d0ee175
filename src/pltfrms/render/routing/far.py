"""How an edge reaches neighbours that are not on a network of its own (`multihop`).

Nexthops of their routes resolve in a table of their own, `far4` and `far6`: it has what the
operating system knows of the way, or a gateway that the spec names, and nothing that BGP says.
So no route that anybody tells us ever leads to the neighbour itself.
"""

from dataclasses import dataclass

from pltfrms.model.addresses import Address
from pltfrms.model.network.topology import Machine, Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class FarWay:
    """A neighbour that is hops away."""

    address: Address
    gateway: Address | None
    """None: as the operating system's own routes lead."""
    interface: str

    @property
    def length(self) -> int:
        """Length of the prefix of its address."""
        return self.address.max_prefixlen


@dataclass(frozen=True, slots=True, kw_only=True)
class FarFamily:
    """The neighbours of one address family."""

    number: int
    ways: tuple[FarWay, ...]

    @property
    def learned(self) -> tuple[FarWay, ...]:
        """Those to whom the operating system's own routes lead."""
        return tuple(way for way in self.ways if way.gateway is None)

    @property
    def given(self) -> tuple[FarWay, ...]:
        """Those to whom a gateway of the spec leads."""
        return tuple(way for way in self.ways if way.gateway is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Far:
    """All neighbours of an edge that are hops away."""

    families: tuple[FarFamily, ...]
    """Those in which there are any."""
    interfaces: tuple[str, ...]
    """Ports that the operating system manages."""
    ports: tuple[str, ...]
    """Those, and all others of sessions. Packets of this machine itself have there the address
    that it has there: routes over several ports, of both kinds, have one source for all."""
    bfd: bool
    """Whether BFD is spoken with any of them."""

    def family(self, number: int) -> FarFamily | None:
        """Return the neighbours of one address family (4 or 6), if there are any."""
        return next((each for each in self.families if each.number == number), None)


def far_neighbours(platform: Platform, me: Machine) -> Far:
    """Return the neighbours of an edge that are hops away."""
    sessions = [each for _, each in platform.sessions_of(me.name) if each.multihop]
    families = (
        FarFamily(
            number=number,
            ways=tuple(
                dict.fromkeys(
                    FarWay(
                        address=theirs,
                        gateway=session.gateway(number),
                        interface=session.interface,
                    )
                    for session in sessions
                    for theirs in session.theirs
                    if theirs.version == number
                )
            ),
        )
        for number in (4, 6)
    )
    return Far(
        families=tuple(family for family in families if family.ways),
        interfaces=tuple(dict.fromkeys(session.interface for session in sessions)),
        ports=tuple(
            dict.fromkeys(each.interface for _, each in platform.sessions_of(me.name))
            if sessions
            else ()
        ),
        bfd=any(session.bfd for session in sessions),
    )
