"""Jobs: what runs once, now or at set times, on one node, and ends by itself."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pltfrms.model.services.service import Run

if TYPE_CHECKING:
    from pltfrms.model.services.schedule import Schedule

UTC_ZONE: Final = "UTC"
RUNS_KEPT: Final = 20
"""Of one job that have ended."""


class Missed(StrEnum):
    """What becomes of times at which a job was due, and nobody decided."""

    SKIP = "skip"
    """They are over; it runs when it is due next."""
    ONCE = "once"
    """It runs once as soon as somebody decides, however many there were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job as its file says it."""

    name: str
    run: Run
    datacenters: tuple[str, ...] = ()
    """Where it may run, the best first; empty: anywhere, in the platform's order."""
    schedule: str = ""
    """Five fields as of cron; empty: it runs when somebody says so."""
    timezone: str = UTC_ZONE
    """By whose clock the schedule goes."""
    timeout_ms: int = 3_600_000
    """A run that takes longer is ended by its node. It is also the lease of a run: nobody else
    begins one before this long has passed."""
    retries: int = 0
    """So often another run follows one that has failed."""
    missed: Missed = Missed.SKIP
    labels: tuple[tuple[str, str], ...] = ()
    """As of a service; sorted by name."""
    group: str = ""
    """Likewise."""

    @property
    def times(self) -> "Schedule | None":
        """When it is due; None: never by itself.

        Raises:
            UsageError: the schedule says nothing, or its time zone is not known here.
        """
        if not self.schedule:
            return None
        from pltfrms.model.services.schedule import read_schedule  # noqa: PLC0415 - few need it

        return read_schedule(self.schedule, self.timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that the platform has accepted."""

    spec: JobSpec
    version: int
    """Counts accepted changes of its spec, from 1."""
    last_run: int = 0
    """The highest number that a run of it ever had. None comes back."""
    decided_ms: int = 0
    """Unix time until which all times that it was due at are dealt with."""
    deleted: bool = False
    """Only its numbers are remembered, in case a job of its name comes again."""
    by: str = ""
    why: str = ""

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name


class RunState(StrEnum):
    """How far a run of a job is."""

    WANTED = "wanted"
    """No node has it yet."""
    GIVEN = "given"
    """A node may ask to begin it; it has not begun anywhere."""
    RUNNING = "running"
    """Its node was allowed to begin it, once."""
    UNKNOWN = "unknown"
    """The same, but nobody hears of its node: it may run, or have ended."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


OVER: Final = frozenset((RunState.SUCCEEDED, RunState.FAILED))
BEGUN: Final = frozenset((RunState.RUNNING, RunState.UNKNOWN))
"""It may be running now, for all that is known."""


class RunReason(StrEnum):
    """Why a run is what it is."""

    ASKED = "asked"
    DUE = "due"
    MISSED = "missed"
    RETRY = "retry"
    MOST_ROOM = "most-room"
    NODE_AWAY = "node-away"
    ALLOWED = "allowed"
    NODE_UNHEARD = "node-unheard"
    NODE_BACK = "node-back"
    ENDED_WELL = "ended-well"
    ENDED_BADLY = "ended-badly"
    TOO_LONG = "too-long"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not-started"
    NEVER_BEGAN = "never-began"
    LEASE_OVER = "lease-over"
    STOPPED = "stopped"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    RunReason.ASKED: "somebody asked for it",
    RunReason.DUE: "its schedule says so",
    RunReason.MISSED: "it was due while nobody decided",
    RunReason.RETRY: "the run before it failed, and it may be tried again",
    RunReason.MOST_ROOM: "its node has the most room in the first datacenter that has any",
    RunReason.NODE_AWAY: "its node went away before it was allowed to begin",
    RunReason.ALLOWED: "its node asked to begin it",
    RunReason.NODE_UNHEARD: "its node is out of contact, so it may run or have ended",
    RunReason.NODE_BACK: "its node is heard again, and has it",
    RunReason.ENDED_WELL: "it ended with exit code 0",
    RunReason.ENDED_BADLY: "it ended with another exit code than 0",
    RunReason.TOO_LONG: "it took longer than its timeout, and was ended",
    RunReason.INTERRUPTED: "it ended with its node, or with what ran it, and nobody saw how",
    RunReason.NOT_STARTED: "its node could not start it",
    RunReason.NEVER_BEGAN: "its node was allowed to begin it, and did not in time",
    RunReason.LEASE_OVER: "nobody heard of it until it must have been ended",
    RunReason.STOPPED: "somebody stopped it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One run of a job. It begins at most once, on one node; another try is another run."""

    job: str
    number: int
    spec: JobSpec
    """As it was when the run was wanted: a change of the job does not change it."""
    state: RunState = RunState.WANTED
    reason: RunReason = RunReason.ASKED
    """Why it is in this state."""
    cause: RunReason = RunReason.ASKED
    """Why there is this run: ASKED, DUE, MISSED or RETRY."""
    by: str = ""
    why: str = ""
    wanted_ms: int = 0
    """Unix time from which on it may be given to a node."""
    due_ms: int = 0
    """The time of the schedule that it is for; 0: none."""
    attempt: int = 1
    retry_of: int = 0
    """Number of the first run that it tries again; 0: it is the first."""
    node: str = ""
    datacenter: str = ""
    slot: int = 0
    """Of its node, as an instance has one: gives its addresses. 0: it has no node."""
    claim: str = ""
    """The word by which its node asked to begin it, and now may. Only who said it begins."""
    began_ms: int = 0
    ended_ms: int = 0
    exit_code: int | None = None
    detail: str = ""
    """One sentence: how it ended, or its last words."""
    stop_by: str = ""
    """Who wants it to end; empty: nobody."""

    @property
    def id(self) -> str:
        """`JOB@NUMBER`, such as `backup@7`."""
        return run_id(self.job, self.number)


def run_id(job: str, number: int) -> str:
    """Return the id of a run."""
    return f"{job}@{number}"


class RunPhase(StrEnum):
    """Where a run is, as its node sees it."""

    ASKING = "asking"
    """It would begin it now, and says so with a word of its own."""
    RUNNING = "running"
    ENDED = "ended"
    NEVER = "never"
    """It has not begun it, and never will: what it was allowed was too old, or not its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run as its node reports it."""

    run: str
    phase: RunPhase
    claim: str = ""
    """ASKING: made for this question, and never used again."""
    began_ms: int = 0
    ended_ms: int = 0
    """Unix times by the clock of the node; they are shown, and decide nothing."""
    exit_code: int | None = None
    """ENDED; None: nobody saw it."""
    reason: RunReason | None = None
    """ENDED: what its node did to it, or knows beside its exit code."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """What the target of a node says of a run."""

    run: JobRun
    stop: bool = False
    """It is to end."""
