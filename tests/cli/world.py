"""A platform at rest, and stand-ins for controllers and labs: what CLI tests talk to."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from pltfrms.codec import decode
from pltfrms.errors import ConflictError, NotFoundError, TwoPeopleError, UnavailableError
from pltfrms.lab.client.client import FaultInfo, LabInfo, LabReport, MachineInfo
from pltfrms.lab.protocol import LinkReport, Substitute
from pltfrms.model.messages.api import (
    Change,
    ChangeLine,
    Event,
    InterventionChange,
    InterventionReply,
    PlanPreview,
    RolloutChange,
    ServiceHistory,
    ServiceVersion,
    SnapshotView,
)
from pltfrms.model.messages.audit import AuditHead, AuditPage, AuditRecord, record_hash
from pltfrms.model.messages.guards import RoutingChange, Verdict
from pltfrms.model.messages.requests import (
    Approval,
    ChangeRequest,
    RequestReply,
    RequestState,
    Signed,
    Wanted,
    Withdrawal,
    request_id,
)
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.plan import Allocation, Note, Place, Plan, Reason, Step
from pltfrms.model.running.redundancy import Redundancy
from pltfrms.model.running.state import (
    AggregateStatus,
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    SessionStatus,
    Snapshot,
)
from pltfrms.model.running.vantage import ClientEvidence
from pltfrms.model.running.volumes import Volume
from pltfrms.model.services.service import Service
from pltfrms.planner.changes.two_people import wanted_sentence
from pltfrms.planner.changes.volumes import give_up_volume, release_volume
from pltfrms.specfile import load_platform, load_service

NOW_MS = 1_700_000_000_000
EXAMPLE = Path(__file__).parents[2] / "examples" / "three-datacenters"
PLATFORM = load_platform(EXAMPLE / "platform.yaml")
WEB = Service(
    spec=load_service(EXAMPLE / "web.yaml", PLATFORM),
    id=1,
    version=1,
    prefix4=IPv4Network("198.51.100.1/32"),
    prefix6=IPv6Network("2001:db8:100::1/128"),
)


def allocation(node: str, replica: int) -> Allocation:
    datacenter = PLATFORM.machine(node).datacenter
    return Allocation(
        id=f"web.{datacenter}.{replica}-1",
        service="web",
        datacenter=datacenter,
        replica=replica,
        number=1,
        node=node,
        slot=1,
        version=1,
        reason=Reason.NEW_REPLICA,
    )


ALLOCATIONS = {
    each.id: each
    for dc in ("fra", "ams", "lon")
    for each in (allocation(f"{dc}-n1", 1), allocation(f"{dc}-n2", 2))
}


def status(machine: Machine) -> MachineStatus:
    """Return the status of a machine that is as it should be."""
    return MachineStatus(
        machine=machine.name,
        generation=7,
        sessions=(SessionStatus(name="s1", up=True), SessionStatus(name="s2", up=True)),
        instances=tuple(
            InstanceStatus(allocation=each.id, phase=Phase.READY)
            for each in ALLOCATIONS.values()
            if each.node == machine.name
        ),
        aggregates=tuple(
            AggregateStatus(
                prefix=str(each.prefix), announced=True, reason=Reason.LOCAL_SERVICE
            )
            for each in PLATFORM.aggregates
            if machine.role is Role.EDGE
        ),
    )


HEALTHY = Snapshot(
    revision=7,
    platform=PLATFORM,
    services={"web": WEB},
    allocations=ALLOCATIONS,
    statuses={m.name: status(m) for m in PLATFORM.machines},
    machines={
        m.name: MachineView(contact=Contact.PRESENT, since_seconds=12.0)
        for m in PLATFORM.machines
    },
)


def with_lost(snapshot: Snapshot, name: str) -> Snapshot:
    """Return the snapshot with a machine out of contact; its last status stays."""
    view = MachineView(contact=Contact.LOST, since_seconds=3.0)
    return replace(snapshot, machines={**snapshot.machines, name: view})


def with_phase(snapshot: Snapshot, wanted: str, phase: Phase) -> Snapshot:
    """Return the snapshot with an instance in another phase."""
    node = snapshot.allocations[wanted].node
    old = snapshot.statuses[node]
    instances = tuple(
        replace(each, phase=phase) if each.allocation == wanted else each
        for each in old.instances
    )
    return replace(
        snapshot, statuses={**snapshot.statuses, node: replace(old, instances=instances)}
    )


def known_last(snapshot: Snapshot, seconds: float) -> SnapshotView:
    """Return what a controller answers whose store has been away for so long."""
    return SnapshotView(
        controller="fra-c1",
        snapshot=replace(snapshot, machines={}),
        stale_seconds=seconds,
        last_contacts=snapshot.machines,
    )


@dataclass
class FakeController:
    """What `OperatorClient` is to the CLI."""

    snapshots: list[Snapshot] = field(default_factory=lambda: [HEALTHY])
    """Answered one after the other; the last one for ever."""
    redundancy: Redundancy | None = None
    clients: ClientEvidence | None = None
    controllers: tuple[str, ...] | None = None
    changes: tuple[ChangeLine, ...] = ()
    notes: tuple[Note, ...] = ()
    under_way: tuple[Step, ...] = ()
    """Steps of every plan that have nothing to do with a change."""
    stored: list[Event] = field(default_factory=list)
    records: list[AuditRecord] = field(default_factory=list)
    earlier: tuple[ServiceVersion, ...] = ()
    """Versions of the service, newest first, without the present one."""
    stale_seconds: float = 0.0
    """How long the store has been away."""
    conflict: bool = False
    asked: list[str] = field(default_factory=list)
    planned: list[Change] = field(default_factory=list)
    applied: list[Change] = field(default_factory=list)
    intervened: list[InterventionChange] = field(default_factory=list)
    reply: InterventionReply = field(
        default_factory=lambda: InterventionReply(
            revision=7, changed=True, interventions=Interventions()
        )
    )
    routing: tuple[RoutingChange, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    two_people: str = ""
    opened: list[RequestReply] = field(default_factory=list)
    approved: list[Approval] = field(default_factory=list)
    seen: str = ""
    """Where a rollout was for who last changed one."""
    token: str = ""
    """What the last client for it was given."""
    door: Any = None
    """Answers what is asked with `get` and `post`."""

    def get(self, path: Any, parameters: Any, kind: Any) -> Any:
        return self.door.get(path, parameters, kind)

    def post(self, path: Any, word: Any, kind: Any) -> Any:
        return self.door.post(path, word, kind)

    def raw(self, *words: Any, **said: Any) -> Any:
        return self.door.raw(*words, **said)

    def change(self, *words: Any, **said: Any) -> Any:
        return self.door.change(*words, **said)

    def snapshot(self) -> SnapshotView:
        self.asked.append("snapshot")
        answer = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        if self.stale_seconds:
            return known_last(answer, self.stale_seconds)
        return SnapshotView(
            controller="fra-c1",
            snapshot=answer,
            notes=self.notes,
            redundancy=self.redundancy,
            clients=self.clients,
            controllers=self.controllers,
        )

    def plan(self, change: Change) -> PlanPreview:
        self.planned.append(change)
        self.asked.append("plan")
        return self._preview()

    def apply(self, change: Change) -> PlanPreview:
        self.asked.append("apply")
        if self.conflict:
            raise ConflictError("somebody else changed the platform; look again")
        self.applied.append(change)
        return self._preview()

    def intervene(self, change: InterventionChange) -> InterventionReply:
        self.asked.append(f"intervene {change.verb}")
        self.intervened.append(change)
        if self.two_people and not change.dry_run:
            raise TwoPeopleError(f"a second operator must approve it: {self.two_people}")
        return self.reply

    def request(self, asked: Signed) -> RequestReply:
        self.asked.append("request")
        wanted = decode(Wanted, asked.text)
        request = ChangeRequest(
            id=request_id(asked.text),
            text=asked.text,
            signature=asked.signature,
            by="ada",
            about=wanted_sentence(wanted),
            basis="",
            at_ms=NOW_MS,
            expires_ms=wanted.expires_ms,
        )
        opened = RequestReply(
            request=request,
            preview=self._preview() if wanted.change else None,
            reply=replace(self.reply, two_people=self.two_people)
            if wanted.intervention
            else None,
        )
        self.opened.append(opened)
        return opened

    def requests(self) -> list[ChangeRequest]:
        return [each.request for each in self.opened]

    def requested(self, request: str) -> RequestReply:
        for each in self.opened:
            if each.request.id == request:
                return each
        raise NotFoundError(f"there is no request {request!r} any more")

    def approve(self, request: str, approval: Approval) -> RequestReply:
        found = self.requested(request)
        self.approved.append(approval)
        closed = replace(found.request, state=RequestState.APPROVED, closed_by="bob")
        return replace(found, request=closed)

    def withdraw(self, request: str, withdrawal: Withdrawal) -> ChangeRequest:
        found = self.requested(request).request
        return replace(found, state=RequestState.WITHDRAWN, closed_by=withdrawal.by)

    def delete_service(self, name: str, by: str = "", why: str = "") -> PlanPreview:
        assert by
        self.asked.append(f"delete {name}" + (f": {why}" if why else ""))
        return self._preview()

    def release_volume(
        self, volume: str, by: str = "", why: str = "", *, give_up: bool = False
    ) -> Volume:
        assert by
        snapshot = self.snapshots[0]
        done = give_up_volume if give_up else release_volume
        self.asked.append(f"{'give up' if give_up else 'release'} {volume}: {why}")
        return done(snapshot, volume, why)

    def change_rollout(self, change: RolloutChange) -> PlanPreview:
        assert change.by
        self.asked.append(f"{change.verb} {change.service}: {change.why}")
        self.seen = change.seen
        return self._preview()

    def history(self, name: str) -> ServiceHistory:
        present = self.snapshots[0].service(name)
        return ServiceHistory(
            versions=(ServiceVersion(service=present), *self.earlier),
            problems=("/pltfrms-versions/web/1 cannot be read",) if self.earlier else (),
        )

    def audit(self, after: int, limit: int) -> AuditPage:
        found = [record for record in self.records if record.number > after]
        last = self.records[-1] if self.records else None
        head = AuditHead(number=last.number, hash=record_hash(last)) if last else AuditHead()
        return AuditPage(records=tuple(found[:limit]), head=head)

    def events(
        self, after: int, wait_ms: int = 0, limit: int = 1000, *, stale: bool = False
    ) -> list[Event]:
        self.asked.append(f"events {after} {wait_ms}")
        if self.stale_seconds and not stale:
            raise UnavailableError("no controller can do it: the store does not answer")
        if wait_ms:
            raise KeyboardInterrupt
        return [event for event in self.stored if event.sequence > after][:limit]

    def close(self) -> None:
        self.asked.append("close")

    def _preview(self) -> PlanPreview:
        place = Place(allocation=ALLOCATIONS["web.fra.1-1"], reason=Reason.NEW_REPLICA)
        steps = (place,) if self.changes else ()
        plan = Plan(revision=7, steps=(*steps, *self.under_way), notes=self.notes)
        return PlanPreview(
            revision=7,
            changes=self.changes,
            plan=plan,
            under_way=Plan(revision=7, steps=self.under_way),
            routing=self.routing,
            verdicts=self.verdicts,
            two_people=self.two_people,
        )


@dataclass
class FakeLab:
    """What `LabClient` is to the CLI."""

    name: str = "example"
    asked: list[tuple[object, ...]] = field(default_factory=list)
    controllers_have_power: bool = True

    def info(self) -> LabInfo:
        return lab_info(self.name)

    def machines(self) -> tuple[MachineInfo, ...]:
        places = (("fra-e1", "edge"), ("berlin", "eyeball"))
        return tuple(
            MachineInfo(
                name=name,
                role=role,
                roles=(role,),
                datacenter="",
                running=True,
                pid=1,
                units={},
            )
            for name, role in places
        )

    def fault(
        self, target: str, kind: str = "kill", for_ms: int | None = None
    ) -> tuple[str, ...]:
        if target == "edge/none":
            raise NotFoundError("the lab has no 'edge/none'; did you mean edge/fra-e1?")
        self.asked.append(("fault", target, kind, for_ms))
        return (f"{target}: {kind}",)

    def heal(self, target: str | None = None) -> tuple[str, ...]:
        self.asked.append(("heal", target))
        return ("healed",)

    def boot(self, target: str) -> tuple[str, ...]:
        self.asked.append(("boot", target))
        return ("booted",)

    def rewire(self, directory: Path) -> tuple[str, ...]:
        self.asked.append(("rewire", directory))
        return ("fra-n4 is new",)

    def faults(self) -> tuple[FaultInfo, ...]:
        return (FaultInfo(target="edge/fra-e1", kind="cut", since=0.0, remaining_ms=5000),)

    def doctor(self) -> LabReport:
        link = LinkReport(
            segment="fra-e1--ams-e2",
            ends=("fra-e1", "ams-e2"),
            asked_us=5000,
            rtt_us=10_120,
            verdict="ok",
            why="10 of 10 answers",
        )
        substitute = Substitute(what="delay", uses="relay", why="no netem")
        return LabReport(links=(link,), substitutes=(substitute,))

    def exec_argv(self, machine_or_instance: str, argv: Sequence[str]) -> list[str]:
        self.asked.append(("exec", machine_or_instance))
        return list(argv)

    def controller_endpoints(self) -> tuple[str, ...]:
        return (f"unix:/labs/{self.name}.sock",) if self.controllers_have_power else ()

    def told_services(self) -> dict[str, Service]:
        return {WEB.name: WEB}

    def pcap_argv(self, link: str, file: str) -> list[str]:
        return ["tcpdump", "-i", link, "-w", file]

    def down(self) -> float:
        self.asked.append(("down",))
        return 0.25


def lab_info(name: str) -> LabInfo:
    return LabInfo(name=name, directory="/x", root_pid=1, started_at=0.0, machines=24)
