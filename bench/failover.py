"""Measure what clients see when something fails, with real daemons and real packets.

    .venv/bin/python bench/failover.py [--servers] [--repeat 3] [--json] [NAME ...]

Starts its own lab of examples/three-datacenters, or with --servers of examples/three-servers,
where the death of a machine is that of its site (as root), injects one fault after the other
under an open-loop load of 200 requests/s, and prints one line for each: the longest gap, lost
requests, and what had to be repaired afterwards and how long that took. All is well again
before the next one.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import EXAMPLE, NEAREST, Rig, machine_words, running_rig
from pltfrms.lab.client.probing import LEAD_SECONDS, Measurement, PlannedFault, probe_service

FAULT_AT_MS = 2000


@dataclass(frozen=True, slots=True)
class Case:
    """One fault, and what to measure."""

    name: str
    faults: Callable[[Rig], Sequence[str]]
    """TARGET:KIND of each fault; the first is injected by the prober."""
    bound_ms: float
    """The longest gap that we promise."""
    client: str = "berlin"
    seconds: int = 8
    repaired: Callable[[Rig, str], bool] | None = None
    """Given the first target: is the lost capacity back?"""
    repaired_bound_seconds: float = 0.0


@dataclass(slots=True)
class Result:
    """What was measured, over all repetitions."""

    case: Case
    gaps_ms: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    repaired_seconds: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Return the figures as they are printed."""
        repaired = self.repaired_seconds
        return {
            "fault": self.case.name,
            "gap_ms_median": round(statistics.median(self.gaps_ms), 1),
            "gap_ms_max": round(max(self.gaps_ms), 1),
            "bound_ms": self.case.bound_ms,
            "lost_max": max(self.lost),
            "sent": self.sent[0],
            "repaired_s_max": round(max(repaired), 2) if repaired else None,
            "repaired_bound_s": self.case.repaired_bound_seconds or None,
        }


def _target(words: str) -> Callable[[Rig], Sequence[str]]:
    return lambda _rig: (words,)


def _instance_ready_again(rig: Rig, _target: str) -> bool:
    return rig.ready_replicas("fra") == 2


def _failed_lately(rig: Rig) -> bool:
    statuses = rig.snapshot().statuses.values()
    return any(instance.failure for status in statuses for instance in status.instances)


def _elsewhere(rig: Rig, target: str) -> bool:
    node = target.partition("/")[2].partition(":")[0]
    return rig.ready_replicas("fra", besides=node) == 2


CASES = (
    Case("instance kill", _target("instance/web/fra/1"), 100, repaired=_instance_ready_again,
         repaired_bound_seconds=1.5),
    Case("instance hang", _target("instance/web/fra/1:hang"), 2500,
         repaired=_instance_ready_again, repaired_bound_seconds=10),
    Case("node silent", lambda rig: (f"node/{rig.node_of('fra')}:silent",), 500, seconds=14,
         repaired=_elsewhere, repaired_bound_seconds=10),
    Case("edge silent", _target("edge/fra-e1:silent"), 1000),
    Case("fabric cut", _target("fabric/fra/a:cut"), 500),
    Case("datacenter kill", _target("datacenter/fra"), 1500),
    Case("backbone cut everywhere", lambda rig: tuple(
        f"link/{link.name}:cut" for link in rig.snapshot().platform.links), 0),
    Case("controllers kill", _target("controllers"), 0, seconds=20),
)  # fmt: skip
_OF_MACHINES = {"node silent", "edge silent", "fabric cut"}
SERVER_CASES = (
    *(case for case in CASES if case.name not in _OF_MACHINES),
    Case("machine silent", _target("edge/fra1:silent"), 1500),
    Case("session with the hoster cut", _target("link/fra1--hoster1:cut"), 1500),
    Case("only cable cut", _target("edge/fra1:cut"), 1500),
)


def measure(rig: Rig, case: Case, result: Result) -> None:
    """Inject the fault once under load and add what was seen to `result`."""
    rig.restore()
    if case.repaired:  # else it would be the back-off of a service that crashes often
        rig.wait("no instance has failed lately", lambda: not _failed_lately(rig), 90)
    first, *others = case.faults(rig)
    for other in others:
        rig.client.fault(*_split(other))
    target, kind = _split(first)
    wanted = Measurement(
        client=case.client,
        duration_ms=case.seconds * 1000,
        fault=PlannedFault(target=target, kind=kind, at_ms=FAULT_AT_MS),
    )
    service = rig.snapshot().services["web"]
    watch = _Watch(rig, case, first, time.monotonic() + LEAD_SECONDS + FAULT_AT_MS / 1000)
    watch.start()
    report = probe_service(rig.client, service, wanted)
    result.gaps_ms.append(report.gap_max_ms)
    result.lost.append(report.lost)
    result.sent.append(report.sent)
    if case.repaired:
        result.repaired_seconds.append(watch.seconds())


def _split(words: str) -> tuple[str, str]:
    target, _, kind = words.partition(":")
    return target, kind or "kill"


class _Watch(threading.Thread):
    """Notices when the capacity is gone after the fault, and when it is back."""

    def __init__(self, rig: Rig, case: Case, target: str, fault_at: float) -> None:
        super().__init__(daemon=True)
        self._rig, self._case, self._target = rig, case, target
        self._fault_at, self._gone, self._back_at = fault_at, False, 0.0

    def run(self) -> None:
        """Poll from before the fault to the repair."""
        if not self._case.repaired:
            return
        repaired = self._case.repaired
        deadline = time.monotonic() + self._case.seconds + 20
        time.sleep(max(0.0, self._fault_at - time.monotonic()))
        while time.monotonic() < deadline and not self._back_at:
            well = repaired(self._rig, self._target)
            if self._gone and well:
                self._back_at = time.monotonic()
            self._gone = self._gone or not well
            time.sleep(0.01)

    def seconds(self) -> float:
        """Return how long after the fault it was back; infinity if it never was."""
        self.join()
        return self._back_at - self._fault_at if self._back_at else float("inf")


def show(rows: Sequence[dict[str, Any]], up_seconds: float) -> None:
    """Print the table for people."""
    print(f"lab up and answering everywhere in {up_seconds:.1f} s")
    print(f"ran on: {machine_words()}\n")
    head = f"{'fault':26}{'gap median':>12}{'gap max':>10}{'bound':>8}{'lost/sent':>12}"
    print(f"{head}{'repaired':>10}{'bound':>8}")
    for row in rows:
        repaired = f"{row['repaired_s_max']} s" if row["repaired_s_max"] is not None else "-"
        bound = f"{row['repaired_bound_s']} s" if row["repaired_bound_s"] else "-"
        lost = f"{row['lost_max']}/{row['sent']}"
        gaps = (
            f"{row['gap_ms_median']:>9} ms{row['gap_ms_max']:>7} ms{row['bound_ms']:>5.0f} ms"
        )
        print(f"{row['fault']:26}{gaps}{lost:>12}{repaired:>10}{bound:>8}")


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="cases to run (default: all)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--servers", action="store_true", help="one server at each site")
    asked = parser.parse_args()
    cases = SERVER_CASES if asked.servers else CASES
    example = EXAMPLE.parent / "three-servers" if asked.servers else EXAMPLE
    results = [Result(case) for case in cases if not asked.names or case.name in asked.names]
    with running_rig(f"bench-{os.getpid()}", example) as rig:
        for result in results:
            for _ in range(asked.repeat):
                measure(rig, result.case, result)
            if not asked.json:
                print(f"{result.case.name}: done", file=sys.stderr)
        rows = [result.row() for result in results]
        answers = {a.eyeball: a.datacenter for a in rig.ready.answers}
        if asked.json:
            document = {"ran_on": machine_words(), "up_seconds": rig.up_seconds, "rows": rows}
            print(json.dumps(document | {"nearest": answers == NEAREST}, indent=2))
        else:
            show(rows, rig.up_seconds)


if __name__ == "__main__":
    main()
