"""The shape of `lab.yaml`: fields, types, units. The docstrings are what editors show."""

from typing import Annotated

from pydantic import Field

from pltfrms.model.network.lab import Daemon, Sends
from pltfrms.specfile.shapes.shapes import Shape
from pltfrms.specfile.shapes.units import Microseconds, PrefixText, one_of


class TransitShape(Shape):
    """A transit AS of the emulated internet: the peer of that name."""

    asn: int
    """Its ASN, as in the platform."""
    delays: dict[str, Microseconds] = Field(default_factory=dict)
    """One-way delay of its link to each of our edges; 0 where not said."""
    peerings: dict[str, Microseconds] = Field(default_factory=dict)
    """Other transits it peers with (say it at one of the two), with one-way delay."""
    daemon: Annotated[str, *one_of(*Daemon)] = Daemon.BIRD
    """The software of its router: bird or frr."""
    sends: Annotated[str, *one_of(*Sends)] = Sends.TABLE.value
    """What it tells us: table, default (a default route alone), both, or nothing."""


class IxpShape(Shape):
    """An IXP of the emulated internet: the peer of that name."""

    asn: int
    """ASN of its route server, as in the platform."""
    delays: dict[str, Microseconds] = Field(default_factory=dict)
    """One-way delay of each of our edges' ports; 0 where not said."""
    daemon: Annotated[str, *one_of(*Daemon)] = Daemon.BIRD
    """The software of its route server: bird, openbgpd or gobgp."""


class EyeballShape(Shape):
    """A network of clients."""

    asn: int
    """Its ASN."""
    prefixes: list[PrefixText]
    """Its prefixes, one per address family."""
    upstreams: dict[str, Microseconds]
    """Transits it buys from and IXPs it is a member of, with one-way delay."""
    nearest: str
    """Datacenter that should answer it."""


class NetworkShape(Shape):
    """A customer, pni or member of an IXP, with clients: the peer of that name."""

    asn: int
    """Its ASN, as in the platform."""
    prefixes: list[PrefixText]
    """Its prefixes, one per address family."""
    delays: dict[str, Microseconds] = Field(default_factory=dict)
    """One-way delay of its line to each of our edges; 0 where not said."""
    upstreams: dict[str, Microseconds] = Field(default_factory=dict)
    """Transits it buys from and IXPs whose route server it uses, with one-way delay."""
    member_of: str = ""
    """The IXP in whose network our sessions with it are; without it there are lines."""
    daemon: Annotated[str, *one_of(*Daemon)] = Daemon.BIRD
    """The software of its router: bird or frr."""


class RoaShape(Shape):
    """Who may originate a prefix."""

    prefix: PrefixText
    """Such as 198.51.100.0/24."""
    asn: int
    """The AS that may announce it."""
    max_length: int | None = None
    """The longest part of it that may be announced; by default only all of it."""


class LabRpkiShape(Shape):
    """What RPKI says in the emulated internet."""

    roas: list[RoaShape] = Field(default_factory=list)
    """What the caches on machines of ours answer (rpki: in platform.yaml)."""


class InternetShape(Shape):
    """The other networks."""

    transits: dict[str, TransitShape] = Field(default_factory=dict)
    """Transits by name: the same names as in the platform."""
    ixps: dict[str, IxpShape] = Field(default_factory=dict)
    """IXPs by name: the same names as in the platform."""
    eyeballs: dict[str, EyeballShape] = Field(default_factory=dict)
    """Networks of clients by name."""
    networks: dict[str, NetworkShape] = Field(default_factory=dict)
    """Our customers, private peers, and members of IXPs with sessions of their own with us:
    the same names as in the platform."""


class LabShape(Shape):
    """All that only an emulated internet needs."""

    links: dict[str, Microseconds] = Field(default_factory=dict)
    """One-way delay of each backbone link (EDGE--EDGE, or EDGE--EDGE:LABEL, as the platform
    has them); 0 where not said."""
    internet: InternetShape = Field(default_factory=InternetShape)
    """The networks around ours."""
    rpki: LabRpkiShape = Field(default_factory=LabRpkiShape)
    """What RPKI says about prefixes."""
