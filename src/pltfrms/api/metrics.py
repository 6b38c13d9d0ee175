"""What Prometheus may know of a controller. Reasons are those of plans, word for word."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pltfrms.api.bounds.callers import CallerKind
from pltfrms.api.bounds.lanes import Doors
from pltfrms.api.network_metrics import network_metrics
from pltfrms.api.vantage_metrics import vantage_metrics
from pltfrms.controller.contact.vantages import Vantages
from pltfrms.controller.planning.loop import Controller
from pltfrms.errors import UnavailableError
from pltfrms.model.running.redundancy import Redundancy, Survival
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.services.jobs import RunState
from pltfrms.model.services.service import RolloutState
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.roles import holders, unheard
from pltfrms.planner.placement.rollouts.inquiries import is_compared, tallies_of
from pltfrms.seen.failing import last_runs


class Metrics:
    """One controller's metrics, read when they are asked for."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(
        self,
        controller: Controller,
        doors: Doors | None = None,
        vantages: Vantages | None = None,
    ) -> None:
        """Show `controller`, and who came through its doors, in a registry of its own."""
        self._registry = CollectorRegistry()
        self._collector = _Collector(controller, vantages)
        self._registry.register(self._collector)
        if doors:
            self._registry.register(_DoorCollector(doors))

    def text(self, verdict: Redundancy | None = None) -> bytes:
        """Return the metrics as text, with a verdict if there is one."""
        self._collector.verdict = verdict
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, controller: Controller, vantages: Vantages | None) -> None:
        self._controller = controller
        self._vantages = vantages
        self.verdict: Redundancy | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield counts, and the state while the store answers (it is not known otherwise)."""
        yield from self._counts()
        count = self._controller.unreadable_count
        yield _gauge("unreadable_documents", "Documents that it cannot read.", count)
        yield from self._store()
        backups = self._controller.backups
        if backups and (age := backups.age_seconds()) is not None:
            yield _gauge("backup_age_seconds", "Age of the newest backup kept here.", age)
        deciding = not self._controller.why_idle
        yield _gauge("deciding", "Whether this controller decides.", deciding)
        try:
            snapshot = self._controller.view.snapshot()
        except UnavailableError:
            yield _gauge("store_up", "Whether the store answers and can be read.", 0)
            return
        yield _gauge("store_up", "Whether the store answers and can be read.", 1)
        alive = len(self._controller.view.controllers)
        yield _gauge("controllers", "Controllers that live.", alive)
        yield from _state(snapshot)
        if self.verdict:
            yield from _redundancy(self.verdict)
        yield from role_metrics(snapshot)
        yield from network_metrics(snapshot, self._controller.clock.unix_ms())
        if self._vantages:
            yield from vantage_metrics(self._vantages)
        yield _rollouts(snapshot)
        yield _jobs(snapshot)
        yield from _compared(snapshot)
        notes = Counter(note.reason.value for note in self._controller.notes)
        yield _gauges("notes", "What cannot be done now.", "reason", notes)

    def _store(self) -> Iterator[Metric]:
        upkeep = self._controller.upkeep
        if upkeep is None or upkeep.state is None:
            return
        look, kinds = upkeep.state.look, upkeep.state.kinds
        works = CounterMetricFamily(
            "pltfrms_store_upkeep", "Works done for the store.", labels=["work"]
        )
        for work, count in sorted(upkeep.done.items()):
            works.add_metric([work.value], count)
        yield works
        yield _gauge("store_full", "Whether the store refuses writes.", look.full)
        yield _gauge("store_members", "Members of the store that vote.", len(look.voters))
        spare = look.spare if look.revision else -1
        yield _gauge("store_spare_members", "Members that may fail, all the same.", spare)
        sizes = GaugeMetricFamily(
            "pltfrms_store_member_bytes", "Sizes of members.", labels=["member", "size"]
        )
        for member in look.members:
            if not member.trouble:
                sizes.add_metric([member.name, "file"], member.file_bytes)
                sizes.add_metric([member.name, "used"], member.used_bytes)
                sizes.add_metric([member.name, "quota"], member.quota_bytes)
        yield sizes
        well = Counter({member.name: int(not member.trouble) for member in look.members})
        yield _gauges("store_member_up", "Whether a member answers.", "member", well)
        keys = Counter({name.strip("/"): kind.keys for name, kind in kinds.items()})
        yield _gauges("store_keys", "Keys by kind.", "kind", keys)
        sizes_of = {n.strip("/"): k.bytes for n, k in kinds.items() if k.bytes is not None}
        yield _gauges("store_bytes", "Keys and values by kind.", "kind", Counter(sizes_of))

    def _counts(self) -> Iterator[Metric]:
        counters = self._controller.counters
        steps = CounterMetricFamily(
            "pltfrms_steps", "Committed steps of plans.", labels=["reason"]
        )
        for reason, count in sorted(counters.steps.items()):
            steps.add_metric([reason.value], count)
        yield steps
        rollouts = CounterMetricFamily(
            "pltfrms_rollout_steps", "What became of rollouts.", labels=["reason"]
        )
        for reason, count in sorted(counters.rollouts.items()):
            rollouts.add_metric([reason.value], count)
        yield rollouts
        for name, text, value in (
            ("commits", "Committed batches of plans.", counters.commits),
            ("plans", "Plans made: there was something new to plan.", counters.plans),
            ("audits", "Plans made to see whether a change was missed.", counters.audits),
            ("missed_changes", "Changes that only an audit found.", counters.missed),
            (
                "mirror_divergences",
                "Keys that were not as they were known.",
                self._controller.view.divergences,
            ),
            ("broken_plans", "Plans not done: they broke a rule.", counters.broken_plans),
            ("conflicts", "Batches refused: somebody else was faster.", counters.conflicts),
            ("heartbeats", "Heartbeats taken.", counters.heartbeats),
            (
                "vanished_machines",
                "Machines lost before their lease ended: edges and one late heartbeat say so.",
                self._controller.view.suspicions.confirmed_count,
            ),
            ("store_calls", "Calls of the store.", counters.store_calls),
            ("store_errors", "Calls that the store did not answer.", counters.store_errors),
            ("store_seconds", "Time that calls of the store took.", counters.store_seconds),
        ):
            yield CounterMetricFamily(f"pltfrms_{name}", text, value=value)


def _rollouts(snapshot: Snapshot) -> Metric:
    states = Counter({state.value: 0 for state in RolloutState})
    rollouts = (each.rollout for each in snapshot.services.values() if each.rollout)
    states.update(each.state.value for each in rollouts)
    return _gauges("rollouts", "Services by their last rollout.", "state", states)


def role_metrics(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield who has roles; nothing of one of which that is not known."""
    labels = ["service", "role"]
    holding = GaugeMetricFamily(
        "pltfrms_role_holders", "Instances that have a role of their service.", labels=labels
    )
    epochs = GaugeMetricFamily(
        "pltfrms_role_epoch", "Highest epoch of those that have a role.", labels=labels
    )
    for name, service in sorted(snapshot.services.items()):
        for role in service.spec.roles:
            found = holders(snapshot, name, role.name)
            if found or not unheard(snapshot, name, role.name):  # else it is not known
                holding.add_metric([name, role.name], len(found))
            said = [status.epoch for _, status in found if status.epoch is not None]
            if said:
                epochs.add_metric([name, role.name], max(said))
    yield from (holding, epochs)


class _DoorCollector(Collector):
    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def collect(self) -> Iterator[Metric]:
        """Yield what is open and under way, and who was sent away."""
        shares, connections = self._doors.shares, self._doors.connections
        refused = CounterMetricFamily(
            "pltfrms_api_refused",
            "Requests sent away, by lane and by what was used up.",
            labels=["lane", "reason"],
        )
        for (lane, reason), count in sorted(shares.refused.items()):
            refused.add_metric([lane.value, reason], count)
        yield refused
        closed = CounterMetricFamily(
            "pltfrms_api_closed_connections",
            "Connections that the controller closed.",
            labels=["reason"],
        )
        for reason, count in sorted(connections.closed.items()):
            closed.add_metric([reason], count)
        yield closed
        taken = Counter({lane.value: count for lane, count in shares.taken().items()})
        yield _gauges("api_requests", "Requests under way, by lane.", "lane", taken)
        opened = Counter({kind.value: connections.count(kind) for kind in CallerKind})
        yield _gauges("api_connections", "Open connections, by caller.", "caller", opened)


def _redundancy(verdict: Redundancy) -> Iterator[Metric]:
    survivals = Counter({each.value: int(each is verdict.survival) for each in Survival})
    yield _gauges(
        "redundancy",
        "1 at the verdict whether one more failure is survived.",
        "survival",
        survivals,
    )
    weaknesses = GaugeMetricFamily(
        "pltfrms_weaknesses",
        "What services, aggregates, datacenters, backbone and store do not survive for sure.",
        labels=["of", "loss", "survival"],
    )
    kinds = ((each.about.partition("/")[0], each) for each in verdict.weaknesses)
    counts = Counter((kind, each.loss.value, each.survival.value) for kind, each in kinds)
    for labels, count in sorted(counts.items()):
        weaknesses.add_metric(labels, count)
    yield weaknesses


def _state(snapshot: Snapshot) -> Iterator[Metric]:
    # Also what there is none of: `== 0` and rates need a series that is always there.
    contacts = Counter({each.value: 0 for each in Contact})
    contacts.update(snapshot.contact(each.name).value for each in snapshot.platform.managed)
    phases = Counter({"not-reported": 0} | {each.value: 0 for each in Phase})
    refused = Counter(
        {
            (name, why): 0
            for name, service in snapshot.services.items()
            for why in ("not-declared", "not-a-client")
            if service.spec.ports
        }
    )
    for allocation in snapshot.allocations:
        instance = snapshot.instance(allocation)
        phases[instance.phase.value if instance else "not-reported"] += 1
        service = snapshot.allocations[allocation].service
        for why, count in (instance.refused if instance else {}).items():
            refused[service, why] += count
    yield _gauge("revision", "Revision of the last commit.", snapshot.revision)
    yield _gauges("machines", "Machines by contact.", "contact", contacts)
    yield _gauges("instances", "Allocations by phase of their instance.", "phase", phases)
    packets = GaugeMetricFamily(
        "pltfrms_refused_packets",
        "Packets that instances refused since they began.",
        labels=["service", "why"],
    )
    for labels, count in sorted(refused.items()):
        packets.add_metric(labels, count)
    yield packets


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pltfrms_{name}", text, value=value)


def _jobs(snapshot: Snapshot) -> Metric:
    runs = Counter({state.value: 0 for state in RunState})
    runs.update(run.state.value for run in last_runs(snapshot).values())
    return _gauges("jobs", "Jobs by their last run.", "state", runs)


def _compared(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield how versions answer that are compared now; nothing while none are."""
    labels = ["service", "version"]
    asked = GaugeMetricFamily(
        "pltfrms_rollout_compared_requests", "Requests that compare versions.", labels=labels
    )
    failed = GaugeMetricFamily(
        "pltfrms_rollout_compared_failed_ratio", "Which part of them failed.", labels=labels
    )
    p95 = GaugeMetricFamily(
        "pltfrms_rollout_compared_p95_seconds", "p95 of good answers.", labels=labels
    )
    compared = [each for each in snapshot.services.values() if is_compared(each)]
    if not compared:
        return
    draft = Draft(snapshot)
    for service in compared:
        for version, tally in tallies_of(draft, service):
            values = [service.name, str(version)]
            asked.add_metric(values, tally.asked)
            failed.add_metric(values, tally.failed_share)
            if tally.answered:
                p95.add_metric(values, tally.p95_ms / 1000)
    yield from (asked, failed, p95)


def _gauges(name: str, text: str, label: str, counts: Counter[str]) -> Metric:
    family = GaugeMetricFamily(f"pltfrms_{name}", text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
