"""How machines of ours are joined: links of the backbone, and ports in fabrics."""

from dataclasses import dataclass
from enum import StrEnum

from pltfrms.model.addresses import Address
from pltfrms.model.interfaces import short_interface


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricPort:
    """What the port in a fabric is called by the operating system."""

    fabric: str
    interface: str


class LinkKind(StrEnum):
    """What a backbone link is made of."""

    DIRECT = "direct"
    """A circuit, seen as an Ethernet interface at both ends."""
    WIREGUARD = "wireguard"
    """A tunnel between two addresses that reach each other some other way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A backbone link between two edges."""

    a: str
    b: str
    kind: LinkKind = LinkKind.DIRECT
    capacity_mbps: int = 0
    """0 = not said."""
    endpoints: tuple[Address, ...] = ()
    """WireGuard: the addresses of the two ends, in the order of `a` and `b`, one family."""
    port: int = 51820
    """WireGuard: UDP port at both ends; unique on an edge."""
    mtu: int = 1500
    """Direct: of the interface. WireGuard: of the path between the endpoints."""
    label: str = ""
    """Tells it from other links between the same two edges."""
    interfaces: tuple[str, ...] = ()
    """Direct: what the ports are called, in the order of `a` and `b`; empty where as usual."""

    @property
    def name(self) -> str:
        """`A--B` or `A--B:LABEL`, as faults and statuses call it."""
        return f"{self.a}--{self.b}:{self.label}" if self.label else f"{self.a}--{self.b}"

    @property
    def inner_mtu(self) -> int:
        """What fits through without fragments: a tunnel takes 60 or 80 bytes for itself."""
        if self.kind is LinkKind.DIRECT:
            return self.mtu
        return self.mtu - (80 if self.endpoints[:1] and self.endpoints[0].version == 6 else 60)  # noqa: PLR2004

    def far_end(self, machine: str) -> str:
        """Return the machine at the other end than `machine`."""
        return self.b if machine == self.a else self.a

    def interface_at(self, machine: str) -> str:
        """Return the name of the port of `machine` towards the far end."""
        said = dict(zip((self.a, self.b), self.interfaces, strict=False)).get(machine, "")
        return said or short_interface(f"bb-{self.towards(machine)}")

    def towards(self, machine: str) -> str:
        """Return the far end, with the label if there is one: a word for ports of `machine`."""
        return ".".join(filter(None, (self.far_end(machine), self.label)))
