"""What makes no sense in a job, alone and on a platform, whoever wrote it."""

from collections.abc import Iterator
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.schedule import next_due_ms
from pltfrms.specfile.checking.services.labels import check_labels
from pltfrms.specfile.checking.services.run import check_run
from pltfrms.specfile.findings import Finding, Where, check_name, check_range, nearest

JOB_VARIABLES: Final = ("instance", "datacenter", "node")
"""What `${pltfrms.X}` may name in a job."""
_SHORTEST_MS: Final = 1000
_LONGEST_MS: Final = 168 * 3_600_000
_MOST_RETRIES: Final = 10
_MIDDAY_MS: Final = 1_767_268_800_000
"""Any instant does: what is never due from there on is never due."""


def job_findings(spec: JobSpec) -> Iterator[Finding]:
    """Yield everything that is wrong with a job by itself."""
    yield from check_name(("job",), spec.name)
    yield from check_run(spec.run, JOB_VARIABLES, ())
    yield from _check_kind(spec)
    for index, name in enumerate(spec.datacenters):
        if name in spec.datacenters[:index]:
            where = ("datacenters", index)
            yield Finding(where, f"{name} is in the list twice", "keep one")
    yield from _check_times(spec)
    yield from check_labels(spec)
    if not _SHORTEST_MS <= spec.timeout_ms <= _LONGEST_MS:
        yield Finding(("timeout",), "is outside 1s..168h")
    yield from check_range(("retries",), spec.retries, 0, _MOST_RETRIES)


def job_findings_here(spec: JobSpec, platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with a job on this platform."""
    known = [datacenter.name for datacenter in platform.datacenters]
    for index, name in enumerate(spec.datacenters):
        where = ("datacenters", index)
        if name not in known:
            what = f"there is no datacenter {name!r}"
            yield Finding(where, what, nearest(name, known), name)
        elif not platform.machines_of(Role.NODE, name):
            yield Finding(where, f"{name} has no nodes", "leave it out")
    nodes = [
        node
        for node in platform.machines_of(Role.NODE)
        if not spec.datacenters or node.datacenter in spec.datacenters
    ]
    run = spec.run
    rooms = (
        (("run", "cpu"), [node.cpu for node in nodes], run.cpu),
        (("run", "memory"), [node.memory_bytes for node in nodes], run.memory_bytes),
    )
    for room, amounts, wanted in rooms:
        if amounts and wanted > max(amounts):
            what = "no node where it may run has so much, even if it is empty"
            yield Finding(room, what, "less, or other datacenters")


def _check_kind(spec: JobSpec) -> Iterator[Finding]:
    if spec.run.adopted is not None:
        what = "others start it, and a job is what we start"
        where: Where = ("run", "systemd" if spec.run.adopted.unit else "external")
        yield Finding(where, what, "process: or image:")
    if spec.run.zones is not None:
        what = "a job answers no names"
        yield Finding(("run", "zones"), what, "leave it out")
    if spec.run.store is not None:
        what = "a job has no part of the store"
        yield Finding(("run", "store"), what, "leave it out")


def _check_times(spec: JobSpec) -> Iterator[Finding]:
    try:
        times = spec.times
    except UsageError as error:
        field = "timezone" if "time zone" in str(error) else "schedule"
        yield Finding((field,), str(error))
        return
    if times is not None and next_due_ms(times, _MIDDAY_MS) is None:
        yield Finding(("schedule",), "it is never due", "is there such a day?")
