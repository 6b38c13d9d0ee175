"""What a looking glass shows: routes as a router of ours has them, and balancers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pltfrms.model.network.peering import Reject
from pltfrms.model.running.balancer import BalancerView


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """One path to a prefix, on one machine."""

    machine: str
    prefix: str
    session: str
    """The protocol that brought it, such as `peer.transit1.ipv4`."""
    best: bool
    filtered: bool = False
    """It was refused on import, and is shown only to say why."""
    reject: Reject | None = None
    via: tuple[str, ...] = ()
    """Where packets go, such as `fe80::a:1 dev fab-a weight 10`, or `unreachable`."""
    since: str = ""
    as_path: tuple[str, ...] = ()
    origin: str = ""
    local_preference: int | None = None
    med: int | None = None
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAnswers:
    """What several machines answered to one question, and who did not."""

    routes: tuple[RouteView, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    """Why a machine did not answer, by its name. Of its routes nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionText:
    """A session in the words of the BIRD that has it."""

    machine: str
    session: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerAnswers:
    """The balancers of several machines, and who did not answer."""

    balancers: tuple[BalancerView, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    """Why a machine did not answer, by its name. Of its balancer nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLog:
    """What the instances of an allocation said, one after the other."""

    allocation: str
    lines: tuple[str, ...]
    """The last ones, or those after a position."""
    position: str
    """Where they end: to ask for what comes after them."""
    said_ms: int
    """When the last thing was said, Unix time."""
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAnswers:
    """The logs of a service on several nodes, and who did not answer."""

    logs: tuple[InstanceLog, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    """Why a node did not answer, by its name. Of its logs nothing is known."""
