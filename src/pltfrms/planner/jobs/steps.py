"""What becomes of jobs and their runs, as data."""

from dataclasses import dataclass
from enum import StrEnum

from pltfrms.model.services.jobs import Job, JobRun


class JobVerb(StrEnum):
    """What is done."""

    WANT = "run wanted"
    GIVE = "run given to a node"
    TAKE_BACK = "run taken back"
    ALLOW = "run allowed to begin"
    BEGAN = "run began"
    DOUBT = "run not known"
    FOUND = "run known again"
    END = "run ended"
    SKIP = "run skipped"
    CORRECT = "clock of a schedule corrected"
    FORGET = "run forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStep:
    """One change, which is written in one transaction."""

    verb: JobVerb
    about: str
    """Id of the run, or name of the job."""
    reason: str
    """One sentence."""
    run: JobRun | None = None
    """As it is from then on; None: it is not changed."""
    job: Job | None = None
    """Likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobNote:
    """What cannot be done now."""

    about: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What to do, one step of each job at most, and what cannot be done."""

    steps: tuple[JobStep, ...] = ()
    notes: tuple[JobNote, ...] = ()
