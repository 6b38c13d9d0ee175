"""Guard `n1_admission`: a change makes no new gap for when one thing is lost. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from pltfrms.model.messages.guards import Guard, Verdict
from pltfrms.model.network.topology import Admission
from pltfrms.model.running.foresight import Gap
from pltfrms.model.running.loads import LoadKind
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.replicas import wanted_of
from pltfrms.planner.foresight.n_minus_one import n_minus_one
from pltfrms.planner.foresight.settling import settle
from pltfrms.planner.redundancy.loads import service_loads

_Key = tuple[str, str, LoadKind | None]


def is_admission_due(before: Snapshot, after: Snapshot) -> bool:
    """Return whether a change touches what `judge_admission` looks at, and somebody asks."""
    touched = (before.services, before.platform.machines) != (
        after.services,
        after.platform.machines,
    )
    return touched and after.platform.guards.n1_admission is not Admission.OFF


def judge_admission(before: Snapshot, after: Snapshot) -> tuple[Verdict, ...]:
    """Return at most one verdict for each service: what is missing then, more than before."""
    known: dict[_Key, int] = {}
    for gap in _gaps(before):
        known[_key(gap)] = max(gap.missing, known.get(_key(gap), 0))
    gaps: dict[str, list[Gap]] = {}
    for gap in _gaps(after):
        if _key(gap) not in known or gap.missing > known[_key(gap)]:
            gaps.setdefault(_service(gap), []).append(gap)
    return tuple(
        Verdict(
            guard=Guard.N1_ADMISSION,
            about=f"service/{name}",
            sentence="; ".join(_sentences(found)),
        )
        for name, found in gaps.items()
    )


def _gaps(snapshot: Snapshot) -> tuple[Gap, ...]:
    """Return what would be missing: of room for the most replicas, of answers from those now.

    More come when the load is there, and not because somebody is lost.
    """
    most, loads = _at_most(snapshot), service_loads(snapshot)
    gaps = n_minus_one(settle(most)[0], loads)
    if most.services == snapshot.services:
        return gaps
    now = n_minus_one(settle(snapshot)[0], loads)
    return (*(g for g in gaps if g.kind is None), *(g for g in now if g.kind))


def _at_most(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot in which services have as many replicas as the load may make them."""
    services = dict(snapshot.services)
    for name, service in services.items():
        scale = service.spec.scale
        if scale:
            wanted = wanted_of(snapshot.platform, service)
            spec = replace(service.spec, scale=None)
            scaled = tuple((site, scale.max) for site, count in wanted.items() if count)
            services[name] = replace(service, spec=spec, scaled=scaled)
    return replace(snapshot, services=services)


def _key(gap: Gap) -> _Key:
    """Return what a gap is before and after a change.

    Where too few answer, one node is like another: a replica more, on a node that had none, is
    no new gap.
    """
    any_node = gap.kind is not None and gap.lost.startswith("node/")
    return "node/" if any_node else gap.lost, gap.about, gap.kind


def _service(gap: Gap) -> str:
    """Return the service of `service/web`, or of the replica `web.fra.1`."""
    return gap.about.removeprefix("service/").partition(".")[0]


def _sentences(gaps: list[Gap]) -> Iterator[str]:
    nodes = [gap for gap in gaps if gap.lost.startswith("node/") and gap.kind is None]
    if nodes:
        first, others = nodes[0], len({gap.lost for gap in nodes}) - 1
        more = f", nor do those of {others} other nodes" if others else ""
        yield f"without {first.lost} {first.about} finds no place{more}: {first.why}"
    for kind in LoadKind:
        few = [gap for gap in gaps if gap.kind is kind]
        if few:
            first, others = few[0], len(few) - 1
            more = f", nor without {others} others" if others else ""
            yield f"without {first.lost} too few answer{more}: {first.why}"
    for gap in gaps:
        if gap.kind is None and gap not in nodes:
            yield f"without {gap.lost} nobody answers: {gap.why}"
