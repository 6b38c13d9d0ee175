"""Shape of `job.yaml` -> words of the model."""

from pltfrms.model.services.jobs import JobSpec, Missed
from pltfrms.specfile.building.run import build_run
from pltfrms.specfile.findings import Finding
from pltfrms.specfile.shapes.job import JobShape


def build_job(shape: JobShape) -> tuple[JobSpec, list[Finding]]:
    """Return the job, and what is wrong with its text."""
    run, findings = build_run(shape.run)
    spec = JobSpec(
        name=shape.job,
        run=run,
        datacenters=tuple(shape.datacenters),
        schedule=shape.schedule,
        timezone=shape.timezone,
        timeout_ms=shape.timeout,
        retries=shape.retries,
        missed=Missed(shape.missed),
        group=shape.group,
        labels=tuple(sorted(shape.labels.items())),
    )
    return spec, findings
