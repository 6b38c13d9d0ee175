"""How fast plans are made and checked: all new, one lost node, a new version, nothing to do.

`each node lost` is not a plan: it is the check whether all fits in after the loss of any one
node (`what-if --each`); its steps are the nodes.

python bench/planner.py [--json]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import machine_words
from pltfrms.model.running.plan import Place
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.foresight.n_minus_one import n_minus_one
from pltfrms.planner.placement.checking.checks import check_plan
from pltfrms.planner.placement.plan import make_plan
from tests.strategies import (
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
    with_all_ready,
)

_SIZES = ((15, 5, 30), (100, 5, 200), (1000, 20, 500))
"""Nodes, datacenters, services; each service has two replicas in each datacenter."""
_REPETITIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measured plan; the best of three runs."""

    case: str
    nodes: int
    replicas: int
    steps: int
    seconds: float
    steps_per_second: float
    check_seconds: float
    """Of `check_plan`, which a controller runs before it commits a plan."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    results = [result for size in _SIZES for result in _cases(*size)]
    if arguments.json:
        print(
            json.dumps(
                {"ran_on": machine_words(), "results": [asdict(r) for r in results]}, indent=2
            )
        )
        return
    print(f"{'case':<16}{'nodes':>7}{'replicas':>10}{'steps':>8}{'seconds':>10}", end="")
    print(f"{'steps/s':>10}{'check s':>10}")
    for r in results:
        print(
            f"{r.case:<16}{r.nodes:>7}{r.replicas:>10}{r.steps:>8}{r.seconds:>10.4f}"
            f"{r.steps_per_second:>10.0f}{r.check_seconds:>10.4f}"
        )
    print(f"on {machine_words()}")


def make_cases(nodes: int, datacenters: int, services: int) -> dict[str, Snapshot]:
    """Return what there is to plan, by name; each service has 2 replicas in each datacenter."""
    names = [f"d{number:02d}" for number in range(datacenters)]
    platform = make_platform(dict.fromkeys(names, nodes // datacenters), cpu=64.0, others=False)
    empty = make_snapshot(platform, tuple(_service(number) for number in range(services)))
    placed = make_plan(empty)
    allocations = {s.allocation.id: s.allocation for s in placed.steps if isinstance(s, Place)}
    full = with_all_ready(replace(empty, allocations=allocations))
    lost = MachineView(contact=Contact.LOST, since_seconds=9.0)
    one_lost = replace(full, machines={**full.machines, platform.machines[0].name: lost})
    newer = {name: replace(service, version=2) for name, service in full.services.items()}
    return {
        "all new": empty,
        "one node lost": one_lost,
        "new versions": replace(full, services=newer),
        "nothing to do": full,
    }


def _cases(nodes: int, datacenters: int, services: int) -> list[Result]:
    cases = make_cases(nodes, datacenters, services)
    replicas = len(cases["nothing to do"].allocations)
    plans = [_measure(name, snapshot, nodes, replicas) for name, snapshot in cases.items()]
    full = cases["nothing to do"]
    seconds = _best_seconds(lambda: n_minus_one(full))
    each = Result(
        case="each node lost",
        nodes=nodes,
        replicas=replicas,
        steps=nodes,
        seconds=round(seconds, 5),
        steps_per_second=round(nodes / seconds, 1),
        check_seconds=0.0,
    )
    return [*plans, each]


def _service(number: int) -> Service:
    spec = make_spec(f"s{number:04d}", cpu=0.1)
    run = replace(spec.run, memory_bytes=1024 * 1024)
    return make_service(replace(spec, run=run), number % 250 + 1)


def _measure(case: str, snapshot: Snapshot, nodes: int, replicas: int) -> Result:
    plan = make_plan(snapshot)
    step_count = len(plan.steps)
    best = _best_seconds(lambda: make_plan(snapshot))
    return Result(
        case=case,
        nodes=nodes,
        replicas=replicas,
        steps=step_count,
        seconds=round(best, 5),
        steps_per_second=round(step_count / best, 1),
        check_seconds=round(_best_seconds(lambda: check_plan(snapshot, plan)), 5),
    )


def _best_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_REPETITIONS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
