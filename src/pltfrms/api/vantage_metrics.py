"""What Prometheus may know of what vantage points see.

One series for a place, a service and a family: the vantage points of a datacenter are added up,
since 200 edges that ask each service would be as many series as everything else together.
"""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from pltfrms.controller.contact.vantages import Vantages
from pltfrms.model.running.vantage import BOUNDS_MS

_LABELS = ("vantage", "service", "family")


def vantage_metrics(vantages: Vantages) -> Iterator[Metric]:
    """Yield what their questions came to since this controller began to listen."""
    attempts = CounterMetricFamily(
        "pltfrms_probe_attempts",
        "Questions of vantage points to services, by datacenter or vantage point outside.",
        labels=[*_LABELS, "result"],
    )
    took = HistogramMetricFamily(
        "pltfrms_probe_duration_seconds",
        "How long services took for answers to vantage points.",
        labels=_LABELS,
    )
    for (place, service, family), total in vantages.totals():
        labels = [place, service, f"ipv{family}"]
        attempts.add_metric([*labels, "answered"], total.asked - total.failed)
        attempts.add_metric([*labels, "failed"], total.failed)
        counts = list(accumulate(total.latencies))
        bounds = [*(str(bound / 1000) for bound in BOUNDS_MS), "+Inf"]
        took.add_metric(labels, list(zip(bounds, counts, strict=True)), total.seconds)
    yield from (attempts, took)
    speaking, silent = vantages.silent()
    points = GaugeMetricFamily(
        "pltfrms_vantage_points",
        "Vantage points that say something now, and that should and do not.",
        labels=["state"],
    )
    points.add_metric(["reporting"], speaking)
    points.add_metric(["silent"], silent)
    yield points
