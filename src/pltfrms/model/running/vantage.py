"""What vantage points ask, what they tell of it, and what follows.

A vantage point asks services at their own addresses, as a client does. What it tells are counts
since it began, so that a report that is lost or comes twice changes nothing, and how its last
questions went.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pltfrms.model.addresses import Address
from pltfrms.model.services.service import Probe

BOUNDS_MS: Final = (2, 5, 10, 25, 50, 100, 250, 1000)
"""Upper bounds by which latencies are counted; one more count is of what took longer."""
WINDOW: Final = 30
"""So many of the last questions are `Recent`."""
ANSWERERS_MAX: Final = 8
"""So many instances are named of those that answered in a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageQuestion:
    """One question: a service, at one of its addresses."""

    service: str
    address: Address
    probe: Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What a vantage point is to ask."""

    made_of: str
    """Fingerprint: who has these needs not be told them again."""
    interval_ms: int
    questions: tuple[VantageQuestion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """How the last questions went, WINDOW of them at most."""

    asked: int = 0
    failed: int = 0
    in_a_row: int = 0
    """So many failed one after the other up to now."""
    answered_in_a_row: int = 0
    """So many were answered one after the other up to now."""
    p50_us: int = 0
    p99_us: int = 0
    """Of those that were answered; 0: none was."""
    by: Mapping[str, int] = field(default_factory=dict)
    """Who answered how many, as far as the answers say it (`Pltfrms-Instance`)."""
    failure: str = ""
    """How the last one failed that did."""
    unable: str = ""
    """Why it could not be asked from there; empty: it could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageTally:
    """What came of one question since a vantage point began."""

    service: str
    address: Address
    port: int
    kind: str
    """A `ProbeKind`."""
    asked: int = 0
    failed: int = 0
    latencies: tuple[int, ...] = (0,) * (len(BOUNDS_MS) + 1)
    """How many answers took how long, by BOUNDS_MS."""
    seconds: float = 0.0
    """What all answers together took."""
    recent: Recent = Recent()


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageReport:
    """What a vantage point tells controllers, each of them."""

    vantage: str
    """Name of a machine, or one of `VantageSpec.outside`."""
    began_ms: int
    """Unix time at which it began to count."""
    made_of: str = ""
    """Of the `Questions` that it has; empty: it has none."""
    tallies: tuple[VantageTally, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageReply:
    """What a controller answers to a report."""

    controller: str
    questions: Questions | None = None
    """None: what it has is still what it is to ask."""
    token: str = ""
    """What it is to show from now on; empty: what it shows already. Machines show none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageAsk:
    """Somebody wants a token for a vantage point outside."""

    vantage: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageToken:
    """What lets a vantage point outside report; its text cannot be shown again."""

    vantage: str
    token: str
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardVantage:
    """What a controller has heard of a vantage point."""

    report: VantageReport
    datacenter: str
    """Empty: it is outside."""
    age_ms: int
    """How long ago it told that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageAnswers:
    """What a controller has heard of all of them."""

    heard: tuple[HeardVantage, ...]


class ClientVerdict(StrEnum):
    """Whether clients of a service are answered, by who asks as they do."""

    YES = "served"
    PARTLY = "partly"
    """Some vantage points get no answer, or many questions of theirs get none."""
    NO = "not served"
    """No vantage point gets an answer."""
    UNKNOWN = "not known"
    """No vantage point asks, or what they said is old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvidence:
    """What vantage points say of a service."""

    service: str
    served: ClientVerdict
    why: str = ""
    """One sentence; empty where it is served and there is nothing to say."""
    asked_from: tuple[str, ...] = ()
    """The datacenters and vantage points outside that say something now."""
    answered_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By whom of them, which datacenters answered lately; none where answers do not say it."""
    missed_from: tuple[str, ...] = ()
    """Those of them that get no answer, or too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEvidence:
    """Whether clients are served, as far as vantage points say it."""

    served: ClientVerdict
    sentence: str
    services: tuple[ServiceEvidence, ...] = ()
    points: int = 0
    """Vantage points that say something now."""
    silent: tuple[str, ...] = ()
    """Those that do not say anything any more, or have never."""
