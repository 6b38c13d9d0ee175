"""Snapshot -> target: what one machine is to be made, and what that is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from ipaddress import IPv6Address

from pltfrms import __version__
from pltfrms.errors import NotFoundError
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.peering import Peer
from pltfrms.model.network.topology import Machine, NodePrefixes, Platform, Role
from pltfrms.model.running.balancer import BalancedService, as_balanced
from pltfrms.model.running.inquiries import Inquiry
from pltfrms.model.running.plan import Allocation, Placed, Target
from pltfrms.model.running.state import MachineStatus, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.model.services.jobs import RunOrder
from pltfrms.model.services.members import Membership
from pltfrms.model.services.replicas import Sizes, members_wanted, sizes_of
from pltfrms.model.services.secrets import DeliveredSecret
from pltfrms.model.services.service import Probe, ProbeKind, Run, Service, ServiceSpec
from pltfrms.planner.placement.orders import orders_of
from pltfrms.planner.placement.rollouts.inquiries import inquiry_of, told_by


class _Told:
    """A service as nodes, edges and directors are told of it, and fingerprints of that."""

    def __init__(self, service: Service, members: Membership | None) -> None:
        self.service = service
        self.members = members

    @cached_property
    def digest(self) -> str:
        return _digest(self.service)

    @cached_property
    def plain(self) -> Service:
        return _as_edges_know_it(self.service)

    @cached_property
    def plain_digest(self) -> str:
        return _digest(self.plain)

    @cached_property
    def balanced(self) -> BalancedService:
        return as_balanced(self.service, self.members)

    @cached_property
    def balanced_digest(self) -> str:
        return _digest(self.balanced)

    @cached_property
    def settling(self) -> BalancedService:
        """Without what some instances have not got yet: kernel ECMP finds those that have."""
        each, fresh = self.balanced, self.service.fresh
        return replace(
            each,
            prefix4=None if each.prefix4 in fresh else each.prefix4,
            prefix6=None if each.prefix6 in fresh else each.prefix6,
            more=tuple(prefix for prefix in each.more if prefix not in fresh),
        )


@dataclass(slots=True)
class Fingerprints:
    """Fingerprints of words, from snapshot to snapshot: most words stay the same."""

    services: dict[str, _Told] = field(default_factory=dict)
    allocations: dict[str, tuple[tuple[Allocation, ...], str]] = field(default_factory=dict)
    """By node."""


class Makings:
    """What the targets of all machines are made of: a snapshot, sorted once for all of them.

    Fingerprints follow from the snapshot alone: every controller gives the same, also after a
    restart. What was made of an earlier snapshot only saves work.
    """

    def __init__(
        self, snapshot: Snapshot, platform_revision: int, before: "Makings | None" = None
    ) -> None:
        """Sort a snapshot, whose platform is of that revision; contact does not matter."""
        self._full = snapshot.services
        told = before.known.services if before else {}
        services = {
            name: _plain(each, told.get(name)) for name, each in snapshot.services.items()
        }
        snapshot = replace(snapshot, services=services)
        self.revision = snapshot.revision
        self.platform_revision = platform_revision
        self._snapshot = snapshot
        self.known: Fingerprints = (
            _still_here(before.known, snapshot) if before else Fingerprints()
        )
        """For who makes the next one of this."""
        self._machines = {machine.name: machine for machine in snapshot.platform.machines}
        self._services = [
            self._told(service) for _, service in sorted(snapshot.services.items())
        ]
        self._allocations = _by_node(snapshot.allocations)
        self._made_of: dict[tuple[str, bool], str] = {}
        self._guests: dict[str, tuple[IPv6Address, ...]] = {}

    def made_of(self, machine: str, now_ms: int) -> str:
        """Return the fingerprint of all that a machine's target is made of at a Unix time.

        It changes when the target does, but for its generation. Every change of the platform
        changes it for all machines: that all have heard of one is waited for.

        Raises:
            NotFoundError: the platform has no such machine, or others manage it.
        """
        moving = self._snapshot.interventions.moves_clients(now_ms)
        found = self._made_of.get((machine, moving))
        if found is None:
            me = self.require(machine)
            found = self._made_of[machine, moving] = _digest(*self._parts(me, moving=moving))
        return found

    def target(self, machine: str, now_ms: int) -> Target:
        """Return the target of a machine; its generation is the snapshot's revision.

        Of the passwords of sessions it has only the machine's own: who gets into one machine
        shall not have those of all.

        Raises:
            NotFoundError: the platform has no such machine, or others manage it.
        """
        me, snapshot = self.require(machine), self._snapshot
        moving = snapshot.interventions.moves_clients(now_ms)
        return Target(
            machine=machine,
            generation=snapshot.revision,
            lineage=snapshot.lineage,
            made_of=self.made_of(machine, now_ms),
            platform_revision=self.platform_revision,
            platform=self._platform_for(machine),
            interventions=self._interventions,
            services=self._services_of(me),
            allocations=self._allocations.get(machine, ()),
            earlier=self._earlier_of(me),
            balanced=self._balanced if me.forwards else (),
            placed=self._placed_for(me),
            guests=self._guests_of(me) if moving else (),
            inquiries=self._inquiries_of(me),
            volumes=self._volumes.get(machine, ()),
            peers=self._peers_of(me),
            secrets=self._secrets_of(me),
            runs=self._orders.get(machine, ()),
        )

    def up_to_date(
        self, statuses: Mapping[str, MachineStatus], now_ms: int
    ) -> dict[str, MachineStatus]:
        """Return statuses with this generation where a machine has all that is in its target.

        Whoever waits until a machine has what was committed need not know what that concerns.
        """
        return {name: self._up_to_date(status, now_ms) for name, status in statuses.items()}

    def _up_to_date(self, status: MachineStatus, now_ms: int) -> MachineStatus:
        known = self._machines.get(status.machine)
        if not status.made_of or status.generation >= self.revision:
            return status
        if known is None or self.made_of(status.machine, now_ms) != status.made_of:
            return status
        return replace(status, generation=self.revision)

    def require(self, machine: str) -> Machine:
        """Return a machine that has a target; NotFoundError if it has none."""
        me = self._machines.get(machine)
        if me is None:
            raise NotFoundError(f"the platform has no machine {machine!r}")
        if me.external:
            raise NotFoundError(f"others manage {machine}: it has no target")
        return me

    def _parts(self, me: Machine, *, moving: bool) -> tuple[object, ...]:
        """Return what tells one target of a machine from another."""
        if not me.forwards:
            return (self._common,)
        parts: tuple[object, ...] = (self._common, self._balanced_digest)
        if me.has(Role.EDGE):
            parts += (self._plain_digest, self._placed_for(me))
        if me.has(Role.NODE):
            known = self.known.services  # of this snapshot since `__init__`
            services = [known[service.name].digest for service in self._may_run_on(me)]
            guests = self._guests_of(me) if moving else ()
            earlier = [_digest(service) for service in self._earlier_of(me)]
            asked = self._inquiries_of(me)
            volumes, secrets = self._volumes.get(me.name, ()), self._secrets_of(me)
            parts += (self._digest_here(me.name), services, guests, *earlier, *asked, *volumes)
            parts += (secrets,) if secrets else ()
            for more in (self._orders.get(me.name, ()), self._peers_of(me)):
                parts += (more,) if more else ()
        return parts

    # ---- what machines share ---------------------------------------------------------------

    @cached_property
    def _platform(self) -> Platform:
        """Without any password: what nearly all machines are told."""
        return _with_own_passwords(self._snapshot.platform, "")

    @cached_property
    def _with_passwords(self) -> frozenset[str]:
        """The machines that have a password of their own."""
        peers = self._snapshot.platform.peers
        return frozenset(each.edge for peer in peers for each in peer.sessions if each.password)

    @cached_property
    def _common(self) -> str:
        """The release is in it: another one may say more of the same snapshot."""
        snapshot = self._snapshot
        parts = (self.platform_revision, self._interventions, snapshot.lineage)
        return _digest(__version__, *parts)

    @cached_property
    def _interventions(self) -> Interventions:
        """What machines do something about: who plans releases a brake."""
        return replace(self._snapshot.interventions, releases=())

    @cached_property
    def _balanced(self) -> tuple[BalancedService, ...]:
        return tuple(
            each.settling if each.service.name in self._behind else each.balanced
            for each in self._services
        )

    @cached_property
    def _behind(self) -> tuple[str, ...]:
        """The services with instances that lack a prefix of theirs, sorted."""
        services = self._snapshot.services
        found = {
            each.service
            for each in self._snapshot.allocations.values()
            if each.service in services and each.version < services[each.service].fresh_from
        }
        return tuple(sorted(found))

    @cached_property
    def _balanced_digest(self) -> str:
        return _digest([each.balanced_digest for each in self._services], self._behind)

    @cached_property
    def _plain(self) -> tuple[Service, ...]:
        return tuple(each.plain for each in self._services)

    @cached_property
    def _plain_digest(self) -> str:
        return _digest([each.plain_digest for each in self._services])

    @cached_property
    def _placed(self) -> Mapping[str, tuple[Placed, ...]]:
        """What is placed on each node, by datacenter; empty if edges are not to know it."""
        if self._snapshot.platform.guards.node_prefixes is not NodePrefixes.PLACED:
            return {}
        found: dict[str, list[Placed]] = {}
        for node in self._snapshot.platform.machines_of(Role.NODE):
            ids = sorted(service.id for service in self._may_run_on(node))
            found.setdefault(node.datacenter, []).append(
                Placed(node=node.name, services=tuple(ids))
            )
        return {name: tuple(placed) for name, placed in found.items()}

    @cached_property
    def _volumes(self) -> Mapping[str, tuple[Volume, ...]]:
        """What is recorded for each node, by node."""
        found: dict[str, list[Volume]] = {}
        for _, volume in sorted(self._snapshot.volumes.items()):
            found.setdefault(volume.node, []).append(volume)
        return {node: tuple(here) for node, here in found.items()}

    @cached_property
    def _held(self) -> Mapping[str, tuple[Volume, ...]]:
        """What replicas hold, by service, without what only the node that has it must know."""
        found: dict[str, list[Volume]] = {}
        for _, each in sorted(self._snapshot.volumes.items()):
            if each.state is VolumeState.HELD:
                found.setdefault(each.service, []).append(replace(each, made=False))
        return {name: tuple(some) for name, some in found.items()}

    @cached_property
    def _inquiries(self) -> tuple[Inquiry, ...]:
        found = (inquiry_of(service) for _, service in sorted(self._full.items()))
        count = len(self._snapshot.platform.managed)
        return tuple(told_by(each, count) for each in found if each)

    # ---- what is one machine's own ---------------------------------------------------------

    def _platform_for(self, machine: str) -> Platform:
        if machine not in self._with_passwords:
            return self._platform
        return _with_own_passwords(self._snapshot.platform, machine)

    def _services_of(self, me: Machine) -> tuple[Service, ...]:
        """Return all for an edge; how they run is said of those that run on the machine.

        Or may do so yet: who is to leave for good runs until its hooks, the newest, let it go.
        """
        here = self._may_run_on(me)
        if not me.has(Role.EDGE):
            return here
        if not here:
            return self._plain
        known = {service.name: service for service in here}
        return tuple(known.get(service.name, service) for service in self._plain)

    def _run_on(self, me: Machine) -> tuple[Service, ...]:
        names = {allocation.service for allocation in self._allocations.get(me.name, ())}
        services = self._snapshot.services
        return tuple(services[name] for name in sorted(names) if name in services)

    def _may_run_on(self, me: Machine) -> tuple[Service, ...]:
        """Return them with those of which a replica holds a volume there, wanted or not."""
        names = {each.service for each in self._allocations.get(me.name, ())}
        for each in self._volumes.get(me.name, ()):
            if each.state is VolumeState.HELD:
                names.add(each.service)
        services = self._snapshot.services
        return tuple(services[name] for name in sorted(names) if name in services)

    def _earlier_of(self, me: Machine) -> tuple[Service, ...]:
        """Return what rollouts come from, as far as allocations here are to have it."""
        if not me.has(Role.NODE):
            return ()
        here = {(each.service, each.version) for each in self._allocations.get(me.name, ())}
        found = (self._full[name].before for name, _ in sorted(here) if name in self._full)
        known = {each.name: each.plain for each in found if each}
        return tuple(each for each in known.values() if (each.name, each.version) in here)

    def _inquiries_of(self, me: Machine) -> tuple[Inquiry, ...]:
        """Return what rollouts have instances asked, as far as such may run here."""
        if not self._inquiries or not me.has(Role.NODE):
            return ()
        here = {(each.service, each.version) for each in self._allocations.get(me.name, ())}
        return tuple(
            each
            for each in self._inquiries
            if any((each.service, version) in here for version in each.versions)
        )

    def _secrets_of(self, me: Machine) -> tuple[DeliveredSecret, ...]:
        """Return what instances here are given, without values: who answers adds them."""
        if not self._snapshot.secrets or not me.has(Role.NODE):
            return ()
        notes = self._snapshot.secrets
        found = {
            (use.name, use.version or notes[use.name].version)
            for run in self._started_on(me)
            for use in run.secrets
            if use.name in notes
        }
        return tuple(
            DeliveredSecret(name=name, version=version) for name, version in sorted(found)
        )

    def _started_on(self, me: Machine) -> Iterator[Run]:
        """Yield how what is here is started: instances, and runs of jobs."""
        for service in (*self._run_on(me), *self._earlier_of(me)):
            yield service.spec.run
        for order in self._orders.get(me.name, ()):
            yield order.run.spec.run

    @cached_property
    def _orders(self) -> Mapping[str, tuple[RunOrder, ...]]:
        """What each node is told of runs of jobs."""
        return orders_of(self._snapshot)

    def _peers_of(self, me: Machine) -> tuple[Volume, ...]:
        """Return what all replicas hold of the services of which some do here."""
        if not me.has(Role.NODE):
            return ()
        here = sorted(
            {each.service for each in self._allocations.get(me.name, ()) if each.volume}
        )
        return tuple(each for name in here for each in self._held.get(name, ()))

    def _placed_for(self, me: Machine) -> tuple[Placed, ...]:
        return self._placed.get(me.datacenter, ()) if me.has(Role.EDGE) else ()

    def _guests_of(self, me: Machine) -> tuple[IPv6Address, ...]:
        """Return the instances of other datacenters, for which clients may come here."""
        if not me.has(Role.NODE):
            return ()
        found = self._guests.get(me.datacenter)
        if found is None:
            found = self._guests[me.datacenter] = _guests(self._snapshot, me.datacenter)
        return found

    def _told(self, service: Service) -> _Told:
        known = self.known.services.get(service.name)
        members = members_wanted(self._snapshot.platform, service, self._sizes)
        if known is None or known.service is not service or known.members != members:
            known = self.known.services[service.name] = _Told(service, members)
        return known

    @cached_property
    def _sizes(self) -> Sizes:
        return sizes_of(self._snapshot.platform)

    def _digest_here(self, node: str) -> str:
        here = self._allocations.get(node, ())
        known = self.known.allocations.get(node)
        if known is None or known[0] != here:
            known = self.known.allocations[node] = (here, _digest(here))
        return known[1]


def _plain(service: Service, known: _Told | None) -> Service:
    """Return a service as it is told; the one that is known already, if it is the same."""
    plain = service.plain
    return known.service if known and known.service == plain else plain


def _still_here(known: Fingerprints, snapshot: Snapshot) -> Fingerprints:
    services, machines = snapshot.services, {each.name for each in snapshot.platform.machines}
    return Fingerprints(
        services={key: each for key, each in known.services.items() if key in services},
        allocations={key: each for key, each in known.allocations.items() if key in machines},
    )


def _digest(*parts: object) -> str:
    """Return a fingerprint of words: the same in every process."""
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def _by_node(allocations: Mapping[str, Allocation]) -> dict[str, tuple[Allocation, ...]]:
    found: dict[str, list[Allocation]] = {}
    for _, allocation in sorted(allocations.items()):
        found.setdefault(allocation.node, []).append(allocation)
    return {node: tuple(here) for node, here in found.items()}


def _as_edges_know_it(service: Service) -> Service:
    """Return a service without how it runs: an edge has no use for that, nor for a change."""
    spec = ServiceSpec(
        name=service.name,
        run=Run(process=()),
        probe=Probe(kind=ProbeKind.EXEC),
        per_datacenter=0,
        drain_ms=service.spec.drain_ms,
    )
    return replace(service, spec=spec, version=0, changed_ms=0, fresh=(), fresh_from=0)


def _guests(snapshot: Snapshot, datacenter: str) -> tuple[IPv6Address, ...]:
    platform, services = snapshot.platform, snapshot.services
    nodes = {node.name: node for node in platform.machines_of(Role.NODE)}
    return tuple(
        sorted(
            platform.instance6(nodes[each.node], services[each.service].id, each.slot)
            for each in snapshot.allocations.values()
            if each.datacenter != datacenter and each.node in nodes and each.service in services
        )
    )


def _with_own_passwords(platform: Platform, machine: str) -> Platform:
    return replace(platform, peers=tuple(_seen_by(peer, machine) for peer in platform.peers))


def _seen_by(peer: Peer, machine: str) -> Peer:
    sessions = tuple(
        session if session.edge == machine else replace(session, password="")
        for session in peer.sessions
    )
    return replace(peer, sessions=sessions)
