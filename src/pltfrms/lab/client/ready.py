"""From machines that run to a platform that answers: apply the services, wait, ask.

Ready means: every BGP session is up, every wanted replica is ready, and every service answers
every eyeball network in IPv4 and in IPv6.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError
from pltfrms.lab.client.client import LabClient
from pltfrms.lab.processes.patience import Patience
from pltfrms.model.addresses import contains
from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.services.replicas import wanted_of
from pltfrms.model.services.service import Probe, ProbeKind, Service

_POLL_SECONDS = 0.2

# Runs inside an eyeball with nothing but the standard library: asks each address until it
# answers with a 2xx, prints one JSON line per answer.
_ASKER = """
import http.client, json, sys, time
port, todo = int(sys.argv[1]), sys.argv[2].split(",")
deadline = time.monotonic() + float(sys.argv[3])
while todo and time.monotonic() < deadline:
    for address in list(todo):
        try:
            connection = http.client.HTTPConnection(address, port, timeout=0.5)
            connection.request("GET", "/")
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            if 200 <= answer.status < 300:
                todo.remove(address)
                print(json.dumps({"address": address, "text": text}), flush=True)
        except OSError:
            pass
    time.sleep(0.05)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who answered an eyeball."""

    eyeball: str
    service: str
    address: str
    datacenter: str
    """As the answer's JSON says; empty if the service does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyReport:
    """How long it took, and what was found."""

    seconds: float
    sessions: int
    replicas: int
    answers: tuple[Answer, ...]


def apply_services(
    client: LabClient,
    directory: Path,
    on_progress: Callable[[str], None],
    timeout_seconds: float = 60.0,
) -> int:
    """Apply every file of a service or a job of `directory` once a controller answers.

    Waits longer where many processes want the processors.

    Raises:
        SpecError: a file is wrong.
        UnavailableError: no controller answered in time.
    """
    from pltfrms.specfile import (  # noqa: PLC0415 - 0.2 s, for one command
        load_directory,
        load_jobs,
    )

    platform, services, _ = load_directory(directory)
    change = Change(services=services, jobs=load_jobs(directory, platform))
    patience = Patience(timeout_seconds)
    on_progress("waiting for a controller")
    while True:
        try:
            with OperatorClient(client.controller_endpoints()) as operator:
                applied = operator.apply(change).revision
        except UnavailableError:
            if not patience.left():
                raise
            time.sleep(_POLL_SECONDS)
        else:
            names = [each.name for each in services] + [each.name for each in change.jobs]
            on_progress(f"applied {', '.join(names) or 'no service'}")
            return applied


def wait_ready(
    client: LabClient,
    timeout_seconds: float,
    on_progress: Callable[[str], None],
    applied: int = 0,
) -> ReadyReport:
    """Wait until the platform is ready as of a revision, and every eyeball was answered.

    Another controller than the one that took it may not have seen it yet. Waits longer where
    many processes want the processors.

    Raises:
        UnavailableError: not ready in time; the message says what is missing.
    """
    started = time.monotonic()
    patience = Patience(timeout_seconds)
    snapshot, said = None, ""
    while True:
        snapshot = _snapshot(client)
        missing = _missing(snapshot, applied)
        if missing != said:
            said = missing
            on_progress(missing or "all sessions up, all replicas ready")
        if snapshot and not missing:
            break
        if not patience.left():
            raise UnavailableError(f"not ready {patience.sentence}: {missing}")
        time.sleep(_POLL_SECONDS)
    answers = ask_all(client, tuple(snapshot.services.values()), patience.left())
    return ReadyReport(
        seconds=time.monotonic() - started,
        sessions=sum(len(status.sessions) for status in snapshot.statuses.values()),
        replicas=len(snapshot.allocations),
        answers=answers,
    )


def _missing(snapshot: Snapshot | None, applied: int) -> str:
    if snapshot is None:
        return "no controller answers"
    if snapshot.revision < applied:
        return "the controller that answers has not seen the services yet"
    return missing_parts(snapshot)


def _snapshot(client: LabClient) -> Snapshot | None:
    try:
        with OperatorClient(client.controller_endpoints()) as operator:
            return operator.snapshot().snapshot
    except UnavailableError:
        return None


def missing_parts(snapshot: Snapshot) -> str:
    """Return what is not ready yet, in one sentence; empty if nothing is missing."""
    machines = snapshot.platform.managed
    absent = [m.name for m in machines if snapshot.contact(m.name) is not Contact.PRESENT]
    sessions = [
        s
        for m in machines
        if m.name in snapshot.statuses
        for s in snapshot.statuses[m.name].sessions
    ]
    silent = [m.name for m in machines if not _sessions_of(snapshot, m.name)]
    wanted = sum(_wanted(snapshot, service) for service in snapshot.services.values())
    ready = sum(
        instance.phase is Phase.READY
        for status in snapshot.statuses.values()
        for instance in status.instances
        if instance.allocation in snapshot.allocations
    )
    parts = []
    if absent:
        parts.append(f"{len(absent)} of {len(machines)} machines not in contact")
    if silent or not all(session.up for session in sessions):
        up = sum(session.up for session in sessions)
        parts.append(f"{up} of {len(sessions)} sessions up")
    if ready < wanted:
        parts.append(f"{ready} of {wanted} replicas ready")
    quiet = _quiet_edges(snapshot)
    if quiet:
        parts.append(f"{len(quiet)} edges do not announce yet")
    return ", ".join(parts)


def _quiet_edges(snapshot: Snapshot) -> list[str]:
    """Return the edges that lack a family although half of the services run there."""
    here = {(a.datacenter, a.service) for a in snapshot.allocations.values()}
    serving = {
        dc.name
        for dc in snapshot.platform.datacenters
        if here and 2 * sum(where == dc.name for where, _ in here) >= len(snapshot.services)
    }
    return [
        edge.name
        for edge in snapshot.platform.machines_of(Role.EDGE)
        if edge.datacenter in serving
        and not edge.external
        and not _families(snapshot, edge) <= _families(snapshot, edge, announced=True)
    ]


def _families(snapshot: Snapshot, edge: Machine, *, announced: bool = False) -> set[int]:
    """Return the families in which an edge may announce services, or does."""
    status = snapshot.statuses.get(edge.name)
    now = {each.prefix for each in status.aggregates if each.announced} if status else set()
    addresses = [prefix for each in snapshot.services.values() for prefix in each.prefixes]
    return {
        aggregate.prefix.version
        for aggregate in snapshot.platform.aggregates_of(edge.datacenter)
        if not aggregate.unicast
        and any(contains(aggregate.prefix, prefix) for prefix in addresses)
        and (not announced or str(aggregate.prefix) in now)
    }


def _sessions_of(snapshot: Snapshot, machine: str) -> int:
    status = snapshot.statuses.get(machine)
    return len(status.sessions) if status else 0


def _wanted(snapshot: Snapshot, service: Service) -> int:
    return sum(wanted_of(snapshot.platform, service).values())


def ask_all(
    client: LabClient, services: Sequence[Service], timeout_seconds: float
) -> tuple[Answer, ...]:
    """Ask every service from every eyeball on both addresses, all at the same time.

    Raises:
        UnavailableError: an eyeball got no answer in time.
    """
    eyeballs = [m.name for m in client.machines() if m.role == "eyeball"]
    running = [
        (eyeball, service, _start_asker(client, eyeball, service, timeout_seconds))
        for eyeball in eyeballs
        for service in services
        if _speaks_http(service.spec.probe)
    ]
    answers: list[Answer] = []
    for eyeball, service, asker in running:
        text, _ = asker.communicate(timeout=timeout_seconds + 10)
        got = [_answer(eyeball, service.name, line) for line in text.splitlines()]
        if len(got) < len(service.prefixes):
            raise UnavailableError(
                f"{service.name} did not answer {eyeball} on every address in time; "
                f"try: pltfrms explain service/{service.name}"
            )
        answers.extend(got)
    return tuple(answers)


def _speaks_http(probe: Probe) -> bool:
    """Return whether what is asked by a probe may answer a question in plain HTTP, too."""
    plain = probe.tls is None and probe.kind is not ProbeKind.GRPC
    return plain and bool(probe.tcp_port)


def _start_asker(
    client: LabClient, eyeball: str, service: Service, timeout_seconds: float
) -> subprocess.Popen[str]:
    addresses = ",".join(str(prefix.network_address) for prefix in service.prefixes)
    argv = [sys.executable, "-I", "-S", "-c", _ASKER]
    argv += [str(service.spec.probe.tcp_port), addresses, f"{max(timeout_seconds, 1):.1f}"]
    return subprocess.Popen(client.exec_argv(eyeball, argv), stdout=subprocess.PIPE, text=True)


def _answer(eyeball: str, service: str, line: str) -> Answer:
    document = json.loads(line)
    try:
        said = json.loads(document["text"])
    except ValueError:
        said = {}
    datacenter = str(said.get("datacenter", "")) if isinstance(said, dict) else ""
    return Answer(
        eyeball=eyeball, service=service, address=document["address"], datacenter=datacenter
    )
