"""How instances may speak with the internet, as the operator says it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pltfrms.model.addresses import Prefix


class EgressMode(StrEnum):
    """From which address instances speak with the internet."""

    NONE = "none"
    """They do not."""
    DATACENTER = "datacenter"
    """IPv6: an own one; IPv4: their node's, by translation. Only answers come in."""
    OWN = "own"
    """An own one in both families, to which everybody may speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRule:
    """What instances may reach in the internet; all that is said must fit."""

    prefix: Prefix | None = None
    protocol: str = ""
    """tcp or udp; empty: any."""
    port: int = 0
    """0: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """How instances reach the internet."""

    mode: EgressMode | None = None
    """None: `datacenter` where there is a unicast prefix, else `none`."""
    allow: tuple[EgressRule, ...] = ()
    """Empty: everything."""


EVERYTHING: Final = Egress()
"""What is so if nothing is said."""
