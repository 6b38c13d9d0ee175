"""Whether one more failure is survived: what is said of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pltfrms.model.running.loads import ServiceLoad

ESSENTIAL: Final = ("service/", "aggregate/", "store")
"""Without which clients are not answered, or nothing can be changed any more."""


class Loss(StrEnum):
    """What may fail next, alone. A machine with several roles fails as its main role."""

    NOTHING = "nothing"
    """It is so already."""
    INSTANCE = "instance"
    NODE = "node"
    EDGE = "edge"
    FABRIC = "fabric"
    LINK = "link"
    DATACENTER = "datacenter"
    CONTROLLER = "controller"


class Survival(StrEnum):
    """Whether a loss is survived."""

    SURVIVED = "survived"
    NOT_SURVIVED = "not survived"
    NOT_KNOWN = "not known"
    """It depends on something of which nobody knows how it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakness:
    """One loss that something does not survive, or nobody knows whether it does."""

    about: str
    """`service/web`, `aggregate/198.51.100.0/24`, `datacenter/fra`, `backbone`, `store`."""
    loss: Loss
    what: str = ""
    """What is lost: a machine, link, datacenter or instance by name, a fabric as `fra/a`."""
    survival: Survival
    why: str
    """One sentence."""
    measured: bool = False
    """It is only by what was measured: what is declared survives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redundancy:
    """The verdict on a platform."""

    survival: Survival
    """Of the worst of services, aggregates and store: of what clients and operators lose."""
    by_subject: Mapping[str, Survival] = field(default_factory=dict)
    """Of each that was looked at, as `Weakness.about` calls it: the worst of its losses."""
    weaknesses: tuple[Weakness, ...] = ()
    """What is not survived before what is not known; of services before other things."""
    loads: tuple[ServiceLoad, ...] = ()
    """What services have to do, and where that is known from."""
