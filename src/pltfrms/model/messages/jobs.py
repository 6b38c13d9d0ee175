"""What operators ask of jobs; they are applied like services.

POST   /v1/jobs   JobChange -> JobReply
GET    /v1/jobs/{name}/logs?run=ID&lines=N&after=POSITION -> LogAnswers
What there is, and how runs ended, is in the snapshot: `GET /v1/snapshot`.
"""

from dataclasses import dataclass
from enum import StrEnum

from pltfrms.model.services.jobs import Job, JobRun


class JobAsk(StrEnum):
    """What becomes of a job."""

    DELETE = "delete"
    RUN = "run"
    """It runs once, now."""
    STOP = "stop"
    """Its run that is not over ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChange:
    """What an operator wants of one job."""

    verb: JobAsk
    name: str
    run: str = ""
    """STOP: only if it is this one; empty: whichever it is."""
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReply:
    """What was done."""

    job: Job
    run: JobRun | None = None
    """RUN, STOP: which."""
    changed: bool = True
    """Whether there was anything to do."""
