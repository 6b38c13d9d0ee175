"""A run of a job as what a node starts: an instance that serves nobody, and ends."""

import re
from dataclasses import replace
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import InstanceSecret, InstanceSpec
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.services.jobs import JobRun
from pltfrms.model.services.service import Probe, ProbeKind, Service, ServiceSpec
from pltfrms.planner.instances.instances import instance_spec

_STATUS: Final = re.compile(r"exited with status ([0-9]{1,3})\b")
_SIGNAL: Final = re.compile(r"killed by signal ([0-9]{1,3})\b")
_LATE: Final = re.compile(
    r"(exited with status|killed by signal) [0-9]+ when its time was over"
)
_BY_KERNEL: Final = "killed by the kernel"
_OF_SIGNALS: Final = 128
_KILL: Final = 9


def is_run(allocation: str) -> bool:
    """Return whether what has this name is a run: `@` is in no other one."""
    return "@" in allocation


def as_service(run: JobRun) -> Service:
    """Return a service that is nobody's: its one instance has no address for clients."""
    spec = ServiceSpec(
        name=f"@{run.job}",
        run=run.spec.run,
        probe=Probe(kind=ProbeKind.EXEC, command=("true",)),
        per_datacenter=1,
    )
    return Service(spec=spec, id=0, version=run.number, prefix4=None, prefix6=None)


def as_allocation(run: JobRun) -> Allocation:
    """Return what binds a run to its node."""
    return Allocation(
        id=run.id,
        service=f"@{run.job}",
        datacenter=run.datacenter,
        replica=1,
        number=run.number,
        node=run.node,
        slot=run.slot,
        version=run.number,
        reason=Reason.NEW_REPLICA,
    )


def run_spec(
    platform: Platform, run: JobRun, secrets: tuple[InstanceSecret, ...] = ()
) -> InstanceSpec:
    """Return what is needed to start a run; it raises what `instance_spec` does."""
    spec = instance_spec(platform, as_service(run), as_allocation(run), secrets)
    return replace(spec, lifetime_ms=run.spec.timeout_ms)


def exit_code_of(how: str) -> int | None:
    """Return the exit code that an end says, as a shell counts it; None: nobody saw it."""
    if match := _STATUS.match(how):
        return int(match.group(1))
    if match := _SIGNAL.match(how):
        return _OF_SIGNALS + int(match.group(1))
    return _OF_SIGNALS + _KILL if how.startswith(_BY_KERNEL) else None


def was_late(how: str) -> bool:
    """Return whether an end says that its init made it, because its time was over."""
    return _LATE.match(how) is not None
