"""What Prometheus may know of a controller. Reasons are `model.plan.Reason`, word for word."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pltfrms.api.network_metrics import network_metrics
from pltfrms.controller.loop import Controller
from pltfrms.errors import UnavailableError
from pltfrms.model.state import Snapshot


class Metrics:
    """One controller's metrics, read when they are asked for."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, controller: Controller) -> None:
        """Show `controller`, in a registry of its own."""
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(controller))

    def text(self) -> bytes:
        """Return the metrics as text."""
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def collect(self) -> Iterator[Metric]:
        """Yield counts, and the state while the store answers (it is not known otherwise)."""
        yield from self._counts()
        count = self._controller.unreadable_count
        yield _gauge("unreadable_documents", "Documents that it cannot read.", count)
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
        yield from network_metrics(snapshot, self._controller.clock.unix_ms())
        notes = Counter(note.reason.value for note in self._controller.notes)
        yield _gauges("notes", "What cannot be done now.", "reason", notes)

    def _counts(self) -> Iterator[Metric]:
        counters = self._controller.counters
        steps = CounterMetricFamily(
            "pltfrms_steps", "Committed steps of plans.", labels=["reason"]
        )
        for reason, count in sorted(counters.steps.items()):
            steps.add_metric([reason.value], count)
        yield steps
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


def _state(snapshot: Snapshot) -> Iterator[Metric]:
    contacts = Counter(view.contact.value for view in snapshot.machines.values())
    phases: Counter[str] = Counter()
    for allocation in snapshot.allocations:
        instance = snapshot.instance(allocation)
        phases[instance.phase.value if instance else "not-reported"] += 1
    yield _gauge("revision", "Revision of the last commit.", snapshot.revision)
    yield _gauges("machines", "Machines by contact.", "contact", contacts)
    yield _gauges("instances", "Allocations by phase of their instance.", "phase", phases)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pltfrms_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, counts: Counter[str]) -> Metric:
    family = GaugeMetricFamily(f"pltfrms_{name}", text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
