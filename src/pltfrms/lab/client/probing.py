"""Measure a service as a client of the lab sees it, while something breaks.

The prober runs inside the client's namespaces on an absolute schedule; the fault is injected
from outside at the asked moment. Both look at CLOCK_MONOTONIC, which every machine of a lab
shares, so the report can tell before from after.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pltfrms.codec import decode
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.lab.client.client import LabClient
from pltfrms.lab.client.prober import ProbeReport, ProbeRun, check_load, summarize
from pltfrms.model.services.service import Service

LEAD_SECONDS = 1.0
"""From now to the first request: enough for the prober's process to start."""
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """What is to break, and when."""

    target: str
    kind: str = "kill"
    at_ms: int = 3000
    """After the first request."""
    for_ms: int | None = None
    """It heals by itself after this long; None: it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How to ask, and what breaks meanwhile."""

    client: str
    """Machine of the lab (an eyeball, a node), or an instance such as `instance/web/fra/1`."""
    rate: float = 200.0
    """Requests per second, over the service's IPv4 and IPv6 address together."""
    duration_ms: int = 10_000
    timeout_ms: int = 1000
    path: str = "/"
    """Asked for; its answer should say who answered, as JSON."""
    fault: PlannedFault | None = None


def find_service(services: Mapping[str, Service], name: str) -> Service:
    """Return the service called `name`.

    Raises:
        NotFoundError: there is none; names those that there are.
    """
    service = services.get(name)
    if service is None:
        known = ", ".join(sorted(services)) or "none"
        raise NotFoundError(f"there is no service {name!r}; there are: {known}")
    return service


def service_port(service: Service) -> int:
    """Return the TCP port to ask: that of the probe, else the first TCP port of the spec.

    Raises:
        UsageError: the service has none.
    """
    if service.spec.probe.tcp_port:
        return service.spec.probe.tcp_port
    for port in service.spec.ports:
        number, _, protocol = port.partition("/")
        if protocol == "tcp":
            return int(number)
    raise UsageError(f"{service.name} has no TCP port to probe")


def probe_service(lab: LabClient, service: Service, wanted: Measurement) -> ProbeReport:
    """Ask a service from a client for a while, break something meanwhile, and report.

    Takes about a second longer than the measurement. The fault stays unless it has `for_ms`.

    Raises:
        NotFoundError: no such client or fault target.
        UsageError: the fault, or rate and duration make no sense, or the service has no port.
        UnavailableError: the client's machine, or the lab, went away.
    """
    check_load(wanted.rate, wanted.duration_ms)
    fault = wanted.fault
    if fault and fault.at_ms >= wanted.duration_ms:
        raise UsageError("the fault comes after the end of the measurement; say a smaller --at")
    start_at = time.monotonic() + LEAD_SECONDS
    prober = _start(lab, service, wanted, start_at)
    try:
        fault_at = _inject(lab, fault, start_at) if fault else None
        left = start_at + (wanted.duration_ms + wanted.timeout_ms) / 1000 - time.monotonic()
        run = _finished(prober, wanted, max(left, 0))
    finally:
        _end(prober)
    return summarize(run, fault_at)


@contextmanager
def probed(
    lab: LabClient, service: Service, wanted: Measurement
) -> Iterator[Callable[[], ProbeReport]]:
    """Ask a service from the first request on for as long as the block takes.

    What is yielded returns the report, after the block. `wanted` says how long at most, and has
    no fault: the block may break what it likes.

    Raises:
        UnavailableError: the client's machine, or the lab, went away; or the block took longer.
    """
    check_load(wanted.rate, wanted.duration_ms)
    start_at = time.monotonic() + LEAD_SECONDS
    prober = _start(lab, service, wanted, start_at, until_told=True)
    runs: list[ProbeRun] = []
    try:
        time.sleep(max(0.0, start_at - time.monotonic()))
        yield lambda: summarize(runs[0], None)
        runs.append(_finished(prober, wanted, wanted.timeout_ms / 1000))
        if runs[0].duration_ms >= wanted.duration_ms:
            raise UnavailableError(f"the load ended by itself after {wanted.duration_ms} ms")
    finally:
        _end(prober)


def _finished(
    prober: subprocess.Popen[str], wanted: Measurement, left_seconds: float
) -> ProbeRun:
    """Return the run of a prober that has so long left; one that is to be told is told now."""
    try:
        output, errors = prober.communicate(timeout=left_seconds + _PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"the prober on {wanted.client} does not end") from error
    if prober.returncode != 0:
        why = errors.strip().rpartition("\n")[2] or f"exit code {prober.returncode}"
        raise UnavailableError(f"the prober on {wanted.client} failed: {why}")
    return decode(ProbeRun, output)


def _start(
    lab: LabClient,
    service: Service,
    wanted: Measurement,
    start_at: float,
    *,
    until_told: bool = False,
) -> subprocess.Popen[str]:
    config = {
        "addresses": [str(prefix.network_address) for prefix in service.prefixes],
        "port": service_port(service),
        "path": wanted.path,
        "rate": wanted.rate,
        "duration_ms": wanted.duration_ms,
        "timeout_ms": wanted.timeout_ms,
        "start_at": start_at,
        "until_told": until_told,
    }
    argv = [sys.executable, "-m", "pltfrms.lab.client.prober", json.dumps(config)]
    return subprocess.Popen(
        lab.exec_argv(wanted.client, argv),
        stdin=subprocess.PIPE if until_told else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # one group, so that all of it can be ended
    )


def _inject(lab: LabClient, fault: PlannedFault, start_at: float) -> float:
    """Wait for the moment, break it, and return the moment."""
    time.sleep(max(0.0, start_at + fault.at_ms / 1000 - time.monotonic()))
    at = time.monotonic()
    lab.fault(fault.target, fault.kind, fault.for_ms)
    return at


def _end(prober: subprocess.Popen[str]) -> None:
    """End the prober's processes, if they have not ended, and its pipes."""
    if prober.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(prober.pid, signal.SIGKILL)
        prober.wait()
    for pipe in (prober.stdin, prober.stdout, prober.stderr):
        if pipe:
            pipe.close()
