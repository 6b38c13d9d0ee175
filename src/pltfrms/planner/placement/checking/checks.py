"""Lint of a plan: the rules that no plan may break, written a second time.

It shares no code with the modules that make plans, so that one mistake cannot hide in both.
A controller commits no plan that breaks a rule.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain

from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.plan import Allocation, Place, Plan, Reason, RolloutStep, Step, Stop
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.services.egress import slots_with_own
from pltfrms.model.services.service import Rollout, RolloutState, Run, Service
from pltfrms.planner.placement.checking.checked_shares import checked_shares
from pltfrms.planner.placement.checking.volume_checks import OF_VOLUMES, check_volumes

_MASS_MIN = 2
_MASS_TOGETHER_MIN = 3
_MASS_SECONDS = 300
_PLANNED = {Reason.NEW_VERSION, Reason.WENT_BACK, Reason.SPREAD, Reason.NODE_DRAINED}
_ROLLED = {Reason.NEW_VERSION, Reason.WENT_BACK}
_REFUSED = {Reason.PROBE_REFUSED, Reason.LIVENESS_REFUSED}
_BACK = {Reason.VERSION_FAILED, Reason.VERSION_WORSE} | _REFUSED
_FREE = {Reason.NEW_REPLICA, Reason.VOLUME_THERE, Reason.VOLUME_GIVEN_UP}
_BY_SPEC = {Reason.SERVICE_DELETED, Reason.SCALED_DOWN, Reason.DATACENTER_LEFT}


class _World:
    """A snapshot after some steps, with what the rules ask for at hand."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.nodes = {node.name: node for node in snapshot.platform.machines_of(Role.NODE)}
        """A machine that is a node no more has nothing that counts, as one that is gone."""
        self.sites = {node.datacenter for node in self.nodes.values()}
        """Datacenters that have nodes."""
        self.everywhere = self.sites | {a.datacenter for a in snapshot.allocations.values()}
        """Also by names that datacenters had before, where something still runs."""
        self._shares: dict[str, dict[str, int]] = {}
        self.recorded: dict[str, Allocation] = {}
        self.on_node: dict[str, dict[str, Allocation]] = defaultdict(dict)
        self.in_site: dict[tuple[str, str], dict[str, Allocation]] = defaultdict(dict)
        for allocation in snapshot.allocations.values():
            self.add(allocation)

    def add(self, allocation: Allocation) -> None:
        self.recorded[allocation.id] = allocation
        self.on_node[allocation.node][allocation.id] = allocation
        self.in_site[allocation.service, allocation.datacenter][allocation.id] = allocation

    def remove(self, name: str) -> None:
        gone = self.recorded.pop(name, None)
        if gone:
            self.on_node[gone.node].pop(name, None)
            self.in_site[gone.service, gone.datacenter].pop(name, None)

    @cached_property
    def alive(self) -> set[str]:
        """Whatever is reported, from wherever."""
        return {i.allocation for s in self.snapshot.statuses.values() for i in s.instances}

    @cached_property
    def ready(self) -> set[tuple[str, str]]:
        """What is reported as ready, by machine and allocation."""
        every = self.snapshot.statuses.items()
        return {
            (m, i.allocation) for m, s in every for i in s.instances if i.phase is Phase.READY
        }

    @cached_property
    def reported(self) -> set[tuple[str, str]]:
        """What is reported, by machine and allocation."""
        every = self.snapshot.statuses.items()
        return {(m, i.allocation) for m, s in every for i in s.instances}

    @cached_property
    def ill(self) -> set[tuple[str, str]]:
        """What says of itself that it is ill, by machine and allocation."""
        every = self.snapshot.statuses.items()
        return {(m, i.allocation) for m, s in every for i in s.instances if i.unwell}

    @cached_property
    def braked(self) -> set[str]:
        """Datacenters of which nothing is moved: too many of theirs, or of all, are lost."""
        nodes = [each for each in self.nodes.values() if each.name not in self.dead]
        lost = [each for each in nodes if self.snapshot.contact(each.name) is Contact.LOST]
        every, here = (Counter(each.datacenter for each in some) for some in (nodes, lost))
        alone = {dc for dc, n in here.items() if n >= _MASS_MIN and 2 * n > every[dc]}
        carrying = {each.node for each in self.snapshot.allocations.values()}
        fresh = {
            name
            for name, view in self.snapshot.machines.items()
            if name in carrying or view.since_seconds < _MASS_SECONDS
        }
        apart = [e for e in lost if e.name in fresh and e.datacenter not in alone]
        too_many = len(apart) >= _MASS_TOGETHER_MIN and 3 * len(apart) > len(nodes)
        together = too_many and len({each.datacenter for each in apart}) > 1
        return {*here} if together else alone

    @cached_property
    def dead(self) -> set[str]:
        """Lost nodes that are dead, as an operator says."""
        snapshot, done = self.snapshot, self.snapshot.interventions
        every = (n for n in self.nodes.values() if done.is_dead(n, snapshot.now_ms))
        return {node.name for node in every if snapshot.contact(node.name) is Contact.LOST}

    def share(self, service: Service, datacenter: str) -> int:
        """Return how many replicas of a service a datacenter is to have."""
        scale, scaled = service.spec.scale, dict(service.scaled)
        if datacenter in scaled:
            low, high = (scale.min, scale.max) if scale else (0, scaled[datacenter])
            return sorted((low, scaled[datacenter], high))[1]
        if not service.spec.total:
            return dict(service.spec.counts).get(datacenter, service.spec.per_datacenter)
        if service.name not in self._shares:
            self._shares[service.name] = checked_shares(self.snapshot, service)
        return self._shares[service.name].get(datacenter, 0)

    def of_replica(self, one: Allocation) -> list[Allocation]:
        site = self.in_site[one.service, one.datacenter].values()
        return [other for other in site if other.replica == one.replica]


def check_plan(snapshot: Snapshot, plan: Plan) -> tuple[str, ...]:
    """Return one sentence per broken rule; nothing if the plan is sound."""
    problems: list[str] = []
    if plan.revision != snapshot.revision:
        problems.append(f"plan is for revision {plan.revision}, not {snapshot.revision}")
    if plan.rollouts:
        problems += _check_rollouts(snapshot, plan)
    if not plan.steps:
        return tuple(problems)
    world = _World(snapshot)
    for step in plan.steps:
        found = _check_step(world, step)
        problems += [f"{step.allocation.id}: {problem}" for problem in found]
        if isinstance(step, Place):
            world.add(step.allocation)
        else:
            world.remove(step.allocation.id)
    return (*problems, *_check_moves(world, plan), *check_volumes(snapshot, plan))


def _check_rollouts(snapshot: Snapshot, plan: Plan) -> Iterator[str]:
    """Yield what is wrong with steps of rollouts: they go on only where all is ready."""
    if plan.steps:
        yield "rollouts change, and there are steps beside that"
    world = _World(snapshot)
    for step in plan.rollouts:
        if step.reason in {Reason.LOAD_HIGH, Reason.LOAD_LOW}:
            yield from _check_scaling(world, step.service, step.reason)
        else:
            yield from _check_rollout(world, step)


def _check_rollout(world: _World, step: RolloutStep) -> Iterator[str]:
    after, before = step.service, world.snapshot.services.get(step.service.name)
    old, new = before.rollout if before else None, after.rollout
    if before is None or old is None or new is None or old.before is None or old.paused:
        yield f"{after.name}: no rollout is to change"
        return
    if step.reason in _BACK:
        back = (after.version, after.spec) == (old.from_version, old.before)
        number_is_kept = after.last_version >= before.version
        if not back or new.before is not None or not number_is_kept:
            yield f"{after.name}: it does not go back to version {old.from_version}"
    elif (after.version, after.spec) != (before.version, before.spec):
        yield f"{after.name}: its version changes with the stage"
    else:
        yield from _check_stage(world, before, old, new)


def _check_scaling(world: _World, after: Service, reason: Reason) -> Iterator[str]:
    before = world.snapshot.services.get(after.name)
    scale = before.spec.scale if before else None
    if before is None or scale is None or (before.rollout and before.rollout.before):
        yield f"{after.name}: the load may not change how many there are"
    elif replace(after, scaled=before.scaled) != before:
        yield f"{after.name}: more changes than how many there are"
    else:
        snapshot, low = world.snapshot, reason is Reason.LOAD_LOW
        drains = (each for each in snapshot.interventions.drains if not each.node)
        if low and any(each.holds(snapshot.now_ms) for each in drains):
            yield f"{after.name}: clients are elsewhere, and come back"
        for name, count in sorted({*after.scaled} - {*before.scaled}):
            had = world.share(before, name)
            if count != had and not scale.min <= count <= scale.max:
                yield f"{after.name}: {count} in {name} are out of bounds"
            if count != had and (name in world.braked or low != (count < had)):
                yield f"{after.name}: {name} goes from {had} to {count}"


def _check_stage(world: _World, service: Service, old: Rollout, new: Rollout) -> Iterator[str]:
    if old.state is RolloutState.TRIAL:
        liveness = new.asks_liveness and not old.asks_liveness
        next_ = RolloutState.TRIAL if liveness else RolloutState.ROLLING
        if (new.state, new.stage) != (next_, old.stage):
            yield f"{service.name}: after the trial of its probe, its stage does not begin"
    elif new.stage > old.stage or new.before is None:
        yield from _check_onward(world, service, old, new)


def _check_onward(world: _World, service: Service, old: Rollout, new: Rollout) -> Iterator[str]:
    last = old.stage == len(old.stages) - 1
    if old.state is not RolloutState.BAKING or new.stage > old.stage + 1:
        yield f"{service.name}: it goes on before its stage was baked"
    if (new.before is None) != last:
        yield f"{service.name}: it ends before its last stage"
    snapshot = world.snapshot
    sites = (world.in_site[service.name, each] for each in sorted(world.sites))
    for each in chain.from_iterable(map(dict.values, sites)):
        mine = each.version == old.version
        judged = mine and each.node in world.nodes and _is_wanted(world, service, each)
        said = snapshot.instance(each.id) if judged else None
        if said and said.phase in {Phase.UNHEALTHY, Phase.BACKOFF}:
            present = snapshot.contact(each.node) is Contact.PRESENT
            if present and _version(service, each) == old.version:
                yield f"{service.name}: it goes on while {each.id} is {said.phase}"


def _check_step(world: _World, step: Step) -> list[str]:
    if isinstance(step, Stop):
        return _check_stop(world, step)
    new = step.allocation
    service = world.snapshot.services.get(new.service)
    node = world.nodes.get(new.node)
    if service is None:
        return ["there is no such service"]
    if node is None or node.datacenter != new.datacenter:
        return [f"{new.node} is not a node of {new.datacenter}"]
    return [
        *_check_name(world, new),
        *_check_wish(world, service, new),
        *_check_room(world, new, node),
        *_check_own(world.snapshot, service, new),
        *_check_spread(world, new, service),
        *_check_reason(world, new),
    ]


def _check_name(world: _World, new: Allocation) -> list[str]:
    replica = f"{new.service}.{new.datacenter}.{new.replica}"
    problems = []
    if new.id != f"{replica}-{new.number}":
        problems.append("the id does not say what it is")
    if any(
        new.id in some for some in (world.recorded, world.snapshot.allocations, world.alive)
    ):
        problems.append("the id is in use")
    given = [world.snapshot.numbers.get(replica, 0)]
    given += [old.number for old in world.of_replica(new)]
    if new.number <= max(given):
        problems.append("the number does not rise")
    return problems


def _version(service: Service, new: Allocation) -> int:
    """Return the version that a replica is placed in: before its stage, the one before."""
    rollout = service.rollout
    if rollout is None or rollout.before is None:
        return service.version
    if rollout.state is RolloutState.TRIAL:
        return rollout.from_version
    begun = rollout.stages[: rollout.stage + 1]
    named = {
        (datacenter, stage.replicas)
        for stage in begun
        for datacenter in stage.datacenters
        if datacenter == new.datacenter
    }
    if len(begun) == len(rollout.stages) or (new.datacenter, 0) in named:
        return rollout.version
    first = max((count for _, count in named), default=0)
    return rollout.version if new.replica <= first else rollout.from_version


def _check_wish(world: _World, service: Service, new: Allocation) -> list[str]:
    snapshot = world.snapshot
    problems = []
    wanted = world.share(service, new.datacenter)
    moved = new.reason is Reason.NODE_DRAINED and new.replaces in world.recorded
    if service.spec.total and moved:
        pass  # it stands in for another one until that serves
    elif not 1 <= new.replica <= wanted:
        problems.append(f"replica {new.replica} of {wanted}")
    elif not _is_named(world, service, new.datacenter):
        problems.append("the spec does not name its datacenter")
    wanted_version = _version(service, new)
    if new.version != wanted_version:
        problems.append(f"version {new.version} instead of {wanted_version}")
    if snapshot.contact(new.node) is not Contact.PRESENT:
        problems.append(f"{new.node} is not in contact")
    if _is_drained(snapshot, new.node):
        problems.append(f"{new.node} is drained")
    if service.spec.nodes and new.node not in service.spec.nodes:
        problems.append(f"{new.node} is not named")
    return problems


def _check_room(world: _World, new: Allocation, node: Machine) -> list[str]:
    here = list(world.on_node[new.node].values())
    services = world.snapshot.services
    runs = [
        _run(services[allocation.service], allocation.version)
        for allocation in (*here, new)
        if allocation.service in services
    ]
    problems = []
    if sum(run.cpu for run in runs) > node.cpu + 0.001 * len(runs):
        problems.append(f"too much cpu on {node.name}")
    if sum(run.memory_bytes for run in runs) > node.memory_bytes:
        problems.append(f"too much memory on {node.name}")
    slots = world.snapshot.platform.numbering.instances
    if not 1 <= new.slot <= slots or new.slot in {old.slot for old in here}:
        problems.append(f"slot {new.slot} of {node.name} is not free")
    return problems


def _run(service: Service, version: int) -> Run:
    rollout = service.rollout
    before = rollout.before if rollout and rollout.from_version == version else None
    return before.run if before else service.spec.run


def _check_own(snapshot: Snapshot, service: Service, new: Allocation) -> list[str]:
    most = slots_with_own(snapshot.platform, service.spec, new.datacenter)
    if most is not None and new.slot > most:
        return [f"slot {new.slot} of {new.node} has no address of its own"]
    return []


def _check_spread(world: _World, new: Allocation, service: Service) -> list[str]:
    others = [
        old
        for old in world.on_node[new.node].values()
        if old.service == new.service and old.id != new.replaces
    ]
    if len(others) >= service.spec.max_per_node:
        return [f"{new.node} already has {len(others)} of the service"]
    return []


def _check_reason(world: _World, new: Allocation) -> list[str]:
    snapshot, old = world.snapshot, world.recorded.get(new.replaces)
    if new.reason in _FREE:
        taken = world.of_replica(new)
        return ["the replica has an allocation already"] if taken else []
    if old is None or not _same_replica(new, old):
        return [f"it replaces {new.replaces!r}, which is not of its replica"]
    contact = snapshot.contact(old.node)
    moved = new.reason in {Reason.SPREAD, Reason.NODE_DRAINED}
    rescheduled = moved or (new.reason is Reason.NODE_LOST and old.node not in world.dead)
    drained = _is_drained(snapshot, old.node)
    rules = (
        (new.reason is Reason.NODE_LOST and contact is not Contact.LOST, "it is not lost"),
        (new.reason is Reason.NODE_REMOVED and old.node in world.nodes, "it is not removed"),
        (new.reason is Reason.NODE_DRAINED and not drained, "it is not drained"),
        (new.reason in _PLANNED and contact is not Contact.PRESENT, "it is not in contact"),
        (rescheduled and old.datacenter in world.braked, "this is a mass loss"),
    )
    return [f"{new.reason} from {old.node}, but {rule}" for broken, rule in rules if broken]


def _check_stop(world: _World, step: Stop) -> list[str]:
    old = step.allocation
    if world.recorded.get(old.id) != old:
        return ["stopped, but not recorded"]
    if step.reason in _BY_SPEC:
        return [*_check_spec_stop(world, step), *_check_enough(world, step)]
    if step.reason in OF_VOLUMES:
        return []  # as `check_volumes` says
    others = (each for each in world.of_replica(old) if each.id != old.id)
    if any(_serves(world, each) for each in others) or _is_withdrawn(world, step):
        return []
    return ["stopped, but no other copy of the replica serves"]


def _is_withdrawn(world: _World, step: Stop) -> bool:
    """Return whether others start it, its node is drained, and it is not the last one there."""
    old, snapshot = step.allocation, world.snapshot
    service = snapshot.services.get(old.service)
    if service is None or service.spec.run.adopted is None:
        return False
    if step.reason is not Reason.NODE_DRAINED or not _is_drained(snapshot, old.node):
        return False
    return any(
        _serves(world, each) and not _is_drained(snapshot, each.node)
        for each in world.in_site[old.service, old.datacenter].values()
    )


def _check_spec_stop(world: _World, step: Stop) -> list[str]:
    snapshot, old = world.snapshot, step.allocation
    service = snapshot.services.get(old.service)
    if (step.reason is Reason.SERVICE_DELETED) != (service is None):
        return [f"stopped as {step.reason}, which is not so"]
    if service and step.reason is Reason.SCALED_DOWN:
        wanted = old.replica <= world.share(service, old.datacenter)
        return ["stopped, but the spec wants the replica"] if wanted else []
    if service and step.reason is Reason.DATACENTER_LEFT:
        exists = old.datacenter in {dc.name for dc in snapshot.platform.datacenters}
        if exists and _is_named(world, service, old.datacenter):
            return ["stopped, but the spec names its datacenter"]
    return []


def _check_enough(world: _World, step: Stop) -> list[str]:
    """With a total, what serves, or may, is stopped only while so many others are as good."""
    old, service = step.allocation, world.snapshot.services.get(step.allocation.service)
    if service is None or not service.spec.total:
        return []
    unsure, ill = _is_unsure(world, old), _is_ill(world, old)
    if not (unsure or ill or _serves(world, old)) or old.node not in world.nodes:
        return []
    serving = {
        (each.datacenter, each.replica)
        for datacenter in world.everywhere
        for each in world.in_site[old.service, datacenter].values()
        if each.id != old.id and each.node in world.nodes
        if _serves(world, each) or (ill and _is_ill(world, each))
    }
    enough = len(serving) >= service.spec.total
    return [] if enough else [f"stopped, but only {len(serving)} others serve"]


def _is_unsure(world: _World, allocation: Allocation) -> bool:
    """Return whether nobody says if an allocation serves."""
    contact = world.snapshot.contact(allocation.node)
    unheard = (allocation.node, allocation.id) not in world.reported
    return contact is Contact.UNKNOWN or (contact is Contact.PRESENT and unheard)


def _is_ill(world: _World, allocation: Allocation) -> bool:
    """Return whether it says so of itself: it serves where nobody better does."""
    present = world.snapshot.contact(allocation.node) is Contact.PRESENT
    return present and (allocation.node, allocation.id) in world.ill


def _is_wanted(world: _World, service: Service, old: Allocation) -> bool:
    """Return whether a spec wants a replica where it is: else it stands in, or goes."""
    named = _is_named(world, service, old.datacenter)
    return named and old.replica <= world.share(service, old.datacenter)


def _is_named(world: _World, service: Service, datacenter: str) -> bool:
    """Return whether a spec wants replicas in a datacenter, be it none at the moment."""
    spec = service.spec
    if spec.total:
        return datacenter in world.sites and datacenter in (spec.datacenters or world.sites)
    everywhere = spec.datacenters or world.sites if spec.per_datacenter else ()
    return datacenter in everywhere or datacenter in {name for name, _ in spec.counts}


def _check_moves(world: _World, plan: Plan) -> list[str]:
    """One planned move at a time per service and datacenter, counting what is under way.

    Of a rollout `parallel` at a time. What comes later in the plan is judged when it comes.
    """
    problems = []
    later = {step.allocation.id for step in plan.steps if isinstance(step, Place)}
    for step in plan.steps:
        later.discard(step.allocation.id)
        new = step.allocation
        service = world.snapshot.services.get(new.service)
        if not isinstance(step, Place) or step.reason not in _PLANNED or service is None:
            continue
        site = world.in_site[new.service, new.datacenter].values()
        there = (each for each in site if each.id != new.id)
        others = [
            other.id
            for other in _newest(each for each in there if each.id not in later)
            if other.reason in _PLANNED
            and other.version == _version(service, other)  # else another one follows
            and _replaces_present(world, other)
            and (step.reason not in _ROLLED or _is_wanted(world, service, other))
        ]
        said = service.spec.rollout
        most = said.parallel if said and step.reason in _ROLLED else 1
        if len(others) >= most:
            problems += [f"{new.id}: moved at the same time as {other}" for other in others]
    return problems


def _newest(copies: Iterable[Allocation]) -> Iterable[Allocation]:
    """Return the newest copy of each replica: what older ones replaced is over."""
    return {each.replica: each for each in sorted(copies, key=lambda one: one.number)}.values()


def _replaces_present(world: _World, new: Allocation) -> bool:
    old = world.recorded.get(new.replaces)
    if old is None or old.node not in world.nodes:
        return False
    return world.snapshot.contact(old.node) is Contact.PRESENT


def _same_replica(one: Allocation, other: Allocation) -> bool:
    return (one.service, one.datacenter, one.replica) == (
        other.service,
        other.datacenter,
        other.replica,
    )


def _serves(world: _World, allocation: Allocation) -> bool:
    present = world.snapshot.contact(allocation.node) is Contact.PRESENT
    there = present and allocation.node in world.nodes
    return there and (allocation.node, allocation.id) in world.ready


def _is_drained(snapshot: Snapshot, node: str) -> bool:
    return any(
        drain.node == node
        and drain.since_ms <= snapshot.now_ms
        and (drain.until_ms == 0 or snapshot.now_ms < drain.until_ms)
        for drain in snapshot.interventions.drains
    )
