"""The shape of `job.yaml`: fields, types, units. The docstrings are what editors show."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from pltfrms.model.services.jobs import UTC_ZONE, JobSpec, Missed
from pltfrms.model.services.service import Run
from pltfrms.specfile.shapes.service import RunShape
from pltfrms.specfile.shapes.shapes import Shape
from pltfrms.specfile.shapes.units import Milliseconds, default, one_of, said, some

_JOB = JobSpec(name="", run=Run(process=()))


class JobShape(Shape):
    """What to run once, now or at set times, on one node."""

    job: str
    """Name of the job."""
    run: RunShape
    """What a run is, as of a service: a process or an image, its files, secrets and limits. Of
    the variables it has ${pltfrms.instance} (such as backup@7), datacenter and node. What
    others start (external, systemd) is no job."""
    datacenters: list[str] = some()
    """Where it may run, the best first. By default in any."""
    schedule: str = said()
    """When it is due: minute, hour, day of the month, month and weekday (0 and 7 are Sunday) as
    in cron, such as "0 3 * * *". By default only when somebody says so: `pltfrms job run`."""
    timezone: str = UTC_ZONE
    """By whose clock that is, such as Europe/Berlin."""
    timeout: Milliseconds = default(_JOB.timeout_ms, "1h")
    """A run that takes longer is ended, 1s to 168h. If its node is lost, nothing else of the
    job begins before this long has passed: until then it may still run there."""
    retries: int = _JOB.retries
    """So often another run follows one that failed, 0..10, each a while later."""
    missed: Annotated[str, *one_of(*Missed)] = _JOB.missed.value
    """What becomes of times at which nobody decided: skip (it runs when it is due next), or
    once (it runs once as soon as somebody decides, however many there were)."""

    group: str = said()
    """What it belongs to, such as shop: `apply DIR --prune group=shop` deletes what is not in
    the directory any more."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further words about it, such as {team: edge}; can be pruned by as well."""

    stand_ins: ClassVar[dict[str, Any]] = {"job": "unknown", "run": {"process": ["true"]}}
