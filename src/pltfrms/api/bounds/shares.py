"""How much of a controller each caller may take, and all of them together.

Lanes: what is in one takes no seat of another. Heartbeats have theirs, in which each
machine has seats of its own and nobody has all. A share of a caller that is used up is an
answer 429, of all callers together 503; both say when to ask again. Nothing here waits.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Final, NoReturn

from pltfrms.api.bounds.callers import Caller, CallerKind
from pltfrms.errors import PltfrmsError, TooLargeError, TooManyError, UnavailableError

HEARTBEATS: Final = "/v1/heartbeats"
"""Where machines say that they live."""
TARGETS: Final = "/v1/targets/"
"""Where they ask, each by its name, what is to be there."""
PARTS: Final = "/v3/"
"""Where services ask about their parts of the store."""
_MIB: Final = 1 << 20


class Lane(StrEnum):
    """What kind of question it is."""

    HEARTBEAT = "heartbeat"
    WAIT = "wait"
    """It is answered when something happens, or after its time."""
    LARGE = "large"
    """It takes long to compute, or its answer is large."""
    OTHER = "other"
    PART = "part"
    """A service asks about its part of the store."""
    CONNECT = "connect"
    """No question yet: hands are to be shaken by TLS, which costs us a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Questions that may come all the time, and at once after a rest."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one caller may have in a lane."""

    seats: int
    """Questions at the same time."""
    rate: Rate


BODY_BYTES_MAX: Final = {
    Lane.HEARTBEAT: 2 * _MIB,
    Lane.WAIT: 0,
    Lane.LARGE: 4 * _MIB,
    Lane.OTHER: 4 * _MIB,
    Lane.PART: _MIB // 2,
    Lane.CONNECT: 0,
}
"""Of one question. A heartbeat has a status of at most 0.4 MB and 100 events of 10 kB; a change
that fits into one transaction of the store has less than 1 MB."""

BODIES_BYTES_EACH: Final = 16 * _MIB
BODIES_BYTES_ALL: Final = 64 * _MIB
"""Bodies in memory at the same time, of one caller, and of all; what machines of ours send
counts for themselves alone. Questions about parts have as much again: instances are many."""

OF_MACHINES: Final = {
    Lane.HEARTBEAT: Share(seats=8, rate=Rate(per_second=40, burst=100)),
    Lane.WAIT: Share(seats=8, rate=Rate(per_second=20, burst=100)),
    Lane.LARGE: Share(seats=8, rate=Rate(per_second=10, burst=40)),
    Lane.OTHER: Share(seats=16, rate=Rate(per_second=50, burst=200)),
    Lane.PART: Share(seats=64, rate=Rate(per_second=200, burst=400)),
    Lane.CONNECT: Share(seats=0, rate=Rate(per_second=10, burst=100)),
}
"""Of each machine. An agent has one heartbeat and one wait at a time; one that is poked all the
time sends at most 20 heartbeats a second."""

OF_STRANGERS: Final = {
    Lane.HEARTBEAT: Share(seats=16, rate=Rate(per_second=50, burst=200)),
    Lane.WAIT: Share(seats=64, rate=Rate(per_second=50, burst=200)),
    Lane.LARGE: Share(seats=8, rate=Rate(per_second=10, burst=40)),
    Lane.OTHER: Share(seats=16, rate=Rate(per_second=50, burst=200)),
    Lane.PART: Share(seats=64, rate=Rate(per_second=200, burst=400)),
    Lane.CONNECT: Share(seats=0, rate=Rate(per_second=20, burst=200)),
}
"""Of each other address. Machines whose addresses are translated on the way look like one,
until they show their certificates."""

SEATS_OF_ALL: Final = {Lane.WAIT: 512, Lane.LARGE: 16, Lane.OTHER: 64, Lane.PART: 1024}
"""Of all callers together; of root of this machine as many again. Heartbeats, and waits of
machines, are not counted."""

CALLERS_MAX: Final = 10_000
"""Callers whose rates are remembered; those that have rested are forgotten first."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class _Taken:
    """What is taken just now."""

    seats: Counter[tuple[Caller, Lane]] = field(default_factory=Counter)
    seats_of_all: Counter[tuple[bool, Lane]] = field(default_factory=Counter)
    """Of root of this machine (True), and of all others."""
    bytes: Counter[Caller] = field(default_factory=Counter)
    bytes_of_all: Counter[bool] = field(default_factory=Counter)
    """Of questions about parts (True), and of all others."""


class Shares:
    """Counts who takes what."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Nothing is taken yet; `monotonic` returns the time in seconds."""
        self._monotonic = monotonic
        self._buckets: dict[tuple[Caller, Lane], _Bucket] = {}
        self._taken = _Taken()
        self.refused: Counter[tuple[Lane, str]] = Counter()
        """Questions that were sent away, by lane and reason."""

    def pay(self, caller: Caller, lane: Lane) -> None:
        """Count one that needs nothing more; TooManyError if the caller comes too often."""
        with self.arriving(caller, lane, 0):
            pass

    def note(self, lane: Lane, reason: str) -> None:
        """Count a question that somebody else sends away."""
        self.refused[lane, reason] += 1

    @contextmanager
    def arriving(self, caller: Caller, lane: Lane, size: int) -> Iterator[None]:
        """Keep room meanwhile for a question with a body of so many bytes.

        Raises:
            TooLargeError: nobody may send so much here.
            TooManyError: the caller asks too often, or sends too much already.
            UnavailableError: all callers together send too much already.
        """
        taken, counts = self._taken, caller.kind is CallerKind.STRANGER
        of_part = lane is Lane.PART
        if caller.kind is not CallerKind.LOCAL:
            self._pay(caller, lane)
        if size > BODY_BYTES_MAX[lane]:
            self.too_large(lane)
        if size and taken.bytes[caller] + size > BODIES_BYTES_EACH:
            self._refuse(lane, "bytes", TooManyError(f"{caller} sends too much at once"))
        if counts and size and taken.bytes_of_all[of_part] + size > BODIES_BYTES_ALL:
            self._refuse(lane, "bytes of all", _busy("send large questions to"))
        taken.bytes[caller] += size
        taken.bytes_of_all[of_part] += size * counts
        try:
            yield
        finally:
            taken.bytes[caller] -= size
            taken.bytes_of_all[of_part] -= size * counts
            if not taken.bytes[caller]:
                del taken.bytes[caller]

    @contextmanager
    def seat(self, caller: Caller, lane: Lane) -> Iterator[None]:
        """Have a seat in a lane meanwhile.

        Raises:
            TooManyError: the caller has all that it may have.
            UnavailableError: all seats are taken.
        """
        taken, local = self._taken, caller.kind is CallerKind.LOCAL
        own, of_all = (caller, lane), (local, lane)
        if not local and taken.seats[own] >= _share(caller, lane).seats:
            what = f"{caller} asks {taken.seats[own]} questions of this kind at once already"
            self._refuse(lane, "seats", TooManyError(f"{what}; ask when one is answered"))
        counts = _counts_for_all(caller, lane)
        if counts and taken.seats_of_all[of_all] >= SEATS_OF_ALL[lane]:
            self._refuse(lane, "seats of all", _busy("ask"))
        taken.seats[own] += 1
        taken.seats_of_all[of_all] += counts
        try:
            yield
        finally:
            taken.seats[own] -= 1
            taken.seats_of_all[of_all] -= counts
            if not taken.seats[own]:
                del taken.seats[own]

    def too_large(self, lane: Lane) -> NoReturn:
        """Refuse a body of more bytes than there may be in a lane: TooLargeError."""
        most = BODY_BYTES_MAX[lane]
        self._refuse(lane, "size", TooLargeError(f"the request is larger than {most} bytes"))

    def taken(self) -> Counter[Lane]:
        """Return how many seats are taken in each lane."""
        found: Counter[Lane] = Counter()
        for (_, lane), count in self._taken.seats.items():
            found[lane] += count
        return found

    def _pay(self, caller: Caller, lane: Lane) -> None:
        """Take a token of the caller's rate."""
        now, rate = self._monotonic(), _share(caller, lane).rate
        bucket = self._buckets.get((caller, lane))
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[caller, lane] = _Bucket(rate.burst, now)
        tokens = bucket.tokens + (now - bucket.at) * rate.per_second
        bucket.tokens, bucket.at = min(tokens, rate.burst), now
        if bucket.tokens < 1:
            seconds = ceil((1 - bucket.tokens) / rate.per_second)
            what = f"{caller} asks more than {rate.per_second:g} times a second"
            again = f"ask again in {seconds} s, or another controller"
            self._refuse(lane, "rate", TooManyError(f"{what}; {again}", seconds))
        bucket.tokens -= 1

    def _forget(self, now: float) -> None:
        """Make room for one more bucket: of those that have rested, else of the eldest."""
        if len(self._buckets) < CALLERS_MAX:
            return
        for key, bucket in list(self._buckets.items()):
            rate = _share(*key).rate
            if bucket.tokens + (now - bucket.at) * rate.per_second >= rate.burst:
                del self._buckets[key]
        while len(self._buckets) >= CALLERS_MAX:
            del self._buckets[next(iter(self._buckets))]

    def _refuse(self, lane: Lane, reason: str, error: PltfrmsError) -> NoReturn:
        self.refused[lane, reason] += 1
        raise error


def _share(caller: Caller, lane: Lane) -> Share:
    return (OF_MACHINES if caller.kind is CallerKind.MACHINE else OF_STRANGERS)[lane]


def _counts_for_all(caller: Caller, lane: Lane) -> bool:
    if lane is Lane.WAIT:
        return caller.kind is not CallerKind.MACHINE
    return lane is not Lane.HEARTBEAT


def _busy(what: str) -> UnavailableError:
    return UnavailableError(
        f"too many others {what} this controller just now; ask another one, or again in "
        "a second"
    )
