"""What makes no sense in a service, alone and on a platform, whoever wrote it."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.names import NOT_FOR_SERVICES
from pltfrms.model.services.references import SERVICE_VARIABLES, referred
from pltfrms.model.services.service import GROUP, Run, ServiceSpec
from pltfrms.specfile.checking.adopted import check_adopted, check_adopted_here
from pltfrms.specfile.checking.clients import check_clients_here, check_service_ports
from pltfrms.specfile.checking.container import container_findings
from pltfrms.specfile.checking.egress import check_egress, check_egress_here
from pltfrms.specfile.checking.homes import check_homes
from pltfrms.specfile.checking.probe import check_probe, probe_notes
from pltfrms.specfile.checking.replicas import FIELDS, check_fit, check_replicas
from pltfrms.specfile.checking.roles import check_roles
from pltfrms.specfile.checking.rollout import check_rollout, check_rollout_here
from pltfrms.specfile.checking.scale import check_scale, check_scale_here
from pltfrms.specfile.checking.secrets import secret_findings
from pltfrms.specfile.checking.storage import check_storage, check_storage_here
from pltfrms.specfile.checking.variables import check_variables, words_of
from pltfrms.specfile.checking.zones import check_zones, check_zones_here
from pltfrms.specfile.findings import (
    Finding,
    Where,
    check_cores,
    check_name,
    check_range,
    check_scope,
    nearest,
)

VARIABLES = (
    "instance",
    "service",
    "datacenter",
    "node",
    "replica",
    "prefix4",
    "prefix6",
    "address4",
    "address6",
)
"""What `${pltfrms.X}` may name in command, files and environment."""
_VARIABLE = re.compile(r"\$\{pltfrms\.([^}\n]{0,80})")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MIB = 1024 * 1024
_LABEL = re.compile(r"[a-z][a-z0-9./-]{0,62}\Z")
_LABELLED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_MOST_LABELS = 32
_LONGEST_NAME = 255
"""Of a file or directory, in bytes: what Linux takes."""
_LONGEST_PATH = 1000
"""In bytes: what Linux takes, and room for the directories above."""
_MOST_BYTES = 500_000
"""Of one service: half of what the store takes at once."""


def service_findings(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield everything that is wrong with a service by itself."""
    yield from check_name(("service",), spec.name)
    if spec.name in NOT_FOR_SERVICES:
        what = f"{spec.name} is what every machine calls itself"
        yield Finding(("service",), what, "take another name")
    yield from _check_run(spec.run)
    yield from check_replicas(spec)
    yield from check_range(("weight",), spec.weight, 1, 64)
    if not 0 <= spec.drain_ms <= 3_600_000:  # noqa: PLR2004 (as the message says)
        yield Finding(("drain",), "is outside 0s..1h")
    yield from check_service_ports(spec)
    yield from check_egress(spec)
    yield from check_probe(("probe",), spec.probe)
    if spec.liveness is not None:
        yield from check_probe(("liveness",), spec.liveness)
    yield from check_roles(spec)
    yield from _check_said(spec)
    yield from _check_labels(spec)
    yield from check_rollout(spec)
    yield from check_scale(spec)
    yield from check_storage(spec)
    yield from check_adopted(spec)
    yield from check_zones(spec)
    if spec.capacity is not None and spec.capacity.requests < 1:
        yield Finding(("capacity", "requests"), "must be at least 1/s")


def service_notes(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is no mistake, but may be one."""
    if not spec.ports:
        yield Finding(("ports",), "nothing says what it listens on", "such as ports: [80/tcp]")
        return
    yield from probe_notes(("probe",), spec.probe, spec.ports)


def _check_labels(spec: ServiceSpec) -> Iterator[Finding]:
    if spec.group:
        yield from check_name(("group",), spec.group)
    if len(spec.labels) > _MOST_LABELS:
        yield Finding(("labels",), f"has {len(spec.labels)}, at most {_MOST_LABELS} fit")
    for name, text in spec.labels:
        if not _LABEL.match(name) or name == GROUP:
            hint = "group: says it" if name == GROUP else "such as team"
            yield Finding(("labels", name), f"{name[:70]!r} is not the name of a label", hint)
        if not _LABELLED.match(text):
            what = f"{text[:70]!r} is not what a label can say"
            yield Finding(("labels", name), what, "1 to 63 letters, digits, -, _ and dots")


def _check_said(spec: ServiceSpec) -> Iterator[Finding]:
    if spec.aggregates and spec.addresses:
        what = "there are addresses too, which say all of it"
        yield Finding(("aggregate",), what, "keep one of the two")
    for index, address in enumerate(spec.addresses):
        if address in spec.addresses[:index]:
            yield Finding(("addresses", index), f"{address} is in the list twice", "keep one")
        yield from check_scope(("addresses", index), address)


def placement_findings(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with a service on this platform."""
    here = ("replicas", "datacenters")
    known = [datacenter.name for datacenter in platform.datacenters]
    named: list[tuple[Where, str]] = [
        *(((*here, index), name) for index, name in enumerate(spec.datacenters)),
        *((("replicas", name), name) for name, _ in spec.counts if "_" not in name),
    ]
    for where, name in named:
        if name not in known:
            what = f"there is no datacenter {name!r}"
            words = [*known, *(FIELDS if where[-1] == name else ())]
            yield Finding(where, what, nearest(name, words), name)
        elif not platform.machines_of(Role.NODE, name):
            what = f"{name} has no nodes"
            yield Finding(where, what, "leave it out; its edges bring traffic anyway")
    yield from check_egress_here(spec, platform)
    yield from check_clients_here(spec, platform)
    yield from check_variables(spec, platform)
    yield from check_fit(spec, platform)
    yield from check_homes(spec, platform)
    yield from check_rollout_here(spec, platform)
    yield from check_scale_here(spec, platform)
    yield from check_storage_here(spec, platform)
    yield from check_adopted_here(spec, platform)
    yield from check_zones_here(spec, platform)


# ---- run -----------------------------------------------------------------------------------


def _check_run(run: Run) -> Iterator[Finding]:
    if run.adopted is not None:
        return
    if run.container is not None:
        yield from container_findings(run.container)
    elif not run.process or not run.process[0]:
        yield Finding(("run", "process"), "there is no command", "such as [nginx, -g, …]")
    yield from _check_amounts(run)
    for where, argument in words_of(run):
        yield from _check_text(where, argument)
    yield from _check_unique(("run", "files"), [name for name, _ in run.files])
    yield from _check_below(frozenset(name for name, _ in (*run.files, *run.binary)))
    yield from _check_binary(run)
    yield from _check_size(run)
    for name, text in run.files:
        yield from _check_file_name(("run", "files", name), name)
        yield from _check_text(("run", "files", name), text)
    yield from _check_unique(("run", "environment"), [name for name, _ in run.environment])
    for name, text in run.environment:
        where = ("run", "environment", name)
        if not _ENVIRONMENT.match(name):
            yield Finding(where, f"{name!r} is not the name of a variable")
        yield from _check_text(where, text)
    yield from secret_findings(run)
    yield from _check_variables_of(run)


def _check_variables_of(run: Run) -> Iterator[Finding]:
    """Find variables that secrets cannot be."""
    taken = {name for name, _ in run.environment}
    for use in run.secrets:
        where = ("run", "secrets", use.name, "variable")
        if use.variable and not _ENVIRONMENT.match(use.variable):
            yield Finding(where, f"{use.variable!r} is not the name of a variable")
        if use.variable in taken:
            yield Finding(where, f"{use.variable} is another variable already", "keep one")
        taken.update(filter(None, (use.variable,)))


def _check_binary(run: Run) -> Iterator[Finding]:
    """Find files that are no content, and modes of no file."""
    texts = {name for name, _ in run.files}
    for name, text in run.binary:
        where = ("run", "binary", name)
        yield from _check_file_name(where, name)
        if name in texts:
            yield Finding(where, f"{name} is in files, too", "keep one of them")
        try:
            base64.b64decode(text, validate=True)
        except ValueError:
            yield Finding(where, "is not in base64")
    names = texts.union(name for name, _ in run.binary)
    for name, _ in run.modes:
        if name not in names:
            where = ("run", "modes", name)
            yield Finding(where, f"there is no file {name!r}", nearest(name, names))


def _check_amounts(run: Run) -> Iterator[Finding]:
    yield from check_cores(("run", "cpu"), run.cpu, "cores, such as 0.2")
    if run.memory_bytes < _MIB:
        yield Finding(("run", "memory"), "must be at least 1MiB", "such as 64MiB")
    if not 0 <= run.stop_grace_ms <= 600_000:  # noqa: PLR2004 (as the message says)
        yield Finding(("run", "stop_grace"), "is outside 0s..10m")


def _check_text(where: Where, text: str) -> Iterator[Finding]:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        yield Finding(where, "has characters that no program can be given")
    for match in _VARIABLE.finditer(text):
        name = match.group(1)
        known = name in VARIABLES or referred(name)[0]
        if not known or not text.startswith("}", match.end()):
            row = text.count("\n", 0, match.start())
            what = f"unknown variable ${{pltfrms.{name}}}"
            hint = nearest(name, (*VARIABLES, *SERVICE_VARIABLES))
            yield Finding(where, what, hint, row=row)


def _check_file_name(where: Where, name: str) -> Iterator[Finding]:
    path = PurePosixPath(name)
    sizes = [len(part.encode(errors="replace")) for part in (name, *path.parts)]
    if max(sizes[1:], default=0) > _LONGEST_NAME or sizes[0] > _LONGEST_PATH:
        what = f"{name[:20]}… is too long: at most {_LONGEST_NAME} bytes between two /, and"
        yield Finding(where, f"{what} {_LONGEST_PATH} in all", "give it a shorter name")
        return
    plain = name.isprintable() and str(path) == name and name != "."
    if not plain or path.is_absolute() or ".." in path.parts:
        what = f"{name!r} is not a name below the working directory"
        yield Finding(where, what, "relative, without .., such as conf/nginx.conf")


def _check_below(names: frozenset[str]) -> Iterator[Finding]:
    """Find files that would need another file to be a directory."""
    for name in sorted(names):
        above = [str(path) for path in PurePosixPath(name).parents if str(path) in names]
        if above:
            what = f"{above[0]} is a file, so nothing can be below it"
            yield Finding(("run", "files", name), what, "give one of them another name")


def _check_size(run: Run) -> Iterator[Finding]:
    """Find what is too much for the store, which keeps commands and files as JSON."""
    sizes = {name: _size(text) for name, text in (*run.files, *run.binary)}
    others = (*run.words, *(text for _, text in run.environment))
    size = sum(sizes.values()) + sum(map(_size, others))
    if size > _MOST_BYTES:
        largest = max(sizes, key=sizes.__getitem__, default="")
        where = ("run", "files", largest) if largest else ("run",)
        what = f"files, command and environment have {size} bytes, at most {_MOST_BYTES} fit"
        yield Finding(where, what, "the store keeps them; fetch what is large from elsewhere")


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode(errors="replace"))


def _check_unique(where: Where, names: list[str]) -> Iterator[Finding]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Finding((*where, name), f"{name} is there twice", "names are unique")
