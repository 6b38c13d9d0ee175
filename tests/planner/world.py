"""A platform in miniature: plans are committed, agents obey, nodes come and go."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from pltfrms.errors import ConflictError, NotFoundError
from pltfrms.model.messages.api import Change, RolloutChange, RolloutVerb
from pltfrms.model.network.interventions import Drain, Release
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Plan
from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    Snapshot,
)
from pltfrms.model.services.service import RolloutSpec, Scale, ServiceSpec, Stage
from pltfrms.planner.changes.change import apply_change, delete_service
from pltfrms.planner.changes.rollouts import change_rollout
from pltfrms.planner.foresight.settling import advanced, executed, rolled
from pltfrms.planner.placement.plan import make_plan
from tests.strategies import make_node, make_platform, make_spec, with_all_ready


def advance(snapshot: Snapshot) -> Snapshot:
    """Do what is planned, or let a bake end; the same one if nothing is left."""
    return advanced(snapshot, make_plan(snapshot))


def settle(snapshot: Snapshot) -> Snapshot:
    """Plan, commit and obey until nothing is left to do; fail if it never ends."""
    for _ in range(600):
        snapshot = with_all_ready(snapshot)
        after = advance(snapshot)
        if after == snapshot:
            return snapshot
        snapshot = after
    raise AssertionError(f"does not converge: {make_plan(snapshot).steps}")


def heal(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with every machine in contact, for long, and no rollout held."""
    view = MachineView(contact=Contact.PRESENT, since_seconds=3600.0)
    machines = {machine.name: view for machine in snapshot.platform.machines}
    snapshot = replace(snapshot, machines=machines)
    for name, service in snapshot.services.items():
        if service.rolling and service.rolling.paused:
            wish = RolloutChange(verb=RolloutVerb.RESUME, service=name)
            snapshot = change_rollout(snapshot, wish).snapshot
    return snapshot


def histories() -> st.SearchStrategy[Snapshot]:
    """Return snapshots as they may be after a random history, plans interrupted anywhere.

    A failure names the seed and the length; the shortest length that fails is found.
    """
    return st.builds(walk, st.integers(0, 2**32), st.integers(0, 40))


def walk(seed: int, length: int, see: Callable[[Snapshot], None] = lambda _: None) -> Snapshot:
    """Return the snapshot after so many random things happened; `see` sees each in between."""
    random = Random(seed)  # noqa: S311 - a simulation, no secret
    nodes = {name: random.randint(1, 5) for name in random.choice((["fra"], ["fra", "ams"]))}
    platform = make_platform(
        nodes, cpu=random.choice((1.0, 4.0)), racks=random.choice((0, 0, 2)), others=False
    )
    snapshot = heal(Snapshot(revision=1, platform=platform))
    for _ in range(2):
        snapshot = _operate(snapshot, "apply", random)
    if random.random() < 0.8:
        snapshot = settle(snapshot)
    for _ in range(length):
        (what,) = random.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))
        snapshot = act(snapshot, what, random)
        see(snapshot)
    return snapshot


_SCALES = (
    Scale(min=1, max=5, cpu=0.5),
    Scale(min=1, max=5, connections=100),
    Scale(min=1, max=5, cpu=0.5, connections=100),
)
_WEIGHTS = {
    "contact": 6,
    "heal": 1,
    "plan": 8,
    "obey": 8,
    "all-obey": 2,
    "apply": 1,
    "new-version": 2,
    "delete": 0.3,
    "remove-node": 0.4,
    "add-node": 0.4,
    "drain-node": 3,
    "release": 1,
    "load": 2,
    "time": 2,
    "rollout": 2,
    "rules": 0.5,
}


def act(snapshot: Snapshot, what: str, random: Random) -> Snapshot:
    """Return the snapshot after something happened."""
    machine = random.choice(snapshot.platform.machines).name
    if what == "contact":
        contact = random.choice((Contact.PRESENT, Contact.LOST, Contact.LOST, Contact.UNKNOWN))
        view = MachineView(contact=contact, since_seconds=random.choice((1.0, 60.0, 900.0)))
        return replace(snapshot, machines={**snapshot.machines, machine: view})
    if what == "heal":
        return heal(snapshot)
    if what == "plan":
        return _planned(snapshot, random)
    if what == "obey":
        return _obey(snapshot, machine, random)
    if what == "all-obey":
        return with_all_ready(snapshot)
    return _operate(_intervened(snapshot, what, random), what, random)


def _planned(snapshot: Snapshot, random: Random) -> Snapshot:
    plan = make_plan(snapshot)
    if plan.rollouts:
        return rolled(snapshot, plan.rollouts[: random.randint(0, len(plan.rollouts))])
    steps = plan.steps
    done = len(steps) if random.random() < 0.7 else random.randint(0, len(steps))
    return executed(snapshot, steps[:done])


def _intervened(snapshot: Snapshot, what: str, random: Random) -> Snapshot:
    """End the drain of a node, or begin one, now or later, for ever or for a while."""
    if what == "release":
        return _released(snapshot, random)
    if what == "load":
        return _loaded(snapshot, random)
    if what == "time":
        return replace(snapshot, now_ms=snapshot.now_ms + random.choice((1, 1000, 11_000)))
    if what != "drain-node":
        return snapshot
    node = random.choice(snapshot.platform.machines).name
    drains = tuple(each for each in snapshot.interventions.drains if each.node != node)
    if drains == snapshot.interventions.drains:
        since_ms = snapshot.now_ms + random.choice((0, 0, 500))
        until_ms = random.choice((0, 0, since_ms + 700))
        drains += (Drain(node=node, since_ms=since_ms, wait_ms=0, until_ms=until_ms),)
    return replace(snapshot, interventions=replace(snapshot.interventions, drains=drains))


def _loaded(snapshot: Snapshot, random: Random) -> Snapshot:
    """Have instances say how busy they are, some time after the last change."""
    statuses = {
        name: replace(
            status,
            instances=tuple(
                replace(
                    each,
                    cpu_percent=random.choice((None, 0, 40, 200)),
                    connections=random.choice((None, 0, 90, 400)),
                )
                for each in status.instances
            ),
        )
        for name, status in snapshot.statuses.items()
    }
    return replace(snapshot, statuses=statuses, now_ms=snapshot.now_ms + 300_000)


def _released(snapshot: Snapshot, random: Random) -> Snapshot:
    """Release the brake of some nodes for a while, or have all hold again."""
    site = random.choice(snapshot.platform.datacenters).name
    until_ms = snapshot.now_ms + random.choice((500, 5000))
    nodes = [node.name for node in snapshot.platform.machines_of(Role.NODE, site)]
    some = tuple(random.sample(nodes, random.randint(0, len(nodes))))
    releases = (
        ()
        if snapshot.interventions.releases
        else (Release(datacenter=site, nodes=some, until_ms=until_ms),)
    )
    done = replace(snapshot.interventions, releases=releases)
    return replace(snapshot, interventions=done)


def _operate(snapshot: Snapshot, what: str, random: Random) -> Snapshot:
    if what == "apply":
        spec = make_spec(
            random.choice(("api", "db", "web")),
            random.randint(1, 4),
            cpu=random.choice((0.1, 0.3)),
            max_per_node=random.randint(1, 3),
        )
        spec = replace(_counted(spec, random), rollout=_rules(snapshot, random))
        if random.random() < 0.3 and not spec.total:
            spec = replace(spec, scale=random.choice(_SCALES))
        return apply_change(snapshot, Change(services=(spec,))).snapshot
    if what in {"remove-node", "add-node"}:
        return _other_nodes(snapshot, what, random)
    name = random.choice((*snapshot.services, ""))
    if what in {"new-version", "rules"} and name:
        return _respecified(snapshot, name, what, random)
    if what == "rollout":
        return _wished(snapshot, random)
    if what == "delete" and name:
        return delete_service(snapshot, name).snapshot
    return snapshot


def _other_nodes(snapshot: Snapshot, what: str, random: Random) -> Snapshot:
    machines = snapshot.platform.machines
    if what == "remove-node" and len(machines) > 1:
        gone = random.choice(machines)
        kept = tuple(machine for machine in machines if machine is not gone)
        platform = replace(snapshot.platform, machines=kept)
        return apply_change(snapshot, Change(platform=platform)).snapshot
    if what == "remove-node":
        return snapshot
    site = random.choice(snapshot.platform.datacenters).name
    number = 1 + max((each.id for each in machines if each.datacenter == site), default=0)
    node = make_node(f"{site}-n{number}", number, cpu=random.choice((1.0, 4.0)))
    if random.random() < 0.2:
        node = replace(node, role=Role.EDGE)  # perhaps of the name that a node had
    platform = replace(snapshot.platform, machines=(*machines, node))
    return apply_change(snapshot, Change(platform=platform)).snapshot


def _respecified(snapshot: Snapshot, name: str, what: str, random: Random) -> Snapshot:
    """Apply a version that runs something else, perhaps a larger one; or other rules alone."""
    spec = snapshot.services[name].spec
    run = replace(
        spec.run,
        process=(*spec.run.process, "again"),
        cpu=random.choice((spec.run.cpu, spec.run.cpu, 0.1, 0.3)),
    )
    changed = replace(spec, rollout=_rules(snapshot, random))
    if what == "new-version":
        changed = replace(random.choice((spec, changed)), run=run)
    return apply_change(snapshot, Change(services=(changed,))).snapshot


def _rules(snapshot: Snapshot, random: Random) -> RolloutSpec | None:
    """Return how a new version is to come to the replicas: as usual, or by own stages."""
    if random.random() < 0.4:
        return None
    names = [each.name for each in snapshot.platform.datacenters]
    stages = tuple(
        Stage(datacenters=(random.choice(names),), replicas=random.choice((0, 1, 2)))
        for _ in range(random.randint(0, 3))
    )
    return RolloutSpec(
        stages=stages, bake_ms=random.choice((0, 5000)), parallel=random.randint(1, 3)
    )


def _wished(snapshot: Snapshot, random: Random) -> Snapshot:
    """Have an operator do something to a rollout that is under way."""
    rolling = [name for name, each in snapshot.services.items() if each.rolling]
    verbs = (RolloutVerb.PAUSE, RolloutVerb.RESUME, RolloutVerb.PROMOTE, RolloutVerb.ABORT)
    wish = RolloutChange(verb=random.choice(verbs), service=random.choice((*rolling, "")))
    try:
        return change_rollout(snapshot, wish).snapshot
    except (ConflictError, NotFoundError):
        return snapshot


def _counted(spec: ServiceSpec, random: Random) -> ServiceSpec:
    """Say in one of the ways how many replicas there are to be."""
    how = random.choice(("everywhere", "by name", "both", "in all"))
    if how == "in all":
        named = random.choice(((), (), ("fra",)))
        total = random.randint(1, 7)
        return replace(spec, per_datacenter=0, total=total, datacenters=named)
    if how == "everywhere":
        return spec
    counts = (("fra", random.randint(1, 4)),)
    return replace(spec, counts=counts, per_datacenter=spec.per_datacenter * (how == "both"))


_PHASES = (
    Phase.READY, Phase.READY, Phase.READY, Phase.STARTING, Phase.BACKOFF, Phase.UNHEALTHY,
)  # fmt: skip


def _obey(snapshot: Snapshot, machine: str, random: Random) -> Snapshot:
    """One agent makes its target so; most of its instances become ready."""
    status = MachineStatus(
        machine=machine,
        generation=snapshot.revision,
        instances=tuple(
            _reported(allocation.id, random)
            for allocation in snapshot.allocations.values()
            if allocation.node == machine
        ),
    )
    return replace(snapshot, statuses={**snapshot.statuses, machine: status})


def _reported(allocation: str, random: Random) -> InstanceStatus:
    phase = random.choice(_PHASES)
    return InstanceStatus(
        allocation=allocation,
        phase=phase,
        restarts=random.choice((0, 0, 2)),
        unwell=phase is Phase.UNHEALTHY and random.random() < 0.7,
    )


def describe(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Return the steps without numbers, which depend on what was known when."""
    return [
        (type(s).__name__, s.allocation.id.split("-")[0], s.allocation.node, s.reason)
        for s in plan.steps
    ]
